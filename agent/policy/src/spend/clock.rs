//! Time that never goes back, for whatever refills.

use std::time::Duration;

use tokio::time::Instant;

const FAR: Duration = Duration::from_hours(24 * 365);

/// Nanoseconds since it was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock {
    pub(crate) fn now(self) -> u64 {
        nanoseconds(self.start.elapsed())
    }

    /// When that is; far away where it is beyond all clocks.
    pub(crate) fn instant(self, nanoseconds: u64) -> Instant {
        self.start.checked_add(Duration::from_nanos(nanoseconds)).unwrap_or_else(|| Instant::now() + FAR)
    }
}

/// As many as there are, or as a number can say.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
