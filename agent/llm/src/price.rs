//! What usage costs, by list price, in exact decimals.
//!
//! Prices are layers of files: the bundled list of many providers, our own additions to it, and the operator's. The
//! topmost that has the model says what it costs; where a rate for anything that was used is missing, the cost is
//! unknown, never zero.

pub mod file;
pub mod import;
mod kind;
mod layer;
mod parts;
mod pattern;
mod pointers;
mod search;
mod status;
mod units;
mod worst;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rust_decimal::Decimal;

use self::file::File;
use self::layer::{Model, Place, Settings};
use self::search::Searches;
use crate::usage::{ServiceTier, Usage};

pub use kind::Kind;
pub use layer::{Complaint, Layer};
pub(crate) use pointers::PointerReader;
pub use pointers::{Pointed, Pointers};
pub use status::PriceStatus;
pub use worst::WorstCase;

/// The bundled list, made by `tollgate prices import --format genai-prices` (docs/prices.md).
const LIST: &str = include_str!("../data/prices.json");

/// What we know better, or beside it.
const ADDITIONS: &str = include_str!("../data/additions.json");

/// What an exchange cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// US dollars, exact to 10⁻¹² of them.
    pub cost: Decimal,
    /// The source of the rates and the day they were right.
    pub from: Arc<str>,
    /// How they were found.
    pub status: PriceStatus,
}

/// Why the cost of an exchange is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unpriced {
    /// No list has the provider.
    #[error("no price list has this provider; add a file with its prices to `prices.files`")]
    UnknownProvider,
    /// No list of the provider has the model, or no model was named.
    #[error("no price list has this model; add its price to a file in `prices.files`")]
    UnknownModel,
    /// The model has no rate for something that was used.
    #[error("the model has no rate for `{0}`; add it to a file in `prices.files`")]
    NoRate(Kind),
    /// The model has no rates for the service tier that was billed.
    #[error("the model has no rates for the service tier `{}`; add them to a file in `prices.files`", .0.as_str())]
    NoTier(ServiceTier),
    /// The provider's counts contradict each other, or are beyond reason.
    #[error("the provider's counts contradict each other")]
    Contradiction,
}

impl Unpriced {
    /// The status for records and labels.
    pub fn status(self) -> PriceStatus {
        match self {
            Self::UnknownProvider => PriceStatus::UnknownProvider,
            Self::UnknownModel => PriceStatus::UnknownModel,
            Self::NoRate(_) | Self::NoTier(_) => PriceStatus::NoRate,
            Self::Contradiction => PriceStatus::Contradiction,
        }
    }
}

/// What is to be priced.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// As in `gen_ai.provider.name`, or the operator's own name.
    pub provider: &'a str,
    /// The provider's region, where it is known.
    pub region: Option<&'a str>,
    /// The model that says it answered.
    pub response_model: Option<&'a str>,
    /// The model that was asked for.
    pub request_model: Option<&'a str>,
    /// What was used.
    pub usage: &'a Usage,
    /// What the operator's pointers pointed to.
    pub pointed: Option<&'a Pointed>,
    /// What the provider itself says it cost.
    pub told: Option<Decimal>,
    /// When.
    pub at: SystemTime,
}

/// All prices: an immutable value, cheap to share.
#[derive(Debug)]
pub struct Prices {
    /// The topmost first.
    layers: Vec<Arc<Layer>>,
    /// How many of them are the operator's.
    own: usize,
    settings: HashMap<Box<str>, Settings>,
    pointers: Option<Arc<Pointers>>,
    /// Which providers' answers the pointers are read from.
    pointed: Vec<Box<str>>,
    searches: Searches,
}

/// A model's entry, as found by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match<'a> {
    /// What the layer is called.
    pub origin: &'a str,
    /// Which layer, from the topmost, and which entry of its file.
    pub layer: usize,
    /// The entry's place in its file's list.
    pub entry: usize,
    /// The provider in whose list it was found.
    pub provider: String,
    /// The name or pattern that matched.
    pub pattern: &'a str,
    /// Whether it is the very name.
    pub is_exact: bool,
    /// Whether it has rates of its own, or changes those of the match after it.
    pub has_rates: bool,
}

