//! The command line, and the order of a run: figure by figure, round by round, contender by contender.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::contender::{self, Contender, Kind};
use crate::figure::{self, Effort, Figure, Prepare, Round};
use crate::load::{bulk, connects, paced, streams};
use crate::measure::{Noise, Watch, load_average, spin};
use crate::origin;
use crate::report::{Failure, Report};
use crate::stage::{CONTENDER_CPU, LOAD_CPU, Stage, stay_off_the_contender};
use crate::{stale, trial};

/// After this long there are no second rounds; what is left of the promised time is for the first ones.
const LIMIT_QUICK: Duration = Duration::from_secs(140);
const LIMIT_FULL: Duration = Duration::from_mins(20);
/// The relay that the targets compare with in every figure.
const BEST_RELAY: &str = "haproxy";
/// Of two processors, what others may take before it is worth a word.
const TOLERABLE: f64 = 0.1;

#[derive(Parser)]
#[command(name = "bench", about = "Tollgate beside what a user would pick instead, in one run, on one machine")]
struct Cli {
    #[command(flatten)]
    run: RunArgs,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(clap::Args)]
struct RunArgs {
    /// Less than three minutes instead of twenty-five: fewer rounds and cases, and of the contenders only those of thousands of
    /// requests a second, unless others are named
    #[arg(long)]
    quick: bool,
    /// Only these figures (by comma)
    #[arg(long, value_name = "FIGURE", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these contenders (by comma)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    contenders: Vec<String>,
    /// At most so many rounds of each figure
    #[arg(long, value_name = "N")]
    rounds: Option<u32>,
    /// List the figures and contenders there are
    #[arg(long)]
    list: bool,
    /// Where the results go
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
}

/// Parts of the benchmark that are processes of their own. One line each.
#[derive(Subcommand)]
enum Part {
    /// Start each contender and see whether it passes an answer and a stream
    Try(trial::Args),
    /// The provider for load
    #[command(hide = true)]
    Origin(origin::Args),
    /// The load generator for connections alone
    #[command(hide = true)]
    LoadConnects(connects::Arguments),
    /// The load generator for exact times
    #[command(hide = true)]
    LoadPaced(paced::Args),
    /// The load generator for bulk downloads
    #[command(hide = true)]
    LoadBulk(bulk::Arguments),
    /// The other end of bulk downloads
    #[command(hide = true)]
    BulkOrigin(bulk::OriginArguments),
    /// The load generator for streams
    #[command(hide = true)]
    LoadStreams(streams::Arguments),
}

/// Reads the command line and does what it says.
pub fn run() -> Result<()> {
    let cli = Cli::parse();
    match cli.part {
        Some(Part::Try(args)) => trial::run(&args),
        Some(Part::Origin(args)) => origin::run(&args),
        Some(Part::LoadConnects(arguments)) => connects::run(&arguments),
        Some(Part::LoadPaced(args)) => paced::run(&args),
        Some(Part::LoadBulk(arguments)) => bulk::run(&arguments),
        Some(Part::BulkOrigin(arguments)) => bulk::run_origin(&arguments),
        Some(Part::LoadStreams(arguments)) => streams::run(&arguments),
        None if cli.run.list => list(),
        None => measure(&cli.run),
    }
}

fn list() -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "Figures (--only):")?;
    for figure in figure::ALL {
        writeln!(out, "  {:12} {}", figure.name(), figure.about())?;
    }
    writeln!(out, "\nContenders (--contenders):")?;
    for contender in contender::ALL {
        writeln!(out, "  {:12} {}", contender.name(), contender.traits().kind.about())?;
    }
    Ok(())
}

fn measure(args: &RunArgs) -> Result<()> {
    let (figures, mut contenders) = (figure::chosen(&args.only)?, contender::chosen(&args.contenders)?);
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    if args.quick && args.contenders.is_empty() {
        // The others take up to half a minute to start, each time.
        contenders.retain(|contender| contender.traits().kind.is_fast());
    }
    let brief = args.quick && args.contenders.is_empty() && args.only.is_empty();
    if contenders.iter().any(|contender| contender.traits().kind == Kind::Ours) {
        stale::check()?;
    }
    stay_off_the_contender()?;
    let report = Report::new(&contenders, effort);
    let stage = Stage::new()?;
    let watch = Watch::new(&stage.cgroup());
    let rounds = args.rounds.unwrap_or(u32::MAX);
    let mut run = Run { stage, effort, rounds, brief, began: Instant::now(), watch, report };
    for figure in figures {
        run.figure(figure, &contenders);
    }
    run.report.seconds = run.began.elapsed().as_secs();
    run.report.write(&args.out)?;
    run.report.show()?;
    eprintln!("Written to {}: report.json, report.md, charts", args.out.display());
    Ok(())
}

