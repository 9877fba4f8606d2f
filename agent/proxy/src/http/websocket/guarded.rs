//! A relay for WebSockets under a policy: the client's messages are held back until they are decided on, and what is said in the
//! server's place is put between its messages.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tollgate_ledger::{Outcome, UpstreamFailure};
use tollgate_llm::{CloseCode, Held, Sender, SocketGaps, SocketHold};

use super::Session;
use super::guard::{admit, error};
use crate::drain;

/// How much of a client's message is held back. Responses' requests with images are the largest; Realtime takes 15 MiB of sound.
const LARGEST: usize = 16 << 20;

/// As `copy_bidirectional` has them.
const BUFFER: usize = 8 * 1024;

/// How many errors may wait to be told. A client that reads none is not read from.
const WAITING: usize = 16;

/// How much is read of what a client sends while a message of its waits.
const AHEAD: usize = 64 * 1024;

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// How a relay ended that did not break.
pub(in crate::http) enum Over {
    /// Both sides have closed.
    Closed,
    /// We ended it, for what this outcome says.
    Ended(Outcome),
}

/// Why we end a session.
struct End {
    code: CloseCode,
    reason: String,
    /// Told before.
    error: Option<Vec<u8>>,
    outcome: Outcome,
}

/// What is to be said to the client.
enum Say {
    Frame(Vec<u8>),
    End(End),
}

/// Relays until both sides have closed, or the session is to end.
pub(in crate::http) async fn relay<C, S>(client: &mut C, server: &mut S, session: &Mutex<Session>) -> io::Result<Over>
where
    C: AsyncRead + AsyncWrite + Unpin,
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (say, said) = mpsc::channel(WAITING);
    let is_writing = AtomicBool::new(false);
    let ended = {
        let (from_client, to_client) = split(&mut *client);
        let (from_server, to_server) = split(&mut *server);
        let drain = session.lock().drain.clone();
        let ahead = Vec::new();
        let up = Up { from: from_client, to: to_server, session, say, drain, is_writing: &is_writing, ahead };
        let down = Down { from: from_server, to: to_client, session, said, gaps: SocketGaps::default() };
        let (mut up, mut down) = (std::pin::pin!(up.run()), std::pin::pin!(down.run()));
        let (mut up_over, mut down_over) = (false, false);
        loop {
            tokio::select! {
                result = &mut up, if !up_over => {
                    result?;
                    up_over = true;
                }
                result = &mut down, if !down_over => match result? {
                    Some(outcome) => break outcome,
                    None => down_over = true,
                },
            }
            if up_over && down_over {
                return Ok(Over::Closed);
            }
        }
    };
    // What the client still sends is read, as an answer to unread bytes would be a reset that takes our words with it.
    let goodbye = async {
        if !is_writing.load(Relaxed) {
            server.write_all(&CloseCode::Normal.to_server()).await?;
            server.flush().await?;
        }
        server.shutdown().await
    };
    let rest = async {
        let mut buffer = [0; 1024];
        while client.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
    };
    drop(tokio::join!(timeout(GOODBYE, goodbye), timeout(GOODBYE, rest)));
    Ok(Over::Ended(ended))
}

/// From the client to the server.
struct Up<'a, C, S> {
    from: ReadHalf<C>,
    to: WriteHalf<S>,
    session: &'a Mutex<Session>,
    say: mpsc::Sender<Say>,
    drain: drain::Watch,
    /// The server has a part of a frame.
    is_writing: &'a AtomicBool,
    /// What came while a message waited.
    ahead: Vec<u8>,
}

