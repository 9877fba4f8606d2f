//! Which programs refused our certificate for which hosts, and until when they are tunnelled because of it.
//!
//! A program that does not trust the authority fails its first try; its own retry then passes through the tunnel. The
//! time grows with every further refusal, and one accepted handshake forgets it all. Keyed by who refused and for which host:
//! never by address, or one pinned client would switch interception off for its neighbours; and never by name alone, or any
//! user could switch it off for all by giving a program that name.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tollgate_tls::Refusal;
use tollgate_workload::Caller;

/// How long a program is tunnelled after its first refusal by an alert.
const FIRST: Duration = Duration::from_mins(10);
/// The same after it merely closed, which is weaker evidence: somebody may just have pressed Ctrl-C. Long enough for an SDK's
/// retries.
const FIRST_CLOSED: Duration = Duration::from_secs(30);
/// The longest that it is tunnelled, however often it refused.
const LONGEST: Duration = Duration::from_hours(24);
/// How many are remembered for one user. Beyond it, the user's own entry that expires first is forgotten.
const CAPACITY_OF_USER: usize = 64;
/// How many are remembered in all.
const CAPACITY: usize = 4_096;
/// How long a process that accepted our certificate is believed to trust it. Not for ever: process ids are used again.
const TRUSTS: Duration = Duration::from_mins(10);

/// The memory of refusals. Shared by all connections.
#[derive(Debug, Default)]
pub struct Refusals {
    entries: Mutex<HashMap<Key, Entry>>,
    /// Processes that accepted our certificate for a host, and when they last did.
    trusting: Mutex<HashMap<(u32, Arc<str>), Instant>>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Key {
    uid: u32,
    /// The executable's path, as its own mount namespace sees it; its name where it was gone too soon.
    program: PathBuf,
    host: Arc<str>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: Arc<str>,
    user: Arc<str>,
    times: u32,
    until: Instant,
    reason: &'static str,
}

/// One program that refused our certificate for one host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refused {
    /// The program's name, as its [`Caller`] has it.
    pub program: Arc<str>,
    /// The user who ran it.
    pub user: Arc<str>,
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
    pub fn remember(&self, caller: &Caller, host: &Arc<str>, refusal: Refusal) -> Duration {
        let key = Key::new(caller, host);
        let now = Instant::now();
        let mut entries = self.entries.lock();
        if !entries.contains_key(&key) {
            make_room(&mut entries, key.uid);
        }
        let entry = entries.entry(key).or_insert_with(|| Entry {
            name: Arc::clone(&caller.program),
            user: Arc::clone(&caller.user),
            times: 0,
            until: now,
            reason: refusal.name(),
        });
        entry.times = entry.times.saturating_add(1);
        entry.reason = refusal.name();
        let period = period(refusal, entry.times);
        entry.until = now + period;
        period
    }

    /// Whether this program is tunnelled to this host now.
    pub fn applies(&self, caller: &Caller, host: &Arc<str>) -> bool {
        let entries = self.entries.lock();
        !entries.is_empty() && entries.get(&Key::new(caller, host)).is_some_and(|entry| entry.until > Instant::now())
    }

    /// Whether a connection that a client closed without a word was closed because of our certificate. A process that has accepted it
    /// had another reason. Its like need not: of two programs in one interpreter, one may trust us and the other not.
    pub fn close_is_refusal(&self, caller: &Caller, host: &Arc<str>) -> bool {
        let accepted = self.trusting.lock().get(&(caller.pid, Arc::clone(host))).copied();
        accepted.is_none_or(|at| at.elapsed() >= TRUSTS)
    }

    /// Forgets a program's refusals of a host: it has just accepted our certificate.
    pub fn forgive(&self, caller: &Caller, host: &Arc<str>) {
        let mut trusting = self.trusting.lock();
        if trusting.len() >= CAPACITY {
            trusting.retain(|_, at| at.elapsed() < TRUSTS);
            if trusting.len() >= CAPACITY {
                trusting.clear();
            }
        }
        trusting.insert((caller.pid, Arc::clone(host)), Instant::now());
        drop(trusting);
        let mut entries = self.entries.lock();
        if !entries.is_empty() {
            entries.remove(&Key::new(caller, host));
        }
    }

    /// Everyone who is tunnelled now because of a refusal, by program, user and host.
    pub fn list(&self) -> Vec<Refused> {
        let now = Instant::now();
        let mut list: Vec<_> = self
            .entries
            .lock()
            .iter()
            .filter(|(_, entry)| entry.until > now)
            .map(|(key, entry)| Refused {
                program: Arc::clone(&entry.name),
                user: Arc::clone(&entry.user),
                host: Arc::clone(&key.host),
                reason: entry.reason,
                times: entry.times,
                remaining: entry.until - now,
            })
            .collect();
        list.sort_by(|a, b| (&a.program, &a.user, &a.host).cmp(&(&b.program, &b.user, &b.host)));
        list
    }
}

