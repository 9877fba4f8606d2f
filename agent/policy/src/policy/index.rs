use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hash::Hash;

use foldhash::{HashMap, HashMapExt};

use crate::selector::{Key, Values};
use crate::{Field, Selector};

/// So many are looked at one by one rather than indexed further. Fewer in tests, so that their short lists are indexed too.
const FEW: usize = if cfg!(test) { 2 } else { 16 };
/// Different lengths of beginnings, and of ends, that are looked up for one field. Others are cut to the next shorter.
const LENGTHS: usize = 12;
/// How deep it goes: how many fields are looked up to come to one list.
const DEEPEST: usize = 4;

/// Finds, in a list of selectors, those that may match a call: each is filed under that of its fields by which it is told apart
/// best, those that name nothing but exclusions under `rest`. A long list is filed further by another field.
#[derive(Debug, Default)]
pub(super) struct Index {
    fields: Vec<(Field, Lookup)>,
    /// By the name of a pod's label.
    labels: HashMap<Box<str>, Lookup>,
    rest: Bucket,
}

/// The places in the list, rising, by what a value is, begins with and ends with.
#[derive(Debug, Default)]
struct Lookup {
    exact: HashMap<Box<str>, Bucket>,
    prefixes: Ends,
    suffixes: Ends,
}

#[derive(Debug, Default)]
struct Ends {
    /// In bytes, rising.
    lengths: Vec<usize>,
    buckets: HashMap<Box<[u8]>, Bucket>,
}

#[derive(Debug)]
enum Bucket {
    List(Vec<u32>),
    Index(Box<Index>),
}

/// What something is filed by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum By {
    Field(Field),
    Label(Box<str>),
}

/// What is to be filed: for each field and label that can be looked up, the keys of which one must fit.
type Filed = Vec<(By, Vec<Key>)>;

impl Index {
    pub(super) fn new<'a>(selectors: impl IntoIterator<Item = &'a Selector>) -> Self {
        let mut filed: Vec<Filed> = selectors.into_iter().map(keys).collect();
        cut(&mut filed);
        let all: Vec<u32> = (0..).take(filed.len()).collect();
        // Selectors with many alternatives in many fields multiply; this bounds what that may take.
        let mut room = filed.iter().flatten().map(|(_, keys)| keys.len()).sum::<usize>() * 4 + filed.len();
        Self::build(all, &filed, &mut Vec::new(), &mut room)
    }

    /// Those that may match, rising. All that match are among them.
    pub(super) fn candidates(&self, values: &Values<'_>) -> Candidates<'_> {
        let mut lists = Vec::new();
        self.collect(values, &mut lists);
        let heap = lists.iter().enumerate().map(|(at, list)| Reverse((list[0], at))).collect();
        Candidates { lists, heap, last: None }
    }

    fn collect<'a>(&'a self, values: &Values<'_>, lists: &mut Vec<&'a [u32]>) {
        self.rest.collect(values, lists);
        for (field, lookup) in &self.fields {
            if let Some(value) = values.get(*field) {
                lookup.collect(value, values, lists);
            }
        }
        if !self.labels.is_empty() {
            for (name, value) in values.labels() {
                if let Some(lookup) = self.labels.get(name) {
                    lookup.collect(value, values, lists);
                }
            }
        }
    }

    fn build(list: Vec<u32>, filed: &[Filed], used: &mut Vec<By>, room: &mut usize) -> Self {
        let mut count: HashMap<(&By, &Key), usize> = HashMap::new();
        for (by, keys) in list.iter().flat_map(|at| &filed[*at as usize]).filter(|(by, _)| !used.contains(by)) {
            for key in keys {
                *count.entry((by, key)).or_default() += 1;
            }
        }
        let mut rest = Vec::new();
        let mut lists: HashMap<&By, HashMap<&Key, Vec<u32>>> = HashMap::new();
        for at in list {
            let most = |by, keys: &[Key]| keys.iter().map(|key| count[&(by, key)]).max().unwrap_or_default();
            let choices = filed[at as usize].iter().filter(|(by, _)| !used.contains(by));
            let Some((by, keys)) = choices.min_by_key(|(by, keys)| most(by, keys)) else {
                rest.push(at);
                continue;
            };
            let lists = lists.entry(by).or_default();
            for key in keys {
                lists.entry(key).or_default().push(at);
                *room = room.saturating_sub(1);
            }
        }
        let mut index = Self { rest: Bucket::List(rest), ..Self::default() };
        for (by, lists) in lists {
            used.push(by.clone());
            let mut lookup = Lookup::default();
            for (key, list) in lists {
                lookup.add(key, Bucket::build(list, filed, used, room));
            }
            lookup.prefixes.sort();
            lookup.suffixes.sort();
            used.pop();
            match by {
                By::Field(field) => index.fields.push((*field, lookup)),
                By::Label(name) => {
                    index.labels.insert(name.clone(), lookup);
                }
            }
        }
        index.fields.sort_unstable_by_key(|(field, _)| *field);
        index
    }
}

