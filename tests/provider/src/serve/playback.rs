//! The response body that plays a script and records what it wrote.

use std::future::Future;
use std::iter::Peekable;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Body, Frame, SizeHint};

use super::wire::Conn;
use crate::fault::CutHow;
use crate::script::{Script, Step};
use crate::truth::{Outcome, Ticket};

/// Why a body broke off, told to the HTTP library alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("cut off on purpose")]
    OnPurpose,
    /// The reason code travels in RST_STREAM.
    #[error(transparent)]
    Stream(#[from] h2::Error),
}

/// Steps that arrive from another task.
pub(crate) type Live = Pin<Box<dyn Stream<Item = Step> + Send>>;
type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) struct Playback {
    steps: Peekable<Box<dyn Iterator<Item = Step> + Send>>,
    /// Steps that come as they arrive from elsewhere, after the others.
    live: Option<Live>,
    length: Option<u64>,
    wait: Option<Wait>,
    ended: bool,
    /// None where the exchange outlives its response, as upgrades do.
    ticket: Option<Ticket>,
    conn: Arc<Conn>,
}

impl Playback {
    pub(crate) fn new(script: Script, ticket: Ticket, conn: Arc<Conn>) -> Self {
        let mut playback = Self { ticket: Some(ticket), length: script.length, ..Self::nothing(conn) };
        playback.ended = false;
        playback.steps = script.steps.peekable();
        playback.end_if_done();
        playback
    }

    /// A body whose steps arrive while it is written.
    pub(crate) fn live(live: Live, ticket: Ticket, conn: Arc<Conn>) -> Self {
        Self { ticket: Some(ticket), live: Some(live), ended: false, ..Self::nothing(conn) }
    }

    /// The body of a response that has none: to HEAD.
    pub(crate) fn empty(mut ticket: Ticket, conn: Arc<Conn>) -> Self {
        ticket.end(Outcome::Completed);
        Self::nothing(conn)
    }

    /// No body and no record.
    pub(crate) fn nothing(conn: Arc<Conn>) -> Self {
        let steps: Box<dyn Iterator<Item = Step> + Send> = Box::new(std::iter::empty());
        Self { steps: steps.peekable(), live: None, length: None, wait: None, ended: true, ticket: None, conn }
    }

    fn end(&mut self, outcome: Outcome) {
        self.ended = true;
        if let Some(ticket) = &mut self.ticket {
            ticket.end(outcome);
        }
    }

    fn end_if_done(&mut self) {
        if self.live.is_none() && self.steps.peek().is_none() {
            self.end(Outcome::Completed);
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        match (self.steps.next(), &mut self.live) {
            (None, Some(live)) => live.as_mut().poll_next(cx),
            (step, _) => Poll::Ready(step),
        }
    }

    fn fail(&mut self, how: CutHow) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.end(Outcome::Faulted);
        match how {
            CutHow::Error | CutHow::Stall => Poll::Ready(None),
            // END_STREAM short of content-length, or of the dialect's end.
            CutHow::Truncate if self.conn.http2 => Poll::Ready(None),
            CutHow::Truncate => Poll::Ready(Some(Err(Broken::OnPurpose))),
            CutHow::Reset if self.conn.http2 => {
                Poll::Ready(Some(Err(h2::Error::from(h2::Reason::INTERNAL_ERROR).into())))
            }
            CutHow::Reset | CutHow::ResetConnection => {
                // Nothing more is to be said, not even RST_STREAM: the connection's task drops all of this.
                self.conn.kill(true);
                self.wait = Some(Box::pin(std::future::pending()));
                Poll::Pending
            }
        }
    }
}

impl Body for Playback {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        loop {
            if let Some(wait) = &mut this.wait {
                ready!(wait.as_mut().poll(cx));
                this.wait = None;
            }
            if this.ended {
                return Poll::Ready(None);
            }
            match ready!(this.poll_step(cx)) {
                None => {
                    this.end(Outcome::Completed);
                    return Poll::Ready(None);
                }
                Some(Step::Data(data, usage)) => {
                    if let Some(ticket) = &mut this.ticket {
                        ticket.wrote(data.len(), usage);
                    }
                    this.end_if_done();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Step::Say(said)) => {
                    if let Some(ticket) = &this.ticket {
                        ticket.said(said);
                    }
                }
                Some(Step::Trailers(trailers)) => {
                    this.end_if_done();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Some(Step::Fail(how)) => return this.fail(how),
                Some(Step::Wait(duration)) => this.wait = Some(Box::pin(tokio::time::sleep(duration))),
                Some(Step::Gate(gate)) => this.wait = Some(Box::pin(gate.pass())),
                Some(Step::Flush) => this.wait = Some(Box::pin(tokio::task::yield_now())),
                Some(Step::Stall) => this.wait = Some(Box::pin(std::future::pending())),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
