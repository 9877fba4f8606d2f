//! `cargo xtask test`: every suite, or those named. Cargo runs them and prints its own lines; this adds them up.

mod fuzz;
mod result;
pub(crate) mod runner;

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::setup::{self, Part};
use crate::{gate, privilege, shell, workspace};
pub(crate) use result::Tally;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which suites; without any, all of them
    #[arg(value_enum)]
    suites: Vec<Suite>,
    /// Passed on to the test executables: a filter, `--nocapture`, …
    #[arg(last = true)]
    rest: Vec<OsString>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Suite {
    /// Every crate's own tests that need no root
    Unit,
    /// The kernel programs, and the agent in a little internet of network namespaces; as root
    E2e,
    /// The vendors' SDKs and other clients that nobody here wrote, against the agent; as root
    Clients,
    /// Counts instructions and compares them with the baseline, as `cargo xtask bench --gate` does
    Gate,
    /// Every fuzz target for a minute; needs a nightly compiler and cargo-fuzz
    Fuzz,
}

/// Packages whose tests load kernel programs or make namespaces.
const E2E: &[&str] = &["tollgate-kernel", "tollgate-world", "tollgate-e2e", "tollgate-bench"];
/// Packages whose tests start other people's clients, as root as well.
const CLIENTS: &[&str] = &["tollgate-clients"];

/// Why the packages above need root.
const WHY_ROOT: &str = "the tests load kernel programs and make network namespaces";

pub(crate) fn run(args: &Args) -> Result<()> {
    let all = args.suites.is_empty();
    let cargo_suites: Vec<_> = if all {
        vec![Suite::Unit, Suite::E2e, Suite::Clients]
    } else {
        args.suites.iter().copied().filter(|suite| !matches!(suite, Suite::Gate | Suite::Fuzz)).collect()
    };
    let started = Instant::now();
    let mut tally = Tally::default();
    if !cargo_suites.is_empty() {
        tally += run_by_cargo(&cargo_suites, all, &args.rest)?;
    }
    if all || args.suites.contains(&Suite::Gate) {
        tally += gate::run(false)?;
    }
    if all || args.suites.contains(&Suite::Fuzz) {
        tally += fuzz::run(all)?;
    }
    shell::note(&format!("in {}", seconds(started)));
    println!("total: {tally}");
    ensure!(tally.failed == 0, "tests failed; `cargo xtask test SUITE -- NAME` runs one again");
    ensure!(tally.passed > 0, "no test ran");
    Ok(())
}

fn run_by_cargo(suites: &[Suite], all: bool, rest: &[OsString]) -> Result<Tally> {
    let mut parts = vec![Part::Build, Part::Test];
    if suites.contains(&Suite::Clients) {
        parts.push(Part::Clients);
    }
    setup::ensure(&parts)?;
    // Asked before the build, which puts a new executable in this one's place: then the kernel calls this one's path deleted.
    let runner = runner::setting()?;
    let selection = if all { vec!["--workspace".to_owned()] } else { selection(suites, &workspace::packages()?)? };

    shell::step("Building the agent and the tests");
    if suites.iter().any(|suite| *suite != Suite::Unit) {
        // These tests start the agent's own executable, which `cargo test` alone does not promise to build. All targets at once, so
        // that executables and tests share their dependencies' features and nothing is compiled twice.
        shell::run(workspace::cargo("build").args(["--workspace", "--all-targets"]))?;
    }
    shell::run(workspace::cargo("test").args(&selection).arg("--no-run"))?;

    shell::step("Testing");
    let mut command = workspace::cargo("test");
    command.args(&selection).arg("--no-fail-fast");
    if !privilege::is_root() && suites.iter().any(|suite| *suite != Suite::Unit) {
        privilege::announce(WHY_ROOT)?;
        // Ask for the password now, not between two tests' lines.
        shell::run(Command::new("sudo").arg("--validate"))?;
        command.arg("--config").arg(runner);
    }
    command.arg("--").args(rest);
    shell::show_line(&command);
    run_and_count(&mut command, &mut std::io::stdout())
}

/// Cargo's words for the packages of some suites.
fn selection(suites: &[Suite], packages: &[String]) -> Result<Vec<String>> {
    let chosen: Vec<_> = packages.iter().filter(|package| suites.contains(&suite_of(package))).collect();
    if chosen.is_empty() {
        bail!("no package of the workspace belongs to this suite yet");
    }
    Ok(chosen.into_iter().flat_map(|package| ["--package".to_owned(), package.clone()]).collect())
}

fn suite_of(package: &str) -> Suite {
    if CLIENTS.contains(&package) {
        Suite::Clients
    } else if E2E.contains(&package) {
        Suite::E2e
    } else {
        Suite::Unit
    }
}

/// Runs the tests, passes their lines on, and adds up the closing ones.
fn run_and_count(command: &mut Command, out: &mut impl Write) -> Result<Tally> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("the child's output was asked for")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let mut line = line.context("reading the tests' output")?;
        tally.count(&String::from_utf8_lossy(&line));
        line.push(b'\n');
        out.write_all(&line).context("printing the tests' output")?;
    }
    let status = child.wait()?;
    // A test executable that died (a signal, an abort) has no closing line, and what did not compile has none either.
    if !status.success() && tally.failed == 0 {
        tally.failed = 1;
    }
    Ok(tally)
}

fn seconds(since: Instant) -> String {
    let seconds = since.elapsed().as_secs();
    format!("{} min {:02} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_share_out_the_packages() {
        let packages: Vec<_> =
            ["tollgate-llm", "tollgate-kernel", "xtask", "tollgate-clients"].map(str::to_owned).into();
        let unit = selection(&[Suite::Unit], &packages).expect("two packages");
        assert_eq!(unit, ["--package", "tollgate-llm", "--package", "xtask"]);
        let two = selection(&[Suite::E2e, Suite::Clients], &packages).expect("two packages");
        assert_eq!(two, ["--package", "tollgate-kernel", "--package", "tollgate-clients"]);
        assert!(
            selection(&[Suite::E2e], &["xtask".to_owned()]).is_err(),
            "a suite of nothing would pass without a test"
        );
    }

    #[test]
    fn every_named_package_is_in_the_workspace() {
        let packages = workspace::packages().expect("cargo knows the packages");
        for name in E2E.iter().chain(CLIENTS) {
            assert!(packages.iter().any(|package| package == name), "{name} was renamed or moved");
        }
    }

    #[test]
    fn tests_that_die_without_a_closing_line_are_a_failure() {
        let tally =
            run_and_count(Command::new("sh").args(["-c", "echo 'running 1 test'; kill -SEGV $$"]), &mut Vec::new())
                .expect("it starts");
        assert_eq!(tally, Tally { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn closing_lines_are_added_up() {
        let script = "echo 'test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s'; \
                      echo 'test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s'";
        let mut printed = Vec::new();
        let tally = run_and_count(Command::new("sh").args(["-c", script]), &mut printed).expect("it starts");
        assert_eq!(tally, Tally { passed: 7, failed: 0, skipped: 1 });
        assert_eq!(String::from_utf8_lossy(&printed).lines().count(), 2, "the lines are passed on");
    }
}
