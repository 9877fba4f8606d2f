//! An internet in a box, on one machine: a client host and an internet with a name server and stand-in LLM providers,
//! joined by a wire. Real packets, real TLS, real cgroups; a test's own, in parallel with others, and gone with it.
//!
//! ```text
//!   client host  198.51.100.2 ───── veth ───── 198.51.100.1  internet
//!     cgroups: client, agent                     203.0.113.53  name server     203.0.113.10-12  LLM providers
//!     own resolv.conf, hosts, trust store        2001:db8::53                  203.0.113.80     another site
//! ```
#![forbid(unsafe_code)]

pub mod agent;
pub mod dns;
mod echo;
mod host;
mod http;
mod keeper;
mod link;
mod namespace;
mod program;
mod running;
mod trace;

use std::ffi::OsStr;
use std::future::Future;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use nix::sched::CloneFlags;

use host::Host;
use keeper::Site;
use tollgate_provider::{Builder, Dialect, Pki, Provider};

pub use agent::Agent;
pub use dns::Dns;
pub use link::{ANTHROPIC, CLIENT, GATEWAY, GOOGLE, NAME_SERVER, OPENAI, OTHER, Pair};
pub use namespace::Namespace;
pub use nix::sys::signal::Signal;
pub use program::Program;
pub use running::{Output, Running};
pub use trace::Trace;

/// A client host and an internet. Everything in it, processes included, is gone when it and the programs and agents
/// started in it are dropped, and also when the test's process is killed.
///
/// Its functions block, so that a plain `#[test]` reads from top to bottom; the internet runs on its own threads.
pub struct World {
    inner: Arc<Inner>,
}

/// Fields are dropped in this order: processes first, then the places that they ran in.
struct Inner {
    site: Site,
    host: Host,
    dns: Dns,
    pki: Arc<Pki>,
    provider: Provider,
    client: Namespace,
    internet: Namespace,
}

impl World {
    /// Makes a world. Needs root, cgroup v2, iproute2 and ca-certificates; an error says which is missing.
    pub fn new() -> Result<Self> {
        Self::with_provider(|provider| provider)
    }

