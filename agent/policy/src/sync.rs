//! Locks, so that a test can put in ones that try every interleaving.

pub(crate) use std::sync::Arc;

pub(crate) use parking_lot::Mutex;
