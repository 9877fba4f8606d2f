//! The wire between the client host and the internet, and the addresses on either end.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::namespace::Namespace;

/// An IPv4 and an IPv6 address of the same machine, from the blocks set aside for documentation (RFC 5737, RFC 3849).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The IPv4 address.
    pub v4: Ipv4Addr,
    /// The IPv6 address.
    pub v6: Ipv6Addr,
}

impl Pair {
    const fn internet(host: u8) -> Self {
        // 10 becomes ::10, so that both forms read alike.
        let host16 = host as u16;
        let written = host16 / 100 * 256 + host16 % 100 / 10 * 16 + host16 % 10;
        Self { v4: Ipv4Addr::new(203, 0, 113, host), v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, written) }
    }

    /// Both, IPv4 first.
    pub fn both(self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }

    /// Port 443 of both, IPv4 first.
    pub fn https(self) -> [SocketAddr; 2] {
        self.both().map(|address| SocketAddr::new(address, 443))
    }
}

/// The client host.
pub const CLIENT: Pair =
    Pair { v4: Ipv4Addr::new(198, 51, 100, 2), v6: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2) };
/// The internet's end of the wire: the client's default gateway.
pub const GATEWAY: Pair =
    Pair { v4: Ipv4Addr::new(198, 51, 100, 1), v6: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1) };
/// The name server.
pub const NAME_SERVER: Pair = Pair::internet(53);
/// `api.openai.com`, and `other-site.example`, which shares its address.
pub const OPENAI: Pair = Pair::internet(10);
/// `api.anthropic.com`.
pub const ANTHROPIC: Pair = Pair::internet(11);
/// `generativelanguage.googleapis.com`.
pub const GOOGLE: Pair = Pair::internet(12);
/// `other.example`: a site that has nothing to do with language models.
pub const OTHER: Pair = Pair::internet(80);

/// Hardware addresses, from the range that anyone may use.
const GATEWAY_MAC: &str = "02:00:00:00:00:01";
const CLIENT_MAC: &str = "02:00:00:00:00:02";

/// Joins the two namespaces by a veth pair called `name` on both ends, and gives them addresses and routes.
///
/// Both ends are made inside, so no name is ever taken in the machine's own namespace.
pub(crate) fn join(client: &Namespace, internet: &Namespace, name: &str) -> Result<()> {
    let peer = client.net_path();
    let mut there = vec![format!(
        "link add {name} address {GATEWAY_MAC} type veth peer name {name} address {CLIENT_MAC} netns {}",
        peer.display()
    )];
    there.extend(up(name, GATEWAY, CLIENT, CLIENT_MAC));
    there.extend([NAME_SERVER, OPENAI, ANTHROPIC, GOOGLE, OTHER].into_iter().flat_map(Pair::both).map(on_loopback));
    batch(internet, &there).context("cannot set up the internet's end of the wire")?;

    let mut here = up(name, CLIENT, GATEWAY, GATEWAY_MAC).to_vec();
    here.push(format!("route add 0.0.0.0/0 via {} dev {name}", GATEWAY.v4));
    here.push(format!("route add ::/0 via {} dev {name}", GATEWAY.v6));
    batch(client, &here).context("cannot set up the client's end of the wire")?;
    for (from, to) in [(CLIENT.v4.into(), GATEWAY.v4.into()), (CLIENT.v6.into(), GATEWAY.v6.into())] {
        wait_for_passage(client, internet, from, to)?;
    }
    Ok(())
}

/// Sends datagrams until one has come back.
///
/// The kernel notices in the background that a wire has come up and drops packets until then. Were the first SYN among
/// them, every test would begin with a second of waiting for the next one.
fn wait_for_passage(client: &Namespace, internet: &Namespace, from: IpAddr, to: IpAddr) -> Result<()> {
    let (target, echo) = internet.run(move || async move {
        let socket = UdpSocket::bind((to, 0)).await?;
        let target = socket.local_addr()?;
        let echo = tokio::spawn(async move {
            let mut buffer = [0; 1];
            loop {
                if let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                    // A loss is made up for by the next.
                    let _sent: std::io::Result<usize> = socket.send_to(&buffer[..length], peer).await;
                }
            }
        });
        Ok::<_, anyhow::Error>((target, echo))
    })?;
    let passed = client.run(move || async move {
        let socket = UdpSocket::bind((from, 0)).await?;
        for _ in 0..1000 {
            // Neither sending nor receiving need work before the wire does.
            let _sent: std::io::Result<usize> = socket.send_to(&[1], target).await;
            if let Ok(Ok(1)) = timeout(Duration::from_millis(10), socket.recv(&mut [0])).await {
                return Ok(());
            }
        }
        bail!("nothing passes the wire between {from} and {to}")
    });
    echo.abort();
    passed
}

/// The other end's hardware address is given, because a lost question for it is only repeated after a second.
fn up(name: &str, own: Pair, other: Pair, mac: &str) -> [String; 6] {
    [
        "link set lo up".to_owned(),
        format!("link set {name} up"),
        format!("addr add {}/24 dev {name}", own.v4),
        // Without duplicate address detection it can be used at once.
        format!("addr add {}/64 dev {name} nodad", own.v6),
        format!("neigh add {} lladdr {mac} dev {name} nud permanent", other.v4),
        format!("neigh add {} lladdr {mac} dev {name} nud permanent", other.v6),
    ]
}

/// Gives the internet one more address.
pub(crate) fn add_address(internet: &Namespace, address: IpAddr) -> Result<()> {
    batch(internet, &[on_loopback(address)]).with_context(|| format!("cannot add the address {address}"))
}

fn on_loopback(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("addr add {v4}/32 dev lo"),
        IpAddr::V6(v6) => format!("addr add {v6}/128 dev lo nodad"),
    }
}

/// Runs `ip -batch` inside `namespace`.
fn batch(namespace: &Namespace, lines: &[String]) -> Result<()> {
    let script = lines.join("\n") + "\n";
    namespace.run(|| async move {
        // Blocks the namespace's thread for some milliseconds, when nothing else runs there yet.
        let mut ip = Command::new("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run `ip`; install iproute2 (`cargo xtask setup`)")?;
        ip.stdin.take().expect("stdin was piped").write_all(script.as_bytes()).context("cannot write to `ip`")?;
        let done = ip.wait_with_output().context("cannot wait for `ip`")?;
        if !done.status.success() {
            bail!("`ip -batch` failed: {}\nof:\n{script}", String::from_utf8_lossy(&done.stderr));
        }
        Ok(())
    })
}
