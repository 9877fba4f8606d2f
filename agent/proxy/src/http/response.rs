//! The body of a response on its way to the client: each frame is handed on before it is looked at, and the exchange ends with
//! it, however it ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tollgate_ledger::{Outcome, UpstreamFailure};

use super::request::BodyError;
use crate::exchange::Open;
use crate::upstream::Lease;

/// What a client is sent.
pub enum ResponseBody {
    /// Our own words.
    Own(Full<Bytes>),
    /// The provider's.
    Relayed(Box<Relayed>),
}

/// The body of a provider's response.
pub struct Relayed {
    inner: Incoming,
    open: Open,
    lease: Option<Lease>,
    /// The head says `content-length`, on HTTP/1.1.
    framed: bool,
}

impl Relayed {
    pub(crate) fn new(inner: Incoming, open: Open, lease: Lease, framed: bool) -> Self {
        Self { inner, open, lease: Some(lease), framed }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(exchange) = self.open.exchange() {
            exchange.resume();
        }
        let polled = Pin::new(&mut self.inner).poll_frame(context);
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
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(data), Some(exchange)) = (frame.data_ref(), self.open.exchange()) {
                    exchange.passed(data);
                } else if frame.is_trailers() {
                    self.complete();
                }
            }
        }
        polled.map_err(BodyError::Upstream)
    }

    fn complete(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
        self.open.end(Outcome::Completed);
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        // hyper does not ask again once `content-length` is reached, and drops the body.
        if self.inner.is_end_stream() {
            self.complete();
        }
        // Otherwise `Open` says that the client is gone, and dropping `inner` cancels the provider's work at once.
    }
}

/// What an error in the middle of a response means.
fn failure(error: &hyper::Error) -> UpstreamFailure {
    if error.is_parse() { UpstreamFailure::Protocol } else { UpstreamFailure::Reset }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Own(body) => Pin::new(body).poll_frame(context).map_err(|never| match never {}),
            Self::Relayed(relayed) => relayed.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            // Of a body known to be empty hyper takes the `content-length` away, to write its own after all other fields.
            Self::Relayed(relayed) => relayed.inner.is_end_stream() && !relayed.framed,
        }
    }

    /// Exact for our own words only: hyper would add a `content-length` that the provider did not send.
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Relayed(_) => SizeHint::default(),
        }
    }
}
