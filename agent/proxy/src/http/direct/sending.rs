//! A request on its way to the server, and what is kept of it for another attempt.

use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tollgate_llm::Edits;

use super::client::Client;
use super::framing::Framing;
use super::head::RequestHead;
use super::pump::Unanswered;
use crate::exchange::{Exchange, Open};
use crate::http::request::Room;
use crate::upstream::Direct;

/// How much of a request is kept for a second attempt. Chat requests fit; long contexts go out on connections that need none.
const KEPT: usize = 256 * 1024;

/// How much of a request may wait for a server that does not read.
const WAITING: usize = 64 * 1024;

/// A request on its way.
#[expect(clippy::struct_excessive_bools, reason = "each is something else that happened to it")]
pub(super) struct Sending {
    /// What is here of it and not written, and all of it from the start while that is kept.
    bytes: Vec<u8>,
    written: usize,
    /// How far the client's bytes go that are here.
    body: Framing,
    /// How far they were looked at, which begins behind the head.
    looked: Framing,
    looked_at: usize,
    keeps: bool,
    /// What was written is not here any more.
    lost: bool,
    /// The server takes no more. Its answer may be on its way.
    refused: bool,
    flushed: bool,
    /// The request as it came, where its body was edited.
    original: Option<Box<Original>>,
    /// The server would not be asked for usage.
    pub(super) was_refused: bool,
    /// A share of what may be held of requests, for as long as this one is.
    room: Option<Room>,
}

/// A request before it was edited.
struct Original {
    bytes: Vec<u8>,
    /// Where its body begins.
    body: usize,
    looked: bool,
    /// What the policy has changed.
    clamp: Edits,
    /// It was changed to ask for usage, too.
    asks_usage: bool,
}

impl Sending {
    /// Takes the request, as far as it is here, out of what the client has sent.
    pub(super) fn new<IO>(client: &mut Client<IO>, head: &RequestHead) -> Self {
        let mut body = head.body;
        // A malformed body is found out when it is read on.
        let used = head.length + body.skip(&client.input[head.length..]).unwrap_or(0);
        let rest = client.input.split_off(used);
        let bytes = std::mem::replace(&mut client.input, rest);
        Self {
            bytes,
            written: 0,
            body,
            looked: head.body,
            looked_at: head.length,
            keeps: false,
            lost: false,
            refused: false,
            flushed: false,
            original: None,
            was_refused: false,
            room: None,
        }
    }

    /// The same, changed as the policy has it and to ask for usage. Its body must be here as a whole where there is anything to change.
    /// Nothing where the head would have to be written anew.
    pub(super) fn changed<IO>(
        client: &mut Client<IO>,
        head: &RequestHead,
        clamp: Edits,
        usage: Option<Edits>,
        room: Option<Room>,
    ) -> Option<Self> {
        let mut all = clamp.clone();
        let asks_usage = usage.is_some_and(|usage| all.extend(usage).is_ok());
        let all = if asks_usage { &all } else { &clamp };
        if all.is_empty() {
            return Some(Self { room, ..Self::new(client, head) });
        }
        let bytes = written(head, &client.input, all, asks_usage)?;
        let mut sending = Self { room, ..Self::new(client, head) };
        let bytes = std::mem::replace(&mut sending.bytes, bytes);
        let original = Original { bytes, body: head.length, looked: false, clamp, asks_usage };
        sending.original = Some(Box::new(original));
        Some(sending)
    }

    /// Whether it was changed to ask for usage.
    pub(super) fn asks_usage(&self) -> bool {
        self.original.as_ref().is_some_and(|original| original.asks_usage)
    }

    /// Asks no more.
    pub(super) fn restore(&mut self, head: &RequestHead) {
        let Some(mut original) = self.original.take() else { return };
        self.was_refused = true;
        if !original.clamp.is_empty()
            && let Some(bytes) = written(head, &original.bytes, &original.clamp, false)
        {
            self.bytes = bytes;
            original.asks_usage = false;
            self.original = Some(original);
            return;
        }
        self.bytes = original.bytes;
        // It was looked at when all of the edited one was sent.
        self.looked_at = if original.looked { self.bytes.len() } else { original.body };
    }

    /// Puts back a request of which nothing was sent. Gives what the policy has changed in it.
    pub(super) fn give_back<IO>(&mut self, client: &mut Client<IO>) -> Edits {
        let edited = std::mem::take(&mut self.bytes);
        let (mut bytes, clamp) = match self.original.take() {
            Some(original) => (original.bytes, original.clamp),
            None => (edited, Edits::default()),
        };
        bytes.append(&mut client.input);
        client.input = bytes;
        clamp
    }

    /// Nothing of it will be sent.
    pub(super) fn leave(&mut self) {
        (self.bytes, self.original, self.room) = (Vec::new(), None, None);
    }