impl Key {
    fn new(caller: &Caller, host: &Arc<str>) -> Self {
        let program = caller.executable.clone().unwrap_or_else(|| PathBuf::from(&*caller.program));
        Self { uid: caller.uid, program, host: Arc::clone(host) }
    }
}

/// Doubles with every refusal. Entries outlive their period, so that a client which refuses once an hour still climbs.
fn period(refusal: Refusal, times: u32) -> Duration {
    let first = if refusal == Refusal::Closed { FIRST_CLOSED } else { FIRST };
    first.saturating_mul(1 << times.saturating_sub(1).min(16)).min(LONGEST)
}

/// A user makes room among their own entries, so that nobody can push out another's.
fn make_room(entries: &mut HashMap<Key, Entry>, uid: u32) {
    let of_user = entries.keys().filter(|key| key.uid == uid).count();
    if of_user < CAPACITY_OF_USER && entries.len() < CAPACITY {
        return;
    }
    let candidates = entries.iter().filter(|(key, _)| of_user == 0 || key.uid == uid);
    if let Some(key) = candidates.min_by_key(|(_, entry)| entry.until).map(|(key, _)| key.clone()) {
        entries.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(program: &str, uid: u32) -> Caller {
        let executable = Some(PathBuf::from(format!("/usr/bin/{program}")));
        Caller {
            program: program.into(),
            executable,
            user: uid.to_string().into(),
            uid,
            pid: 1,
            cgroup: None,
            unit: None,
            container: None,
            pod: None,
            system_unit: None,
        }
    }

    fn host() -> Arc<str> {
        Arc::from("api.openai.com")
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_applies_to_its_program_user_and_host_alone_and_ends() {
        let (python, host) = (caller("python3", 1000), host());
        let refusals = Refusals::default();
        assert!(!refusals.applies(&python, &host));
        let period = refusals.remember(&python, &host, Refusal::UnknownCa);
        assert!(refusals.applies(&python, &host));
        assert!(!refusals.applies(&caller("node", 1000), &host));
        assert!(!refusals.applies(&caller("python3", 1001), &host), "another user's python3");
        let impostor = Caller { executable: Some("/tmp/python3".into()), ..python.clone() };
        assert!(!refusals.applies(&impostor, &host), "another file of that name");
        assert!(!refusals.applies(&python, &Arc::from("api.anthropic.com")));
        tokio::time::advance(period).await;
        assert!(!refusals.applies(&python, &host));
        assert!(refusals.list().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_grows_with_every_refusal_up_to_a_day() {
        let (python, host) = (caller("python3", 1000), host());
        let refusals = Refusals::default();
        let periods: Vec<_> = (0..12).map(|_| refusals.remember(&python, &host, Refusal::UnknownCa)).collect();
        assert_eq!(periods[0], FIRST);
        assert_eq!(periods[1], FIRST * 2);
        assert_eq!(periods[11], LONGEST);
        assert_eq!(refusals.list()[0].times, 12);
    }

    #[tokio::test(start_paused = true)]
    async fn a_mere_close_counts_for_long_enough_to_retry_and_no_longer() {
        let (node, host) = (caller("node", 1000), host());
        let refusals = Refusals::default();
        assert_eq!(refusals.remember(&node, &host, Refusal::Closed), FIRST_CLOSED);
        assert!(refusals.applies(&node, &host));
        assert!(refusals.remember(&node, &host, Refusal::Closed) > FIRST_CLOSED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_accepted_our_certificate_did_not_refuse_it_when_it_later_closes() {
        let (node, host) = (caller("node", 1000), host());
        let refusals = Refusals::default();
        assert!(refusals.close_is_refusal(&node, &host));
        refusals.forgive(&node, &host);
        assert!(!refusals.close_is_refusal(&node, &host));
        let other = Caller { pid: 2, ..node.clone() };
        assert!(refusals.close_is_refusal(&other, &host), "another process of the same program may trust other roots");
        tokio::time::advance(TRUSTS).await;
        assert!(refusals.close_is_refusal(&node, &host));
    }

    #[tokio::test(start_paused = true)]
    async fn an_accepted_handshake_forgets_the_refusals() {
        let (python, host) = (caller("python3", 1000), host());
        let refusals = Refusals::default();
        refusals.remember(&python, &host, Refusal::UnknownCa);
        refusals.forgive(&python, &host);
        assert!(!refusals.applies(&python, &host));
        assert_eq!(refusals.remember(&python, &host, Refusal::UnknownCa), FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn one_user_cannot_push_out_anothers_entries_nor_take_much_memory() {
        let host = host();
        let refusals = Refusals::default();
        refusals.remember(&caller("python3", 1000), &host, Refusal::UnknownCa);
        for n in 0..CAPACITY {
            refusals.remember(&caller(&format!("p{n}"), 1001), &host, Refusal::UnknownCa);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(refusals.list().len(), 1 + CAPACITY_OF_USER);
        assert!(refusals.applies(&caller("python3", 1000), &host));
        assert!(refusals.applies(&caller(&format!("p{}", CAPACITY - 1), 1001), &host), "the newest stays");
    }
}
