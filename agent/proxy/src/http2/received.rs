//! Bodies as they come in, from clients and from providers, over either protocol.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::Switched;

/// A body as it comes in.
pub(crate) enum Received {
    /// Over HTTP/1.1.
    Http1(Incoming),
    /// Over HTTP/2.
    Http2(RecvStream),
    /// There is none: the stream has switched to another protocol.
    Switched(Box<Switched>),
    /// There is none: it is another protocol's stream, or is to be.
    Nothing,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Over HTTP/1.1.
    #[error("{0}")]
    Http1(#[from] hyper::Error),
    /// Over HTTP/2.
    #[error("{0}")]
    Http2(#[from] h2::Error),
}

impl ReceiveError {
    /// Whether what came is not HTTP.
    pub(crate) fn is_parse(&self) -> bool {
        matches!(self, Self::Http1(error) if error.is_parse())
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = ReceiveError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReceiveError>>> {
        match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(context).map_err(ReceiveError::Http1),
            Self::Http2(stream) => poll_stream(stream, context),
            Self::Switched(_) | Self::Nothing => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(stream) => stream.is_end_stream(),
            Self::Switched(_) | Self::Nothing => true,
        }
    }
}

fn poll_stream(stream: &mut RecvStream, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReceiveError>>> {
    let received = match ready!(stream.poll_data(context)) {
        Some(Ok(data)) => {
            // What was taken is on its way out already; who sends it waits for room there.
            stream.flow_control().release_capacity(data.len()).map(|()| Some(Frame::data(data)))
        }
        Some(Err(error)) => Err(error),
        None => ready!(stream.poll_trailers(context)).map(|trailers| trailers.map(Frame::trailers)),
    };
    Poll::Ready(match received {
        // An answer may be complete before its request is, and end so (RFC 9113 § 8.1).
        Err(error) if error.reason() == Some(Reason::NO_ERROR) => None,
        received => received.map_err(ReceiveError::Http2).transpose(),
    })
}
