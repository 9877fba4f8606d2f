//! Names of exchanges.

use std::cell::RefCell;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use uuid::{Builder, Uuid};

/// Names an exchange: a UUID of version 7 (RFC 9562), so that ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(Uuid);

impl Id {
    /// A new one, unlike any other.
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self::at(SystemTime::now())
    }

    /// A new one for something that began at a moment, so that it sorts among the others by that.
    pub fn at(began: SystemTime) -> Self {
        let since = began.duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let [b0, b1, b2, b3, b4, b5, b6, b7] = random();
        // RFC 9562 § 6.2, method 3: the twelve bits after the milliseconds tell their fraction.
        let [f0, f1] = fraction(since).to_be_bytes();
        Self(Builder::from_unix_timestamp_millis(millis, &[f0, f1, b0, b1, b2, b3, b4, b5, b6, b7]).into_uuid())
    }

    /// The sixteen bytes, in the order of the text form.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// From the bytes that [`Self::as_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// From the text form.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is beyond whole milliseconds, in 1/4096 of one.
fn fraction(since: Duration) -> u16 {
    let nanoseconds = u64::from(since.subsec_nanos() % 1_000_000);
    (nanoseconds * 4_096 / 1_000_000) as u16
}

/// How many random numbers a thread draws at a time: asking the system costs more than all else there is to a name.
const DRAWN: usize = 128;

fn random() -> [u8; 8] {
    thread_local! {
        static DRAW: RefCell<([u8; 8 * DRAWN], usize)> = const { RefCell::new(([0; 8 * DRAWN], 0)) };
    }
    DRAW.with_borrow_mut(|(bytes, left)| {
        if *left == 0 {
            getrandom::fill(bytes).expect("a system that has started has random numbers");
            *left = DRAWN;
        }
        *left -= 1;
        *bytes.as_chunks().0.get(*left).expect("there are as many as are left")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_is_another_whichever_thread_it_is_from() {
        let made = || (0..1_000).map(|_| Id::new()).collect::<Vec<_>>();
        let ids: Vec<Id> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(made)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4_000);
        for id in ids {
            assert_eq!((id.0.get_version_num(), id.0.get_variant()), (7, uuid::Variant::RFC4122));
            assert_eq!(Id::parse(&id.to_string()), Some(id));
            assert_eq!(Id::from_bytes(*id.as_bytes()), id);
        }
    }

    #[test]
    fn they_sort_by_time() {
        let at = |microseconds| UNIX_EPOCH + Duration::from_micros(microseconds);
        let moments = [0, 1, 999, 1_000, 1_763_850_000_250_001, 1_763_850_000_250_002, 1_763_850_000_251_000];
        let ids = moments.map(|moment| Id::at(at(moment)));
        assert!(ids.is_sorted(), "{ids:?}");
        let (seconds, nanoseconds) = ids[4].0.get_timestamp().unwrap().to_unix();
        assert_eq!((seconds, nanoseconds), (1_763_850_000, 250_000_000));
    }
}
