//! A client's HTTP/2 connection. Its streams are served by the connection's own task, so that what they answer leaves in one
//! write, and nobody is woken for it.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context as TaskContext, Poll, ready};

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response};
use http_body::Body as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use super::relay::Switch;
use super::response::ResponseBody;
use super::service::{self, Context};
use super::{CONNECTION_WINDOW, MAX_HEADER_LIST, STREAM_WINDOW, STREAMS};
use crate::drain;
use crate::gathered::gather;
use crate::http2::{Pipe, Received, SEND_BUFFER, Switched};

/// Serves it to its end, which is soon after `drain` begins.
pub(super) async fn serve<IO>(io: IO, context: Arc<Context>, drain: drain::Watch) -> Result<(), h2::Error>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = server::Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_send_buffer_size(SEND_BUFFER);
    // Offered only where the provider is known to have it: a client that is not offered it opens a WebSocket over HTTP/1.1,
    // and one that is refused it gives up.
    if context.has_extended_connect() {
        builder.enable_connect_protocol();
    }
    let (io, outbox) = gather(io);
    let mut handshake = pin!(builder.handshake::<_, Bytes>(io));
    let mut connection = poll_fn(|task| {
        let polled = handshake.as_mut().poll(task);
        outbox.send(task);
        polled
    })
    .await?;
    let mut streams = FuturesUnordered::new();
    let turn = Arc::new(AtomicU64::new(0));
    let mut poll = |connection: &mut server::Connection<_, Bytes>, task: &mut TaskContext<'_>| {
        loop {
            // The connection after its streams: it sends what they have answered.
            while let Poll::Ready(Some(())) = streams.poll_next_unpin(task) {}
            match connection.poll_accept(task) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let turns = Turns { current: Arc::clone(&turn), last: None };
                    let exchange = exchange(Arc::clone(&context), request, respond, turns);
                    // The others go on, should there be a request on which it panics.
                    streams.push(AssertUnwindSafe(exchange).catch_unwind().map(drop));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
            }
        }
    };
    let mut signal = pin!(drain.signaled());
    let mut is_draining = false;
    poll_fn(|task| {
        turn.fetch_add(1, Relaxed);
        let mut polled = poll(&mut connection, task);
        if polled.is_pending() && !is_draining && signal.as_mut().poll(task).is_ready() {
            is_draining = true;
            connection.graceful_shutdown();
            polled = poll(&mut connection, task);
        }
        outbox.send(task);
        polled
    })
    .await
}

/// Has a stream polled once in a turn of its connection. One that wakes itself does so to be polled when what it said has left;
/// polled among many, it would be before.
struct Turns {
    /// The connection's.
    current: Arc<AtomicU64>,
    last: Option<u64>,
}

impl Turns {
    fn poll_next(&mut self, task: &TaskContext<'_>) -> Poll<()> {
        let current = self.current.load(Relaxed);
        if self.last.replace(current) == Some(current) {
            task.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// Serves one stream to its end, or until the client resets it.
fn exchange(
    context: Arc<Context>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    turns: Turns,
) -> impl Future<Output = ()> {
    let (head, stream) = request.into_parts();
    let (body, switch, waiting) = if head.method == Method::CONNECT {
        let (sender, switched) = oneshot::channel();
        (Received::Nothing, Some(Switch::Http2(switched)), Some((sender, stream)))
    } else {
        (Received::Http2(stream), None, None)
    };
    // Boxed, and what it takes is handed to it before there is a future: held there, it would be moved with that future into its place
    // among the others.
    let serving = Box::pin(service::serve(context, Request::from_parts(head, body), switch));
    answer(serving, respond, turns, waiting)
}

/// Where a stream that wants to switch protocols is expected, and what comes on it.
type Waiting = (oneshot::Sender<Switched>, RecvStream);

async fn answer(
    mut serving: Pin<Box<impl Future<Output = Result<Response<ResponseBody>, Infallible>>>>,
    mut respond: SendResponse<Bytes>,
    mut turns: Turns,
    waiting: Option<Waiting>,
) {
    let response = poll_fn(|task| {
        ready!(turns.poll_next(task));
        match serving.as_mut().poll(task) {
            Poll::Ready(Ok(response)) => Poll::Ready(Some(response)),
            Poll::Pending => respond.poll_reset(task).map(|_reset| None),
        }
    })
    .await;
    drop(serving);
    let Some(response) = response else { return };
    let (head, body) = response.into_parts();
    let mut head = Response::from_parts(head, ());
    let is_switched = head.status().is_success();
    if let Some((sender, receive)) = waiting.filter(|_| is_switched) {
        match respond.send_response(head, false) {
            Ok(send) => drop(sender.send(Switched::new(send, receive))),
            Err(_) => respond.send_reset(Reason::INTERNAL_ERROR),
        }
        return;
    }
    let is_empty = body.is_end_stream();
    if let Some(length) = body.size_hint().exact().filter(|_| !is_empty) {
        head.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    match respond.send_response(head, is_empty) {
        Ok(_) if is_empty => {}
        Ok(stream) => {
            let mut pipe = Pipe::new(body, stream);
            // In the same turn as the head, which leaves with the first of it.
            turns.last = None;
            poll_fn(|task| {
                ready!(turns.poll_next(task));
                Pin::new(&mut pipe).poll(task)
            })
            .await;
        }
        Err(_) => respond.send_reset(Reason::INTERNAL_ERROR),
    }
}
