//! From a body to a stream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::SendStream;
use http_body::{Body, Frame};

use crate::http::BodyError;

/// Sends a body on a stream, to the body's end or the stream's. A body that fails resets the stream.
pub(crate) struct Pipe<B> {
    body: B,
    stream: SendStream<Bytes>,
    /// What is to be sent once the peer has room for it.
    waiting: Option<Bytes>,
}

/// The stream has ended before the body: there is nobody to tell.
struct Ended;

impl From<h2::Error> for Ended {
    fn from(_error: h2::Error) -> Self {
        Self
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Pipe<B> {
    pub(crate) fn new(body: B, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, waiting: None }
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        loop {
            if self.waiting.is_some() {
                ready!(self.poll_room(context))?;
            }
            if let Some(data) = self.waiting.take() {
                self.stream.send_data(data, false)?;
            }
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
                return self.stream.poll_reset(context)?.map(|_reason| Err(Ended));
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                // It may as well wait in h2.
                Some(Ok(Ok(data))) if self.body.is_end_stream() => {
                    self.stream.send_data(data, true)?;
                    return Poll::Ready(Ok(()));
                }
                Some(Ok(Ok(data))) => {
                    // Room for one byte, whatever there is: claimed at the connection's, it is missing to its other streams. What
                    // is sent beyond the peer's room waits in h2, which asks for the rest.
                    if !data.is_empty() {
                        self.stream.reserve_capacity(1);
                    }
                    self.waiting = Some(data);
                }
                Some(Ok(Err(frame))) => {
                    let Ok(trailers) = frame.into_trailers() else { continue };
                    self.stream.reserve_capacity(0);
                    self.stream.send_trailers(trailers)?;
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => {
                    self.stream.send_reset(super::reason(&error));
                    return Poll::Ready(Err(Ended));
                }
                None => {
                    self.stream.send_data(Bytes::new(), true)?;
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }

    /// Waits until the peer has room for what waits.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let is_empty = self.waiting.as_ref().is_none_or(Bytes::is_empty);
        while !is_empty && self.stream.capacity() == 0 {
            if ready!(self.stream.poll_capacity(context)).ok_or(Ended)?? > 0 {
                break;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Future for Pipe<B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.poll_send(context).map(drop)
    }
}
