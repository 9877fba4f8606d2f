//! Our own generator for server-sent events, `bench load-streams`: it holds streams open, on one thread, and tells how long each
//! first event and each event took from the origin's hand to ours, and whether any was lost or came twice.

mod connection;
mod process;
mod sse;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hdrhistogram::Histogram;
use http::{HeaderName, HeaderValue};
use http_body_util::BodyExt as _;
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::stamp;
use connection::{Connection, Target};
pub use process::{Load, Outcome, run_load, start};
use sse::Reader;

/// What it prints on standard error once every stream is open and has had its first event.
pub const ALL_OPEN: &str = "all streams are open";
/// Handshakes at a time: more would only make each of them slower, and overflow queues of connections.
const HANDSHAKES: usize = 32;
/// The longest time that is told apart from longer ones, in nanoseconds. Times are kept to a thousandth.
const LONGEST: u64 = 600_000_000_000;
/// How long a stream may take beyond the run's end before it counts as failed.
const PATIENCE: Duration = Duration::from_mins(1);

/// What to do.
#[expect(clippy::struct_excessive_bools, reason = "they are flags of a command line")]
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where to send chat requests
    #[arg(long, default_value = "https://api.openai.com/v1/chat/completions")]
    pub url: String,
    /// Connect there instead of where the URL's host leads
    #[arg(long, value_name = "ADDRESS")]
    pub connect_to: Option<SocketAddr>,
    /// File of the roots to trust, PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Speak HTTP/2
    #[arg(long)]
    pub h2: bool,
    /// Streams that share a connection, with --h2
    #[arg(long, value_name = "N", default_value_t = 1, requires = "h2")]
    pub share: usize,
    /// Streams open at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub streams: usize,
    /// Streams begun in each second at first; 0: all at once
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub ramp: u32,
    /// Seconds in which new streams follow those that end
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0)]
    pub duration: f64,
    /// Streams one after another in each place at most; 0: no limit
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub each: u64,
    /// Cut off at the end what is still open, instead of reading it to its end
    #[arg(long)]
    pub cut: bool,
    /// A new connection for each stream
    #[arg(long)]
    pub fresh: bool,
    /// Events of each stream
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub events: u32,
    /// Microseconds between two events; 0: full speed
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 0)]
    pub pace: u64,
    /// Ask for the usage
    #[arg(long)]
    pub usage: bool,
    /// The model to ask for
    #[arg(long, default_value = "gpt-4o-mini")]
    pub model: String,
    /// One more header, as NAME: VALUE; may be repeated
    #[arg(long, value_parser = connection::header)]
    pub header: Vec<(HeaderName, HeaderValue)>,
}

/// What came of it, printed as one line of JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Streams that came to their end, with `[DONE]`.
    pub streams: u64,
    /// Streams that were cut off at the end of the run, as asked.
    pub cut: u64,
    /// Streams that failed, at any point.
    pub failed: u64,
    /// Why the first of them failed.
    pub error: Option<String>,
    /// Events.
    pub events: u64,
    /// Events that never came, by their numbers.
    pub lost: u64,
    /// Events that came again, or out of order.
    pub repeated: u64,
    /// Events that came once every stream was open, without what opening them cost.
    pub steady_events: u64,
    /// From the first connection to the end.
    pub seconds: f64,
    /// Events in each second.
    pub events_per_second: f64,
    /// Processor time of the generator itself.
    pub own_cpu_seconds: f64,
    /// Connecting, with TLS.
    pub connect: Times,
    /// From a request's first byte to its first event.
    pub first: Times,
    /// From when the origin made an event to when it was read, without each stream's first.
    pub delay: Times,
}

/// Times in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

/// Runs the generator and prints its report.
pub fn run(arguments: &Arguments) -> Result<()> {
    raise_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = LocalSet::new().block_on(&runtime, load(arguments))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn load(arguments: &Arguments) -> Result<Report> {
    let target = Rc::new(Target::new(arguments).await?);
    let shared = Rc::new(Shared {
        arguments: arguments.clone(),
        target,
        handshakes: Semaphore::new(HANDSHAKES),
        tally: RefCell::new(Tally::new()),
        end: Instant::now() + Duration::from_secs_f64(arguments.duration),
    });
    let began = Instant::now();
    let mut places = JoinSet::new();
    let share = if arguments.h2 { arguments.share.max(1) } else { 1 };
    for first in (0..arguments.streams).step_by(share) {
        if arguments.ramp > 0 {
            sleep_until(began + Duration::from_secs(1) * u32::try_from(first)? / arguments.ramp).await;
        }
        let count = share.min(arguments.streams - first);
        places.spawn_local(group(Rc::clone(&shared), count));
    }
    while let Some(ended) = places.join_next().await {
        ended.context("a place of the generator died")?;
    }
    let seconds = began.elapsed().as_secs_f64();
    let tally = shared.tally.borrow();
    let used = getrusage(UsageWho::RUSAGE_SELF)?;
    let cpu = [used.user_time(), used.system_time()].map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6);
    Ok(Report {
        seconds,
        events_per_second: tally.report.events as f64 / seconds,
        own_cpu_seconds: cpu.iter().sum(),
        connect: times(&tally.connect),
        first: times(&tally.first),
        delay: times(&tally.delay),
        ..tally.report.clone()
    })
}

