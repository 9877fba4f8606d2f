//! The request that opens a WebSocket.

use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::request;
use tollgate_llm::{Api, Call, RequestFacts};
use tollgate_policy::{Engine, Field, Refused, Rule};

use crate::admit::Gate;
use crate::exchange::Exchange;
use crate::http::headers::without;

/// Whether the calls on a WebSocket that `call` opens are decided on one by one.
pub(in crate::http) fn is_followed(call: &Call) -> bool {
    call.is_websocket && matches!(call.api, Api::Realtime | Api::Responses)
}

/// Has the request for a WebSocket pass the rules, as far as they do not depend on what its messages will say. Compression is not
/// offered to the server: a message that is not passed on would be missing from what the next one is compressed with.
pub(in crate::http) fn admit_upgrade(
    gate: &Gate,
    exchange: &mut Exchange,
    call: &Call,
    head: &mut request::Parts,
) -> Result<(), Refused> {
    let facts = RequestFacts { model: call.model_in_path.clone(), stream: Some(true), ..RequestFacts::default() };
    match gate.decide(exchange, &facts) {
        Err(refused) if !is_open(gate.engine(), call, &refused) => return Err(refused),
        _ => {}
    }
    if head.headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        head.headers = without(&head.headers, |name| name == SEC_WEBSOCKET_EXTENSIONS);
    }
    Ok(())
}

/// Whether messages on a WebSocket may pass though the request for it is refused: by what only they say.
fn is_open(engine: &Engine, call: &Call, refused: &Refused) -> bool {
    let policy = engine.policy();
    let rules = &policy.spec().rules;
    let is_said_later = |field: Field| field.is_in_body() && (field != Field::Model || call.model_in_path.is_none());
    let depends = |rule: &Rule| {
        rule.models.is_some() && call.model_in_path.is_none()
            || !rule.require.is_empty()
            || rule.matches.fields.iter().any(|(field, _)| is_said_later(*field))
            || rule.when.as_ref().is_some_and(|when| when.as_str().contains("request"))
    };
    // The default refuses what no rule is about, which each of them may turn out to be.
    match rules.iter().find(|rule| rule.name == refused.name) {
        Some(rule) => depends(rule),
        None => rules.iter().any(depends),
    }
}
