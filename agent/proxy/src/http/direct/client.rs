//! The client's end of a connection.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use memchr::memchr2;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Served;
use super::head::{self, Found, RequestHead};
use super::scratch::{Then, gather};
use crate::drain;
use crate::http::{FIRST_REQUEST, HEAD, MAX_BUFFER};

/// How much is read of what a client sends before its time: the next request while the last is being answered.
const AHEAD: usize = 64 * 1024;

/// A client, and what it has sent that is not used yet.
pub(super) struct Client<IO> {
    pub(super) io: IO,
    pub(super) input: Vec<u8>,
    /// It has had a request served.
    served: bool,
}

/// What comes next on a connection.
pub(super) enum Next {
    Head(Box<RequestHead>),
    /// What is not taken here.
    Odd,
    /// The client has closed it.
    Closed,
    /// It was silent for too long, or we are asked to end: it is to be closed.
    Let,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Client<IO> {
    pub(super) fn new(io: IO) -> Self {
        Self { io, input: Vec::new(), served: false }
    }

    /// Hands it over with what was read.
    pub(super) fn odd(self) -> Served<IO> {
        Served::Odd(self.io, self.input)
    }

    /// Waits for the head of the next request.
    pub(super) async fn next(&mut self, host: &str, mut patience: Pin<&mut Patience<'_>>) -> io::Result<Next> {
        patience.as_mut().begin(!self.served);
        let mut seen = 0;
        let next = poll_fn(|context| {
            loop {
                // Byte by byte, a head would be read as often as it has bytes.
                let news = &self.input[seen..];
                let is_news = seen == 0 || self.input.len() >= MAX_BUFFER || memchr2(b'\r', b'\n', news).is_some();
                if !news.is_empty() && is_news {
                    match head::request(&self.input, host) {
                        Found::Head(head) => return Poll::Ready(Ok(Next::Head(head))),
                        Found::Odd => return Poll::Ready(Ok(Next::Odd)),
                        Found::Part => {}
                    }
                }
                seen = self.input.len();
                match self.poll_input(context) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Ok(false)) if self.input.is_empty() => return Poll::Ready(Ok(Next::Closed)),
                    Poll::Ready(Ok(false)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return patience.as_mut().poll(context).map(|()| Ok(Next::Let)),
                }
            }
        });
        let next = next.await;
        self.served = true;
        next
    }

    /// Reads what the client has sent. `false` is its end.
    pub(super) fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Self { io, input, .. } = self;
        gather(
            context,
            |context, buffer| Pin::new(&mut *io).poll_read(context, buffer),
            |_, bytes, then| {
                input.extend_from_slice(bytes);
                match then {
                    _ if !bytes.is_empty() => Poll::Ready(Ok(true)),
                    Then::Pending => Poll::Pending,
                    Then::More => Poll::Ready(Ok(true)),
                    Then::End => Poll::Ready(Ok(false)),
                    Then::Broken(error) => Poll::Ready(Err(error)),
                }
            },
        )
    }

    /// Ready when the client has left, as far as that can be seen without reading all that it sends.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while self.input.len() < AHEAD {
            match self.poll_input(context) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    /// Does something for as long as the client is there.
    pub(super) async fn unless_gone<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll_gone(context).map(|()| None),
        })
        .await
    }

    /// Has all of these bytes leave, in the order in which they are given.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        poll_fn(|context| {
            while written < bytes.len() {
                match Pin::new(&mut self.io).poll_write(context, &bytes[written..])? {
                    Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(count) => written += count,
                    Poll::Pending => return Poll::Pending,
                }
            }
            Pin::new(&mut self.io).poll_flush(context)
        })
        .await
    }
}

/// How long a head is waited for: for as long as any client pools its connections, and until we are asked to end.
pub(super) struct Patience<'a> {
    /// Registered once and moved on when it fires: setting a timer for each request costs more than reading the clock.
    timer: Pin<Box<Sleep>>,
    until: Instant,
    /// There was no request yet. A client that has just connected is about to send one.
    is_first: bool,
    drain: Option<Pin<Box<dyn Future<Output = ()> + Send + 'a>>>,
}

impl<'a> Patience<'a> {
    pub(super) fn new(drain: &'a drain::Watch) -> Self {
        let until = Instant::now() + HEAD;
        Self { timer: Box::pin(sleep_until(until)), until, is_first: true, drain: Some(Box::pin(drain.signaled())) }
    }

    fn begin(mut self: Pin<&mut Self>, is_first: bool) {
        self.is_first = is_first;
        // What is left of the shorter time after a drain has begun is what is left.
        if self.drain.is_some() {
            self.until = Instant::now() + HEAD;
        }
    }

    /// Ready when it is over.
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if let Some(drain) = &mut self.drain
            && drain.as_mut().poll(context).is_ready()
        {
            self.drain = None;
            let wait = if self.is_first { FIRST_REQUEST } else { std::time::Duration::ZERO };
            self.until = self.until.min(Instant::now() + wait);
            let until = self.until;
            self.timer.as_mut().reset(until);
        }
        while self.timer.as_mut().poll(context).is_ready() {
            let until = self.until;
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}
