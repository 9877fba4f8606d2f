//! Gates hold a stream's events back until a test lets them through, one by one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// A named gate. Streams with the fault `gate=NAME` wait at it before each event.
///
/// To prove that an event is delivered before the next one is sent: `allow(1)`, see the event arrive at the client,
/// and only then `allow(1)` again.
#[derive(Clone, Debug)]
pub struct Gate {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    passed: Arc<AtomicUsize>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), waiting: Arc::default(), passed: Arc::default() }
    }

    /// Lets `events` more events through.
    pub fn allow(&self, events: usize) {
        self.permits.add_permits(events);
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.permits.close();
    }

    /// How many streams stand before the gate now.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// How many events went through.
    pub fn passed(&self) -> usize {
        self.passed.load(Ordering::SeqCst)
    }

    pub(crate) async fn pass(self) {
        let _standing = Standing::new(&self.waiting);
        // An error means that the gate was opened for good.
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
        self.passed.fetch_add(1, Ordering::SeqCst);
    }
}

/// Counts a stream as waiting for as long as it waits, also when its client leaves meanwhile.
struct Standing<'a>(&'a AtomicUsize);

impl<'a> Standing<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// All gates of a provider, made when first named.
#[derive(Default)]
pub(crate) struct Gates(Mutex<HashMap<String, Gate>>);

impl Gates {
    pub(crate) fn named(&self, name: &str) -> Gate {
        self.0.lock().entry(name.to_owned()).or_insert_with(Gate::new).clone()
    }
}
