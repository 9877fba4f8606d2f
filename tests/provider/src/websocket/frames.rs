//! Frames (RFC 6455) of a server, with permessage-deflate (RFC 7692).

use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Buf as _, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::seed::hex;

/// The largest message that is read.
const MAX_MESSAGE: usize = 64 << 20;
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What of permessage-deflate a client offered and is given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deflate {
    server_forgets: bool,
    client_forgets: bool,
    client_bits: Option<u8>,
}

impl Deflate {
    /// Accepts one offer of a client's, if it can be met.
    pub(crate) fn accept(offer: &str) -> Option<Self> {
        let mut parameters = offer.split(';').map(str::trim);
        if parameters.next() != Some("permessage-deflate") {
            return None;
        }
        let mut deflate = Self::default();
        for parameter in parameters {
            let (name, value) =
                parameter.split_once('=').map_or((parameter, None), |(name, value)| (name, Some(value)));
            match name {
                "server_no_context_takeover" => deflate.server_forgets = true,
                "client_no_context_takeover" => deflate.client_forgets = true,
                "client_max_window_bits" => deflate.client_bits = value.and_then(|value| value.parse().ok()),
                // This compressor has the largest window alone.
                _ => return None,
            }
        }
        Some(deflate)
    }

    pub(crate) fn answer(&self) -> String {
        let mut answer = "permessage-deflate".to_owned();
        if self.server_forgets {
            answer.push_str("; server_no_context_takeover");
        }
        if self.client_forgets {
            answer.push_str("; client_no_context_takeover");
        }
        if let Some(bits) = self.client_bits {
            answer.push_str("; client_max_window_bits=");
            answer.push_str(&bits.to_string());
        }
        answer
    }
}

pub(super) enum Message {
    Text(String),
    /// Its content is of no use to these APIs.
    Binary,
    Close,
}

struct Coder {
    compress: Compress,
    decompress: Decompress,
    server_forgets: bool,
    client_forgets: bool,
}