impl<C: AsyncRead + Unpin, S: AsyncWrite + Unpin> Up<'_, C, S> {
    async fn run(mut self) -> io::Result<()> {
        let mut hold = {
            let session = self.session.lock();
            SocketHold::new(session.guard.as_ref().expect("as relayed here").call(), LARGEST)
        };
        let mut buffer = vec![0; BUFFER];
        loop {
            let ahead = std::mem::take(&mut self.ahead);
            let mut bytes = &*ahead;
            if ahead.is_empty() {
                let read = match self.from.read(&mut buffer).await {
                    Ok(read) if read > 0 => read,
                    end => return self.left(end).await,
                };
                bytes = &buffer[..read];
            }
            while !bytes.is_empty() {
                match hold.push(bytes) {
                    Ok((used, held)) => {
                        bytes = &bytes[used..];
                        if let Some(held) = held
                            && let Some(end) = self.take(held).await?
                        {
                            return self.left(end).await;
                        }
                    }
                    Err(_reason) => {
                        let reason = "the client's frames cannot be read".to_owned();
                        let end = End { code: CloseCode::Protocol, reason, error: None, outcome: Outcome::ClientGone };
                        // An error means that the server has closed, or that the session is ending already.
                        drop(self.say.send(Say::End(end)).await);
                        return Ok(());
                    }
                }
            }
            self.to.flush().await?;
        }
    }

    /// The client sends no more.
    async fn left(&mut self, end: io::Result<usize>) -> io::Result<()> {
        self.session.lock().ended_by.get_or_insert(Sender::Client);
        end?;
        self.to.shutdown().await
    }

    async fn write(&mut self, frames: &[u8]) -> io::Result<()> {
        self.is_writing.store(true, Relaxed);
        self.to.write_all(frames).await?;
        self.is_writing.store(false, Relaxed);
        Ok(())
    }

    /// Gives how the client has left, if it has while its message waited.
    async fn take(&mut self, held: Held) -> io::Result<Option<io::Result<usize>>> {
        let error = match held {
            Held::Control(frame) => {
                self.session.lock().look(Sender::Client, &frame);
                self.write(&frame).await?;
                return Ok(None);
            }
            Held::Message(mut message) => {
                // What came before is not to wait for it.
                if message.ask.is_create {
                    self.to.flush().await?;
                }
                let admitted = {
                    let Self { from, ahead, session, drain, .. } = self;
                    tokio::select! {
                        biased;
                        admitted = admit(session, &mut message, drain) => admitted,
                        end = until_gone(from, ahead) => return Ok(Some(end)),
                    }
                };
                match admitted {
                    Ok(admitted) => {
                        self.session.lock().pass(&message, admitted);
                        self.write(&message.frames).await?;
                        return Ok(None);
                    }
                    Err(error) => error,
                }
            }
            Held::TooLarge => self.session.lock().too_large(LARGEST),
        };
        // An error means that the session is ending.
        drop(self.say.send(Say::Frame(error)).await);
        Ok(None)
    }
}

/// Ready when the client has left, as far as that can be seen without reading all that it sends.
async fn until_gone<C: AsyncRead + Unpin>(from: &mut ReadHalf<C>, ahead: &mut Vec<u8>) -> io::Result<usize> {
    while ahead.len() < AHEAD {
        match from.read_buf(ahead).await {
            Ok(read) if read > 0 => {}
            end => return end,
        }
    }
    std::future::pending().await
}

/// From the server to the client.
struct Down<'a, S, C> {
    from: ReadHalf<S>,
    to: WriteHalf<C>,
    session: &'a Mutex<Session>,
    said: mpsc::Receiver<Say>,
    gaps: SocketGaps,
}

