//! Whose share of a budget or limit a call is of.

use std::fmt::Write as _;

use crate::{Field, Named, Subject};

/// The group of all for whom there is no room of their own: too many, or with too long a name. No other is called so.
pub(crate) const OTHERS: &str = "*";

/// A longer name would cost too much memory, as requests may make up as many as they like.
const LONGEST: usize = 512;

/// The name of a call's group: `user=alice,team=search`, each field that is absent without `=`, and empty without fields.
///
/// Two calls have the same name only if all values are the same: what would be misread in a value has `\` before it. Control
/// characters are written as numbers, because it stands in logs.
pub(crate) fn group(per: &[Field], subject: &Subject<'_>, named: &Named) -> String {
    let mut group = String::new();
    for field in per {
        if !group.is_empty() {
            group.push(',');
        }
        let (mut key, mut value) = (field.as_str(), field.value(subject, named));
        if value.is_none() && *field == Field::Pod {
            // Without an API server to ask, its id is all that is known. It may not pass for a name.
            key = "pod_uid";
            value = subject.caller.pod.as_deref().map(|pod| (&*pod.uid).into());
        }
        group.push_str(if value.is_some() { key } else { field.as_str() });
        if let Some(value) = value {
            group.push('=');
            escape(&mut group, &value, field.ignores_case());
        }
        if group.len() > LONGEST {
            return OTHERS.to_owned();
        }
    }
    group
}

fn escape(into: &mut String, value: &str, ignores_case: bool) {
    for letter in value.chars() {
        match letter {
            ',' | '\\' => into.extend(['\\', letter]),
            letter if letter.is_control() => {
                write!(into, "\\u{{{:x}}}", u32::from(letter)).expect("a string takes all that is written to it");
            }
            letter if ignores_case => into.push(letter.to_ascii_lowercase()),
            letter => into.push(letter),
        }
        if into.len() > LONGEST {
            return;
        }
    }
}
