//! Connections made one after the other, as a process of its own: what `connect` costs a program.

use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use serde::{Deserialize, Serialize};

use crate::stage::Stage;

/// What the process is told.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where to connect to
    #[arg(long)]
    to: SocketAddr,
    /// For how long
    #[arg(long)]
    milliseconds: u64,
    /// Whether the other end closes each connection once it has taken it, which is then waited for
    #[arg(long)]
    taken: bool,
}

/// What it measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Connections made.
    pub connects: u64,
    /// In so many seconds.
    pub seconds: f64,
    /// Seconds from calling `connect` to its return, for half of them at most.
    pub p50: f64,
    /// For all but one in a hundred.
    pub p99: f64,
}

/// Makes connections, and prints the report.
pub fn run(arguments: &Arguments) -> Result<()> {
    let mut times = Histogram::<u64>::new_with_max(60_000_000_000, 3).context("the bounds are in order")?;
    let (started, time) = (Instant::now(), Duration::from_millis(arguments.milliseconds));
    while started.elapsed() < time {
        let begun = Instant::now();
        let mut stream =
            TcpStream::connect(arguments.to).with_context(|| format!("cannot connect to {}", arguments.to))?;
        times.saturating_record(begun.elapsed().as_nanos() as u64);
        // Not waiting for that, this would soon be ahead of the other end, and its queue full.
        if arguments.taken {
            ensure!(
                stream.read(&mut [0]).context("the other end has gone")? == 0,
                "the other end has something to say"
            );
        }
        // Closed by a reset: what waits for late packets would use up the ports.
        setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let at = |quantile| times.value_at_quantile(quantile) as f64 / 1e9;
    let report = Report { connects: times.len(), seconds, p50: at(0.5), p99: at(0.99) };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// Runs the process on the client host, where the agent steers.
pub fn run_load(stage: &Stage, to: SocketAddr, time: Duration, taken: bool) -> Result<Report> {
    let own = std::env::current_exe().context("cannot tell where this program is")?;
    let (to, milliseconds) = (to.to_string(), time.as_millis().to_string());
    let mut program = stage.load(own).args(["load-connects", "--to", &to, "--milliseconds", &milliseconds]);
    if taken {
        program = program.arg("--taken");
    }
    let text = program.timeout(time + Duration::from_mins(1)).run()?.success()?.text();
    let report: Report = serde_json::from_str(&text).with_context(|| format!("the generator printed `{text}`"))?;
    ensure!(report.connects > 0, "no connection was made");
    Ok(report)
}
