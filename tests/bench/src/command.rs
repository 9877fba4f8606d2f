//! The command line, and the order of a run: figure by figure, round by round, contender by contender.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::contender::{self, Contender};
use crate::figure::{self, Effort, Figure, Round};
use crate::load::{bulk, connects, paced, streams};
use crate::measure::{Noise, Steal, load_average, spin};
use crate::origin;
use crate::report::{Failure, Report};
use crate::stage::{CONTENDER_CPU, LOAD_CPU, Stage, stay_off_the_contender};

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
    /// Less than three minutes instead of twenty-five: fewer rounds and cases
    #[arg(long)]
    quick: bool,
    /// Only these figures (by comma)
    #[arg(long, value_name = "FIGURE", value_delimiter = ',')]
    only: Vec<String>,
    /// Only these contenders (by comma)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    contenders: Vec<String>,
    /// Where the results go
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    out: PathBuf,
}

/// Parts of the benchmark that are processes of their own. One line each.
#[derive(Subcommand)]
enum Part {
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
        Some(Part::Origin(args)) => origin::run(&args),
        Some(Part::LoadConnects(arguments)) => connects::run(&arguments),
        Some(Part::LoadPaced(args)) => paced::run(&args),
        Some(Part::LoadBulk(arguments)) => bulk::run(&arguments),
        Some(Part::BulkOrigin(arguments)) => bulk::run_origin(&arguments),
        Some(Part::LoadStreams(arguments)) => streams::run(&arguments),
        None => measure(&cli.run),
    }
}

fn measure(args: &RunArgs) -> Result<()> {
    let (figures, contenders) = (figure::chosen(&args.only)?, contender::chosen(&args.contenders)?);
    let effort = if args.quick { Effort::Quick } else { Effort::Full };
    stay_off_the_contender()?;
    let stage = Stage::new()?;
    let mut run = Run { stage, effort, began: Instant::now(), steal: Steal::default(), report: Report::default() };
    for figure in figures {
        run.figure(figure, &contenders);
    }
    run.report.show()
}

struct Run {
    stage: Stage,
    effort: Effort,
    began: Instant,
    steal: Steal,
    report: Report,
}

impl Run {
    fn figure(&mut self, figure: &'static dyn Figure, contenders: &[&'static dyn Contender]) {
        let rounds = |contender: &&dyn Contender| figure.rounds(*contender, self.effort);
        let most = contenders.iter().map(rounds).max().unwrap_or_default();
        for number in 0..most {
            self.noise();
            for contender in contenders {
                let failed = self
                    .report
                    .failures
                    .iter()
                    .any(|one| (one.contender, one.figure) == (contender.name(), figure.name()));
                if number < figure.rounds(*contender, self.effort) && !failed {
                    self.round(figure, *contender, number);
                }
            }
        }
        self.noise();
        self.report.samples.extend(figure.derive(&self.report.samples));
    }

    fn round(&mut self, figure: &'static dyn Figure, contender: &'static dyn Contender, number: u32) {
        eprintln!(
            "{:>5} s  {} round {}: {}",
            self.began.elapsed().as_secs(),
            figure.name(),
            number + 1,
            contender.name()
        );
        let round = Round { stage: &self.stage, contender, effort: self.effort, number, samples: &self.report.samples };
        match figure.measure(&round) {
            Ok(samples) => self.report.samples.extend(samples),
            Err(error) => {
                eprintln!("         {}: {error:#}", contender.name());
                let reason = format!("{error:#}");
                self.report.failures.push(Failure { contender: contender.name(), figure: figure.name(), reason });
            }
        }
    }

    fn noise(&mut self) {
        let spin_ms = [LOAD_CPU, CONTENDER_CPU].map(|cpu| spin(cpu).as_secs_f64() * 1e3);
        let at = self.began.elapsed().as_secs_f64();
        self.report.noise.push(Noise { at, spin_ms, load: load_average(), stolen: self.steal.look() });
    }
}