static BUNDLED: LazyLock<Vec<Arc<Layer>>> = LazyLock::new(|| {
    let layer = |(origin, file): (_, File)| {
        Arc::new(Layer::new(origin, &file, &mut Vec::new()).expect("the bundled prices are tested"))
    };
    bundled_files().into_iter().map(layer).collect()
});

/// The bundled files, the topmost first, with the names of their layers.
pub fn bundled_files() -> [(&'static str, File); 2] {
    let read = |text| File::from_json(text).expect("the bundled prices are tested");
    [("additions", read(ADDITIONS)), ("bundled", read(LIST))]
}

/// What cannot be meant in a file, taken by itself.
pub fn check(file: &File) -> Vec<Complaint> {
    Layer::new("", file, &mut Vec::new()).err().unwrap_or_default()
}

impl Prices {
    /// The bundled prices. Reading them takes some milliseconds the first time.
    pub fn bundled() -> Self {
        Self::new(Vec::new(), Vec::new(), &[])
    }

    /// The bundled prices and the operator's above them, of which the last is the topmost.
    pub fn with(files: &[(String, File)]) -> Result<Self, (String, Vec<Complaint>)> {
        let mut pointers = Vec::new();
        let mut layers = Vec::new();
        for (origin, file) in files {
            let layer = Layer::new(origin, file, &mut pointers).map_err(|complaints| (origin.clone(), complaints))?;
            layers.insert(0, Arc::new(layer));
        }
        let entries = files.iter().flat_map(|(_, file)| &file.prices);
        let pointed = entries.filter(|entry| !entry.pointers.is_empty()).map(|entry| entry.provider.as_str().into());
        Ok(Self::new(layers, pointed.collect(), &pointers))
    }

    fn new(mut layers: Vec<Arc<Layer>>, pointed: Vec<Box<str>>, pointers: &[String]) -> Self {
        let own = layers.len();
        layers.extend(BUNDLED.iter().cloned());
        let mut settings: HashMap<Box<str>, Settings> = HashMap::new();
        for (depth, layer) in layers.iter().enumerate() {
            for entry in &layer.settings {
                settings.entry(entry.provider.as_str().into()).or_default().add(depth, entry);
            }
        }
        let pointers = (!pointers.is_empty()).then(|| Arc::new(Pointers::new(pointers)));
        Self { layers, own, settings, pointers, pointed, searches: search::searches() }
    }

    /// The pointers to read from a provider's answers.
    pub fn pointers(&self, provider: &str) -> Option<&Arc<Pointers>> {
        self.pointers.as_ref().filter(|_| self.pointed.iter().any(|name| **name == *provider))
    }

    /// What it cost, or why that is not known.
    pub fn price(&self, asked: &Asked<'_>) -> Result<Price, Unpriced> {
        let at = seconds(asked.at);
        let search = self.search(asked);
        let told = asked.told.filter(|told| !told.is_sign_negative());
        // What the provider tells is above all lists but the operator's.
        let reach = if told.is_some() { self.own } else { usize::MAX };
        let mut changes: Vec<&Model> = Vec::new();
        for candidate in search.candidates.iter().take_while(|candidate| candidate.depth < reach) {
            let model = self.model(candidate);
            if !model.is_at(at) {
                continue;
            }
            if !model.has_rates() {
                // Once, by however many of the names it is found.
                if !changes.iter().any(|other| std::ptr::eq(*other, model)) {
                    changes.push(model);
                }
                continue;
            }
            let settings = self.settings(asked.provider);
            let cost = units::cost(model, settings, asked.usage, at, candidate.is_own)?;
            let status = if candidate.is_exact { PriceStatus::Exact } else { PriceStatus::Alias };
            let price = Price { cost, from: Arc::clone(&model.from), status };
            return adjust(price, Some(model), &changes, asked);
        }
        match told {
            Some(cost) => {
                let price = Price { cost, from: TOLD.clone(), status: PriceStatus::Told };
                adjust(price, None, &changes, asked)
            }
            None if search.is_listed => Err(Unpriced::UnknownModel),
            None => Err(Unpriced::UnknownProvider),
        }
    }

    /// The entries that decide a model's price at a moment: those that change it, then the one that has the rates.
    pub fn find(&self, provider: &str, region: Option<&str>, model: &str, at: SystemTime) -> Vec<Match<'_>> {
        let names = self.names(provider, None, Some(model));
        let place = Place { region, at: Some(seconds(at)) };
        let mut matches = Vec::new();
        for (depth, layer) in self.layers.iter().enumerate() {
            for list in self.lists(depth, provider) {
                for (name, is_alias) in &names {
                    for found in layer.find(list, name, place) {
                        let has_rates = found.model.has_rates();
                        if matches.iter().any(|other: &Match<'_>| (other.layer, other.entry) == (depth, found.index)) {
                            continue;
                        }
                        matches.push(Match {
                            origin: layer.origin(),
                            layer: depth,
                            entry: found.index,
                            provider: list.into(),
                            pattern: found.pattern,
                            is_exact: found.is_exact && !is_alias && list == provider,
                            has_rates,
                        });
                        if has_rates {
                            return matches;
                        }
                    }
                }
            }
        }
        matches
    }

    /// The names to look for, in lower case, the likeliest first, and whether each is another spelling.
    fn names(&self, provider: &str, response: Option<&str>, request: Option<&str>) -> Vec<(String, bool)> {
        let by_request = self.settings(provider).by_request;
        // The model that answered knows its own price; what was asked for may be a deployment's name or an alias.
        let models = if by_request { [request, response] } else { [response, request] };
        let mut names: Vec<(String, bool)> = Vec::new();
        for model in models.into_iter().flatten().filter(|model| !model.is_empty()) {
            let name = model.to_lowercase();
            let aliases = pattern::aliases(&name);
            names.push((name, false));
            names.extend(aliases.into_iter().map(|alias| (alias, true)));
        }
        names
    }

    /// The lists in which a provider's models are looked for, in a layer: its own, then those whose prices hold for it.
    fn lists<'a>(&'a self, depth: usize, provider: &'a str) -> impl Iterator<Item = &'a str> {
        let also = self.settings(provider).also.iter().filter(move |(from, _)| *from <= depth);
        std::iter::once(provider).chain(also.map(|(_, name)| &**name))
    }

    fn settings(&self, provider: &str) -> &Settings {
        static NONE: LazyLock<Settings> = LazyLock::new(Settings::default);
        self.settings.get(provider).unwrap_or(&NONE)
    }
}

