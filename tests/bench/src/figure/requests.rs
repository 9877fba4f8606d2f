//! Throughput at saturation: requests a second, for each processor second of the contender, and what the provider has left.

use std::time::Duration;

use anyhow::Result;

use super::{Effort, Figure, Round, Sample, Unit};
use crate::contender::Contender;
use crate::load::{self, h2load};

/// Requests at saturation on connections that are kept.
pub(super) struct Requests;

/// One load.
struct Case {
    name: &'static str,
    h2: bool,
    clients: u32,
    /// Bytes of the prompt.
    size: usize,
    /// Whether it is measured in the quick run, and for contenders of few requests a second.
    core: bool,
}

const fn case(name: &'static str, h2: bool, clients: u32, size: usize, core: bool) -> Case {
    Case { name, h2, clients, size, core }
}

const KB: usize = 1_000;
const CASES: &[Case] = &[
    case("h1, 1 client, 1 KB", false, 1, KB, false),
    case("h1, 8 clients, 1 KB", false, 8, KB, false),
    case("h1, 64 clients, 1 KB", false, 64, KB, true),
    case("h1, 256 clients, 1 KB", false, 256, KB, false),
    case("h2, 1 client, 1 KB", true, 1, KB, false),
    case("h2, 8 clients, 1 KB", true, 8, KB, false),
    case("h2, 64 clients, 1 KB", true, 64, KB, true),
    case("h2, 256 clients, 1 KB", true, 256, KB, false),
    case("h1, 8 clients, 200 KB", false, 8, 200 * KB, false),
    case("h2, 8 clients, 200 KB", true, 8, 200 * KB, false),
    case("h1, 8 clients, 10 MB", false, 8, 10_000 * KB, false),
];

impl Figure for Requests {
    fn name(&self) -> &'static str {
        "requests"
    }

    fn about(&self) -> &'static str {
        "Requests at saturation on kept connections: a second, a processor second, and processor time of each"
    }

    fn rounds(&self, contender: &dyn Contender, effort: Effort) -> u32 {
        if contender.traits().kind.is_fast() { effort.pick(2, 5) } else { effort.pick(1, 2) }
    }

    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>> {
        let target = round.start()?;
        let traits = round.contender.traits();
        let all = round.effort == Effort::Full && traits.kind.is_fast();
        let mut samples = Vec::new();
        for case in CASES.iter().filter(|case| (all || case.core) && (traits.client_h2 || !case.h2)) {
            let body = round.stage.file("body.json", &load::chat_body(&target.model, case.size))?;
            let load = h2load::Load {
                h2: case.h2,
                clients: case.clients,
                streams: 1,
                body,
                time: Duration::from_millis(round.effort.pick(1500, 2000)),
                warm_up: Duration::from_millis(if case.clients > 64 { 700 } else { 400 }),
            };
            let outcome = h2load::saturate(round.stage, &target, &load)?;
            samples.push(round.sample("requests a second", case.name, Unit::PerSecond, outcome.rate));
            samples.push(round.sample("failed requests", case.name, Unit::Count, outcome.failed as f64));
            samples.push(round.sample("provider's cores", case.name, Unit::Cores, outcome.provider_cores));
            if let Some(cores) = outcome.cores {
                let per_core = outcome.rate / cores;
                samples.push(round.sample("requests per core", case.name, Unit::PerCoreSecond, per_core));
                samples.push(round.sample("processor time per request", case.name, Unit::Seconds, 1.0 / per_core));
                samples.push(round.sample("cores", case.name, Unit::Cores, cores));
            }
        }
        Ok(samples)
    }
}
