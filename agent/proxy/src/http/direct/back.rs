//! A response on its way to the client.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tollgate_ledger::UpstreamFailure;
use tollgate_llm::ChunkRemover;

use super::framing::Framing;
use super::pump::{End, Pump, Unanswered};
use super::scratch::{Then, gather};
use super::turn::failure;
use crate::exchange::Open;

/// A response on its way.
pub(super) struct Back {
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
    pub(super) fn new(framing: Framing, remover: Option<ChunkRemover>) -> Self {
        let is_chunked = framing.is_chunked();
        // Where there is no body, or one of a length, nothing can be taken out.
        let removing = remover
            .filter(|_| is_chunked || framing.is_until_close())
            .map(|remover| Box::new(Removing { remover, is_chunked }));
        Self { framing, looked: framing, written: 0, flushed: true, end: None, is_clean: true, removing }
    }

    /// Takes what was read with the head, of so many bytes. Gives where in it that begins which is yet to be looked at.
    pub(super) fn begin(&mut self, bytes: &mut Vec<u8>, head: usize, open: &mut Open) -> Option<usize> {
        if self.removing.is_some() {
            let body = bytes.split_off(head);
            let content = self.remove(&body, bytes);
            self.come(open);
            hand_on(open, &content);
            return None;
        }
        let skipped = self.framing.skip(&bytes[head..]);
        self.come(open);
        match skipped {
            Ok(used) if head + used < bytes.len() => {
                bytes.truncate(head + used);
                self.is_clean = false;
            }
            Ok(_) => {}
            Err(_malformed) => {
                bytes.truncate(head);
                self.end = Some(End::Broken(UpstreamFailure::Protocol));
            }
        }
        Some(head)
    }

    /// `waiting` is what was read and is not written, which is little: the client is not faster than it is. `unlooked` says where in it
    /// that begins which is to be looked at once it was tried to write it.
    pub(super) fn poll<IO>(
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
                Poll::Ready(Err(Unanswered::ClientGone)) => return Poll::Ready(End::ClientGone),
                // Of a malformed request, the server was told nothing false, and its answer stands.
                Poll::Ready(Ok(()) | Err(_)) => is_sent = true,
                Poll::Pending => {}
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
                Poll::Ready(Err(_)) => return Poll::Ready(End::ClientGone),
                Poll::Pending if is_done => return Poll::Pending,
                Poll::Ready(Ok(())) | Poll::Pending => {}
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
            self.come(open);
            self.written = 0;
            if self.write(client, &out, context).is_pending() || self.written < out.len() {
                waiting.extend_from_slice(&out[self.written..]);
            }
            self.written = 0;
            hand_on(open, &content);
            return;
        }
        let used = match self.framing.skip(bytes) {
            Ok(used) => {
                self.come(open);
                used
            }
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

    /// Says so when all has come.
    fn come(&self, open: &mut Open) {
        if self.framing.is_done()
            && let Some(exchange) = open.exchange()
        {
            exchange.has_come();
        }
    }

    fn look(&mut self, open: &mut Open, bytes: &[u8]) {
        if let Some(exchange) = open.exchange() {
            // It was found well-formed when it was read.
            self.looked.pass(bytes, |content| exchange.handed_on(content)).ok();
        }
    }
}

fn hand_on(open: &mut Open, content: &[u8]) {
    if let Some(exchange) = open.exchange().filter(|_| !content.is_empty()) {
        exchange.handed_on(content);
    }
}
