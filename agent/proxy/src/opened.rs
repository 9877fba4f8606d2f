//! Watches an opened connection until the client's first word, or its end without one.
//!
//! A client may find our certificate wanting only after the handshake (Node verifies then; TLS 1.3 alerts come then), and a
//! client that sends a request has accepted it. Only the first read matters; all others pass at no cost.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tollgate_tls::{Refusal, closed_after_certificate};

/// What the client's first word was.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum FirstWord {
    /// Nothing yet.
    #[default]
    Awaited,
    /// Application data: it accepted our certificate.
    Data,
    /// It ended instead, as clients do that refuse a certificate.
    Refused(Refusal),
}

/// Reads the verdict of an [`Opened`] connection, also when the connection is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Verdict(Arc<Mutex<FirstWord>>);

impl Verdict {
    pub(crate) fn first_word(&self) -> FirstWord {
        *self.0.lock()
    }
}

/// An opened connection. `accepted` is called once, at the first application data.
pub(crate) struct Opened<IO, F> {
    io: IO,
    /// None once the first word has been heard.
    waiting: Option<(Verdict, F)>,
}

impl<IO, F: FnOnce()> Opened<IO, F> {
    pub(crate) fn new(io: IO, accepted: F) -> (Self, Verdict) {
        let verdict = Verdict::default();
        (Self { io, waiting: Some((verdict.clone(), accepted)) }, verdict)
    }

    fn heard(&mut self, word: FirstWord) {
        if let Some((verdict, accepted)) = self.waiting.take() {
            *verdict.0.lock() = word;
            if word == FirstWord::Data {
                accepted();
            }
        }
    }
}

impl<IO: AsyncRead + Unpin, F: FnOnce() + Unpin> AsyncRead for Opened<IO, F> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.waiting.is_some()
            && let Poll::Ready(result) = &polled
        {
            let word = if buf.filled().len() > before {
                FirstWord::Data
            } else {
                closed_after_certificate(result.as_ref().err(), 0).map_or(FirstWord::Awaited, FirstWord::Refused)
            };
            self.heard(word);
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin, F: Unpin> AsyncWrite for Opened<IO, F> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test]
    async fn application_data_is_acceptance_told_once() {
        let (mut client, server) = tokio::io::duplex(64);
        let told = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&told);
        let (mut opened, verdict) = Opened::new(server, move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        client.write_all(b"GET / ").await.expect("open");
        client.write_all(b"HTTP/1.1\r\n").await.expect("open");
        drop(client);
        opened.read_to_end(&mut Vec::new()).await.expect("ends");
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert_eq!(verdict.first_word(), FirstWord::Data);
    }

    #[tokio::test]
    async fn an_end_without_data_is_a_refusal() {
        let (client, server) = tokio::io::duplex(64);
        let (mut opened, verdict) = Opened::new(server, || panic!("nothing was accepted"));
        assert_eq!(verdict.first_word(), FirstWord::Awaited);
        drop(client);
        opened.read_to_end(&mut Vec::new()).await.expect("ends");
        assert_eq!(verdict.first_word(), FirstWord::Refused(Refusal::Closed));
    }
}
