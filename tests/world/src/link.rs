//! The wire between the client host and the internet, and the addresses on either end.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

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

/// Joins the two namespaces by a veth pair called `name` on both ends, and gives them addresses and routes.
///
/// Both ends are made inside, so no name is ever taken in the machine's own namespace.
pub(crate) fn join(client: &Namespace, internet: &Namespace, name: &str) -> Result<()> {
    let peer = client.net_path();
    let mut there = vec![format!("link add {name} type veth peer name {name} netns {}", peer.display())];
    there.extend(up(name, GATEWAY));
    there.extend([NAME_SERVER, OPENAI, ANTHROPIC, GOOGLE, OTHER].into_iter().flat_map(Pair::both).map(on_loopback));
    batch(internet, &there).context("cannot set up the internet's end of the wire")?;

    let mut here = up(name, CLIENT).to_vec();
    here.push(format!("route add 0.0.0.0/0 via {} dev {name}", GATEWAY.v4));
    here.push(format!("route add ::/0 via {} dev {name}", GATEWAY.v6));
    batch(client, &here).context("cannot set up the client's end of the wire")
}

fn up(name: &str, own: Pair) -> [String; 4] {
    [
        "link set lo up".to_owned(),
        format!("link set {name} up"),
        format!("addr add {}/24 dev {name}", own.v4),
        // Without duplicate address detection it can be used at once.
        format!("addr add {}/64 dev {name} nodad", own.v6),
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
