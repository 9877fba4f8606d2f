//! A client and a server joined for one exchange: bytes both ways at once. What was handed on is looked at after it has left.

use std::future::poll_fn;
use std::task::{Context, Poll};

use http::{Method, StatusCode};
use memchr::memchr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tollgate_ledger::UpstreamFailure;
use tollgate_llm::{ChunkRemover, names_stream_options};

use super::back::Back;
use super::client::Client;
use super::framing::Framing;
use super::head::{self, NotHttp, ResponseHead};
use super::scratch::{Then, gather};
use super::sending::Sending;
use crate::exchange::Open;
use crate::http::MAX_BUFFER;
use crate::http::splice::{REFUSAL, REFUSAL_TIME};
use crate::upstream::Direct;

/// The same with the framing of its chunks.
const FRAMED_REFUSAL: usize = 4 * REFUSAL;

/// Why a request has no answer.
pub(super) enum Unanswered {
    ClientGone,
    /// The client's body is not what its framing says.
    Malformed,
    /// The server closed. `unseen` says that nothing of an answer had come.
    Closed {
        unseen: bool,
    },
    NotHttp(NotHttp),
}

/// A response's head, and what was read with it.
pub(super) struct Answer {
    pub(super) head: ResponseHead,
    pub(super) bytes: Vec<u8>,
}

/// How a response ended.
pub(super) enum End {
    /// All of it has left. `is_clean` says that nothing came behind it.
    Complete {
        is_clean: bool,
    },
    ClientGone,
    Broken(UpstreamFailure),
}

/// A client and a server that are joined for one exchange.
pub(super) struct Pump<'a, IO> {
    pub(super) client: &'a mut Client<IO>,
    pub(super) server: Direct,
    pub(super) sending: &'a mut Sending,
    pub(super) open: &'a mut Open,
}

impl<'a, IO: AsyncRead + AsyncWrite + Unpin> Pump<'a, IO> {
    pub(super) fn new(
        client: &'a mut Client<IO>,
        server: Direct,
        sending: &'a mut Sending,
        open: &'a mut Open,
    ) -> Self {
        Self { client, server, sending, open }
    }

    /// Sends the request and waits for the head of the final response. Informational ones are handed on.
    pub(super) async fn answer(&mut self, method: &Method) -> Result<Answer, Unanswered> {
        let (mut bytes, mut informed) = (Vec::new(), false);
        loop {
            let head = match poll_fn(|context| self.poll_head(context, &mut bytes, method)).await {
                // Whoever has said something is at work on the request.
                Err(Unanswered::Closed { unseen }) => return Err(Unanswered::Closed { unseen: unseen && !informed }),
                head => head?,
            };
            if !head.status.is_informational() {
                return Ok(Answer { head, bytes });
            }
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Err(Unanswered::NotHttp(NotHttp));
            }
            let length = head.length;
            let edited = head.edited.as_deref().unwrap_or(&bytes[..length]);
            self.client.say(edited).await.map_err(|_error| Unanswered::ClientGone)?;
            bytes.drain(..length);
            informed = true;
        }
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut Vec<u8>,
        method: &Method,
    ) -> Poll<Result<ResponseHead, Unanswered>> {
        // What came with an informational response.
        if !bytes.is_empty()
            && let Some(head) = head::response(bytes, method).map_err(Unanswered::NotHttp)?
        {
            return Poll::Ready(Ok(head));
        }
        let Self { client, server, sending, open } = self;
        let is_sent = match sending.poll(client, server, open, context) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => false,
        };
        loop {
            let before = bytes.len();
            let then = gather(
                context,
                |context, buffer| server.poll_read(context, buffer),
                |_, read, then| {
                    bytes.extend_from_slice(read);
                    then
                },
            );
            // Byte by byte, a head would be read as often as it has bytes.
            let is_news = before == 0 || memchr(b'\n', &bytes[before..]).is_some() || bytes.len() >= MAX_BUFFER;
            if bytes.len() > before
                && is_news
                && let Some(head) = head::response(bytes, method).map_err(Unanswered::NotHttp)?
            {
                return Poll::Ready(Ok(head));
            }
            match then {
                Then::More => {}
                Then::Pending if is_sent => {
                    return client.poll_gone(context).map(|()| Err(Unanswered::ClientGone));
                }
                Then::Pending => return Poll::Pending,
                Then::End | Then::Broken(_) => {
                    let unseen = bytes.is_empty();
                    return Poll::Ready(Err(Unanswered::Closed { unseen }));
                }
            }
        }
    }

    pub(super) fn asks_usage(&self) -> bool {
        self.sending.asks_usage()
    }

    /// Reads a response, within bounds, to see whether it is about what was edited. What was read is to be handed on if not.
    pub(super) async fn is_refusal(&mut self, answer: &mut Answer) -> bool {
        let Answer { head, bytes } = answer;
        let (mut framing, mut at, mut text) = (head.body, head.length, Vec::new());
        let (mut ended, mut is_over) = (false, false);
        let reading = poll_fn(|context| {
            loop {
                match framing.pass(&bytes[at..], |content| text.extend_from_slice(content)) {
                    Ok(used) => at += used,
                    Err(_malformed) => return Poll::Ready(false),
                }
                let is_long = text.len() > REFUSAL || bytes.len() > head.length + FRAMED_REFUSAL;
                if framing.is_done() || is_over || is_long {
                    return Poll::Ready(framing.is_done() || (ended && framing.is_until_close()));
                }
                let server = &mut self.server;
                let (count, then) = gather(
                    context,
                    |context, buffer| server.poll_read(context, buffer),
                    |_, read, then| {
                        bytes.extend_from_slice(read);
                        (read.len(), then)
                    },
                );
                match then {
                    Then::Pending if count == 0 => return Poll::Pending,
                    Then::Pending | Then::More => {}
                    // Handed on, it ends likewise.
                    Then::End => (ended, is_over) = (true, true),
                    Then::Broken(_) => is_over = true,
                }
            }
        });
        timeout(REFUSAL_TIME, reading).await == Ok(true) && names_stream_options(&text)
    }

    /// Hands on a response, of which these bytes are here, a head of so many bytes among them.
    pub(super) async fn relay(
        &mut self,
        mut bytes: Vec<u8>,
        head: usize,
        framing: Framing,
        remover: Option<ChunkRemover>,
    ) -> End {
        let mut back = Back::new(framing, remover);
        let mut unlooked = back.begin(&mut bytes, head, self.open);
        poll_fn(|context| back.poll(self, &mut bytes, &mut unlooked, context)).await
    }
}
