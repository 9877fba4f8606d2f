//! Has what many tasks send leave together.

/// To be awaited before something is sent: the tasks that can run come as far first, so that what all of them send leaves one after
/// the other. Whoever receives it was asleep, and is woken for the first of it alone; a wake-up of another processor is the dearest
/// part of a send (a tenth of a request's time, measured 2026-11-23). Where no other task can run, this takes one look at what the
/// sockets have.
pub(crate) async fn together() {
    // Not by waking oneself: tokio would have another thread wake up for a task that this one is about to run.
    tokio::task::yield_now().await;
}
