//! What each case took, and how two such counts compare.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::shell;

/// More than this many times the instructions is a gross regression. Processors and C libraries differ by a percent or two.
const WORSE: f64 = 1.10;
/// Fewer than this, and the baseline hides what comes next.
const BETTER: f64 = 0.95;

/// Instructions by case, and what compiled them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Baseline {
    architecture: String,
    rustc: String,
    instructions: BTreeMap<String, u64>,
}

/// What became of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Same,
    Better,
    Worse,
    /// The baseline does not have it.
    New,
    /// Only the baseline has it.
    Gone,
}

/// A case, before and now.
pub(super) struct Line<'a> {
    case: &'a str,
    before: Option<u64>,
    now: Option<u64>,
    pub(super) verdict: Verdict,
}

impl Baseline {
    /// Counts on this machine.
    pub(super) fn new(rustc: String, instructions: impl IntoIterator<Item = (String, u64)>) -> Self {
        Self { architecture: architecture(), rustc, instructions: instructions.into_iter().collect() }
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| {
            format!("there is no {}; `cargo xtask bench --gate --renew` writes one", path.display())
        })?;
        Self::parse(&text).with_context(|| {
            format!("{} is no baseline; `cargo xtask bench --gate --renew` writes one", path.display())
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let text = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let counts = value.get("instructions")?.as_object()?.iter();
        Some(Self {
            architecture: text("architecture")?,
            rustc: text("rustc")?,
            instructions: counts.map(|(case, count)| Some((case.clone(), count.as_u64()?))).collect::<Option<_>>()?,
        })
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let value =
            json!({ "architecture": self.architecture, "rustc": self.rustc, "instructions": self.instructions });
        let text = serde_json::to_string_pretty(&value).context("numbers and names are JSON")?;
        std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }

    /// What this was counted with, where that is not what `now` was.
    pub(super) fn differs(&self, now: &Self) -> Option<String> {
        let same = (&self.architecture, &self.rustc) == (&now.architecture, &now.rustc);
        (!same).then(|| {
            format!("rustc {} on {}, and this is {} on {}", self.rustc, self.architecture, now.rustc, now.architecture)
        })
    }

    /// Case by case.
    pub(super) fn compare<'a>(&'a self, now: &'a Self) -> impl Iterator<Item = Line<'a>> {
        let cases: BTreeSet<_> = self.instructions.keys().chain(now.instructions.keys()).collect();
        cases.into_iter().map(|case| {
            let (before, now) = (self.instructions.get(case).copied(), now.instructions.get(case).copied());
            Line { case, before, now, verdict: verdict(before, now) }
        })
    }
}

/// What decides, beside the compiler, which instructions are taken: libraries choose by the processor's features, as far as valgrind has
/// them, and much is the C library's own.
fn architecture() -> String {
    let libc = shell::output(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    let libc = libc.unwrap_or_else(|_| "another C library".to_owned());
    let mut words = vec![std::env::consts::ARCH, libc.trim()];
    #[cfg(target_arch = "x86_64")]
    words.extend(
        [
            ("avx2", is_x86_feature_detected!("avx2")),
            ("bmi2", is_x86_feature_detected!("bmi2")),
            ("aes", is_x86_feature_detected!("aes")),
            ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ]
        .into_iter()
        .filter_map(|(name, is_there)| is_there.then_some(name)),
    );
    words.join(" ")
}

fn verdict(before: Option<u64>, now: Option<u64>) -> Verdict {
    match (before, now) {
        (None, _) => Verdict::New,
        (_, None) => Verdict::Gone,
        (Some(before), Some(now)) => match now as f64 / before as f64 {
            ratio if ratio > WORSE => Verdict::Worse,
            ratio if ratio < BETTER => Verdict::Better,
            _ => Verdict::Same,
        },
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        write!(out, "{:34} {:>13} {:>13}", self.case, number(self.before), number(self.now))?;
        if let (Some(before), Some(now)) = (self.before, self.now) {
            write!(out, " {:>+7.1}%", (now as f64 / before as f64 - 1.0) * 100.0)?;
        }
        match self.verdict {
            Verdict::Same => Ok(()),
            Verdict::Better => write!(out, "  better: renew the baseline, so that it stays so"),
            Verdict::Worse => write!(out, "  WORSE by more than {:.0}%", (WORSE - 1.0) * 100.0),
            Verdict::New => write!(out, "  not in the baseline: renew it"),
            Verdict::Gone => write!(out, "  only in the baseline: renew it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: &[(&str, u64)]) -> Baseline {
        Baseline::new("1.96.0".to_owned(), counts.iter().map(|(case, count)| ((*case).to_owned(), *count)))
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder is made");
        let (path, baseline) = (folder.path().join("baseline.json"), of(&[("a, 1 kB", 1), ("b", u64::MAX)]));
        baseline.write(&path).expect("it is written");
        assert_eq!(Baseline::read(&path).expect("it is read"), baseline);
    }

    #[test]
    fn what_is_no_baseline_is_told_with_the_remedy() {
        let folder = tempfile::tempdir().expect("a folder is made");
        let path = folder.path().join("baseline.json");
        std::fs::write(&path, r#"{"rustc": "1.96.0", "instructions": {"a": -1}}"#).expect("it is written");
        assert!(format!("{:#}", Baseline::read(&path).expect_err("no architecture")).contains("--renew"));
        assert!(format!("{:#}", Baseline::read(folder.path()).expect_err("a folder")).contains("--renew"));
    }

    #[test]
    fn cases_come_and_go_and_get_better_and_worse() {
        let (before, now) =
            (of(&[("a", 100), ("b", 100), ("c", 100), ("d", 100)]), of(&[("b", 111), ("c", 94), ("d", 109), ("e", 1)]));
        let told: Vec<_> = before.compare(&now).map(|line| (line.case, line.verdict)).collect();
        let expected = [
            ("a", Verdict::Gone),
            ("b", Verdict::Worse),
            ("c", Verdict::Better),
            ("d", Verdict::Same),
            ("e", Verdict::New),
        ];
        assert_eq!(told, expected);
    }
}
