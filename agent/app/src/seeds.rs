//! Looks the providers' hosts up and tells the kernel what it found.
//!
//! The kernel learns addresses from DNS answers as they arrive. This covers what it cannot see: answers cached before we
//! started, DNS over TCP, DNS over HTTPS.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tollgate_kernel::Kernel;
use tollgate_llm::Catalogue;

/// How often. Providers' records live for minutes.
const INTERVAL: Duration = Duration::from_mins(1);
/// How long an address is kept without being seen again: what the kernel gives those that it learns.
const KEPT: Duration = Duration::from_hours(1);
/// How long one name may take, so that a dead resolver does not stop the others from being looked up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many are looked up at a time: those that some network hides take that long, and must not keep the others waiting.
const AT_ONCE: usize = 8;

/// Looks up again and again, for as long as it is polled.
pub(crate) async fn keep_seeding(kernel: Arc<Kernel>, catalogue: Arc<Catalogue>) {
    let hosts = exact_hosts(&catalogue);
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let learn = |host: &str, address| {
            if let Err(error) = kernel.learn(address, KEPT) {
                tracing::warn!(%host, %address, %error, "an address could not be given to the kernel");
            }
        };
        seed(&hosts, |host| async move { look_up(&host).await }, learn).await;
    }
}

/// Looks all of them up, some at a time, and tells of each as soon as it is known.
async fn seed<F>(hosts: &BTreeSet<String>, look_up: impl Fn(String) -> F, mut learn: impl FnMut(&str, IpAddr))
where
    F: Future<Output = Vec<IpAddr>> + Send + 'static,
{
    let (mut waiting, mut looking) = (hosts.iter(), JoinSet::new());
    loop {
        while looking.len() < AT_ONCE
            && let Some(host) = waiting.next()
        {
            let (host, addresses) = (host.clone(), look_up(host.clone()));
            looking.spawn(async move { (host, addresses.await) });
        }
        match looking.join_next().await {
            Some(Ok((host, addresses))) => addresses.into_iter().for_each(|address| learn(&host, address)),
            // It can only have been cancelled, with all else.
            Some(Err(_)) => {}
            None => return,
        }
    }
}

/// All else the kernel learns as programs ask for it.
fn exact_hosts(catalogue: &Catalogue) -> BTreeSet<String> {
    catalogue.sought().map(ToString::to_string).collect()
}

/// The system's resolver is asked, so that we see what the programs see: `/etc/hosts`, search domains, split DNS.
async fn look_up(host: &str) -> Vec<IpAddr> {
    match tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, 443))).await {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
        Ok(Err(error)) => {
            tracing::debug!(%host, %error, "a provider's host has no address here");
            Vec::new()
        }
        Err(_elapsed) => {
            tracing::debug!(%host, "the resolver did not answer in time");
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn names_that_do_not_resolve_keep_no_other_waiting() {
        let hosts = (0..40).map(|number| format!("{number:02}.example")).collect();
        let address = IpAddr::from([203, 0, 113, 1]);
        let look_up = |host: String| async move {
            if *host < *"07" {
                tokio::time::sleep(PATIENCE).await;
                return Vec::new();
            }
            vec![address]
        };
        let begun = tokio::time::Instant::now();
        let mut learned = Vec::new();
        seed(&hosts, look_up, |host, _| learned.push((host.to_owned(), begun.elapsed()))).await;
        assert_eq!(learned.len(), 33);
        assert!(learned.iter().all(|(_, after)| *after < PATIENCE), "{learned:?}");
    }

    #[test]
    fn names_without_a_wildcard_are_looked_up() {
        let hosts = exact_hosts(&Catalogue::builtin());
        assert!(hosts.contains("api.openai.com"));
        assert!(hosts.iter().all(|host| !host.contains('*')));
    }
}
