//! Bytes from client to server and back, both ways at once. What was handed on is looked at after it has left.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tollgate_ledger::UpstreamFailure;
use tollgate_llm::{ChunkRemover, Edit, names_stream_options};

use super::client::Client;
use super::framing::Framing;
use super::head::{self, NotHttp, RequestHead, ResponseHead};
use super::scratch::{Then, gather};
use super::turn::failure;
use crate::exchange::Open;
use crate::http::request::Room;
use crate::http::splice::{REFUSAL, REFUSAL_TIME};
use crate::upstream::Direct;

/// How much of a request is kept for a second attempt. Chat requests fit; long contexts go out on connections that need none.
const KEPT: usize = 256 * 1024;

/// How much of a request may wait for a server that does not read.
const WAITING: usize = 64 * 1024;

/// A request on its way.
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
    /// The server would not have what was edited.
    pub(super) was_refused: bool,
}

/// A request before it was edited.
struct Original {
    bytes: Vec<u8>,
    /// Where its body begins.
    body: usize,
    looked: bool,
    _room: Option<Room>,
}

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
        }
    }

    /// The same, with an edit in its body, which must be here as a whole. Nothing where the head would have to be written anew.
    pub(super) fn edited<IO>(
        client: &mut Client<IO>,
        head: &RequestHead,
        edit: Edit,
        room: Option<Room>,
    ) -> Option<Self> {
        let length = head.content_length? + edit.text.len() as u64 - (edit.end - edit.start) as u64;
        let mut bytes = head.edited(&client.input, length)?;
        let mut sending = Self::new(client, head);
        let body = &sending.bytes[head.length..];
        bytes.reserve_exact(body.len() + edit.text.len());
        bytes.extend_from_slice(&body[..edit.start]);
        bytes.extend_from_slice(edit.text.as_bytes());
        bytes.extend_from_slice(&body[edit.end..]);
        let original = std::mem::replace(&mut sending.bytes, bytes);
        sending.original = Some(Box::new(Original { bytes: original, body: head.length, looked: false, _room: room }));
        Some(sending)
    }

    pub(super) fn is_edited(&self) -> bool {
        self.original.is_some()
    }

    /// Makes the request what it was.
    pub(super) fn restore(&mut self) {
        if let Some(original) = self.original.take() {
            self.bytes = original.bytes;
            self.was_refused = true;
            // It was looked at when the edited one was sent.
            self.looked_at = self.bytes.len();
        }
    }

    /// Puts back a request of which nothing was sent.
    pub(super) fn give_back<IO>(&mut self, client: &mut Client<IO>) {
        let edited = std::mem::take(&mut self.bytes);
        let mut bytes = self.original.take().map_or(edited, |original| original.bytes);
        bytes.append(&mut client.input);
        client.input = bytes;
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
        self.original = None;
        if self.written == self.bytes.len() {
            self.bytes = Vec::new();
            (self.written, self.looked_at) = (0, 0);
        }
    }

    /// Whether the client has sent all, and all of it was handed on.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_done() && self.written == self.bytes.len()
    }

    /// Sends what is here and what comes. Ready when the server has all of it.
    fn poll<IO>(
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
                return if waiting == 0 && (self.flushed || self.refused) {
                    Poll::Ready(Ok(()))
                } else {
                    Poll::Pending
                };
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
        let Some(request) = open.exchange().and_then(crate::exchange::Exchange::direct_request) else { return };
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

/// A client and a server that are joined for one exchange.
pub(super) struct Pump<'a, IO> {
    client: &'a mut Client<IO>,
    pub(super) server: Direct,
    sending: &'a mut Sending,
    open: &'a mut Open,
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
        let mut bytes = Vec::new();
        loop {
            let head = poll_fn(|context| self.poll_head(context, &mut bytes, method)).await?;
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
            let then = gather(
                context,
                |context, buffer| server.poll_read(context, buffer),
                |_, read, then| {
                    bytes.extend_from_slice(read);
                    (then, read.len())
                },
            );
            if then.1 > 0
                && let Some(head) = head::response(bytes, method).map_err(Unanswered::NotHttp)?
            {
                return Poll::Ready(Ok(head));
            }
            match then.0 {
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

    pub(super) fn is_edited(&self) -> bool {
        self.sending.is_edited()
    }

    /// Reads a response, within bounds, to see whether it is about what was edited. What was read is to be handed on if not.
    pub(super) async fn is_refusal(&mut self, answer: &mut Answer) -> bool {
        let Answer { head, bytes } = answer;
        let (mut framing, mut at, mut text) = (head.body, head.length, Vec::new());
        let reading = poll_fn(|context| {
            loop {
                match framing.pass(&bytes[at..], |content| text.extend_from_slice(content)) {
                    Ok(used) => at += used,
                    Err(_malformed) => return Poll::Ready(false),
                }
                if framing.is_done() || text.len() > REFUSAL {
                    return Poll::Ready(framing.is_done());
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
                    // What is to come of it comes when it is handed on.
                    Then::End | Then::Broken(_) => return Poll::Ready(false),
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
        let mut back = Back {
            looked: framing,
            framing,
            written: 0,
            flushed: true,
            end: None,
            is_clean: true,
            removing: remover.map(|remover| Box::new(Removing { remover, is_chunked: !framing.is_until_close() })),
        };
        if back.removing.is_some() {
            let body = bytes.split_off(head);
            let content = back.remove(&body, &mut bytes);
            back.hand_on(self.open, &content);
            let mut unlooked = None;
            return poll_fn(|context| back.poll(self, &mut bytes, &mut unlooked, context)).await;
        }
        match back.framing.skip(&bytes[head..]) {
            Ok(used) if head + used < bytes.len() => {
                bytes.truncate(head + used);
                back.is_clean = false;
            }
            Ok(_) => {}
            Err(_malformed) => {
                bytes.truncate(head);
                back.end = Some(End::Broken(UpstreamFailure::Protocol));
            }
        }
        let mut unlooked = Some(head);
        poll_fn(|context| back.poll(self, &mut bytes, &mut unlooked, context)).await
    }
}

/// A response on its way.
struct Back {
    /// How far the server's bytes go that were read.
    framing: Framing,
    looked: Framing,
    /// How much of what waits was written.
    written: usize,
    flushed: bool,
    /// There is nothing more to read.
    end: Option<End>,
    is_clean: bool,
    /// What takes out of a stream what its client did not ask for.
    removing: Option<Box<Removing>>,
}

struct Removing {
    remover: ChunkRemover,
    is_chunked: bool,
}

impl Removing {
    /// Writes content as it goes to the client.
    fn write(&self, content: &[u8], to: &mut Vec<u8>) {
        if content.is_empty() {
            return;
        }
        if !self.is_chunked {
            to.extend_from_slice(content);
            return;
        }
        to.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
        to.extend_from_slice(content);
        to.extend_from_slice(b"\r\n");
    }

    /// Nothing more comes. `is_whole` says that this is the body's end.
    fn finish(&mut self, is_whole: bool, to: &mut Vec<u8>) {
        let held = self.remover.finish();
        self.write(&held, to);
        if is_whole && self.is_chunked {
            to.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

impl Back {
    /// `waiting` is what was read and is not written, which is little: the client is not faster than it is. `unlooked` says where in it
    /// that begins which is to be looked at once it was tried to write it.
    fn poll<IO>(
        &mut self,
        pump: &mut Pump<'_, IO>,
        waiting: &mut Vec<u8>,
        unlooked: &mut Option<usize>,
        context: &mut Context<'_>,
    ) -> Poll<End>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let Pump { client, server, sending, open } = pump;
        let mut is_sent = sending.is_done();
        if !is_sent {
            match sending.poll(client, server, open, context) {
                Poll::Ready(Ok(())) => is_sent = true,
                Poll::Ready(Err(Unanswered::ClientGone)) => return Poll::Ready(End::ClientGone),
                // The server was told nothing false, and its answer stands.
                Poll::Ready(Err(_)) | Poll::Pending => {}
            }
        }
        loop {
            let written = self.write(&mut client.io, waiting, context);
            if let Some(from) = unlooked.take() {
                self.look(open, &waiting[from..]);
            }
            match written {
                Poll::Ready(Ok(())) => {
                    *waiting = Vec::new();
                    self.written = 0;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(End::ClientGone),
                Poll::Pending => return Poll::Pending,
            }
            let is_done = self.framing.is_done() || self.end.is_some();
            match self.poll_flush(&mut client.io, context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(End::ClientGone),
                Poll::Pending if is_done => return Poll::Pending,
                Poll::Pending => {}
            }
            if is_done {
                let is_clean = self.is_clean;
                return Poll::Ready(self.end.take().unwrap_or(End::Complete { is_clean }));
            }
            let then = gather(
                context,
                |context, buffer| server.poll_read(context, buffer),
                |context, bytes, then| {
                    self.take(bytes, &mut client.io, waiting, open, context);
                    then
                },
            );
            match then {
                Then::More => {}
                Then::Pending if !waiting.is_empty() || self.framing.is_done() || self.end.is_some() => {}
                Then::Pending => {
                    match self.poll_flush(&mut client.io, context) {
                        Poll::Ready(Err(_)) => return Poll::Ready(End::ClientGone),
                        Poll::Ready(Ok(())) | Poll::Pending => {}
                    }
                    return if is_sent { client.poll_gone(context).map(|()| End::ClientGone) } else { Poll::Pending };
                }
                _ if self.framing.is_done() => self.is_clean = false,
                Then::End if self.framing.is_until_close() => self.ended(End::Complete { is_clean: false }, waiting),
                Then::End => self.ended(End::Broken(UpstreamFailure::Reset), waiting),
                Then::Broken(error) => self.ended(End::Broken(failure(&error)), waiting),
            }
        }
    }

    /// Writes as much of these bytes as the client takes now, and looks at them. The rest waits.
    fn take<IO>(
        &mut self,
        bytes: &[u8],
        client: &mut IO,
        waiting: &mut Vec<u8>,
        open: &mut Open,
        context: &mut Context<'_>,
    ) where
        IO: AsyncWrite + Unpin,
    {
        if self.removing.is_some() {
            let mut out = Vec::new();
            let content = self.remove(bytes, &mut out);
            self.written = 0;
            if self.write(client, &out, context).is_pending() || self.written < out.len() {
                waiting.extend_from_slice(&out[self.written..]);
            }
            self.written = 0;
            self.hand_on(open, &content);
            return;
        }
        let used = match self.framing.skip(bytes) {
            Ok(used) => used,
            Err(_malformed) => {
                self.end = Some(End::Broken(UpstreamFailure::Protocol));
                return;
            }
        };
        self.is_clean &= used == bytes.len();
        let bytes = &bytes[..used];
        self.written = 0;
        if self.write(client, bytes, context).is_pending() || self.written < bytes.len() {
            waiting.extend_from_slice(&bytes[self.written..]);
        }
        self.written = 0;
        self.look(open, bytes);
    }

    /// Takes out of these bytes what the client did not ask for, and writes the rest to `out`. Gives their content.
    fn remove(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Bytes {
        let mut content = Vec::with_capacity(bytes.len());
        let used = self.framing.pass(bytes, |bytes| content.extend_from_slice(bytes));
        let content = Bytes::from(content);
        let Some(removing) = &mut self.removing else { return content };
        let rest = removing.remover.push(&content);
        removing.write(&rest, out);
        match used {
            Ok(used) => {
                self.is_clean &= used == bytes.len();
                if self.framing.is_done() {
                    removing.finish(true, out);
                }
            }
            Err(_malformed) => self.ended(End::Broken(UpstreamFailure::Protocol), out),
        }
        content
    }

    /// The server says no more, though this may not be the body's end. What was held back is handed on first.
    fn ended(&mut self, end: End, waiting: &mut Vec<u8>) {
        if let Some(removing) = &mut self.removing {
            removing.finish(false, waiting);
        }
        self.end = Some(end);
    }

    fn hand_on(&self, open: &mut Open, content: &[u8]) {
        if let Some(exchange) = open.exchange().filter(|_| !content.is_empty()) {
            exchange.handed_on(content);
        }
    }

    fn write<IO>(&mut self, client: &mut IO, bytes: &[u8], context: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        IO: AsyncWrite + Unpin,
    {
        while self.written < bytes.len() {
            match Pin::new(&mut *client).poll_write(context, &bytes[self.written..])? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(count) => {
                    self.written += count;
                    self.flushed = false;
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush<IO>(&mut self, client: &mut IO, context: &mut Context<'_>) -> Poll<io::Result<()>>
    where
        IO: AsyncWrite + Unpin,
    {
        if !self.flushed {
            std::task::ready!(Pin::new(client).poll_flush(context))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(()))
    }

    fn look(&mut self, open: &mut Open, bytes: &[u8]) {
        if let Some(exchange) = open.exchange() {
            // It was found well-formed when it was read.
            self.looked.pass(bytes, |content| exchange.handed_on(content)).ok();
        }
    }
}
