//! Which entries may decide a model's price, remembered by its name: to find them takes longer than to settle by them.

use std::hash::Hash;
use std::sync::Arc;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::layer::{Model, Place};
use super::{Asked, Prices};

/// Names remembered at once. A caller may name any model, so those that are not used make room.
const NAMES: usize = 512;

/// What was found, by what was asked.
pub(super) type Searches = Cache<Key, Arc<Search>>;

pub(super) fn searches() -> Searches {
    Cache::new(NAMES)
}

/// Everything that decides what is found but the time.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    provider: Box<str>,
    region: Option<Box<str>>,
    response_model: Option<Box<str>>,
    request_model: Option<Box<str>>,
}

/// The same, borrowed. It must hash as the other does: the same fields in the same order.
#[derive(Hash)]
struct Borrowed<'a> {
    provider: &'a str,
    region: Option<&'a str>,
    response_model: Option<&'a str>,
    request_model: Option<&'a str>,
}

impl Equivalent<Key> for Borrowed<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.provider == &*key.provider
            && self.region == key.region.as_deref()
            && self.response_model == key.response_model.as_deref()
            && self.request_model == key.request_model.as_deref()
    }
}

/// What looking for a price found, at whatever time.
pub(super) struct Search {
    /// The one that counts first first.
    pub(super) candidates: Box<[Candidate]>,
    /// Whether any list has the provider.
    pub(super) is_listed: bool,
}

/// An entry that a name led to.
pub(super) struct Candidate {
    /// Which layer, from the topmost.
    pub(super) depth: usize,
    index: usize,
    /// The provider's own list has the model by this very name.
    pub(super) is_exact: bool,
    /// It is the provider's own list.
    pub(super) is_own: bool,
}

impl Prices {
    /// Looks for what has been asked, or remembers it.
    pub(super) fn search(&self, asked: &Asked<'_>) -> Arc<Search> {
        let &Asked { provider, region, response_model, request_model, .. } = asked;
        if let Some(search) = self.searches.get(&Borrowed { provider, region, response_model, request_model }) {
            return search;
        }
        let search = Arc::new(self.look(asked));
        let key = Key {
            provider: provider.into(),
            region: region.map(Into::into),
            response_model: response_model.map(Into::into),
            request_model: request_model.map(Into::into),
        };
        self.searches.insert(key, Arc::clone(&search));
        search
    }

    fn look(&self, asked: &Asked<'_>) -> Search {
        let names = self.names(asked.provider, asked.response_model, asked.request_model);
        let place = Place { region: asked.region, at: None };
        let (mut candidates, mut is_listed) = (Vec::new(), false);
        for (depth, layer) in self.layers.iter().enumerate() {
            for list in self.lists(depth, asked.provider) {
                is_listed |= layer.lists(list);
                let is_own = list == asked.provider;
                for (name, is_alias) in &names {
                    for found in layer.find(list, name, place) {
                        let is_exact = found.is_exact && !is_alias && is_own;
                        candidates.push(Candidate { depth, index: found.index, is_exact, is_own });
                        if found.model.decides_always() {
                            return Search { candidates: candidates.into(), is_listed };
                        }
                    }
                }
            }
        }
        Search { candidates: candidates.into(), is_listed }
    }

    /// The entry of a candidate.
    pub(super) fn model(&self, candidate: &Candidate) -> &Model {
        self.layers[candidate.depth].model(candidate.index)
    }
}
