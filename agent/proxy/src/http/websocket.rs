//! The calls on a WebSocket, each with a record of its own, told from a look at the bytes as they pass.
//!
//! What the client sends is looked at before it goes on, so that a call is opened before its last byte leaves; that is as quick
//! as copying, nearly. What the provider sends is handed on first. Where a policy has a say, see [`guard`].

pub(super) mod guard;
pub(super) mod guarded;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;
use tollgate_ledger::{Id, Opened, Outcome, Record, UpstreamFailure};
use tollgate_llm::{
    Api, HeldMessage, Operation, Sender, SocketEvent, SocketMeter, SocketSession, TurnEnd, Unmetered, UsageSource,
};
use tollgate_policy::{Refused, Reservation};

use self::guard::{Admitted, Guard};
use crate::drain;
use crate::settle::{Bill, Reserved, Settler};

/// The calls on one WebSocket, which are called turns.
pub(super) struct Session {
    meter: Option<SocketMeter>,
    /// What the turns' records have in common.
    common: Record,
    open: Vec<Turn>,
    settler: Arc<Settler>,
    drain: drain::Watch,
    /// Which end said, or showed, first that it was over.
    ended_by: Option<Sender>,
    /// The policy, where there is one.
    guard: Option<Box<Guard>>,
    /// What the server has said of the session, for it.
    said: SocketSession,
}

/// A turn that has not ended.
struct Turn {
    number: u64,
    began: Instant,
    /// As far as it is known.
    record: Record,
    /// What the policy has set aside for it.
    reservation: Option<Reservation>,
}

impl Session {
    pub(super) fn new(meter: SocketMeter, common: Record, settler: Arc<Settler>, drain: drain::Watch) -> Self {
        let (open, said) = (Vec::new(), SocketSession::default());
        Self { meter: Some(meter), common, open, settler, drain, ended_by: None, guard: None, said }
    }