static TOLD: LazyLock<Arc<str>> = LazyLock::new(|| "told by the provider".into());

/// Adds what pointers point to, and applies what entries change about a price: first of the one with the rates, then upwards.
fn adjust(mut price: Price, rated: Option<&Model>, changes: &[&Model], asked: &Asked<'_>) -> Result<Price, Unpriced> {
    for model in rated.into_iter().chain(changes.iter().rev().copied()) {
        for &(pointer, each) in &model.pointers {
            if let Some(count) = asked.pointed.and_then(|pointed| pointed.get(pointer)) {
                let extra = count.checked_mul(each).ok_or(Unpriced::Contradiction)?;
                price.cost = price.cost.checked_add(extra).ok_or(Unpriced::Contradiction)?;
            }
        }
        if let Some(factor) = model.multiply {
            price.cost = price.cost.checked_mul(factor).ok_or(Unpriced::Contradiction)?;
        }
    }
    if !changes.is_empty() {
        let mut from = price.from.to_string();
        for model in changes.iter().rev() {
            from.push_str(" × ");
            from.push_str(&model.from);
        }
        price.from = from.into();
    }
    price.cost = price.cost.round_dp(DECIMALS).normalize();
    Ok(price)
}

/// Rates have rarely more than six decimals per million, so this is exact for nearly all.
const DECIMALS: u32 = 12;

fn seconds(at: SystemTime) -> i64 {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |seconds| -seconds - 1),
    }
}

/// Where the bundled rates are from, for reports.
pub const PRICES_FROM: &str = "genai-prices 0.2.1, verified up to 2026-10-30, and our additions";

/// Reads the bundled rates in. Call it at start, or the first price does it.
pub fn load_prices() {
    LazyLock::force(&BUNDLED);
}

#[cfg(test)]
mod tests;
