//! `tollgate exec`: one command, metered, in a cgroup of its own.

mod child;
mod user;
mod wait;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tollgate_admin::Metrics;
use tollgate_audit::{Audit, What};
use tollgate_kernel::cgroup::{self, Scope};
use tollgate_ledger::Summary;
use tollgate_ledger::store::Ledger;
use tollgate_tls::{Authority, trust};

pub(crate) use child::{ChildArgs, become_child};

use self::user::{Caller, CallingUser, Environment, write_environ};
use crate::agent::{Agent, Loading, Setup};
use crate::cli::ExecArgs;
use crate::observe::Observers;
use crate::{audit, logs, settings};

/// Where the files that the command is to trust are kept while it runs.
const RUN_DIRECTORY: &str = "/run/tollgate";

/// How long the end of a session may take before it is explained.
const SILENCE: Duration = Duration::from_secs(1);

/// How old the files of an ended session are when they are removed.
const LEFT_OVER: Duration = Duration::from_hours(24);

/// Runs the command and gives the code to end with.
pub(crate) fn exec(args: &ExecArgs) -> anyhow::Result<ExitCode> {
    settings::require_root("exec")?;
    let config = settings::load(&args.config)?;
    let _log = logs::start_quiet(&config.log);
    let runtime = settings::runtime()?;
    let ledger = settings::ledger(&config)?;
    let audit = audit::start(&config)?;
    audit::note(audit.as_deref(), What::Started, format!("tollgate exec, version {}", env!("CARGO_PKG_VERSION")));
    let code = runtime.block_on(session(args, &config, ledger.clone(), audit.clone()));
    // Connections that the command's left-over children still hold must not hold us.
    settings::end(runtime, ledger.as_deref(), audit.as_deref());
    Ok(ExitCode::from(code?))
}

async fn session(
    args: &ExecArgs,
    config: &tollgate_config::Config,
    ledger: Option<Arc<Ledger>>,
    audit: Option<Arc<Audit>>,
) -> anyhow::Result<u8> {
    // Registered first: a signal from here on is the command's, and must not kill us half-way.
    let signals = wait::Signals::register()?;
    let caller = Caller::find(std::env::vars_os().collect());
    let catalogue = Arc::new(settings::catalogue(config));
    let loading = Loading::begin(config, &catalogue);
    let authority = Arc::new(
        Authority::ephemeral(&catalogue.constraints()).context("the authority for this session cannot be made")?,
    );
    let scope = scope()?;
    let summary = Arc::new(Summary::new());
    let metrics = Arc::new(Metrics::new("tollgate", env!("CARGO_PKG_VERSION")));
    let observers = Observers::new(metrics, ledger.clone(), Some(Arc::clone(&summary))).with_audit(audit);
    let observers = Arc::new(observers);
    let setup = Setup {
        config,
        cgroup: scope.path(),
        catalogue,
        loading,
        authority: Arc::clone(&authority),
        observers,
        ledger,
    };
    let agent = Agent::start(setup).await?;

    let files = TrustFiles::write(&authority, &caller.environment)?;
    let command = start(&caller.user, scope.path(), &files.environment, &args.command)?;
    let code = wait::wait(command, signals).await;

    let refused = agent.refusals().list();
    finish(agent, config.drain.timeout).await?;
    // Where children live on, they keep the files that their environment names. Both directories are in memory only.
    if is_empty(&scope) {
        files.remove();
    }
    drop(scope);
    if !args.quiet {
        report(&summary, &refused);
    }
    code
}

/// Lets calls of children that outlive the command finish. Whoever has waited long enough for that presses Ctrl-C.
async fn finish(agent: Agent, limit: Duration) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut drain = pin!(agent.drain(limit));
    let waiting = async {
        tokio::time::sleep(SILENCE).await;
        eprintln!(
            "tollgate: the command has ended; waiting for calls of its children (at most {limit:?}; Ctrl-C to leave)"
        );
        std::future::pending::<()>().await;
    };
    tokio::select! {
        drained = &mut drain => if let Err(overdue) = drained {
            eprintln!("tollgate: {overdue}; it is cut off. drain.timeout sets the limit");
        },
        () = waiting => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// A cgroup below ours, so that limits on ours hold for the command too.
fn scope() -> anyhow::Result<Scope> {
    let parent = cgroup::own().or_else(|_hidden| cgroup::root()).context("no cgroup could be found")?;
    Scope::create(&parent, &format!("tollgate-exec-{}", std::process::id())).context("no cgroup could be made")
}

fn is_empty(scope: &Scope) -> bool {
    std::fs::read_to_string(scope.procs()).is_ok_and(|processes| processes.is_empty())
}

/// The files that make the command trust the session's authority, and the environment that points there.
struct TrustFiles {
    directory: PathBuf,
    environment: Environment,
}

impl TrustFiles {
    fn write(authority: &Authority, environment: &Environment) -> anyhow::Result<Self> {
        let run = Path::new(RUN_DIRECTORY);
        sweep(run);
        let directory = run.join(format!("exec-{}", std::process::id()));
        let trust = trust::install(&directory, authority.certificate_pem(), environment).with_context(|| {
            format!("the certificates for the command cannot be written to {}", directory.display())
        })?;
        let mut environment = environment.clone();
        environment.extend(trust.variables);
        for note in trust.notes {
            tracing::warn!("{note}");
        }
        Ok(Self { directory, environment })
    }

    fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::debug!(%error, directory = %self.directory.display(), "left behind");
        }
    }
}

/// Removes what killed sessions left, once no child of theirs is likely to read it still.
fn sweep(run: &Path) {
    let Ok(entries) = std::fs::read_dir(run) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix("exec-")) else { continue };
        let ended = !Path::new("/proc").join(pid).exists();
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        if ended && age.is_some_and(|age| age > LEFT_OVER) {
            // Another session may be sweeping too.
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}

/// Starts the command through [`child`], which reads its environment from a pipe.
fn start(user: &CallingUser, cgroup: &Path, environment: &Environment, command: &[OsString]) -> anyhow::Result<Pid> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("no pipe could be made")?;
    fcntl(reader.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).context("the pipe cannot be passed on")?;
    let line = child::command_line(user, cgroup, reader.as_fd(), command);
    let child =
        Command::new("/proc/self/exe").args(line).env_clear().spawn().context("the command cannot be started")?;
    drop(reader);
    // A write error means that the child is gone already; its exit code says why.
    std::fs::File::from(writer).write_all(&write_environ(environment)).ok();
    Ok(Pid::from_raw(child.id().cast_signed()))
}

/// The table, on stderr: stdout is the command's.
fn report(summary: &Summary, refused: &[tollgate_proxy::refusals::Refused]) {
    let mut stderr = std::io::stderr().lock();
    let dim = crate::exit::colour(stderr.is_terminal());
    let (on, off) = if dim { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
    // Nobody is left to tell if stderr is closed.
    write!(stderr, "\n{on}{summary}{off}\n").ok();
    for one in refused {
        let remedy = trust::remedy(&one.program);
        let (program, host, reason) = (&one.program, &one.host, one.reason);
        writeln!(
            stderr,
            "not metered: {program} does not trust this session's authority for {host} ({reason}). {remedy}"
        )
        .ok();
    }
}
