//! The body of a response on its way to the client: each frame is handed on before it is looked at, and the exchange ends with
//! it, however it ends.

mod cutting;
mod draining;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use tollgate_ledger::{Outcome, UpstreamFailure};
use tollgate_llm::ChunkRemover;

pub(super) use self::cutting::Cutting;
use self::cutting::Piece;
pub(super) use self::draining::{Draining, Sent};
use super::request::BodyError;
use crate::exchange::Open;
use crate::http2::{ReceiveError, Received};
use crate::upstream::Lease;

/// What a client is sent.
pub enum ResponseBody {
    /// Our own words.
    Own(Full<Bytes>),
    /// The provider's.
    Relayed(Relayed),
    /// Our own words at the end of the provider's.
    Ending(Ending),
}

/// Words that are a chunk of their own over HTTP/1.1, in a TLS record of their own if the client reads as fast as we write:
/// google-genai for JavaScript knows an error by its being all that one read gave (seen in 1.0 to 2.32).
pub struct Ending {
    words: Bytes,
    flushed: bool,
}

/// The body of a provider's response.
pub struct Relayed {
    /// Taken when the client has left.
    relaying: Option<Box<Relaying>>,
}

struct Relaying {
    inner: Received,
    open: Open,
    lease: Option<Lease>,
    /// The head says `content-length`, on HTTP/1.1.
    framed: bool,
    /// It was ended before its end, and nothing more is to be asked of it. What is to be said instead; nothing if it is broken off.
    cut: Option<Bytes>,
    rare: Option<Box<Rare>>,
}

/// What most responses have no need of.
pub(super) struct Rare {
    read: VecDeque<Result<Frame<Bytes>, ReceiveError>>,
    /// Takes out what the client did not ask for.
    remover: Option<ChunkRemover>,
    /// What comes after that which the remover gave at the end.
    after: Option<Polled>,
    /// What the remover gave at the end was flushed.
    flushed: bool,
    /// What is done when the client leaves.
    draining: Option<Arc<Draining>>,
    /// Whether it may be ended before its end.
    cutting: Option<Cutting>,
}

impl Rare {
    /// `read` is what was read of the body before.
    pub(super) fn new(
        read: VecDeque<Result<Frame<Bytes>, ReceiveError>>,
        remover: Option<ChunkRemover>,
        draining: Option<Arc<Draining>>,
    ) -> Self {
        Self { read, remover, after: None, flushed: false, draining, cutting: None }
    }

    /// The same, of an answer that may be ended before its end.
    pub(super) fn cut_by(self, cutting: Option<Cutting>) -> Self {
        Self { cutting, ..self }
    }

    fn is_needed(&self) -> bool {
        !self.read.is_empty() || self.remover.is_some() || self.draining.is_some() || self.cutting.is_some()
    }

    /// Whether there is more to hand on than what is still to come.
    fn has_more(&self) -> bool {
        !self.read.is_empty()
            || self.after.is_some()
            || self.remover.as_ref().is_some_and(|remover| !remover.is_empty())
    }
}

type Polled = Option<Result<Frame<Bytes>, ReceiveError>>;

impl Relayed {
    pub(super) fn new(inner: Received, open: Open, lease: Lease, framed: bool, rare: Rare) -> Self {
        let rare = rare.is_needed().then(|| Box::new(rare));
        Self { relaying: Some(Box::new(Relaying { inner, open, lease: Some(lease), framed, cut: None, rare })) }
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        let Some(mut relaying) = self.relaying.take() else { return };
        // hyper does not ask again once `content-length` is reached, and drops the body.
        if relaying.has_ended() {
            relaying.complete();
        } else if let Some(draining) = relaying.rare.as_mut().and_then(|rare| rare.draining.take()) {
            draining.begin(relaying);
        }
        // Otherwise `Open` says that the client is gone, and dropping the rest cancels the provider's work at once.
    }
}

impl Relaying {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(exchange) = self.open.exchange() {
            exchange.resume();
        }
        let polled = loop {
            let Poll::Ready(polled) = self.poll_provider(context) else { break Poll::Pending };
            // Or all of it was taken out, or is held back.
            if let Some(rest) = self.remove(polled) {
                break Poll::Ready(rest);
            }
        };
        let polled = match polled {
            Poll::Ready(Some(Ok(frame))) => match self.cut(frame) {
                Ok(frame) => Poll::Ready(Some(Ok(frame))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            },
            polled => polled,
        };
        match &polled {
            Poll::Pending => {
                if let Some(exchange) = self.open.exchange() {
                    exchange.idle(context);
                }
            }
            Poll::Ready(None) => self.complete(),
            Poll::Ready(Some(Err(error))) => {
                self.lease = None;
                self.open.end(Outcome::UpstreamFailed(failure(error)));
            }
            Poll::Ready(Some(Ok(frame))) if frame.is_trailers() => self.complete(),
            Poll::Ready(Some(Ok(_))) => {}
        }
        polled.map_err(BodyError::Upstream)
    }