    /// The same, under a policy.
    pub(super) fn guarded(mut self, guard: Guard) -> Self {
        self.guard = Some(Box::new(guard));
        self
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// A client's message has passed the policy, and is handed on next.
    fn pass(&mut self, message: &HeldMessage, admitted: Option<Admitted>) {
        if let Some(guard) = &mut self.guard {
            match admitted {
                Some(admitted) => guard.admit(admitted),
                None => guard.passed(&message.ask),
            }
        }
        self.look(Sender::Client, &message.frames);
        if let Some(guard) = &mut self.guard {
            // Should no response have begun by it, as nobody can tell by which message one would, what was set aside stays spent.
            drop(guard.admitted());
        }
    }

    /// What the server has said of the session.
    fn said(&self) -> SocketSession {
        self.said.clone()
    }

    /// Why the session is to end, if it is: whose response was refused, and by what.
    fn ending(&self) -> Option<(Record, Refused, Api)> {
        let guard = self.guard.as_ref()?;
        Some((self.record(), guard.ending.clone()?, guard.api()))
    }

    /// What refused the response for which we ended the session.
    pub(super) fn ended_for(&self) -> Option<Arc<str>> {
        Some(Arc::clone(&self.guard.as_ref()?.ending.as_ref()?.name))
    }

    /// Whether nothing more can be told of what passes.
    fn is_lost(&self) -> bool {
        self.meter.as_ref().is_some_and(|meter| meter.stopped().is_some())
    }

    /// Looks at bytes from one end.
    fn look(&mut self, sender: Sender, bytes: &[u8]) {
        let Some(mut meter) = self.meter.take() else { return };
        meter.push(sender, bytes);
        if self.guard.is_some() && sender == Sender::Server {
            self.said.clone_from(meter.session());
        }
        for event in meter.events() {
            self.take(event);
        }
        self.ended_by = self.ended_by.or(meter.closed_by());
        self.meter = Some(meter);
    }

    fn take(&mut self, event: SocketEvent) {
        match event {
            SocketEvent::Began { turn, operation, model } => {
                let (record, reservation) = self.begin(operation, model);
                self.settler.observer().opened(&opened(&record));
                self.open.push(Turn { number: turn, began: Instant::now(), record, reservation });
            }
            SocketEvent::Answered { turn, is_content } => {
                if let Some(turn) = self.open.iter_mut().find(|open| open.number == turn) {
                    let elapsed = turn.began.elapsed();
                    turn.record.time_to_first_byte.get_or_insert(elapsed);
                    if is_content {
                        turn.record.time_to_first_token.get_or_insert(elapsed);
                    }
                }
            }
            SocketEvent::Ended { turn, end } => self.settle(turn, *end, Outcome::Completed),
        }
    }

    /// The record of a response that has begun, and what is set aside for it.
    fn begin(&mut self, operation: Operation, model: Option<Arc<str>>) -> (Record, Option<Reservation>) {
        let Some(guard) = &mut self.guard else {
            return (Record { operation, request_model: model, ..self.record() }, None);
        };
        let is_response = operation != Operation::Transcription;
        if is_response && let Some(Admitted { record, reservation }) = guard.admitted() {
            return (Record { operation, ..record }, Some(reservation));
        }
        let (id, started) = (Id::new(), SystemTime::now());
        let mut record = Record { id, started, operation, request_model: model, ..self.common.clone() };
        let (prices, observer) = (&*self.settler.prices(), &**self.settler.observer());
        let reservation = guard.begun(&mut record, &self.said, prices, observer);
        record.charges = reservation.as_ref().map(|reserved| reserved.charges().to_vec()).unwrap_or_default();
        (record, reservation)
    }

    fn settle(&mut self, number: u64, end: TurnEnd, outcome: Outcome) {
        let Some(at) = self.open.iter().position(|turn| turn.number == number) else { return };
        let Turn { began, record, reservation, .. } = self.open.swap_remove(at);
        let TurnEnd { facts, untold, asked } = end;
        if let (Some(guard), Some(usage)) = (&mut self.guard, &facts.usage)
            && record.operation != Operation::Transcription
        {
            guard.ended(usage);
        }
        let record = Record {
            duration: began.elapsed(),
            response_model: facts.model,
            usage: facts.usage,
            usage_source: facts.source,
            outcome,
            error: facts.error,
            ..record
        };
        let reserved = reservation.map(|reservation| Reserved { reservation, is_sent: true });
        let bill = Bill { cost: facts.cost, pointed: facts.pointed, reserved };
        if untold.is_nothing() {
            self.settler.settle(record, bill);
        } else {
            self.settler.estimate(record, bill, untold, asked, self.drain.clone());
        }
    }

    /// Whether both ends have said goodbye.
    pub(super) fn is_closed(&self) -> bool {
        self.meter.as_ref().is_some_and(SocketMeter::is_closed)
    }

    /// The WebSocket is gone. `outcome` is its own; it says why turns were cut off, unless the ends showed it themselves. Tells
    /// why turns may be missing, if they may, and what they would have been.
    pub(super) fn end(mut self, outcome: Outcome) -> Option<(Operation, Unmetered)> {
        self.end_once(outcome).map(|reason| (self.common.operation, reason))
    }

    fn end_once(&mut self, outcome: Outcome) -> Option<Unmetered> {
        let remains = self.meter.take()?.finish();
        let cut = match (outcome, self.ended_by) {
            (Outcome::Stopped | Outcome::Cut, _) => outcome,
            (_, Some(Sender::Client)) | (Outcome::ClientGone, None) => Outcome::ClientGone,
            _ => Outcome::UpstreamFailed(UpstreamFailure::Reset),
        };
        for (turn, mut end) in remains.open {
            // The provider has told why it goes no further.
            let outcome = if end.facts.error.is_some() { Outcome::Completed } else { cut };
            if outcome == cut && end.facts.source == UsageSource::None {
                end.facts.source = UsageSource::Partial;
            }
            self.settle(turn, end, outcome);
        }
        remains.unmetered
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The relay was dropped with the runtime, when the agent ended.
        self.end_once(if self.drain.is_abandoned() { Outcome::Stopped } else { Outcome::ClientGone });
    }
}

fn opened(record: &Record) -> Opened {
    Opened {
        id: record.id,
        started: record.started,
        provider: Arc::clone(&record.provider),
        region: record.region.clone(),
        host: Arc::clone(&record.host),
        operation: record.operation,
        request_model: record.request_model.clone(),
        credential: record.credential.clone(),
        caller: Arc::clone(&record.caller),
        attribution: record.attribution.clone(),
        charges: record.charges.clone(),
    }
}

/// A client's end of a switched connection, whose bytes a session looks at, if there is one.
pub(super) struct Tapped<T> {
    pub(super) io: T,
    pub(super) session: Option<Box<Session>>,
}

impl<T> Tapped<T> {
    fn ended(&mut self, by: Sender) {
        if let Some(session) = &mut self.session {
            session.ended_by.get_or_insert(by);
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Tapped<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let has_room = buf.remaining() > 0;
        let result = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        let bytes = &buf.filled()[before..];
        if result.is_err() || (bytes.is_empty() && has_room) {
            self.ended(Sender::Client);
        } else if let Some(session) = &mut self.session {
            session.look(Sender::Client, bytes);
        }
        Poll::Ready(result)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Tapped<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = ready!(Pin::new(&mut self.io).poll_write(cx, bytes));
        match (&result, &mut self.session) {
            (Ok(written), Some(session)) => session.look(Sender::Server, &bytes[..*written]),
            (Err(_), _) => self.ended(Sender::Client),
            _ => {}
        }
        Poll::Ready(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// The provider has sent all that it will.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended(Sender::Server);
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
