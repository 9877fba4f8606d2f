//! Has what many tasks send leave together.

use tokio::runtime::Handle;
use tokio::task::yield_now;

/// To be awaited before a request is sent: the tasks that can run come as far first, as a rule, and then what all of them send leaves,
/// one after the other. A receiver that sleeps has to be woken, which on another processor is the dearest part of a send (2.8 of a
/// request's 23 µs); like this it is woken for the first of them alone.
///
/// Where the runtime has more threads than one, it does nothing: a thread that finds nothing else to do looks for work, and tokio has
/// it wake another one once it goes on.
pub(crate) async fn together() {
    if Handle::current().metrics().num_workers() == 1 {
        yield_now().await;
    }
}
