//! Which programs refused our certificate for which hosts, and until when they are tunnelled because of it.
//!
//! A program that does not trust the authority fails its first try; its own retry then passes through the tunnel. The
//! time grows with every further refusal, and one accepted handshake forgets it all. Keyed by program and host, never by
//! address: one pinned client must not switch interception off for its neighbours.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// How long a program is tunnelled after its first refusal.
const FIRST: Duration = Duration::from_mins(10);
/// The longest that it is tunnelled, however often it refused.
const LONGEST: Duration = Duration::from_hours(24);
/// How many programs and hosts are remembered. Beyond it, whoever expires first is forgotten.
const CAPACITY: usize = 1_024;

/// The memory of refusals. Shared by all connections.
#[derive(Debug, Default)]
pub struct Refusals {
    entries: Mutex<HashMap<Key, Entry>>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    program: Arc<str>,
    host: Arc<str>,
}

#[derive(Clone, Debug)]
struct Entry {
    times: u32,
    until: Instant,
    reason: &'static str,
}

/// One program that refused our certificate for one host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The program's name, as its [`Caller`](tollgate_workload::Caller) has it.
    pub program: Arc<str>,
    /// The host it wanted to reach.
    pub host: Arc<str>,
    /// What it did: the TLS alert's name (RFC 8446 § 6), or that it closed.
    pub reason: &'static str,
    /// How often it refused.
    pub times: u32,
    /// How much longer it is tunnelled.
    pub remaining: Duration,
}

impl Refusals {
    /// Remembers a refusal and tells for how long the program is tunnelled to this host from now on.
    pub fn remember(&self, program: &Arc<str>, host: &Arc<str>, reason: &'static str) -> Duration {
        let key = Key { program: Arc::clone(program), host: Arc::clone(host) };
        let now = Instant::now();
        let mut entries = self.entries.lock();
        if entries.len() >= CAPACITY && !entries.contains_key(&key) {
            forget_first_to_expire(&mut entries);
        }
        let entry = entries.entry(key).or_insert(Entry { times: 0, until: now, reason });
        entry.times = entry.times.saturating_add(1);
        entry.reason = reason;
        let period = period(entry.times);
        entry.until = now + period;
        period
    }

    /// Whether this program is tunnelled to this host now.
    pub fn applies(&self, program: &Arc<str>, host: &Arc<str>) -> bool {
        let mut entries = self.entries.lock();
        if entries.is_empty() {
            return false;
        }
        let key = Key { program: Arc::clone(program), host: Arc::clone(host) };
        entries.get_mut(&key).is_some_and(|entry| entry.until > Instant::now())
    }

    /// Forgets a program's refusals of a host: it has just accepted our certificate.
    pub fn forgive(&self, program: &Arc<str>, host: &Arc<str>) {
        let mut entries = self.entries.lock();
        if !entries.is_empty() {
            entries.remove(&Key { program: Arc::clone(program), host: Arc::clone(host) });
        }
    }

    /// Everyone who is tunnelled now because of a refusal, by program and host.
    pub fn list(&self) -> Vec<Refused> {
        let now = Instant::now();
        let mut list: Vec<_> = self
            .entries
            .lock()
            .iter()
            .filter(|(_, entry)| entry.until > now)
            .map(|(key, entry)| Refused {
                program: Arc::clone(&key.program),
                host: Arc::clone(&key.host),
                reason: entry.reason,
                times: entry.times,
                remaining: entry.until - now,
            })
            .collect();
        list.sort_by(|a, b| (&a.program, &a.host).cmp(&(&b.program, &b.host)));
        list
    }
}

/// Doubles with every refusal. Entries outlive their period, so that a client which refuses once an hour still climbs.
fn period(times: u32) -> Duration {
    FIRST.saturating_mul(1 << times.saturating_sub(1).min(16)).min(LONGEST)
}

fn forget_first_to_expire(entries: &mut HashMap<Key, Entry>) {
    if let Some(key) = entries.iter().min_by_key(|(_, entry)| entry.until).map(|(key, _)| key.clone()) {
        entries.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> (Arc<str>, Arc<str>) {
        (Arc::from("python3"), Arc::from("api.openai.com"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_applies_to_its_program_and_host_alone_and_ends() {
        let (program, host) = names();
        let refusals = Refusals::default();
        assert!(!refusals.applies(&program, &host));
        let period = refusals.remember(&program, &host, "unknown_ca");
        assert!(refusals.applies(&program, &host));
        assert!(!refusals.applies(&Arc::from("node"), &host));
        assert!(!refusals.applies(&program, &Arc::from("api.anthropic.com")));
        tokio::time::advance(period).await;
        assert!(!refusals.applies(&program, &host));
        assert!(refusals.list().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_grows_with_every_refusal_up_to_a_day() {
        let (program, host) = names();
        let refusals = Refusals::default();
        let periods: Vec<_> = (0..12).map(|_| refusals.remember(&program, &host, "unknown_ca")).collect();
        assert_eq!(periods[0], FIRST);
        assert_eq!(periods[1], FIRST * 2);
        assert_eq!(periods[11], LONGEST);
        assert_eq!(refusals.list()[0].times, 12);
    }

    #[tokio::test(start_paused = true)]
    async fn an_accepted_handshake_forgets_the_refusals() {
        let (program, host) = names();
        let refusals = Refusals::default();
        refusals.remember(&program, &host, "unknown_ca");
        refusals.forgive(&program, &host);
        assert!(!refusals.applies(&program, &host));
        assert_eq!(refusals.remember(&program, &host, "unknown_ca"), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_whatever_the_callers_are_called() {
        let refusals = Refusals::default();
        for n in 0..CAPACITY * 3 {
            refusals.remember(&Arc::from(format!("p{n}")), &Arc::from("api.openai.com"), "unknown_ca");
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(refusals.list().len(), CAPACITY);
        assert!(refusals.applies(&Arc::from(format!("p{}", CAPACITY * 3 - 1)), &Arc::from("api.openai.com")));
    }
}
