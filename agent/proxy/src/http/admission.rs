//! A request that came by hyper is passed by the policy, and its body read for that where it has to be.

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_LENGTH};
use tollgate_llm::{Call, Edits};
use tollgate_policy::Refused;

use super::request::{Collection, LARGEST, PAUSE, Terms};
use super::service::Context;
use super::splice::{self, Candidate};
use super::websocket::guard::{admit_upgrade, is_followed};
use crate::admit::{self, Gate, PATIENCE, Unreadable, may_stream, unreadable};
use crate::exchange::Open;
use crate::upstream::Outgoing;

/// Why a request does not go on.
pub(super) enum Stop {
    /// The policy refuses it.
    Refused(Refused),
    /// Its client broke off.
    Gone,
}

impl From<Refused> for Stop {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// Has a request pass the policy, and changes it as that has it. Where `candidate` says so, it is changed to ask for usage too.
/// `passed` says that it has passed before, with these changes.
pub(super) async fn admit(
    context: &Context,
    gate: &Gate,
    open: &mut Open,
    call: &Call,
    outgoing: &mut Outgoing,
    candidate: Option<&Candidate>,
    passed: Option<Edits>,
) -> Result<(), Stop> {
    admit::check_target(&context.connection.provider, &outgoing.parts)?;
    if is_followed(call) {
        let Some(exchange) = open.exchange() else { return Err(Stop::Gone) };
        return Ok(admit_upgrade(gate, exchange, call, &mut outgoing.parts)?);
    }
    let is_needed = match &passed {
        Some(clamp) => !clamp.is_empty(),
        None => admit::is_read(call, gate.needs()),
    };
    let usage = read(context, gate, is_needed, outgoing, candidate).await?;
    if let Some(clamp) = passed {
        splice::edit(outgoing, clamp, usage);
        return Ok(());
    }
    let facts = outgoing.source.facts();
    let Some(exchange) = open.exchange() else { return Err(Stop::Gone) };
    let decided = gate.decide_on(exchange, call, &facts, is_needed)?;
    let provider = &context.connection.provider;
    let body = outgoing.source.collected();
    let clamp = admit::clamp(call, provider, &outgoing.parts.headers, &facts, &decided, |clamp| clamp.push(&body))?;
    drop(body);
    splice::edit(outgoing, clamp, usage);
    let ask = gate.ask(exchange, call, &decided, &facts, outgoing.source.estimated_input());
    gate.reserve(exchange, decided, &facts, ask, &context.drain).await?;
    if exchange.may_be_cut() && may_stream(call) && !is_signed(&outgoing.parts.headers) {
        splice::ask_uncoded(outgoing);
    }
    Ok(())
}

/// Whether the fields of a request may be part of what vouches for it (SigV4).
fn is_signed(headers: &HeaderMap) -> bool {
    headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"))
}

/// Reads a request's body, as far as somebody has to. Gives how to ask for usage in it.
async fn read(
    context: &Context,
    gate: &Gate,
    is_needed: bool,
    outgoing: &Outgoing,
    candidate: Option<&Candidate>,
) -> Result<Option<Edits>, Stop> {
    if !is_needed && candidate.is_none() {
        return Ok(None);
    }
    let length = outgoing.parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let (largest, pause) = if is_needed { (gate.body_limit(), PATIENCE) } else { (LARGEST, PAUSE) };
    if length.is_some_and(|length| length > largest) {
        return Err(unreadable(Unreadable::TooLarge, largest).into());
    }
    let terms = Terms { length, largest, pause, asks_usage: candidate.is_some(), is_needed };
    match outgoing.source.collect(terms, context.shared.splicing.budget()).await {
        Collection::Whole(usage) => Ok(usage),
        Collection::Part(Some(why)) if is_needed => Err(unreadable(why, largest).into()),
        Collection::Part(_) => Ok(None),
        Collection::Broken => Err(Stop::Gone),
    }
}
