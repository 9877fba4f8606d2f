//! The world of one run: client host, provider, who runs on which processor, and files with certificates for all.

pub mod priority;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tollgate_world::{Agent, Program, Running, World};

/// The host that everybody calls.
pub const HOST: &str = "api.openai.com";
/// Where the provider for load is, beside the world's own stand-ins.
pub const PROVIDER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 20));
/// Where the other end of bulk downloads is.
pub const BULK: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 21));
/// The processor of the load generator and the provider.
pub const LOAD_CPU: usize = 0;
/// The processor of what is measured.
pub const CONTENDER_CPU: usize = 1;

const GENEROUS: Duration = Duration::from_mins(1);

/// Where a run takes place.
pub struct Stage {
    /// The client host and the internet.
    pub world: World,
    origin: Running,
    _first: priority::Session,
    origin_cgroup: PathBuf,
}

impl Stage {
    /// Makes the world and starts the provider for load in it. `api.openai.com` is that provider from then on.
    pub fn new() -> Result<Self> {
        let world = World::new()?;
        world.add_address(PROVIDER)?;
        world.add_address(BULK)?;
        world.dns().set(HOST, &[PROVIDER], 3600);
        let (chain, key) = world.pki().issue_pem(&[HOST])?;
        write(&world, "server.pem", &chain)?;
        write(&world, "server.key", &key)?;
        write(&world, "server-both.pem", &format!("{chain}{key}"))?;
        let origin_cgroup = world.cgroup("origin")?;
        let origin = start_origin(&world, &origin_cgroup)?;
        Ok(Self { world, origin, _first: priority::Session::first(), origin_cgroup })
    }

    /// The provider with TLS.
    pub fn provider(&self) -> SocketAddr {
        SocketAddr::new(PROVIDER, 443)
    }

    /// The provider without TLS, for contenders that cannot speak it upstream.
    pub fn provider_without_tls(&self) -> SocketAddr {
        SocketAddr::new(PROVIDER, 80)
    }

    /// The provider's process.
    pub fn origin(&self) -> &Running {
        &self.origin
    }

    /// The cgroup with all of the run's processes in it and below it, but for this one.
    pub fn cgroup(&self) -> PathBuf {
        self.world.client_cgroup().parent().map_or_else(PathBuf::new, Path::to_owned)
    }

    /// The cgroup of the provider, for what it uses itself.
    pub fn origin_cgroup(&self) -> &Path {
        &self.origin_cgroup
    }

    /// A certificate chain for [`HOST`] of the world's public PKI, PEM: for contenders that terminate TLS themselves.
    pub fn certificate(&self) -> PathBuf {
        self.world.directory().join("server.pem")
    }

    /// Its key, PEM.
    pub fn key(&self) -> PathBuf {
        self.world.directory().join("server.key")
    }

    /// Chain and key in one file, as HAProxy wants them.
    pub fn certificate_and_key(&self) -> PathBuf {
        self.world.directory().join("server-both.pem")
    }

    /// The root that verifies the provider, PEM.
    pub fn root(&self) -> PathBuf {
        self.world.root_file()
    }

    /// Writes a file that any user of the client host can read, and gives its path.
    pub fn file(&self, name: &str, content: &str) -> Result<PathBuf> {
        write(&self.world, name, content)
    }

    /// The cgroup of a contender, and a program in it on the contenders' processor.
    pub fn contender(&self, name: &str, program: &str) -> Result<(PathBuf, Program)> {
        let cgroup = self.world.cgroup(name)?;
        let program = self.world.command_in(&cgroup, "env").args(priority::words(CONTENDER_CPU)).arg(program);
        Ok((cgroup, program))
    }

    /// The agent on the contenders' processor, ready, with this configuration added to what confines it to the world.
    pub fn agent(&self, config: &str) -> Result<Agent> {
        let words = priority::words(CONTENDER_CPU);
        self.world.agent_by(&words.each_ref().map(String::as_str), config)
    }

    /// A program of the client host, where the agent steers, on the load's processor.
    pub fn load(&self, program: impl AsRef<std::ffi::OsStr>) -> Program {
        self.world.client_command("env").args(priority::words(LOAD_CPU)).arg(program)
    }

    /// Waits until something listens at `address` on the client host. Fails with what `program` printed if that ends first.
    pub fn wait_listening(&self, address: SocketAddr, program: &Running) -> Result<()> {
        let deadline = Instant::now() + GENEROUS;
        loop {
            let tried =
                self.world.in_client(move || async move { tokio::net::TcpStream::connect(address).await.is_ok() });
            if tried {
                return Ok(());
            }
            if let Some(status) = program.status() {
                bail!("it ended before it listened at {address} ({status}): {}", last_lines(program));
            }
            if Instant::now() > deadline {
                bail!("it does not listen at {address}: {}", last_lines(program));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The last lines that a program printed, in one.
pub fn last_lines(program: &Running) -> String {
    let text = String::from_utf8_lossy(&program.stdout()).into_owned() + &program.stderr();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(6)..].join(" | ")
}

/// Keeps the calling thread, and those it starts from now on, on the load's processor.
pub fn stay_off_the_contender() -> Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(LOAD_CPU)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).context("cannot choose a processor")
}

fn start_origin(world: &World, cgroup: &Path) -> Result<Running> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let running = world
        .command_in(cgroup, "nsenter")
        .arg(format!("--net={}", world.internet().net_path().display()))
        .args(priority::words(LOAD_CPU))
        .arg(own)
        .arg("origin")
        .arg(format!("--tls={}", SocketAddr::new(PROVIDER, 443)))
        .arg(format!("--plain={}", SocketAddr::new(PROVIDER, 80)))
        .arg("--certificate")
        .arg(world.directory().join("server.pem"))
        .arg("--key")
        .arg(world.directory().join("server.key"))
        .start()?;
    running.wait_for("ready", GENEROUS).context("the provider for load does not start")?;
    Ok(running)
}

fn write(world: &World, name: &str, content: &str) -> Result<PathBuf> {
    let path = world.directory().join(name);
    fs::write(&path, content).with_context(|| format!("cannot write {} ({})", path.display(), process::id()))?;
    Ok(path)
}
