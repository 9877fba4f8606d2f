//! The turns of a session: which response was asked for when, what became of it, and what it consumed.

use std::collections::VecDeque;
use std::sync::Arc;

use http::StatusCode;

use super::fields::{Kind, Name, Report, Request};
use super::{SocketEvent, SocketSession, TurnEnd};
use crate::call::{Api, Operation};
use crate::estimate::Sample;
use crate::failure::ErrorKind;
use crate::response::{ResponseFacts, ResponseMeter, Unmetered};
use crate::usage::UsageSource;

/// How many turns may be open. Responses come one after the other; of Realtime's, some may overlap.
const MAX_OPEN: usize = 64;

/// How long a message may be that is read as a whole.
const MAX_LINE: usize = 4096;

pub(super) struct Turns {
    api: Api,
    /// Asked for with the session.
    asked: Option<Arc<str>>,
    /// Said by the session.
    model: Option<Arc<str>>,
    transcription_model: Option<Arc<str>>,
    pub(super) session: SocketSession,
    /// Oldest first.
    open: VecDeque<Turn>,
    line: Line,
    next: u64,
    pub(super) events: VecDeque<SocketEvent>,
}

struct Turn {
    number: u64,
    operation: Operation,
    /// The name that the client gave its request for it.
    asked_as: Option<Name>,
    /// What the model was given to read.
    asked: Sample,
    /// The response's or item's own name, once the server has told it.
    name: Option<Name>,
    /// The server reported an error that seems to be about this. Another message may yet show that it is not.
    error: Option<ErrorKind>,
    is_answered: bool,
    has_content: bool,
    /// Reads the events of a Responses turn, which are those of its streams over HTTP.
    meter: Option<Box<ResponseMeter>>,
}

/// The message that is being read, as a line of an event stream. Most are short and come in one piece, which their meter can
/// pass over without reading; longer ones are handed on as they come.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    is_long: bool,
}

impl Line {
    fn part(&mut self, bytes: &[u8], meter: &mut ResponseMeter) {
        if !self.is_long && self.bytes.is_empty() {
            self.bytes.extend_from_slice(b"data: ");
        }
        // In JSON they are white space, in event streams the end of a field.
        let pieces = bytes.split(|byte| matches!(byte, b'\r' | b'\n'));
        if !self.is_long && self.bytes.len() + bytes.len() <= MAX_LINE {
            return pieces.for_each(|piece| self.bytes.extend_from_slice(piece));
        }
        if !std::mem::replace(&mut self.is_long, true) {
            meter.push(&self.bytes);
            self.bytes.clear();
        }
        pieces.for_each(|piece| meter.push(piece));
    }

    fn end(&mut self, meter: &mut ResponseMeter) {
        if self.is_long || !self.bytes.is_empty() {
            self.bytes.extend_from_slice(b"\n\n");
            meter.push(&self.bytes);
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.is_long = false;
    }
}

impl Turns {
    pub(super) fn new(api: Api, asked: Option<Arc<str>>) -> Self {
        Self {
            api,
            asked,
            model: None,
            transcription_model: None,
            session: SocketSession::default(),
            open: VecDeque::new(),
            line: Line::default(),
            next: 0,
            events: VecDeque::new(),
        }
    }

    /// The client's message is complete.
    pub(super) fn asked(&mut self, request: Request) {
        if !request.is_create {
            return;
        }
        // Had the errors been about something else, their turns would have gone on.
        while let Some(at) = self.open.iter().position(|turn| turn.error.is_some()) {
            self.end(at, None);
        }
        let turn = self.begin_response(request.model);
        turn.asked_as = request.event;
        turn.asked = request.meter.map(|meter| meter.finish_with_text().1).unwrap_or_default();
    }

    /// A piece of a message of the server's.
    pub(super) fn part(&mut self, bytes: &[u8]) {
        if let Some(meter) = self.open.front_mut().and_then(|turn| turn.meter.as_mut()) {
            self.line.part(bytes, meter);
        }
    }

    /// That message is complete.
    pub(super) fn end_part(&mut self) {
        if let Some(meter) = self.open.front_mut().and_then(|turn| turn.meter.as_mut()) {
            self.line.end(meter);
        }
        self.line.clear();
    }

    /// What a complete message of the server's says.
    pub(super) fn said(&mut self, report: Report) {
        if report.session_model.is_some() {
            self.model.clone_from(&report.session_model);
            self.session.model.clone_from(&report.session_model);
            self.session.max_output_tokens = report.session_bound;
        }
        if report.transcription_model.is_some() {
            self.transcription_model.clone_from(&report.transcription_model);
        }
        match report.kind {
            Kind::Other => {}
            Kind::Updated => self.session.updates += 1,
            Kind::Error => self.failed(&report),
            Kind::Created => {
                let at = self.response(&report);
                self.answered(at, false);
            }
            Kind::Content => {
                if let Some(at) = self.known(&report) {
                    self.answered(at, true);
                }
            }
            Kind::Done => {
                let at = self.response(&report);
                self.answered(at, false);
                self.end(at, Some(report));
            }
            Kind::Transcribing | Kind::Transcribed | Kind::NotTranscribed => self.transcribed(report),
        }
    }

    pub(super) fn finish(mut self) -> Vec<(u64, TurnEnd)> {
        self.open.drain(..).map(|turn| (turn.number, turn.end(None, None))).collect()
    }

