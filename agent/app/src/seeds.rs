//! Looks the providers' hosts up and tells the kernel what it found.
//!
//! The kernel learns addresses from DNS answers as they arrive. This covers what it cannot see: answers cached before we
//! started, DNS over TCP, DNS over HTTPS.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tollgate_kernel::Kernel;
use tollgate_llm::Catalogue;

/// How often. Providers' records live for minutes.
const INTERVAL: Duration = Duration::from_mins(1);
/// How long an address is kept without being seen again: what the kernel gives those that it learns.
const KEPT: Duration = Duration::from_hours(1);
/// How long one name may take, so that a dead resolver does not stop the others from being looked up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Looks up again and again, for as long as it is polled.
pub(crate) async fn keep_seeding(kernel: Arc<Kernel>, catalogue: Arc<Catalogue>) {
    let hosts = exact_hosts(&catalogue);
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        for host in &hosts {
            for address in look_up(host).await {
                if let Err(error) = kernel.learn(address, KEPT) {
                    tracing::warn!(%host, %address, %error, "an address could not be given to the kernel");
                }
            }
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

    #[test]
    fn names_without_a_wildcard_are_looked_up() {
        let hosts = exact_hosts(&Catalogue::builtin());
        assert!(hosts.contains("api.openai.com"));
        assert!(hosts.iter().all(|host| !host.contains('*')));
    }
}
