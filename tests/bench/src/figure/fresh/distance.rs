//! Distance between the client host and the provider: a way of its own between their namespaces that holds each packet. It is made
//! of two TUN devices and tasks, as not every kernel has netem.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_tun::Tun;
use tollgate_world::Namespace;

use crate::stage::{PROVIDER, Stage};

const NAME: &str = "far";
const NEAR_END: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const FAR_END: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// As on a wire; with its own headers, no packet is longer.
const MTU: u16 = 1500;
/// Timers go by whole milliseconds, upwards: half of one on average.
const ROUNDING: Duration = Duration::from_micros(500);

/// The provider is far away while this lives; then the devices go, and their routes with them.
pub(super) struct Distance {
    tasks: Vec<JoinHandle<()>>,
}

impl Distance {
    /// Lets packets to and from the provider take `one_way` each way.
    pub(super) fn new(stage: &Stage, one_way: Duration) -> Result<Self> {
        let world = &stage.world;
        let near = world.in_client(|| async { device(NEAR_END, FAR_END) })?;
        let far = world.in_internet(|| async { device(FAR_END, NEAR_END) })?;
        world.in_client(|| async { ip(&["route", "add", &format!("{PROVIDER}/32"), "dev", NAME]) })?;
        let delay = one_way.saturating_sub(ROUNDING);
        let mut tasks = Vec::new();
        for (from, here, to, there) in
            [(&near, world.client(), &far, world.internet()), (&far, world.internet(), &near, world.client())]
        {
            tasks.extend(carry((Arc::clone(from), here), (Arc::clone(to), there), delay));
        }
        Ok(Self { tasks })
    }
}

impl Drop for Distance {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // The devices go with the tasks that hold them, so whoever comes next does not meet them.
        while self.tasks.iter().any(|task| !task.is_finished()) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Reads packets on one side and writes them on the other when they are due.
fn carry(
    (from, here): (Arc<Tun>, &Namespace),
    (to, there): (Arc<Tun>, &Namespace),
    delay: Duration,
) -> [JoinHandle<()>; 2] {
    let (send, mut receive) = mpsc::channel::<(Instant, Vec<u8>)>(4096);
    let read = here.spawn(async move {
        let mut buffer = vec![0; MTU.into()];
        while let Ok(length) = from.recv(&mut buffer).await {
            // A full queue loses packets, as anywhere.
            let _lost: Result<(), _> = send.try_send((Instant::now() + delay, buffer[..length].to_vec()));
        }
    });
    let write = there.spawn(async move {
        while let Some((due, packet)) = receive.recv().await {
            sleep_until(due).await;
            if to.send_all(&packet).await.is_err() {
                return;
            }
        }
    });
    [read, write]
}

/// A device in the calling task's namespace.
fn device(own: Ipv4Addr, other: Ipv4Addr) -> Result<Arc<Tun>> {
    let mut made =
        Tun::builder().name(NAME).mtu(i32::from(MTU)).close_on_exec().build().context("cannot make a TUN device")?;
    let device = made.pop().context("no TUN device was made")?;
    ip(&["addr", "add", &own.to_string(), "peer", &other.to_string(), "dev", NAME])?;
    ip(&["link", "set", NAME, "up"])?;
    Ok(Arc::new(device))
}

fn ip(arguments: &[&str]) -> Result<()> {
    // Blocks the namespace's thread for some milliseconds, when nothing is measured yet.
    let done = Command::new("ip").args(arguments).output().context("cannot run `ip`")?;
    ensure!(done.status.success(), "`ip {}` failed: {}", arguments.join(" "), String::from_utf8_lossy(&done.stderr));
    Ok(())
}
