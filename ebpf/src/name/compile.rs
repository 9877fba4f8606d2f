//! From patterns to the entries of the kernel's trie.

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt;

use super::Pattern;
use crate::{
    dns::Key,
    rule::{ALTERNATIVES, Alternative, HEAD, Name, Rule},
};

/// One entry of the trie.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The reversed end of the names, in wire form.
    pub prefix: Vec<u8>,
    /// What else must hold for them.
    pub rule: Rule,
}

/// More patterns end alike than a rule can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooManyAlike {
    /// The shared end.
    pub suffix: String,
}

impl fmt::Display for TooManyAlike {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "more than {ALTERNATIVES} host patterns end in {}; write some of them as one", self.suffix)
    }
}

impl core::error::Error for TooManyAlike {}

/// What the kernel does with the entries: the longest that is a prefix of the key decides.
pub fn accepts(entries: &[Compiled], key: &Key, name: &Name) -> bool {
    let reversed = &key.bytes[..key.bits as usize / 8];
    let found = entries.iter().filter(|entry| reversed.starts_with(&entry.prefix));
    found.max_by_key(|entry| entry.prefix.len()).is_some_and(|entry| entry.rule.accepts(name))
}

/// The entries that stand for the patterns. The trie finds only the longest, so each entry also carries the
/// patterns of the shorter ones that it hides.
pub fn compile<'a>(patterns: impl IntoIterator<Item = &'a Pattern>) -> Result<Vec<Compiled>, TooManyAlike> {
    let mut ends: BTreeMap<Vec<u8>, (&str, Vec<Alternative>)> = BTreeMap::new();
    for pattern in patterns {
        let (prefix, alternative) = entry(pattern);
        let (_, alternatives) = ends.entry(prefix).or_insert_with(|| (pattern.suffix(), Vec::new()));
        if !alternatives.contains(&alternative) {
            alternatives.push(alternative);
        }
    }
    ends.iter()
        .map(|(prefix, (suffix, _))| {
            let mut rule = Rule { alternatives: [Alternative::ABSENT; ALTERNATIVES] };
            let mut found: Vec<Alternative> = Vec::new();
            for (_, (_, alternatives)) in ends.iter().filter(|(shorter, _)| prefix.starts_with(shorter)) {
                found.extend(
                    alternatives.iter().filter(|alternative| !found.contains(alternative)).copied().collect::<Vec<_>>(),
                );
            }
            let places = rule.alternatives.get_mut(..found.len());
            places.ok_or_else(|| TooManyAlike { suffix: (*suffix).into() })?.copy_from_slice(&found);
            Ok(Compiled { prefix: prefix.clone(), rule })
        })
        .collect()
}

/// The trie's key for a pattern, and what the key leaves open.
fn entry(pattern: &Pattern) -> (Vec<u8>, Alternative) {
    let Some((head, tail)) = pattern.parts() else {
        let mut prefix = wire(&pattern.text);
        prefix.reverse();
        // No label has length 0, so this ends the name.
        prefix.push(0);
        return (prefix, Alternative { labels: 0, length: 0, ..Alternative::ABSENT });
    };
    let mut prefix = match tail.strip_prefix('.') {
        Some(labels) => wire(labels),
        // The end of a label of unknown length, and whole labels.
        None => match tail.split_once('.') {
            Some((end, labels)) => [end.as_bytes(), &wire(labels)].concat(),
            None => tail.as_bytes().to_vec(),
        },
    };
    let head = wire(head.trim_end_matches('.'));
    let length = head.len() + prefix.len() + 2; // A label of one byte, and its length.
    prefix.reverse();
    let labels = if pattern.spans_labels() { 0 } else { pattern.text.split('.').count() };
    let mut alternative = Alternative { labels: labels as u32, length: length as u32, ..Alternative::ABSENT };
    for (index, &byte) in head.iter().enumerate().take(HEAD) {
        alternative.head[index / 8] |= u64::from(byte) << (index % 8 * 8);
        alternative.mask[index / 8] |= 0xff << (index % 8 * 8);
    }
    (prefix, alternative)
}

/// The wire form of dotted labels, without the root.
fn wire(dotted: &str) -> Vec<u8> {
    let labels = dotted.split('.').filter(|label| !label.is_empty());
    labels.flat_map(|label| core::iter::once(label.len() as u8).chain(label.bytes())).collect()
}
