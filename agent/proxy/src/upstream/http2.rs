//! HTTP/2 connections to providers.

use std::future::{Future as _, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;

use bytes::Bytes;
use h2::client::{self, Connection, SendRequest};
use http::{Method, Request, Response};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::yield_now;

use crate::gathered::{Gathered, Outbox, gather};
use crate::http::MAX_HEADER_LIST;
use crate::http::request::RequestBody;
use crate::http2::{Pipe, ReceiveError, Received, SEND_BUFFER, Switched};

/// What one stream may have in flight towards us: 5 MB/s over 100 ms.
const STREAM_WINDOW: u32 = 512 * 1024;

/// What a connection may have in flight towards us, which bounds what it makes us hold. An answer that its client does not read
/// holds one stream's share of it; it takes 32 of them, all of one user, to stop the connection's other answers.
const CONNECTION_WINDOW: u32 = 32 * STREAM_WINDOW;

/// How many streams are opened before the server has said how many it allows (RFC 9113 § 6.5.2).
const STREAMS: usize = 100;

/// Sends requests on a connection, which lasts as long as there is one of these or a stream. Clones are of the same.
#[derive(Clone)]
pub(super) struct Requests {
    inner: SendRequest<Bytes>,
    known: Arc<Known>,
}

/// What the pool asks of a connection for each request. h2 would have to be asked under its lock, which is held while a connection
/// sends; and the pool has a lock of its own, which all requests wait for.
struct Known {
    /// It takes no more requests: it has ended, or has refused one.
    is_closed: AtomicBool,
    /// How many streams the server allows.
    streams: AtomicUsize,
}

/// Why a request got no answer.
pub(super) enum Unanswered {
    /// It was never written.
    Unsent(ReceiveError),
    /// It may have been.
    Sent(ReceiveError),
}

impl Requests {
    /// Begins HTTP/2 on a connection, and has it driven by a task of its own to its end.
    pub(super) async fn begin<IO>(io: IO) -> Result<Self, h2::Error>
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (io, outbox) = gather(io);
        let (inner, connection) = client::Builder::new()
            .initial_max_send_streams(STREAMS)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEADER_LIST)
            .max_send_buffer_size(SEND_BUFFER)
            .enable_push(false)
            .handshake(io)
            .await?;
        let known = Arc::new(Known { is_closed: AtomicBool::new(false), streams: AtomicUsize::new(STREAMS) });
        tokio::spawn(drive(connection, outbox, Arc::clone(&known)));
        Ok(Self { inner, known })
    }

    /// How many streams the server allows.
    pub(super) fn streams(&self) -> usize {
        self.known.streams.load(Relaxed)
    }

    /// Whether the server lets streams switch protocols (RFC 8441 § 3).
    pub(super) fn has_extended_connect(&self) -> bool {
        self.inner.is_extended_connect_protocol_enabled()
    }

    /// Whether the connection takes no more requests: it has ended, or has refused one since the server said that it will. That one
    /// was not sent, and goes on another.
    pub(super) fn is_closed(&self) -> bool {
        self.known.is_closed.load(Relaxed)
    }

    /// Sends a request and waits for the head of its answer. What is left of the request then goes on without being waited for.
    pub(super) async fn send(&mut self, request: Request<RequestBody>) -> Result<Response<Received>, Unanswered> {
        let known = Arc::clone(&self.known);
        let unsent = |error: h2::Error| {
            known.is_closed.store(true, Relaxed);
            Unanswered::Unsent(error.into())
        };
        let sent = |error: h2::Error| Unanswered::Sent(error.into());
        poll_fn(|task| self.inner.poll_ready(task)).await.map_err(unsent)?;
        let (head, body) = request.into_parts();
        let switches = head.method == Method::CONNECT;
        let is_empty = !switches && body.is_end_stream();
        let (response, stream) = self.inner.send_request(Request::from_parts(head, ()), is_empty).map_err(|error| {
            // The connection's end is seen here or before. Whatever else is wrong is wrong with the request.
            if error.is_go_away() || error.is_io() { unsent(error) } else { sent(error) }
        })?;
        // Where the server has as many streams as it allows, until one of them ends. An error is the connection's, which may have
        // been about to end and still answer this: the answer knows.
        drop(poll_fn(|task| self.inner.poll_ready(task)).await);
        if switches {
            let (head, receive) = response.await.map_err(sent)?.into_parts();
            let body = if head.status.is_success() {
                Received::Switched(Box::new(Switched::new(stream, receive)))
            } else {
                Received::Http2(receive)
            };
            return Ok(Response::from_parts(head, body));
        }
        let mut response = pin!(response);
        let mut pipe = (!is_empty).then(|| Pipe::new(body, stream));
        let answered = poll_fn(|task| {
            if pipe.as_mut().is_some_and(|pipe| Pin::new(pipe).poll(task).is_ready()) {
                pipe = None;
            }
            response.as_mut().poll(task)
        });
        let answered = answered.await.map_err(sent)?;
        if let Some(pipe) = pipe {
            tokio::spawn(pipe);
        }
        Ok(answered.map(Received::Http2))
    }
}

/// Drives a connection to its end. Errors are told to its requests.
async fn drive<IO>(mut connection: Connection<Gathered<IO>, Bytes>, outbox: Outbox<IO>, known: Arc<Known>)
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut is_open = true;
    while is_open {
        // Who wakes this has a request to send, and others who are about to run have one as well: let them, and send all at once.
        yield_now().await;
        let mut was_polled = false;
        is_open = poll_fn(|context| {
            if std::mem::replace(&mut was_polled, true) {
                return Poll::Ready(true);
            }
            let polled = Pin::new(&mut connection).poll(context);
            outbox.send(context);
            known.streams.store(connection.max_concurrent_send_streams(), Relaxed);
            polled.map(|_ended| false)
        })
        .await;
    }
    known.is_closed.store(true, Relaxed);
}
