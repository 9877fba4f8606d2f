//! Throughput at saturation: requests a second, for each processor second of the contender, and what the provider has left.

use std::time::Duration;

use anyhow::Result;

use super::{Effort, Figure, Prepare, Round, Sample, Unit};
use crate::contender::{Contender, Running};
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
/// In how many rounds all cases are measured, and not only those that decide.
const ROUNDS_OF_ALL: u32 = 2;
/// The case that stands for saturation where other figures need it.
pub(super) const SATURATION: &str = "h1, 64 clients, 1 KB";
const CASES: &[Case] = &[
    case("h1, 1 client, 1 KB", false, 1, KB, false),
    case("h1, 8 clients, 1 KB", false, 8, KB, false),
    case(SATURATION, false, 64, KB, true),
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
        if contender.traits().kind.is_fast() { effort.pick(2, 4) } else { 1 }
    }

    fn measure(&self, round: &Round<'_>) -> Result<Vec<Sample>> {
        let target = round.start()?;
        let traits = round.contender.traits();
        let all = round.effort == Effort::Full && traits.kind.is_fast();
        let mut samples = Vec::new();
        for case in CASES
            .iter()
            .filter(|case| (all && round.number < ROUNDS_OF_ALL) || case.core)
            .filter(|case| if case.h2 { traits.client_h2 } else { !traits.h2_only })
        {
            let outcome = saturate(round, &target, case)?;
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

fn saturate(round: &Round<'_>, target: &Running, case: &Case) -> Result<h2load::Outcome> {
    let fast = round.contender.traits().kind.is_fast();
    let load = h2load::Load {
        h2: case.h2,
        clients: case.clients,
        streams: 1,
        body: round.stage.file("body.json", &load::chat_body(&target.model, case.size))?,
        time: Duration::from_millis(if fast {
            round.effort.pick(1000, if case.core { 2000 } else { 1200 })
        } else {
            3000
        }),
        // Handshakes of all clients must be over by then: h2load never ends when one comes after its time. Those of few requests
        // a second do them in between, and LiteLLM needs seconds for 64.
        warm_up: Duration::from_millis(if !fast {
            4000
        } else if case.clients > 64 {
            800
        } else {
            400
        }),
    };
    h2load::saturate(round.stage, target, &load)
}

/// The saturation of all that bear thousands of requests a second, measured once for those for which it is not known yet.
pub(super) fn saturation_of_each(prepare: &Prepare<'_>) -> Result<Vec<Sample>> {
    let known = |contender: &dyn Contender| {
        let mut of_it = prepare.samples.iter().filter(|sample| sample.contender == contender.name());
        of_it.any(|sample| sample.figure == "requests a second" && sample.case == SATURATION)
    };
    let case = CASES.iter().find(|case| case.name == SATURATION).expect("it is one of them");
    let mut samples = Vec::new();
    for contender in prepare.contenders.iter().filter(|one| one.traits().kind.is_fast() && !known(**one)) {
        let (stage, effort) = (prepare.stage, prepare.effort);
        let round = Round { stage, contender: *contender, effort, number: 0, samples: &[] };
        // One that cannot start is reported where it is measured.
        let Ok(target) = round.start() else { continue };
        let outcome = saturate(&round, &target, case)?;
        samples.push(round.sample("requests a second", case.name, Unit::PerSecond, outcome.rate));
    }
    Ok(samples)
}
