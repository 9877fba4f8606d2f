//! `cargo xtask bench --gate`: how many instructions the agent's work on a request takes, against what it took when the baseline was
//! written. Instructions are the same on a busy machine, so that CI can tell; seconds are not, so that is all it can tell.

mod baseline;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::setup::{self, Part};
use crate::test::Tally;
use crate::{shell, workspace};
use baseline::{Baseline, Verdict};

/// Counts every case, and compares. With `renew`, writes the baseline instead.
pub(crate) fn run(renew: bool) -> Result<Tally> {
    setup::ensure(&[Part::Build, Part::Gate])?;
    shell::step("Building what is counted, optimised");
    build()?;
    shell::step("Counting instructions");
    let counts: Vec<_> = cases()?.into_iter().map(|case| Ok((count(&case)?, case))).collect::<Result<_>>()?;
    let now = Baseline::new(rustc()?, counts.into_iter().map(|(count, case)| (case, count)));
    let path = path();
    if renew {
        now.write(&path)?;
        shell::note(&format!("Written to {}; commit it with the change that is the reason", path.display()));
    }
    Ok(judge(&Baseline::read(&path)?, &now))
}

fn judge(before: &Baseline, now: &Baseline) -> Tally {
    let mut tally = Tally::default();
    let differs = before.differs(now);
    if let Some(what) = &differs {
        shell::note(&format!("The baseline is of {what}, so what differs is told and fails nothing"));
    }
    println!("{:34} {:>13} {:>13} {:>8}", "case", "baseline", "instructions", "change");
    for line in before.compare(now) {
        println!("{line}");
        match line.verdict {
            Verdict::Same | Verdict::Better => tally.passed += 1,
            _ if differs.is_some() => tally.skipped += 1,
            Verdict::Worse | Verdict::New | Verdict::Gone => tally.failed += 1,
        }
    }
    if before.compare(now).any(|line| line.verdict != Verdict::Same) {
        shell::note("Where the change is meant, `cargo xtask bench --gate --renew` writes a new baseline");
        shell::note("`callgrind_annotate target/bench/gate/CASE.out` tells where a case's instructions went");
    }
    tally
}

fn build() -> Result<()> {
    let profile = workspace::root().join("tests/gate/profile.toml");
    let mut command = workspace::cargo("build");
    // Built in pieces, some of it would be other code than in CI.
    command.env("CARGO_INCREMENTAL", "0");
    // Of the whole workspace, so that its dependencies have the features that they have for the tests, and are not built again.
    command.args(["--workspace", "--bin=gate", "--config"]).arg(profile);
    shell::run(&mut command)
}

fn executable() -> PathBuf {
    workspace::target().join("debug/gate")
}

fn cases() -> Result<Vec<String>> {
    let names: Vec<_> = shell::output(&mut Command::new(executable()))?.lines().map(str::to_owned).collect();
    ensure!(!names.is_empty(), "there is nothing to count");
    Ok(names)
}

/// The instructions between the markers, by callgrind.
fn count(case: &str) -> Result<u64> {
    let folder = workspace::target().join("bench/gate");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let name: String = case.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let out = folder.join(format!("{name}.out"));
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_by_the_gate*"]);
    command.arg(format!("--callgrind-out-file={}", out.display())).arg(executable()).arg(case);
    // The settings of a library or of the C runtime would change the count.
    command
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| ["PATH", "HOME", "TMPDIR"].iter().any(|kept| name == kept)));
    shell::output(&mut command)?;
    let text = std::fs::read_to_string(&out).with_context(|| format!("cannot read {}", out.display()))?;
    total(&text).with_context(|| format!("callgrind counted nothing in {}", out.display()))
}

/// The sum in callgrind's output.
fn total(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.trim().parse().ok().filter(|count| *count > 0)
}

fn rustc() -> Result<String> {
    let text = shell::output(Command::new("rustc").arg("--version").current_dir(workspace::root()))?;
    Ok(text.split_whitespace().nth(1).unwrap_or_default().to_owned())
}

fn path() -> PathBuf {
    workspace::root().join("tests/gate/baseline.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_read_from_what_callgrind_writes() {
        assert_eq!(
            total("version: 1\nevents: Ir\nfn=(1) main\n3 5\nsummary: 12\n\ntotals: 6458478\n"),
            Some(6_458_478)
        );
        assert_eq!(total("summary: 12\n"), None);
        assert_eq!(total("totals: 0\n"), None, "the markers were not found");
    }

    #[test]
    fn the_committed_baseline_can_be_read() {
        let baseline = Baseline::read(&path()).expect("it is committed");
        assert!(baseline.compare(&baseline).all(|line| line.verdict == Verdict::Same));
    }

    #[test]
    fn a_gross_regression_fails() {
        let of = |count| Baseline::new("1.96.0".to_owned(), [("one".to_owned(), 1000), ("two".to_owned(), count)]);
        assert_eq!(judge(&of(1000), &of(1300)), Tally { passed: 1, failed: 1, skipped: 0 });
        assert_eq!(judge(&of(1000), &of(1010)), Tally { passed: 2, failed: 0, skipped: 0 });
    }

    #[test]
    fn another_compiler_fails_nothing() {
        let of = |rustc: &str, count| Baseline::new(rustc.to_owned(), [("one".to_owned(), count)]);
        assert_eq!(judge(&of("1.96.0", 1000), &of("1.97.0", 1300)), Tally { passed: 0, failed: 0, skipped: 1 });
    }
}
