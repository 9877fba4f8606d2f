//! What the commands that read the ledger share: where it is, which calls are meant, and what to say if it cannot be read.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tollgate_ledger::query::{Filter, Period, QueryError, Reader, moment};

use crate::cli::{LedgerArgs, SelectArgs};
use crate::exit::{Coded, NO_INPUT, NO_PERMISSION, USAGE};
use crate::settings;

/// The file that is meant.
fn file(args: &LedgerArgs) -> anyhow::Result<PathBuf> {
    if let Some(path) = &args.ledger {
        return Ok(path.clone());
    }
    let off = "ledger.directory is off, so no ledger is kept; --ledger FILE reads another";
    settings::load(&args.config)?.ledger.file().ok_or_else(|| Coded::new(NO_INPUT, off).into())
}

/// Opens the ledger to read it.
pub(crate) fn open(args: &LedgerArgs) -> anyhow::Result<Reader> {
    let path = file(args)?;
    Reader::open(&path).map_err(told)
}

/// The error with its exit code and the next step.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn told(error: QueryError) -> anyhow::Error {
    let (code, next) = if error.is_missing() {
        (NO_INPUT, "; `tollgate run` writes one as calls are made, and --ledger FILE reads another")
    } else if error.is_denied() {
        (NO_PERMISSION, "; it tells who calls what, so it is for its owner alone. Try it with sudo")
    } else if error.is_damage() {
        (1, "; restore it from a copy, or move it away: the agent then begins a new one")
    } else {
        (1, "")
    };
    Coded::new(code, format!("{error}{next}")).into()
}

/// Where days begin: here, or in Greenwich.
pub(crate) fn zone(utc: bool) -> TimeZone {
    if utc { TimeZone::UTC } else { TimeZone::system() }
}

/// Whether not all calls are meant.
pub(crate) fn is_narrowed(args: &SelectArgs) -> bool {
    let SelectArgs { source: _, since, provider, model, program, user, team, cost_center, end_user, .. } = args;
    let SelectArgs { user_agent, pod, namespace, service_account, .. } = args;
    let globs =
        [provider, model, program, user, team, cost_center, end_user, user_agent, pod, namespace, service_account];
    since.is_some() || globs.iter().any(|globs| !globs.is_empty())
}

/// Which calls are meant, from the command line.
pub(crate) fn filter(args: &SelectArgs, until: Option<&str>, zone: &TimeZone) -> anyhow::Result<Filter> {
    let now = Timestamp::now().to_zoned(zone.clone());
    let read = |option: &str, text: Option<&str>| {
        text.map(|text| moment(text, &now)).transpose().map_err(|error| Coded::new(USAGE, format!("{option}: {error}")))
    };
    let period = Period { since: read("--since", args.since.as_deref())?, until: read("--until", until)? };
    if let (Some(since), Some(until)) = (period.since, period.until)
        && since >= until
    {
        let told = format!("--until: {until} is not after --since, {since}; nothing can lie between them");
        return Err(Coded::new(USAGE, told).into());
    }
    Ok(Filter {
        period,
        provider: args.provider.clone(),
        model: args.model.clone(),
        program: args.program.clone(),
        user: args.user.clone(),
        pod: args.pod.clone(),
        namespace: args.namespace.clone(),
        service_account: args.service_account.clone(),
        team: args.team.clone(),
        cost_center: args.cost_center.clone(),
        end_user: args.end_user.clone(),
        user_agent: args.user_agent.clone(),
    })
}
