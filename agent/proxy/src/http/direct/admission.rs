//! A request that passes without hyper is passed by the policy, and its body read for that where it has to be.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tollgate_llm::{Call, Clamp, Edits, Splicer, mentions_stream};
use tollgate_policy::Refused;

use super::client::Client;
use super::head::RequestHead;
use super::sending::Sending;
use super::turn::collect;
use crate::admit::{self, Gate, PATIENCE, Unreadable, unreadable};
use crate::exchange::{DirectRequest, Exchange, Open};
use crate::http::request::Room;
use crate::http::service::Context;

/// What became of a request.
pub(super) enum Admitted {
    /// It is to be sent.
    Passed(Sending),
    /// Nothing of it is, and here is what came of it.
    Refused(Sending, Refused),
    /// It is hyper's, and nobody was told of it.
    Odd,
    /// Its client has gone.
    Gone(io::Error),
}

/// How much of a request is here before it is decided on.
enum Here {
    /// Its body, as a whole and still among what the client has sent, and how to ask for usage in it.
    Whole { usage: Option<Edits>, room: Option<Room> },
    /// As much as there was need of.
    AsItIs(Sending),
}

/// Why a body was not read as a whole.
enum Short {
    Unreadable(Unreadable),
    /// Its chunks are no chunks, and no facts are known of it.
    Malformed,
    Gone(io::Error),
}

/// Has a request pass the policy, and changes it as that has it. It is changed to ask for usage where `asks_usage` lets it.
pub(super) async fn admit<IO>(
    client: &mut Client<IO>,
    context: &Context,
    gate: &Gate,
    head: &RequestHead,
    call: &Call,
    open: &mut Open,
    asks_usage: bool,
) -> Admitted
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    if let Err(refused) = admit::check_target(&context.connection.provider, &head.parts) {
        return Admitted::Refused(Sending::new(client, head), refused);
    }
    let Some(exchange) = open.exchange() else { return Admitted::Odd };
    let here = match here(client, context, gate, head, call, exchange, asks_usage).await {
        Ok(here) => here,
        Err(admitted) => return admitted,
    };
    let is_read = matches!(here, Here::Whole { .. });
    let facts = exchange.direct_request().map(|request| request.facts(is_read)).unwrap_or_default();
    let decided = gate.decide_on(exchange, call, &facts, is_read);
    let (decided, mut sending) = match (decided, here) {
        (Err(refused), Here::Whole { .. }) => return Admitted::Refused(Sending::new(client, head), refused),
        (Err(refused), Here::AsItIs(sending)) => return Admitted::Refused(sending, refused),
        (Ok(decided), Here::AsItIs(sending)) => (decided, sending),
        (Ok(decided), Here::Whole { usage, room }) => {
            let body = &client.input[head.length..];
            let read = |clamp: &mut Clamp| {
                let mut framing = head.body;
                // It was found well-formed when it was read.
                framing.pass(body, |content| clamp.push(content)).ok();
            };
            match admit::clamp(call, &context.connection.provider, &head.parts.headers, &facts, &decided, read) {
                Ok(clamp) => match Sending::changed(client, head, clamp, usage, room) {
                    Some(sending) => (decided, sending),
                    None => return Admitted::Odd,
                },
                Err(refused) => return Admitted::Refused(Sending::new(client, head), refused),
            }
        }
    };
    let input = exchange.direct_request().map_or(0, |request| request.estimated_input());
    let ask = gate.ask(exchange, call, &decided, &facts, input);
    let reserving = gate.reserve(exchange, decided, &facts, ask, &context.drain);
    match client.unless_gone(reserving).await {
        Some(Ok(())) => Admitted::Passed(sending),
        Some(Err(refused)) => {
            sending.leave();
            Admitted::Refused(sending, refused)
        }
        None => Admitted::Gone(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// Reads as much of a request as there is need of.
async fn here<IO>(
    client: &mut Client<IO>,
    context: &Context,
    gate: &Gate,
    head: &RequestHead,
    call: &Call,
    exchange: &mut Exchange,
    asks_usage: bool,
) -> Result<Here, Admitted>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let request = exchange.direct_request().filter(|_| admit::is_read(call, gate.needs()));
    let Some(request) = request else {
        if !asks_usage {
            return Ok(Here::AsItIs(Sending::new(client, head)));
        }
        return match collect(client, context, head).await {
            Admitted::Passed(sending) => Ok(Here::AsItIs(sending)),
            other => Err(other),
        };
    };
    let mut read = Read { splicer: asks_usage.then(Splicer::default), room: None };
    match read.all(client, context, gate.body_limit(), head, request).await {
        Ok(()) => {
            let usage = read.splicer.and_then(Splicer::finish).map(Edits::from);
            Ok(Here::Whole { usage, room: read.room })
        }
        Err(Short::Gone(error)) => Err(Admitted::Gone(error)),
        Err(Short::Unreadable(why)) => {
            Err(Admitted::Refused(Sending::new(client, head), unreadable(why, gate.body_limit())))
        }
        // hyper says what is wrong.
        Err(Short::Malformed) => Err(Admitted::Odd),
    }
}

/// What is learned of a body while it is read ahead.
struct Read {
    splicer: Option<Splicer>,
    room: Option<Room>,
}

impl Read {
    /// Reads all of it, of so many bytes at most.
    async fn all<IO>(
        &mut self,
        client: &mut Client<IO>,
        context: &Context,
        limit: usize,
        head: &RequestHead,
        request: &mut DirectRequest,
    ) -> Result<(), Short>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let is_chunked = head.body.is_chunked();
        if head.content_length.is_some_and(|length| length > limit as u64) {
            return Err(Short::Unreadable(Unreadable::TooLarge));
        }
        let (mut framing, mut at, mut content) = (head.body, head.length, 0);
        loop {
            let splicer = &mut self.splicer;
            let look = |bytes: &[u8]| {
                content += bytes.len();
                request.look_ahead(bytes);
                if is_chunked && let Some(splicer) = splicer {
                    splicer.push(bytes);
                }
            };
            at += framing.pass(&client.input[at..], look).map_err(|_malformed| Short::Malformed)?;
            if framing.is_done() {
                break;
            }
            // Chunks are worth what holds them.
            if content > limit || client.input.len() > head.length.saturating_add(limit.saturating_mul(2)) {
                return Err(Short::Unreadable(Unreadable::TooLarge));
            }
            if !context.shared.splicing.has_room(&mut self.room, client.input.len()) {
                return Err(Short::Unreadable(Unreadable::NoRoom));
            }
            match timeout(PATIENCE, std::future::poll_fn(|context| client.poll_input(context))).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return Err(Short::Gone(io::ErrorKind::UnexpectedEof.into())),
                Ok(Err(error)) => return Err(Short::Gone(error)),
                Err(_elapsed) => return Err(Short::Unreadable(Unreadable::Slow)),
            }
        }
        if content > limit {
            return Err(Short::Unreadable(Unreadable::TooLarge));
        }
        let body = &client.input[head.length..at];
        if let Some(splicer) = self.splicer.as_mut().filter(|_| !is_chunked && mentions_stream(body)) {
            splicer.push(body);
        }
        Ok(())
    }
}
