//! The body of a request on its way to the provider.
//!
//! [`RequestSource`] owns what the client sends; [`RequestBody`] is one attempt to send it. While a retry is possible the first
//! bytes are kept, within a bound, so that a second attempt can begin again. A frame is handed on before it is looked at.

mod collect;

use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Sleep;
use tollgate_llm::{Edits, RequestFacts, RequestMeter, Sample};

use self::collect::{Ahead, Collected};
pub(super) use self::collect::{Budget, Collection, DISCARDED, LARGEST, PAUSE, Room, Terms};
use super::backlog::Backlog;
use crate::http2::{ReceiveError, Received};

/// How much of a body is kept for a second attempt. Chat requests fit; long contexts go out on connections that need none.
const KEPT: usize = 256 * 1024;

/// How long a client that said `Expect: 100-continue` is left waiting for a provider that says nothing. curl waits as long
/// (RFC 9110 § 10.1.1 leaves it open).
const CONTINUE: Duration = Duration::from_secs(1);

/// Why a body broke off on its way.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client broke its request off.
    #[error("the client broke its request off")]
    Client(#[source] h2::Error),
    /// The provider broke its response off.
    #[error("the provider broke its response off: {0}")]
    Upstream(#[source] ReceiveError),
    /// A budget is spent that cuts answers, and this one has no room for a word about it.
    #[error("the answer was broken off, as a budget is spent")]
    Cut(#[source] h2::Error),
    /// This attempt was given up for another.
    #[error("the attempt was given up")]
    GivenUp(#[source] h2::Error),
}

impl BodyError {
    // An HTTP/2 stream is reset with the reason found among the sources.
    fn client() -> Self {
        Self::Client(h2::Reason::CANCEL.into())
    }

    /// The answer is ended by us.
    pub(super) fn cut() -> Self {
        Self::Cut(h2::Reason::CANCEL.into())
    }

    fn given_up() -> Self {
        Self::GivenUp(h2::Reason::CANCEL.into())
    }
}

/// What the client sends, and what was learned from it. Clones are the same body.
#[derive(Clone)]
pub(crate) struct RequestSource {
    state: Arc<Mutex<State>>,
}

struct State {
    body: Option<Received>,
    ended: Option<End>,
    attempt: u32,
    keep: Keep,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    /// There can be no other attempt: bytes were handed on that are not kept.
    lost: bool,
    gate: Gate,
    waker: Option<Waker>,
    meter: Option<RequestMeter>,
    backlog: Backlog,
    bytes: u64,
    /// The latest attempt has handed on all there is.
    is_sent: bool,
    /// What was collected before anything was sent. Each attempt begins with it.
    collected: Option<Arc<Collected>>,
    /// How the next attempt sends it.
    edits: Option<Arc<Edits>>,
    /// A provider may refuse what is edited.
    is_refusable: bool,
}

/// What becomes of what comes, beside being handed on.
#[derive(PartialEq)]
enum Keep {
    Nothing,
    /// It is kept for another attempt.
    Kept,
    /// It is collected before the first.
    Collected,
}

#[derive(Clone)]
enum End {
    Complete(Option<HeaderMap>),
    Broken,
    Closed,
}

/// Whether the body may be asked for. Asking makes hyper send the client its `100 Continue`.
enum Gate {
    Open,
    Shut,
    Waiting(Pin<Box<Sleep>>),
}

/// What a settled request was.
pub(crate) struct Settled {
    pub(crate) facts: RequestFacts,
    /// What the model was given to read.
    pub(crate) text: Sample,
    /// All of it was handed on to the provider.
    pub(crate) is_sent: bool,
    pub(crate) bytes: u64,
}

impl RequestSource {
    pub(crate) fn new(body: Received, meter: RequestMeter) -> Self {
        let state = State {
            body: Some(body),
            ended: None,
            attempt: 0,
            keep: Keep::Nothing,
            kept: Vec::new(),
            kept_bytes: 0,
            lost: false,
            gate: Gate::Open,
            waker: None,
            meter: Some(meter),
            backlog: Backlog::default(),
            bytes: 0,
            is_sent: false,
            collected: None,
            edits: None,
            is_refusable: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Whether the client sends no body at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.state.lock().body.as_ref().is_some_and(Body::is_end_stream)
    }

    /// A new attempt; earlier ones yield an error from now on. `keep` is for attempts that may have to be repeated.
    pub(crate) fn attempt(&self, keep: bool) -> RequestBody {
        let mut state = self.state.lock();
        state.attempt += 1;
        state.is_sent = false;
        state.keep = if keep { Keep::Kept } else { Keep::Nothing };
        let ahead = state.collected.clone().map(|collected| Ahead::new(collected, state.edits.clone()));
        // Its own, as what is kept may be let go of while this is being sent again.
        let again = state.kept.clone().into();
        RequestBody { state: Arc::clone(&self.state), attempt: state.attempt, ahead, again, has_begun: false }
    }

    /// Whether another attempt would send all that the earlier ones did.
    pub(crate) fn can_repeat(&self) -> bool {
        let state = self.state.lock();
        !state.lost && !matches!(state.ended, Some(End::Broken | End::Closed))
    }

    /// Lets go of what was kept. Only a request of which nothing was sent but its head can be repeated after this.
    pub(crate) fn forget_kept(&self) {
        let mut state = self.state.lock();
        state.keep = Keep::Nothing;
        state.lost |= !state.kept.is_empty();
        state.kept = Vec::new();
        state.kept_bytes = 0;
        // It stays for a provider that refuses the edit.
        if !state.is_refusable {
            state.lost |= state.collected.take().is_some();
        }
    }

    /// Whether all of it was handed on to the provider, or there is nothing.
    pub(crate) fn is_sent(&self) -> bool {
        let state = self.state.lock();
        state.is_sent || state.body.as_ref().is_some_and(Body::is_end_stream)
    }

    /// Whether the client has sent all.
    pub(crate) fn is_received(&self) -> bool {
        self.state.lock().has_ended()
    }

    /// Whether the client broke off.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(self.state.lock().ended, Some(End::Broken))
    }

    /// Holds the body back until [`Self::proceed`], for `Expect: 100-continue`.
    pub(crate) fn hold(&self) {
        self.state.lock().gate = Gate::Shut;
    }

    /// The provider said `100 Continue`.
    pub(crate) fn proceed(&self) {
        let mut state = self.state.lock();
        state.gate = Gate::Open;
        state.wake();
    }

    /// Counts bytes that went to the provider after a protocol switch.
    pub(crate) fn relayed(&self, bytes: u64) {
        self.state.lock().bytes += bytes;
    }

    /// The exchange is over. A body nobody asked for is let go; one that is being sent goes on.
    pub(crate) fn settle(&self) -> Settled {
        let mut state = self.state.lock();
        if !matches!(state.gate, Gate::Open) {
            state.body = None;
            state.ended.get_or_insert(End::Closed);
            state.gate = Gate::Open;
            state.wake();
        }
        state.collected = None;
        state.look();
        let (facts, text) = state.meter.take().map(RequestMeter::finish_with_text).unwrap_or_default();
        Settled { facts, text, is_sent: state.is_sent, bytes: state.bytes }
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn look(&mut self) {
        match &mut self.meter {
            Some(meter) => self.backlog.drain(|bytes| meter.push(bytes)),
            None => self.backlog.drain(|_| ()),
        }
    }

    fn poll_gate(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if matches!(self.gate, Gate::Shut) {
            self.gate = Gate::Waiting(Box::pin(tokio::time::sleep(CONTINUE)));
        }
        if let Gate::Waiting(sleep) = &mut self.gate {
            if sleep.as_mut().poll(context).is_pending() {
                self.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            self.gate = Gate::Open;
        }
        Poll::Ready(())
    }

    fn poll_client(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(meter) = &mut self.meter {
            self.backlog.resume(|bytes| meter.push(bytes));
        }
        let Some(body) = &mut self.body else {
            return Poll::Ready(match &self.ended {
                // Trailers that an earlier attempt sent are sent again.
                Some(End::Complete(trailers)) => trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))),
                Some(End::Broken) => Some(Err(BodyError::client())),
                Some(End::Closed) | None => Some(Err(BodyError::given_up())),
            });
        };
        let frame = match Pin::new(body).poll_frame(context) {
            Poll::Pending => {
                self.backlog.idle(context);
                self.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(frame) => frame,
        };
        Poll::Ready(match frame {
            None => {
                self.end(End::Complete(None));
                None
            }
            Some(Err(_error)) => {
                self.end(End::Broken);
                Some(Err(BodyError::client()))
            }
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.passed(data);
                    if self.body.as_ref().is_some_and(Body::is_end_stream) {
                        self.end(End::Complete(None));
                    }
                } else if let Some(trailers) = frame.trailers_ref() {
                    let keeps = self.keep != Keep::Nothing;
                    self.lost |= !keeps;
                    self.end(End::Complete(keeps.then(|| trailers.clone())));
                }
                Some(Ok(frame))
            }
        })
    }

    /// Whether the client has sent all.
    fn has_ended(&self) -> bool {
        matches!(self.ended, Some(End::Complete(_))) || self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn end(&mut self, end: End) {
        self.body = None;
        self.ended = Some(end);
    }

    fn passed(&mut self, data: &Bytes) {
        self.bytes += data.len() as u64;
        if let Some(meter) = &mut self.meter {
            self.backlog.passed(data, |bytes| meter.push(bytes));
        }
        if self.keep == Keep::Collected {
            return;
        }
        if self.keep == Keep::Kept && !self.lost && self.kept_bytes + data.len() <= KEPT {
            self.kept_bytes += data.len();
            self.kept.push(data.clone());
        } else {
            self.lost = true;
            self.kept = Vec::new();
            self.kept_bytes = 0;
            self.collected = None;
        }
    }
}

/// One attempt to send a request's body.
pub struct RequestBody {
    state: Arc<Mutex<State>>,
    attempt: u32,
    /// What was collected, until it is sent.
    ahead: Option<Ahead>,
    /// What an earlier attempt has sent, until it is sent again.
    again: VecDeque<Bytes>,
    /// It was asked for a frame.
    has_begun: bool,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        this.has_begun = true;
        let mut state = this.state.lock();
        if state.attempt != this.attempt {
            return Poll::Ready(Some(Err(BodyError::given_up())));
        }
        if let Some(piece) = this.ahead.as_mut().and_then(Ahead::next) {
            // Once `content-length` is reached, hyper does not ask again.
            state.is_sent = this.ahead.as_ref().is_some_and(Ahead::is_spent) && state.has_ended();
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        this.ahead = None;
        if let Some(kept) = this.again.pop_front() {
            state.is_sent = this.again.is_empty() && state.has_ended();
            return Poll::Ready(Some(Ok(Frame::data(kept))));
        }
        if state.poll_gate(context).is_pending() {
            return Poll::Pending;
        }
        let polled = state.poll_client(context);
        state.is_sent |= polled.is_ready() && state.has_ended();
        polled
    }

    /// Known with the last frame, so that HTTP/2 ends the stream with it and not with an empty one after it.
    fn is_end_stream(&self) -> bool {
        let state = self.state.lock();
        let has_ended = match (&state.body, &state.ended) {
            (Some(body), _) => body.is_end_stream(),
            // Of one known to be empty hyper would take the framing from the head.
            (None, Some(End::Complete(trailers))) => trailers.is_none() && self.has_begun,
            (None, _) => false,
        };
        has_ended
            && state.attempt == self.attempt
            && self.again.is_empty()
            && self.ahead.as_ref().is_none_or(|ahead| self.has_begun && ahead.is_spent())
    }

    /// Never exact: hyper would add a `content-length` that the client did not send.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