/// What all streams share.
struct Shared {
    arguments: Arguments,
    target: Rc<Target>,
    handshakes: Semaphore,
    tally: RefCell<Tally>,
    end: Instant,
}

struct Tally {
    report: Report,
    connect: Histogram<u64>,
    first: Histogram<u64>,
    delay: Histogram<u64>,
    /// Places that have had their first event.
    open: usize,
}

impl Tally {
    fn new() -> Self {
        let empty = || Histogram::new_with_max(LONGEST, 3).expect("the bounds are in order");
        Self { report: Report::default(), connect: empty(), first: empty(), delay: empty(), open: 0 }
    }

    fn fail(&mut self, error: &anyhow::Error) {
        self.report.failed += 1;
        self.report.error.get_or_insert_with(|| format!("{error:#}"));
    }
}

/// The places that share a connection: one, in HTTP/1.1.
async fn group(shared: Rc<Shared>, count: usize) {
    if count == 1 {
        return place(shared, None).await;
    }
    match shared.connect().await {
        Ok(connection) => {
            let mut places = JoinSet::new();
            for _ in 0..count {
                places.spawn_local(place(Rc::clone(&shared), connection.share()));
            }
            while places.join_next().await.is_some() {}
        }
        Err(error) => shared.tally.borrow_mut().fail(&error),
    }
}

/// One stream after another until the end of the run.
async fn place(shared: Rc<Shared>, mut connection: Option<Connection>) {
    let arguments = &shared.arguments;
    let mut opened = false;
    for number in 1_u64.. {
        match shared.stream(&mut connection, &mut opened).await {
            Ok(()) => {}
            Err(error) => {
                shared.tally.borrow_mut().fail(&error);
                connection = None;
                // What refuses once will refuse again at once.
                sleep(Duration::from_millis(20)).await;
            }
        }
        if Instant::now() >= shared.end || number == arguments.each {
            break;
        }
        if arguments.fresh || connection.as_ref().is_some_and(Connection::is_closed) {
            connection = None;
        }
    }
}

impl Shared {
    async fn connect(&self) -> Result<Connection> {
        let _turn = self.handshakes.acquire().await?;
        let began = stamp::now();
        let connection =
            timeout_at(self.end + PATIENCE, self.target.connect()).await.context("connecting took too long")??;
        self.tally.borrow_mut().connect.saturating_record(stamp::now() - began);
        Ok(connection)
    }

    /// One request and its stream.
    async fn stream(&self, kept: &mut Option<Connection>, opened: &mut bool) -> Result<()> {
        let connection = match kept {
            Some(connection) => connection,
            None => kept.insert(self.connect().await?),
        };
        let began = stamp::now();
        let deadline = if self.arguments.cut { self.end } else { self.end + PATIENCE };
        let mut reader = Reader::default();
        let cut = match timeout_at(deadline, self.read(connection, &mut reader, began, opened)).await {
            Ok(ended) => {
                ended?;
                false
            }
            Err(_) if self.arguments.cut => true,
            Err(_) => bail!("a stream did not end"),
        };
        if cut {
            // Its connection cannot be used again.
            *kept = None;
        } else {
            reader.finish(self.arguments.events);
        }
        let mut tally = self.tally.borrow_mut();
        tally.report.lost += reader.lost;
        tally.report.repeated += reader.repeated;
        if cut {
            tally.report.cut += 1;
        } else if reader.done {
            tally.report.streams += 1;
        } else {
            bail!("a stream ended without [DONE]");
        }
        Ok(())
    }

    async fn read(
        &self,
        connection: &mut Connection,
        reader: &mut Reader,
        began: u64,
        opened: &mut bool,
    ) -> Result<()> {
        let mut response = self.target.ask(connection).await?;
        if response.status() != 200 {
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            let text = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
            bail!("status {status}: {text}");
        }
        while let Some(frame) = response.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            let now = stamp::now();
            let mut tally = self.tally.borrow_mut();
            let mut before = reader.events;
            let steady = tally.open >= self.arguments.streams;
            reader.read(&data, |made| {
                tally.report.events += 1;
                tally.report.steady_events += u64::from(steady);
                let histogram = if before == 0 { &mut tally.first } else { &mut tally.delay };
                histogram.saturating_record(now.saturating_sub(if before == 0 { began } else { made }));
                before += 1;
            });
            if !*opened && reader.events > 0 {
                *opened = true;
                tally.open += 1;
                if tally.open == self.arguments.streams {
                    eprintln!("{ALL_OPEN}");
                }
            }
        }
        Ok(())
    }
}

fn times(histogram: &Histogram<u64>) -> Times {
    let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Times {
        count: histogram.len(),
        p50: at(0.5),
        p99: at(0.99),
        p999: at(0.999),
        max: histogram.max() as f64 / 1e3,
        mean: histogram.mean() / 1e3,
    }
}

fn raise_file_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")
}