pub(super) struct Socket<IO> {
    io: IO,
    buffer: BytesMut,
    coder: Option<Coder>,
    /// Messages go out in fragments of so many bytes, a ping between each two, and bytes in writes of as many.
    pieces: Option<usize>,
    message: Vec<u8>,
    opcode: u8,
    compressed: bool,
    pongs: Vec<u8>,
    /// Of all frames that were read, but for their masks, which clients draw anew each time.
    digest: Context,
    /// How much was read and written.
    taken: u64,
    given: u64,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Socket<IO> {
    pub(super) fn new(io: IO, deflate: Option<&Deflate>, pieces: Option<usize>) -> Self {
        let coder = deflate.map(|deflate| Coder {
            compress: Compress::new(Compression::default(), false),
            decompress: Decompress::new(false),
            server_forgets: deflate.server_forgets,
            client_forgets: deflate.client_forgets,
        });
        Self {
            io,
            buffer: BytesMut::new(),
            coder,
            pieces,
            message: Vec::new(),
            opcode: 0,
            compressed: false,
            pongs: Vec::new(),
            digest: Context::new(&SHA256),
            taken: 0,
            given: 0,
        }
    }

    /// How many bytes were read and written, and the digest of the frames read, in hexadecimal.
    pub(super) fn passed(&self) -> (u64, u64, String) {
        (self.taken, self.given, hex(self.digest.clone().finish().as_ref()))
    }

    /// The next message; `None` when the client has gone or does not keep to the protocol. It may be dropped and called again.
    pub(super) async fn read(&mut self) -> Option<Message> {
        loop {
            while let Some((first, payload)) = self.frame()? {
                match first & 0x0f {
                    0x8 => return Some(Message::Close),
                    0x9 => self.pongs.extend(header(0x8a, payload.len()).into_iter().chain(payload)),
                    0xa => {}
                    opcode => {
                        if let Some(message) = self.data(first, opcode, &payload)? {
                            return Some(message);
                        }
                    }
                }
            }
            let read = self.io.read_buf(&mut self.buffer).await.ok()?;
            if read == 0 {
                return None;
            }
            self.taken += read as u64;
        }
    }

    /// One frame, unmasked, once all of it is here; an outer `None` for what is none of a client's.
    #[expect(clippy::option_option, reason = "a frame, none yet, or the end of it all")]
    fn frame(&mut self) -> Option<Option<(u8, Vec<u8>)>> {
        let bytes = &self.buffer[..];
        let [first, second, rest @ ..] = bytes else { return Some(None) };
        let (length, rest) = match (second & 0x7f, rest) {
            (126, [a, b, rest @ ..]) => (u64::from(u16::from_be_bytes([*a, *b])), rest),
            (127, rest) if rest.len() >= 8 => {
                let (length, rest) = rest.split_first_chunk().expect("it was measured");
                (u64::from_be_bytes(*length), rest)
            }
            (126 | 127, _) => return Some(None),
            (length, rest) => (u64::from(length), rest),
        };
        if second & 0x80 == 0 || length > MAX_MESSAGE as u64 {
            return None;
        }
        let (Some(mask), length) = (rest.first_chunk::<4>(), length as usize) else { return Some(None) };
        let Some(payload) = rest[4..].get(..length) else { return Some(None) };
        let payload: Vec<u8> = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
        let header = bytes.len() - rest.len();
        self.digest.update(&[*first, second & 0x7f]);
        self.digest.update(&bytes[2..header]);
        self.digest.update(&payload);
        let first = *first;
        self.buffer.advance(header + 4 + length);
        Some(Some((first, payload)))
    }

    #[expect(clippy::option_option, reason = "a message, none yet, or the end of it all")]
    fn data(&mut self, first: u8, opcode: u8, payload: &[u8]) -> Option<Option<Message>> {
        if opcode != 0 {
            (self.opcode, self.compressed) = (opcode, first & 0x40 != 0);
        }
        self.message.extend_from_slice(payload);
        if self.message.len() > MAX_MESSAGE {
            return None;
        }
        if first & 0x80 == 0 {
            return Some(None);
        }
        let mut message = std::mem::take(&mut self.message);
        if self.compressed {
            message.extend(TAIL);
            let coder = self.coder.as_mut()?;
            message = inflate(&mut coder.decompress, &message)?;
            if coder.client_forgets {
                coder.decompress.reset(false);
            }
        }
        Some(Some(match self.opcode {
            1 => Message::Text(String::from_utf8(message).ok()?),
            _ => Message::Binary,
        }))
    }

    /// Writes a message.
    pub(super) async fn write(&mut self, text: &str) -> io::Result<()> {
        let mut bytes = std::mem::take(&mut self.pongs);
        let (payload, compressed) = match &mut self.coder {
            None => (text.as_bytes().to_vec(), 0),
            Some(coder) => (deflate(coder, text.as_bytes()), 0x40),
        };
        let size = self.pieces.unwrap_or(usize::MAX);
        let fragments: Vec<_> = payload.chunks(size).collect();
        for (index, fragment) in fragments.iter().enumerate() {
            let opcode = if index == 0 { compressed | 0x1 } else { 0 };
            let last = if index + 1 == fragments.len() { 0x80 } else { 0 };
            bytes.extend(header(last | opcode, fragment.len()));
            bytes.extend_from_slice(fragment);
            if last == 0 && index % 16 == 0 {
                bytes.extend(header(0x89, 4));
                bytes.extend(b"ping");
            }
        }
        for piece in bytes.chunks(size) {
            self.io.write_all(piece).await?;
            self.io.flush().await?;
            self.given += piece.len() as u64;
            if self.pieces.is_some() {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }

    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.io.flush().await
    }

    /// Says goodbye.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.io.write_all(&[0x88, 2, 0x03, 0xe8]).await?;
        self.io.flush().await?;
        self.given += 4;
        self.io.shutdown().await
    }
}

fn header(first: u8, length: usize) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(length as u8),
        126..=0xffff => {
            header.push(126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(127);
            header.extend((length as u64).to_be_bytes());
        }
    }
    header
}

fn deflate(coder: &mut Coder, text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let begun = coder.compress.total_in();
    loop {
        out.reserve(text.len() / 2 + 128);
        let taken = (coder.compress.total_in() - begun) as usize;
        let had = out.capacity() - out.len();
        let before = coder.compress.total_out();
        coder.compress.compress_vec(&text[taken..], &mut out, FlushCompress::Sync).expect("text compresses");
        let given = (coder.compress.total_out() - before) as usize;
        if (coder.compress.total_in() - begun) as usize == text.len() && given < had {
            break;
        }
    }
    if coder.server_forgets {
        coder.compress.reset();
    }
    if out.ends_with(&TAIL) {
        out.truncate(out.len() - TAIL.len());
    }
    out
}

fn inflate(decompress: &mut Decompress, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let begun = decompress.total_in();
    loop {
        out.reserve(bytes.len() * 4 + 1024);
        let taken = (decompress.total_in() - begun) as usize;
        let had = out.capacity() - out.len();
        let before = decompress.total_out();
        decompress.decompress_vec(&bytes[taken..], &mut out, FlushDecompress::Sync).ok()?;
        let given = (decompress.total_out() - before) as usize;
        if out.len() > MAX_MESSAGE {
            return None;
        }
        if (decompress.total_in() - begun) as usize == bytes.len() && given < had {
            return Some(out);
        }
    }
}