    /// Reads what is left of a request that is not sent, of about so many bytes more. Ready when that was all.
    pub(super) fn poll_discard<IO>(
        &mut self,
        client: &mut Client<IO>,
        left: &mut usize,
        context: &mut Context<'_>,
    ) -> Poll<()>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        while !self.body.is_done() && *left > 0 {
            if client.input.is_empty() && !matches!(std::task::ready!(client.poll_input(context)), Ok(true)) {
                break;
            }
            let Ok(used) = self.body.skip(&client.input) else { break };
            *left = left.saturating_sub(used);
            client.input.drain(..used);
        }
        Poll::Ready(())
    }

    /// Sends it from the start. Only a connection that was used before may turn out stale, and then it is sent again.
    pub(super) fn begin(&mut self, reused: bool) {
        (self.keeps, self.written, self.refused, self.flushed) = (reused, 0, false, false);
    }

    pub(super) fn can_repeat(&self) -> bool {
        !self.lost
    }

    /// The server has answered: there will be no other attempt.
    pub(super) fn forget(&mut self) {
        self.keeps = false;
        (self.original, self.room) = (None, None);
        if self.written == self.bytes.len() {
            self.bytes = Vec::new();
            (self.written, self.looked_at) = (0, 0);
        }
    }

    /// Whether the client has sent all.
    pub(super) fn is_received(&self) -> bool {
        self.body.is_done()
    }

    /// Whether the server has all of it.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_done() && self.written == self.bytes.len() && self.flushed && !self.refused
    }

    /// Sends what is here and what comes. Ready when the server has all of it.
    pub(super) fn poll<IO>(
        &mut self,
        client: &mut Client<IO>,
        server: &mut Direct,
        open: &mut Open,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Unanswered>>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            while self.written < self.bytes.len() && !self.refused {
                match server.poll_write(context, &self.bytes[self.written..]) {
                    Poll::Ready(Ok(count @ 1..)) => {
                        self.written += count;
                        self.flushed = false;
                    }
                    // It may have answered and closed before it has read the request, and its answer is still there to be read.
                    Poll::Ready(_) => self.refused = true,
                    Poll::Pending => break,
                }
            }
            if self.refused {
                self.written = self.bytes.len();
            }
            self.look(open);
            if !self.flushed && !self.refused {
                match server.poll_flush(context) {
                    Poll::Ready(Ok(())) => self.flushed = true,
                    Poll::Ready(Err(_)) => self.refused = true,
                    Poll::Pending => {}
                }
            }
            let waiting = self.bytes.len() - self.written;
            if self.body.is_done() {
                if waiting > 0 || !(self.flushed || self.refused) {
                    return Poll::Pending;
                }
                self.release();
                return Poll::Ready(Ok(()));
            }
            self.shrink();
            if waiting >= WAITING {
                return Poll::Pending;
            }
            if client.input.is_empty() {
                match client.poll_input(context) {
                    Poll::Ready(Ok(true)) => {}
                    Poll::Ready(Ok(false) | Err(_)) => return Poll::Ready(Err(Unanswered::ClientGone)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            let used = self.body.skip(&client.input).map_err(|_malformed| Unanswered::Malformed)?;
            self.bytes.extend_from_slice(&client.input[..used]);
            client.input.drain(..used);
        }
    }

    /// Lets go of what was sent, where nobody may need it again: its answer may take minutes.
    fn release(&mut self) {
        // What has room in what all may hold is not kept for a connection that may turn out stale, as it is not while it comes.
        let is_large = self.room.is_some() && self.bytes.len() > KEPT;
        if (!self.keeps || is_large) && !self.asks_usage() {
            self.lost = true;
            (self.bytes, self.original, self.room) = (Vec::new(), None, None);
            (self.written, self.looked_at) = (0, 0);
        }
    }

    /// Lets go of what was written, unless it is kept.
    fn shrink(&mut self) {
        if self.keeps && self.bytes.len() <= KEPT {
            return;
        }
        self.keeps = false;
        if self.written > 0 && self.looked_at == self.written {
            self.lost = true;
            self.bytes.drain(..self.written);
            (self.written, self.looked_at) = (0, 0);
        }
    }

    /// Shows the meter what has been written.
    fn look(&mut self, open: &mut Open) {
        if self.looked_at >= self.written {
            return;
        }
        let Some(request) = open.exchange().and_then(Exchange::direct_request) else { return };
        if let Some(original) = &mut self.original {
            if !original.looked && self.written == self.bytes.len() {
                request.handed_on(&original.bytes[original.body..]);
                request.sent();
                original.looked = true;
            }
            return;
        }
        let bytes = &self.bytes[self.looked_at..self.written];
        // It was found well-formed when it was read.
        self.looked.pass(bytes, |content| request.handed_on(content)).ok();
        self.looked_at = self.written;
        if self.body.is_done() && self.written == self.bytes.len() {
            request.sent();
        }
    }
}

/// A request with these edits in its body, which begins behind the head in `bytes`. Nothing where the head would have to be written anew.
fn written(head: &RequestHead, bytes: &[u8], edits: &Edits, asks_usage: bool) -> Option<Vec<u8>> {
    let length = usize::try_from(head.content_length?).ok()?;
    let body = bytes.get(head.length..head.length + length)?;
    let mut written = head.edited(bytes, edits.length(length) as u64, asks_usage)?;
    edits.write(body, &mut written);
    Some(written)
}
