use std::any::Any;

use cel::common::types::{CelBool, CelString, Type};
use cel::common::value::{StaticVal, Val};
use cel::{Env, add_member_overload};
use regex::RegexBuilder;

/// Memory that one compiled expression may take, in bytes.
const LARGEST: usize = 256 << 10;

static REGEX: Type = Type::new_unspecified_type("regex");

/// A regular expression, compiled with its condition: CEL's own `matches` compiles it anew for each call, and lets callers choose it.
#[derive(Debug, Clone)]
pub(super) struct Regex(regex::Regex);

impl Regex {
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let compiled = RegexBuilder::new(text).size_limit(LARGEST).dfa_size_limit(LARGEST).nest_limit(32).build();
        compiled.map(Self).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => {
                format!("the regular expression {text:?} takes too much memory; shorten it")
            }
            _ => format!("{text:?} is no regular expression that is known here: see docs.rs/regex for what is"),
        })
    }
}

impl Val for Regex {
    fn get_type(&self) -> &Type {
        <Self as Val>::cel_type()
    }

    fn cel_type() -> &'static Type {
        &REGEX
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Regex {}

/// Makes `text.matches(regex)` known.
pub(super) fn declare(env: &mut Env) {
    add_member_overload!(env, fn matches: (CelString, Regex) -> CelBool)
        .expect("cel has no matches without its feature `regex`");
}

fn matches(text: &CelString<'_>, regex: &Regex) -> CelBool {
    regex.0.is_match(text.inner()).into()
}