    fn begin_response(&mut self, model: Option<Arc<str>>) -> &mut Turn {
        let operation = if self.api == Api::Realtime { Operation::Realtime } else { Operation::Chat };
        let model = model.or_else(|| self.asked.clone()).or_else(|| self.model.clone());
        self.begin(operation, model)
    }

    fn begin(&mut self, operation: Operation, model: Option<Arc<str>>) -> &mut Turn {
        if self.open.len() == MAX_OPEN {
            self.end(0, None);
        }
        let meter = (self.api == Api::Responses)
            .then(|| Box::new(ResponseMeter::new(Api::Responses, StatusCode::OK, Some("text/event-stream"), None)));
        let turn = Turn {
            number: self.next,
            operation,
            asked_as: None,
            asked: Sample::default(),
            name: None,
            error: None,
            is_answered: false,
            has_content: false,
            meter,
        };
        self.next += 1;
        self.events.push_back(SocketEvent::Began { turn: turn.number, operation, model });
        self.open.push_back(turn);
        self.open.back_mut().expect("it was put there")
    }

    /// The turn of the response that a message is about: the one of that name, else the first that has none, else a new one,
    /// as a server that listens for pauses answers unasked.
    fn response(&mut self, report: &Report) -> usize {
        if let Some(at) = self.known(report) {
            return at;
        }
        let unnamed = |turn: &Turn| turn.name.is_none() && turn.operation != Operation::Transcription;
        let at = self.open.iter().position(unnamed).unwrap_or_else(|| {
            self.begin_response(None);
            self.open.len() - 1
        });
        self.open[at].name = report.response;
        at
    }

    /// The turn that a message names, or the only one it can be about.
    fn known(&self, report: &Report) -> Option<usize> {
        let named = report.response.and_then(|name| self.open.iter().position(|turn| turn.name == Some(name)));
        named.or_else(|| {
            (self.api == Api::Responses && !self.open.is_empty() && report.kind != Kind::Created).then_some(0)
        })
    }

    fn answered(&mut self, at: usize, is_content: bool) {
        let turn = &mut self.open[at];
        // It goes on, so the error was about something else.
        if self.api == Api::Realtime {
            turn.error = None;
        }
        if !turn.is_answered || is_content && !turn.has_content {
            turn.is_answered = true;
            turn.has_content |= is_content;
            self.events.push_back(SocketEvent::Answered { turn: turn.number, is_content });
        }
    }

    fn failed(&mut self, report: &Report) {
        let error = Some(report.error.unwrap_or(ErrorKind::Other));
        let asked = report.error_event.and_then(|name| self.open.iter().position(|turn| turn.asked_as == Some(name)));
        if let Some(at) = asked {
            self.open[at].error = error;
            return self.end(at, None);
        }
        // Realtime reports errors of all kinds of requests, by the names that the client gave them or by none.
        let unnamed = |turn: &Turn| turn.name.is_none() && turn.error.is_none();
        let at = match self.api {
            Api::Responses if !self.open.is_empty() => 0,
            Api::Realtime if report.error_event.is_none() => match self.open.iter().position(unnamed) {
                Some(at) => at,
                None => return,
            },
            _ => return,
        };
        let is_begun = self.open[at].name.is_some();
        self.open[at].error = error;
        if self.api == Api::Responses && !is_begun {
            return self.end(at, None);
        }
        let turn = &mut self.open[at];
        turn.is_answered = true;
        self.events.push_back(SocketEvent::Answered { turn: turn.number, is_content: false });
    }

    fn transcribed(&mut self, report: Report) {
        let is_it = |turn: &Turn| turn.operation == Operation::Transcription && turn.name == report.item;
        let at = self.open.iter().position(is_it).unwrap_or_else(|| {
            self.begin(Operation::Transcription, self.transcription_model.clone()).name = report.item;
            self.open.len() - 1
        });
        self.answered(at, report.kind == Kind::Transcribing);
        if report.kind != Kind::Transcribing {
            self.end(at, Some(report));
        }
    }

    fn end(&mut self, at: usize, report: Option<Report>) {
        let Some(turn) = self.open.remove(at) else { return };
        let model = if turn.operation == Operation::Transcription { None } else { self.model.clone() };
        let number = turn.number;
        self.events.push_back(SocketEvent::Ended { turn: number, end: Box::new(turn.end(report, model)) });
    }
}

impl Turn {
    fn end(self, report: Option<Report>, model: Option<Arc<str>>) -> TurnEnd {
        if let Some(meter) = self.meter {
            let (facts, untold) = meter.finish_with_untold();
            let facts = ResponseFacts { error: facts.error.or(self.error), ..facts };
            return TurnEnd { facts, untold, asked: self.asked };
        }
        let report = report.unwrap_or_default();
        let failure = (report.has_failed || report.kind == Kind::NotTranscribed)
            .then(|| report.error.unwrap_or(ErrorKind::Other));
        let source = if report.usage.is_some() { UsageSource::Provider } else { UsageSource::None };
        let facts = ResponseFacts {
            usage: report.usage,
            source,
            unmetered: report.usage.is_none().then_some(Unmetered::NotReported),
            model,
            error: failure.or(self.error),
            ..ResponseFacts::default()
        };
        // What is said aloud cannot be estimated from text.
        TurnEnd { facts, ..TurnEnd::default() }
    }
}
