//! Finds the series of calls like those before, by what their records say: to make labels of that takes longer than to count.

use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use quick_cache::Equivalent;
use quick_cache::sync::Cache;
use tollgate_ledger::Record;

use super::{SERIES, Series};

/// Series by what records say. Those that are not used make room.
#[derive(Debug)]
pub(super) struct Known(Cache<Key, Arc<Mutex<Series>>>);

/// Everything that labels are made of.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    provider: Box<str>,
    operation: &'static str,
    request_model: Option<Box<str>>,
    response_model: Option<Box<str>>,
    program: Box<str>,
    user: Box<str>,
}

/// The same, borrowed. It must hash as the other does: the same fields in the same order.
#[derive(Hash)]
struct Borrowed<'a> {
    provider: &'a str,
    operation: &'static str,
    request_model: Option<&'a str>,
    response_model: Option<&'a str>,
    program: &'a str,
    user: &'a str,
}

impl<'a> From<&'a Record> for Borrowed<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            provider: &record.provider,
            operation: record.operation.as_str(),
            request_model: record.request_model.as_deref(),
            response_model: record.response_model.as_deref(),
            program: &record.caller.program,
            user: &record.caller.user,
        }
    }
}

impl Equivalent<Key> for Borrowed<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.provider == &*key.provider
            && self.operation == key.operation
            && self.request_model == key.request_model.as_deref()
            && self.response_model == key.response_model.as_deref()
            && self.program == &*key.program
            && self.user == &*key.user
    }
}

impl Known {
    pub(super) fn new() -> Self {
        Self(Cache::new(SERIES))
    }

    pub(super) fn get(&self, record: &Record) -> Option<Arc<Mutex<Series>>> {
        self.0.get(&Borrowed::from(record))
    }

    pub(super) fn remember(&self, record: &Record, series: &Arc<Mutex<Series>>) {
        let Borrowed { provider, operation, request_model, response_model, program, user } = record.into();
        let key = Key {
            provider: provider.into(),
            operation,
            request_model: request_model.map(Into::into),
            response_model: response_model.map(Into::into),
            program: program.into(),
            user: user.into(),
        };
        self.0.insert(key, Arc::clone(series));
    }
}