struct Run {
    stage: Stage,
    effort: Effort,
    /// At most so many of each figure.
    rounds: u32,
    /// Whether relays beside the best one are for the first figure only.
    brief: bool,
    began: Instant,
    watch: Watch,
    report: Report,
}

impl Run {
    fn figure(&mut self, figure: &'static dyn Figure, contenders: &[&'static dyn Contender]) {
        let (effort, limit) = (self.effort, self.rounds);
        let is_first = figure.name() == figure::ALL[0].name();
        let contenders: Vec<_> = contenders.iter().copied().filter(|one| is_first || !one.traits().h2_only).collect();
        let brief = self.brief && !is_first;
        let rounds = |contender: &dyn Contender| {
            let left_out = brief && contender.traits().kind == Kind::Relay && contender.name() != BEST_RELAY;
            if left_out { 0 } else { figure.rounds(contender, effort).min(limit) }
        };
        let most = contenders.iter().map(|contender| rounds(*contender)).max().unwrap_or_default();
        if most == 0 {
            if contenders.is_empty() {
                self.tell(&format!("{}: none of these contenders takes part in it", figure.name()));
            }
            return;
        }
        self.tell(&format!("{}: {}", figure.name(), figure.about()));
        let prepare = Prepare { stage: &self.stage, contenders: &contenders, effort, samples: &self.report.samples };
        match figure.prepare(&prepare) {
            Ok(samples) => self.report.samples.extend(samples),
            Err(error) => self.fail("preparation", figure, &error),
        }
        for number in 0..most {
            if number > 0 && self.is_late() {
                self.tell("    no more rounds: there is no time left");
                break;
            }
            self.noise();
            for contender in &contenders {
                if number < rounds(*contender) && !self.is_hopeless(*contender, figure) {
                    self.round(figure, *contender, number);
                }
            }
        }
        self.noise();
        self.report.samples.extend(figure.derive(&self.report.samples));
    }

    fn round(&mut self, figure: &'static dyn Figure, contender: &'static dyn Contender, number: u32) {
        self.tell(&format!("  round {}: {}", number + 1, contender.name()));
        let (stage, effort) = (&self.stage, self.effort);
        let round = Round { stage, contender, effort, number, samples: &self.report.samples };
        match figure.measure(&round) {
            Ok(samples) => self.report.samples.extend(samples),
            Err(error) => self.fail(contender.name(), figure, &error),
        }
    }

    /// Whether so little is left of the time that was promised that every figure can have but one round.
    fn is_late(&self) -> bool {
        self.rounds == u32::MAX && self.began.elapsed() > self.effort.pick(LIMIT_QUICK, LIMIT_FULL)
    }

    /// A second failure is no accident, and each may take its time.
    fn is_hopeless(&self, contender: &dyn Contender, figure: &dyn Figure) -> bool {
        let same = |one: &&Failure| (one.contender, one.figure) == (contender.name(), figure.name());
        self.report.failures.iter().filter(same).count() > 1
    }

    fn fail(&mut self, contender: &'static str, figure: &dyn Figure, error: &anyhow::Error) {
        let reason = format!("{error:#}");
        self.tell(&format!("    {contender}: {reason}"));
        self.report.failures.push(Failure { contender, figure: figure.name(), reason });
    }

    fn tell(&self, text: &str) {
        eprintln!("{:>5} s  {text}", self.began.elapsed().as_secs());
    }

    fn noise(&mut self) {
        let (stolen, others) = self.watch.look();
        if others > TOLERABLE {
            self.tell(&format!("    note: other processes kept {others:.2} processors busy meanwhile"));
        }
        let spin_ms = [LOAD_CPU, CONTENDER_CPU].map(|cpu| spin(cpu).as_secs_f64() * 1e3);
        let at = self.began.elapsed().as_secs_f64();
        self.report.noise.push(Noise { at, spin_ms, load: load_average(), stolen, others });
    }
}