impl Bucket {
    fn build(list: Vec<u32>, filed: &[Filed], used: &mut Vec<By>, room: &mut usize) -> Self {
        let is_divisible = || list.iter().any(|at| filed[*at as usize].iter().any(|(by, _)| !used.contains(by)));
        if list.len() <= FEW || used.len() >= DEEPEST || *room == 0 || !is_divisible() {
            return Self::List(list);
        }
        Self::Index(Box::new(Index::build(list, filed, used, room)))
    }

    fn collect<'a>(&'a self, values: &Values<'_>, lists: &mut Vec<&'a [u32]>) {
        match self {
            Self::List(list) if list.is_empty() => {}
            Self::List(list) => lists.push(list),
            Self::Index(index) => index.collect(values, lists),
        }
    }
}

impl Default for Bucket {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Lookup {
    fn add(&mut self, key: &Key, bucket: Bucket) {
        match key {
            Key::Exact(text) => {
                self.exact.insert(text.clone(), bucket);
            }
            Key::Prefix(text) => self.prefixes.add(text, bucket),
            Key::Suffix(text) => self.suffixes.add(text, bucket),
        }
    }

    fn collect<'a>(&'a self, value: &str, values: &Values<'_>, lists: &mut Vec<&'a [u32]>) {
        if let Some(bucket) = self.exact.get(value) {
            bucket.collect(values, lists);
        }
        let bytes = value.as_bytes();
        for bucket in self.prefixes.find(bytes, |length| &bytes[..length]) {
            bucket.collect(values, lists);
        }
        for bucket in self.suffixes.find(bytes, |length| &bytes[bytes.len() - length..]) {
            bucket.collect(values, lists);
        }
    }
}

impl Ends {
    fn add(&mut self, text: &[u8], bucket: Bucket) {
        self.lengths.push(text.len());
        self.buckets.insert(text.into(), bucket);
    }

    fn sort(&mut self) {
        self.lengths.sort_unstable();
        self.lengths.dedup();
    }

    /// The buckets of what `part` gives for each length.
    fn find<'a, 'v>(&'a self, value: &'v [u8], part: impl Fn(usize) -> &'v [u8]) -> impl Iterator<Item = &'a Bucket> {
        let lengths = self.lengths.iter().take_while(|length| **length <= value.len());
        lengths.filter_map(move |length| self.buckets.get(part(*length)))
    }
}

/// Places in a list of selectors, rising, each once.
pub(super) struct Candidates<'a> {
    lists: Vec<&'a [u32]>,
    /// The first of each list that has more, and the list's place.
    heap: BinaryHeap<Reverse<(u32, usize)>>,
    last: Option<u32>,
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            let mut top = self.heap.peek_mut()?;
            let Reverse((candidate, list)) = *top;
            self.lists[list] = &self.lists[list][1..];
            match self.lists[list].first() {
                Some(next) => {
                    *top = Reverse((*next, list));
                    drop(top);
                }
                None => {
                    std::collections::binary_heap::PeekMut::pop(top);
                }
            }
            if self.last.replace(candidate) != Some(candidate) {
                return Some(candidate as usize);
            }
        }
    }
}

/// What a selector can be filed by.
fn keys(selector: &Selector) -> Filed {
    let fields = selector.fields.iter().map(|(field, patterns)| (By::Field(*field), patterns));
    let labels = selector.labels.iter().map(|(name, patterns)| (By::Label(name.as_str().into()), patterns));
    fields.chain(labels).filter_map(|(by, patterns)| Some((by, patterns.keys()?))).collect()
}

/// Cuts beginnings and ends to the lengths that are most frequent for their field.
fn cut(filed: &mut [Filed]) {
    let mut counts: HashMap<(By, bool), HashMap<usize, usize>> = HashMap::new();
    for (by, keys) in filed.iter().flatten() {
        for (is_prefix, text) in keys.iter().filter_map(Key::end) {
            *counts.entry((by.clone(), is_prefix)).or_default().entry(text.len()).or_default() += 1;
        }
    }
    let lengths: HashMap<(By, bool), Vec<usize>> = counts
        .into_iter()
        .map(|(of, counts)| {
            let mut lengths: Vec<(usize, usize)> = counts.into_iter().map(|(length, count)| (count, length)).collect();
            lengths.sort_unstable_by_key(|length| Reverse(*length));
            // The shortest stays, so that each has one to be cut to.
            let shortest = lengths.iter().map(|(_, length)| *length).min();
            let mut kept: Vec<usize> =
                lengths.into_iter().take(LENGTHS - 1).map(|(_, length)| length).chain(shortest).collect();
            kept.sort_unstable();
            kept.dedup();
            (of, kept)
        })
        .collect();
    for (by, keys) in filed.iter_mut().flatten() {
        for key in keys.iter_mut() {
            let Some((is_prefix, text)) = key.end() else { continue };
            let kept = &lengths[&(by.clone(), is_prefix)];
            let length = kept[kept.partition_point(|length| *length <= text.len()) - 1];
            key.cut(length);
        }
        // Cut, they may be the same.
        keys.sort_unstable();
        keys.dedup();
    }
}
