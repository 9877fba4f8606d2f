//! A fresh process that makes one call to a provider 30 ms away: each pays for its handshakes, unless someone near keeps
//! a connection for it.

mod distance;

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::{Effort, Figure, Round, Sample, Unit};
use crate::contender::{Contender, Running};
use crate::load;
use crate::stats::median;
use distance::Distance;

/// One call by a fresh process.
pub(super) struct Fresh;

const ONE_WAY: Duration = Duration::from_millis(15);
const CASE: &str = "curl, provider 30 ms away";

impl Figure for Fresh {
    fn name(&self) -> &'static str {
        "fresh"
    }

    fn about(&self) -> &'static str {
        "A fresh process (curl) and its one call, provider 30 ms away: from look-up to the answer's last byte"
    }

    fn rounds(&self, contender: &dyn Contender, effort: Effort) -> u32 {
        if contender.traits().kind.is_fast() { effort.pick(1, 3) } else { 0 }
    }

    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>> {
        let target = round.start()?;
        let _far = Distance::new(round.stage, ONE_WAY)?;
        // The first call of all finds no connection kept, and is everybody's first only once a day.
        let first = call(round, &target)?;
        let calls = round.effort.pick(10, 30);
        let mut times = (0..calls).map(|_| call(round, &target)).collect::<Result<Vec<f64>>>()?;
        times.sort_by(f64::total_cmp);
        Ok(vec![
            round.sample("time of a fresh process's call, p50", CASE, Unit::Seconds, median(&times)),
            round.sample("time of the very first call", CASE, Unit::Seconds, first),
        ])
    }
}

/// Seconds, by curl's own clock: without the time that the process takes to start.
fn call(round: &Round<'_>, target: &Running) -> Result<f64> {
    let body = load::chat_body(&target.model, 1000);
    let mut program = round
        .stage
        .load("curl")
        .args(["--silent", "--show-error", "--fail", "--http1.1", "--output", "/dev/null", "--max-time", "30"])
        .args(["--write-out", "%{time_total}", "--header", "content-type: application/json"])
        .args(["--header", "authorization: Bearer sk-of-the-benchmark", "--data-binary", &body])
        .arg("--cacert")
        .arg(&target.root);
    for (name, value) in &target.headers {
        program = program.arg("--header").arg(format!("{name}: {value}"));
    }
    if let Some(address) = target.address {
        program = program.arg("--connect-to").arg(format!("::{}:{}", address.ip(), address.port()));
    }
    let text = program.arg(load::chat_url(target)).run()?.success()?.text();
    text.trim().parse().with_context(|| format!("curl told `{text}` as its time"))
}