    /// Makes a world whose stand-in provider is set up by `configure`: its pace, its application protocols, more hosts.
    pub fn with_provider(configure: impl FnOnce(Builder<'_>) -> Builder<'_> + Send + 'static) -> Result<Self> {
        if !nix::unistd::geteuid().is_root() {
            bail!("a test world needs root, for its namespaces and cgroups; run `cargo xtask test`, which uses sudo");
        }
        let site = Site::new()?;
        let client = Namespace::new("client", CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)?;
        let internet = Namespace::new("internet", CloneFlags::CLONE_NEWNET)?;
        link::join(&client, &internet, &site.interface)?;
        let pki = Arc::new(Pki::create().context("cannot make the world's root certificate")?);
        let host = Host::new(&site.directory, &client, pki.root_pem())?;
        let dns = Dns::default();
        let (served, issuer) = (dns.clone(), Arc::clone(&pki));
        let provider = internet.run(move || async move {
            dns::serve(served, NAME_SERVER.both()).await?;
            echo::serve(OTHER.both()).await?;
            let builder = configure(Provider::builder(&issuer).host("other.example", Dialect::Site));
            start_provider(builder, &[OPENAI, ANTHROPIC, GOOGLE, OTHER].map(Pair::https).concat())
        })?;
        dns.set("other.example", &OTHER.both(), 300);
        for (name, dialect) in tollgate_provider::HOSTS {
            let pair = match dialect {
                Dialect::Anthropic => ANTHROPIC,
                Dialect::Gemini | Dialect::Vertex => GOOGLE,
                // Most of them share an address, as they share CDNs.
                _ => OPENAI,
            };
            dns.set(name, &pair.both(), 300);
        }
        Ok(Self { inner: Arc::new(Inner { site, host, dns, pki, provider, client, internet }) })
    }

    /// The stand-in for all providers, on port 443 of their addresses: what it served, its faults and gates.
    pub fn provider(&self) -> &Provider {
        &self.inner.provider
    }

    /// Starts one more provider in the internet, on addresses that exist there; the test points names at it.
    pub fn another_provider(
        &self,
        addresses: &[SocketAddr],
        configure: impl FnOnce(Builder<'_>) -> Builder<'_> + Send + 'static,
    ) -> Result<Provider> {
        let (addresses, pki) = (addresses.to_vec(), Arc::clone(&self.inner.pki));
        self.in_internet(move || async move { start_provider(configure(Provider::builder(&pki)), &addresses) })
    }

    /// What issues the certificates of the internet's servers.
    pub fn pki(&self) -> &Pki {
        &self.inner.pki
    }

    /// The ledger of this world's agents, which all keep it where it is by default.
    pub fn ledger(&self) -> PathBuf {
        self.inner.host.state().join("ledger/ledger.db")
    }

    /// The folder of this world's audit, which all agents keep where it is by default.
    pub fn audit(&self) -> PathBuf {
        self.inner.host.log()
    }

    /// The name server.
    pub fn dns(&self) -> &Dns {
        &self.inner.dns
    }

    /// A program on the client host, in the cgroup that an agent of this world watches.
    pub fn client_command(&self, program: impl AsRef<OsStr>) -> Program {
        Program::new(self.share(), self.client_cgroup(), program.as_ref())
    }

    /// A program on the client host that no agent watches.
    pub fn agent_command(&self, program: impl AsRef<OsStr>) -> Program {
        Program::new(self.share(), self.inner.site.agent_cgroup(), program.as_ref())
    }

    /// A cgroup of the client host beside the clients' and the agent's, made when it is not there: for counting what a
    /// program costs. No agent of this world steers what is in it.
    pub fn cgroup(&self, name: &str) -> Result<PathBuf> {
        let cgroup = self.inner.site.cgroup.join(name);
        match std::fs::create_dir(&cgroup) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("cannot make the cgroup {}", cgroup.display()))
            }
            _ => Ok(cgroup),
        }
    }

    /// A cgroup below the clients', made when it is not there: a workload of its own that agents of this world steer.
    pub fn workload(&self, name: &str) -> Result<PathBuf> {
        let cgroup = self.client_cgroup().join(name);
        std::fs::create_dir_all(&cgroup).with_context(|| format!("cannot make the cgroup {}", cgroup.display()))?;
        Ok(cgroup)
    }

    /// A program on the client host, in one of the world's cgroups.
    pub fn command_in(&self, cgroup: &Path, program: impl AsRef<OsStr>) -> Program {
        Program::new(self.share(), cgroup.to_owned(), program.as_ref())
    }

    /// Runs `work` in the client host's network and mounts, and waits. Sockets made there are not in the client cgroup.
    pub fn in_client<W, F, T>(&self, work: W) -> T
    where
        W: FnOnce() -> F + Send + 'static,
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.inner.client.run(work)
    }

    /// Runs `work` in the internet, and waits. Listeners made there stay when they are moved to a spawned task.
    pub fn in_internet<W, F, T>(&self, work: W) -> T
    where
        W: FnOnce() -> F + Send + 'static,
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        self.inner.internet.run(work)
    }

    /// The client host's namespace, for tasks that go on.
    pub fn client(&self) -> &Namespace {
        &self.inner.client
    }

    /// The internet's namespace, for tasks that go on.
    pub fn internet(&self) -> &Namespace {
        &self.inner.internet
    }

    /// Gives the internet one more address. Others do not answer at all; a closed port of one that it has refuses.
    pub fn add_address(&self, address: IpAddr) -> Result<()> {
        link::add_address(&self.inner.internet, address)
    }

    /// Binds TCP listeners in the internet, whose addresses must exist there.
    pub fn listen(&self, addresses: &[SocketAddr]) -> Result<Vec<tokio::net::TcpListener>> {
        let addresses = addresses.to_vec();
        self.in_internet(move || async move {
            let mut listeners = Vec::new();
            for address in addresses {
                let bound = tokio::net::TcpListener::bind(address).await;
                listeners.push(bound.with_context(|| format!("cannot bind {address} in the internet"))?);
            }
            Ok(listeners)
        })
    }

    /// The name server that the client host asks, in its resolv.conf.
    pub fn set_name_server(&self, address: IpAddr) -> Result<()> {
        self.inner.host.set_name_server(address)
    }

    /// The path, inside and outside, of the root certificate that the stand-in providers have, for clients that take
    /// extra roots only by variable (`NODE_EXTRA_CA_CERTS`).
    pub fn root_file(&self) -> PathBuf {
        self.inner.host.root()
    }

    /// The world's root certificate, PEM.
    pub fn root_pem(&self) -> &str {
        self.inner.pki.root_pem()
    }

    /// Adds certificates to the client host's system trust store, as an operator would with an agent's CA.
    pub fn trust(&self, pem: &str) -> Result<()> {
        self.inner.host.trust(pem)
    }

    /// Lays the client host's system bundle over a file, such as a virtual environment's `certifi/cacert.pem`, for the
    /// client host's programs alone.
    pub fn trust_in_file(&self, file: &Path) -> Result<()> {
        host::lay(&self.inner.client, &self.inner.host.bundle(), file)
    }

    /// Makes the client host's Java trust store, JKS with the password `changeit`, of what the system bundle holds
    /// now, at Debian's `/etc/ssl/certs/java/cacerts`. Needs keytool. Gives a path that is valid outside too.
    pub fn trust_in_java(&self) -> Result<PathBuf> {
        self.inner.host.trust_in_java()
    }

    /// Lays one file or directory over another for the client host's programs alone, running ones included.
    pub fn lay(&self, file: &Path, over: &Path) -> Result<()> {
        host::lay(&self.inner.client, file, over)
    }

    /// The cgroup v2 directory that agents run in.
    pub fn agent_cgroup(&self) -> PathBuf {
        self.inner.site.agent_cgroup()
    }

    /// The cgroup v2 directory that clients run in.
    pub fn client_cgroup(&self) -> PathBuf {
        self.inner.site.client_cgroup()
    }

    /// A directory that is removed with the world and is readable by any user.
    pub fn directory(&self) -> &Path {
        &self.inner.site.directory
    }

    /// What identifies this world, for [`Trace::assert_nothing_left`] after its end.
    pub fn trace(&self) -> Trace {
        let site = &self.inner.site;
        Trace {
            name: site.name.clone(),
            interface: site.interface.clone(),
            cgroup: site.cgroup.clone(),
            directory: site.directory.clone(),
        }
    }

    fn share(&self) -> Arc<Inner> {
        Arc::clone(&self.inner)
    }
}

/// Binds the addresses and starts serving, in the calling task's runtime and namespace.
fn start_provider(builder: Builder<'_>, addresses: &[SocketAddr]) -> Result<Provider> {
    let bind = |address: &SocketAddr| TcpListener::bind(address).with_context(|| format!("cannot bind {address}"));
    let listeners = addresses.iter().map(bind).collect::<Result<Vec<_>>>()?;
    builder.start(listeners).context("cannot start the stand-in provider")
}
