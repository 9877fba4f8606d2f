//! A new connection, with its handshake, for each request.

use std::time::Duration;

use anyhow::Result;

use super::{Effort, Figure, Round, Sample, Unit};
use crate::contender::Contender;
use crate::load::{self, wrk};

/// Requests that each come on a connection of their own.
pub(super) struct Connections;

impl Figure for Connections {
    fn name(&self) -> &'static str {
        "connections"
    }

    fn about(&self) -> &'static str {
        "Requests that each come on a new connection: a second, a processor second, and processor time of each"
    }

    fn rounds(&self, contender: &dyn Contender, effort: Effort) -> u32 {
        if contender.traits().kind.is_fast() { effort.pick(1, 3) } else { effort.pick(0, 1) }
    }

    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>> {
        let target = round.start()?;
        let body = round.stage.file("body.json", &load::chat_body(&target.model, 1000))?;
        let all = round.effort == Effort::Full && round.contender.traits().kind.is_fast();
        let cases = [("8 clients", 8, true), ("64 clients", 64, false)];
        let mut samples = Vec::new();
        for (case, clients, _) in cases.into_iter().filter(|(_, _, core)| all || *core) {
            let time = Duration::from_secs(2);
            let outcome = wrk::fresh(round.stage, &target, clients, &body, time)?;
            samples.push(round.sample("fresh connections a second", case, Unit::PerSecond, outcome.rate));
            samples.push(round.sample(
                "failed requests",
                format!("fresh connections, {case}"),
                Unit::Count,
                outcome.failed as f64,
            ));
            if let Some(cores) = outcome.cores {
                let per_core = outcome.rate / cores;
                samples.push(round.sample("fresh connections per core", case, Unit::PerCoreSecond, per_core));
                samples.push(round.sample("processor time per fresh connection", case, Unit::Seconds, 1.0 / per_core));
            }
        }
        Ok(samples)
    }
}