    /// What the provider sends next. The meter is shown it.
    fn poll_provider(&mut self, context: &mut Context<'_>) -> Poll<Polled> {
        if let Some(rare) = &mut self.rare
            && let Some(after) = rare.after.take()
        {
            // An error throws away what the connection has not flushed.
            if matches!(after, Some(Err(_))) && !std::mem::replace(&mut rare.flushed, true) {
                rare.after = Some(after);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(after);
        }
        let read = self.rare.as_mut().and_then(|rare| rare.read.pop_front());
        let polled = match read {
            Some(frame) => Some(frame),
            None => ready!(Pin::new(&mut self.inner).poll_frame(context)),
        };
        if let (Some(Ok(frame)), Some(exchange)) = (&polled, self.open.exchange())
            && let Some(data) = frame.data_ref()
        {
            exchange.passed(data);
        }
        if (polled.is_none() || self.inner.is_end_stream())
            && let Some(exchange) = self.open.exchange()
        {
            exchange.has_come();
        }
        Poll::Ready(polled)
    }

    /// What of it the client gets; `None` for nothing yet.
    fn remove(&mut self, polled: Polled) -> Option<Polled> {
        let Some(Rare { remover: Some(remover), after, .. }) = self.rare.as_deref_mut() else { return Some(polled) };
        let rest = match polled {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let rest = remover.push(&data);
                    return (!rest.is_empty()).then(|| Some(Ok(Frame::data(rest))));
                }
                Err(trailers) => Some(Ok(trailers)),
            },
            end => end,
        };
        let held = remover.finish();
        if held.is_empty() {
            return Some(rest);
        }
        *after = Some(rest);
        Some(Some(Ok(Frame::data(held))))
    }

    /// What of it the client gets where the answer is to be ended before its end; the error breaks it off.
    fn cut(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let Some(cutting) = self.rare.as_deref_mut().and_then(|rare| rare.cutting.as_mut()) else { return Ok(frame) };
        let piece = match frame.into_data() {
            Ok(data) => cutting.pass(data, self.open.exchange()),
            Err(frame) => return Ok(frame),
        };
        let (passed, words) = match piece {
            Piece::Passes(data) => return Ok(Frame::data(data)),
            Piece::Last(data, words) => (Ok(Frame::data(data)), words),
            Piece::Broken => (Err(BodyError::cut()), Bytes::new()),
        };
        self.cut = Some(words);
        self.open.end(Outcome::Cut);
        passed
    }

    /// Whether a budget is spent that would have cut it, had its client not left.
    fn is_spent(&mut self, bytes: usize) -> bool {
        let cutting = self.rare.as_deref_mut().and_then(|rare| rare.cutting.as_mut());
        cutting.zip(self.open.exchange()).is_some_and(|(cutting, exchange)| cutting.is_spent(bytes, exchange))
    }

    /// Whether all was handed on.
    fn has_ended(&self) -> bool {
        self.inner.is_end_stream() && !self.rare.as_ref().is_some_and(|rare| rare.has_more())
    }

    fn complete(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        self.open.end(Outcome::Completed);
    }
}

/// What an error in the middle of a response means.
fn failure(error: &ReceiveError) -> UpstreamFailure {
    if error.is_parse() { UpstreamFailure::Protocol } else { UpstreamFailure::Reset }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        match body {
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Relayed(Relayed { relaying: relaying @ Some(_) }) => {
                let polled = relaying.as_mut().expect("as matched").poll(context);
                let Some(words) = relaying.as_mut().and_then(|relaying| relaying.cut.take()) else { return polled };
                // Dropped, the rest tells the provider to stop.
                *body = Self::Ending(Ending { words, flushed: false });
                match polled {
                    Poll::Ready(Some(Ok(frame))) if frame.data_ref().is_some_and(Bytes::is_empty) => {
                        Pin::new(body).poll_frame(context)
                    }
                    polled => polled,
                }
            }
            Self::Relayed(Relayed { relaying: None }) => Poll::Ready(None),
            Self::Ending(Ending { words, .. }) if words.is_empty() => Poll::Ready(None),
            Self::Ending(Ending { flushed: flushed @ false, .. }) => {
                *flushed = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Self::Ending(Ending { words, .. }) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(words))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            // Of a body known to be empty hyper takes the `content-length` away, to write its own after all other fields.
            Self::Relayed(relayed) => relayed.relaying.as_ref().is_none_or(|it| it.has_ended() && !it.framed),
            Self::Ending(ending) => ending.words.is_empty(),
        }
    }

    /// Exact for our own words only: hyper would add a `content-length` that the provider did not send.
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Relayed(_) | Self::Ending(_) => SizeHint::default(),
        }
    }
}