impl<S: AsyncRead + Unpin, C: AsyncWrite + Unpin> Down<'_, S, C> {
    /// Gives the outcome of a session that we end.
    async fn run(mut self) -> io::Result<Option<Outcome>> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = tokio::select! {
                biased;
                Some(say) = self.said.recv(), if self.gaps.is_gap() => {
                    if let Some(outcome) = self.say(say).await? {
                        return Ok(Some(outcome));
                    }
                    continue;
                }
                read = self.from.read(&mut buffer) => read,
            };
            let read = match read {
                Ok(read) if read > 0 => read,
                end => {
                    self.session.lock().ended_by.get_or_insert(Sender::Server);
                    end?;
                    self.to.shutdown().await?;
                    return Ok(None);
                }
            };
            if let Some(outcome) = self.pass(&buffer[..read]).await? {
                return Ok(Some(outcome));
            }
            self.to.flush().await?;
        }
    }

    /// Hands bytes on, with what is to be said in the gaps between them.
    async fn pass(&mut self, mut bytes: &[u8]) -> io::Result<Option<Outcome>> {
        while !bytes.is_empty() {
            let mut end = 0;
            loop {
                match self.gaps.push(&bytes[end..]) {
                    Ok(used) => end += used,
                    Err(_reason) => return self.garbled(bytes).await.map(Some),
                }
                // The rest goes in one piece where nobody has anything to say.
                if end == bytes.len() || !self.said.is_empty() && self.gaps.is_gap() {
                    break;
                }
            }
            let (piece, rest) = bytes.split_at(end);
            bytes = rest;
            self.to.write_all(piece).await?;
            let (ending, is_lost) = {
                let mut session = self.session.lock();
                session.look(Sender::Server, piece);
                (session.ending(), session.is_lost())
            };
            if is_lost {
                return self.garbled(&[]).await.map(Some);
            }
            if let Some((record, refused, api)) = ending {
                let end = End {
                    code: CloseCode::Policy,
                    reason: refused.message.clone(),
                    error: Some(error(&record, &refused, None, api)),
                    outcome: Outcome::Cut,
                };
                // The rest of a message that has begun is let through; no response waits for more than that.
                return self.end(end, bytes).await.map(Some);
            }
            while self.gaps.is_gap()
                && let Ok(say) = self.said.try_recv()
            {
                if let Some(outcome) = self.say(say).await? {
                    return Ok(Some(outcome));
                }
            }
        }
        Ok(None)
    }

    /// Says something in a gap.
    async fn say(&mut self, say: Say) -> io::Result<Option<Outcome>> {
        match say {
            Say::Frame(frame) => {
                self.to.write_all(&frame).await?;
                self.to.flush().await?;
                Ok(None)
            }
            Say::End(end) => self.end(end, &[]).await.map(Some),
        }
    }

    /// Ends the session at the next gap, which may be in `bytes`, or yet to come.
    async fn end(&mut self, end: End, mut bytes: &[u8]) -> io::Result<Outcome> {
        let until_gap = async {
            let mut buffer = vec![0; BUFFER];
            while !self.gaps.is_gap() {
                if bytes.is_empty() {
                    let read = self.from.read(&mut buffer).await?;
                    if read == 0 {
                        return Ok(());
                    }
                    let Ok(used) = self.gaps.push(&buffer[..read]) else { return Ok(()) };
                    self.to.write_all(&buffer[..used]).await?;
                } else {
                    let Ok(used) = self.gaps.push(bytes) else { return Ok(()) };
                    self.to.write_all(&bytes[..used]).await?;
                    bytes = &bytes[used..];
                }
            }
            io::Result::Ok(())
        };
        drop(timeout(GOODBYE, until_gap).await);
        let End { code, reason, error, outcome } = end;
        let last_words = async {
            if let Some(error) = error.filter(|_| self.gaps.is_gap()) {
                self.to.write_all(&error).await?;
            }
            if self.gaps.is_between_frames() {
                self.to.write_all(&code.to_client(&reason)).await?;
            }
            self.to.flush().await?;
            self.to.shutdown().await
        };
        drop(timeout(GOODBYE, last_words).await);
        Ok(outcome)
    }

    /// The server's bytes are no frames, so nothing could be said between them, nor its responses be counted.
    async fn garbled(&mut self, bytes: &[u8]) -> io::Result<Outcome> {
        self.session.lock().look(Sender::Server, bytes);
        drop(timeout(GOODBYE, self.to.shutdown()).await);
        Ok(Outcome::UpstreamFailed(UpstreamFailure::Protocol))
    }
}
