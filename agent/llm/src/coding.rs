//! Content codings (RFC 9110, § 8.4), undone on a copy of the bytes as they pass.
//!
//! Decoded bytes flow on to the reader in small pieces and are never gathered. What expands beyond reason is given up:
//! the body still reaches its receiver, only the count is lost.

mod brotli;

use std::{
    error::Error,
    fmt,
    io::{self, Write},
};

/// Takes decoded bytes.
pub(crate) trait Consume {
    fn consume(&mut self, bytes: &[u8]);
}

/// Why decoding stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The header names a coding that is not known, or too many.
    Unknown,
    /// The bytes are not what the header says.
    Corrupt,
    /// The bytes expand beyond reason.
    TooDense,
}

impl From<&io::Error> for Failure {
    fn from(error: &io::Error) -> Self {
        let is_dense = error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<TooDense>);
        if is_dense { Self::TooDense } else { Self::Corrupt }
    }
}

/// What any body may expand to, in bytes, before its ratio counts.
const FREE: u64 = 8 << 20;
/// How many bytes may come of one. Event streams of a single repeated token stay below 100.
const RATIO: u64 = 256;
/// More are legal and never seen; each costs a window of memory.
const MAX_CODINGS: usize = 2;
/// 8 MiB, the most that RFC 9659 allows for zstd as a content coding.
const ZSTD_WINDOW_LOG: u32 = 23;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// A reader behind the decoders that a `content-encoding` header asks for.
pub(crate) struct Decoder<C: Consume> {
    first: Stage<C>,
    failure: Option<Failure>,
}

impl<C: Consume> Decoder<C> {
    pub(crate) fn new(content_encoding: Option<&str>, consumer: C) -> Self {
        let mut first = Stage { received: 0, allowed: u64::MAX, kind: Kind::Reader(Some(consumer)) };
        let codings = parse(content_encoding.unwrap_or_default());
        // Listed in the order in which they were applied, so the last one is undone first.
        for &coding in codings.iter().flatten() {
            first.allowed = FREE;
            first = Stage { received: 0, allowed: u64::MAX, kind: Kind::Unopened(coding, Vec::new(), Box::new(first)) };
        }
        Self { first, failure: codings.is_none().then_some(Failure::Unknown) }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.failure.is_some() {
            return;
        }
        self.failure = self.first.write_all(bytes).err().as_ref().map(Failure::from);
    }

    /// The reader, so far.
    pub(crate) fn get_ref(&self) -> Option<&C> {
        self.first.reader()
    }

    /// The reader, so far, to tell it what the body does not.
    pub(crate) fn get_mut(&mut self) -> Option<&mut C> {
        self.first.reader_mut()
    }

    /// Hands over what the decoders still hold, and gives the reader back.
    pub(crate) fn finish(mut self) -> (C, Option<Failure>) {
        let (reader, failure) = self.first.finish();
        (reader.expect("the last stage is the reader, and it is taken once"), self.failure.or(failure))
    }
}

/// One decoder, or the reader at the end. Writing to it is decoding.
struct Stage<C: Consume> {
    received: u64,
    /// How much it may receive, which depends on what the stage before it has received.
    allowed: u64,
    kind: Kind<C>,
}

enum Kind<C: Consume> {
    Reader(Option<C>),
    /// The coding is known, but not the first bytes, which tell whether it is true and which kind of deflate it is.
    Unopened(Coding, Vec<u8>, Box<Stage<C>>),
    /// Said to be compressed, and is not.
    Plain(Box<Stage<C>>),
    Gzip(Box<flate2::write::MultiGzDecoder<Stage<C>>>),
    Zlib(Box<flate2::write::ZlibDecoder<Stage<C>>>),
    Deflate(Box<flate2::write::DeflateDecoder<Stage<C>>>),
    Brotli(Box<brotli::Decoder<Stage<C>>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Stage<C>>>),
    /// Only while one kind becomes another.
    Changing,
}

impl<C: Consume> Stage<C> {
    fn next(&self) -> Option<&Self> {
        Some(match &self.kind {
            Kind::Reader(_) | Kind::Changing => return None,
            Kind::Unopened(_, _, next) | Kind::Plain(next) => next,
            Kind::Gzip(decoder) => decoder.get_ref(),
            Kind::Zlib(decoder) => decoder.get_ref(),
            Kind::Deflate(decoder) => decoder.get_ref(),
            Kind::Brotli(decoder) => decoder.get_ref(),
            Kind::Zstd(decoder) => decoder.get_ref(),
        })
    }

    fn next_mut(&mut self) -> Option<&mut Self> {
        Some(match &mut self.kind {
            Kind::Reader(_) | Kind::Changing => return None,
            Kind::Unopened(_, _, next) | Kind::Plain(next) => next,
            Kind::Gzip(decoder) => decoder.get_mut(),
            Kind::Zlib(decoder) => decoder.get_mut(),
            Kind::Deflate(decoder) => decoder.get_mut(),
            Kind::Brotli(decoder) => decoder.get_mut(),
            Kind::Zstd(decoder) => decoder.get_mut(),
        })
    }

    fn reader(&self) -> Option<&C> {
        match &self.kind {
            Kind::Reader(reader) => reader.as_ref(),
            _ => self.next()?.reader(),
        }
    }

    fn reader_mut(&mut self) -> Option<&mut C> {
        if self.next().is_some() {
            return self.next_mut()?.reader_mut();
        }
        if let Kind::Reader(reader) = &mut self.kind { reader.as_mut() } else { None }
    }

    /// Hands on what is held back, stage by stage, and takes the reader. A body that was cut leaves its decoder
    /// unfinished, which is no failure: what came out of it counts.
    fn finish(&mut self) -> (Option<C>, Option<Failure>) {
        let failure = self.flush().err().as_ref().map(Failure::from);
        if let Kind::Reader(reader) = &mut self.kind {
            return (reader.take(), failure);
        }
        let (reader, later) = self.next_mut().map(Self::finish).unwrap_or_default();
        (reader, failure.or(later))
    }

    /// Sees whether enough is here to choose the decoder; gives the bytes that decide when it is.
    fn open(&mut self, bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Kind::Unopened(coding, head, _) = &mut self.kind else { return Ok(None) };
        head.extend_from_slice(bytes);
        let needed = match coding {
            Coding::Brotli => 0,
            Coding::Gzip | Coding::Deflate => 2,
            Coding::Zstd => 4,
        };
        if head.len() < needed {
            return Ok(Some(Vec::new()));
        }
        let Kind::Unopened(coding, head, next) = std::mem::replace(&mut self.kind, Kind::Changing) else {
            return Ok(None);
        };
        self.kind = match (coding, &head[..needed]) {
            (Coding::Brotli, _) => Kind::Brotli(Box::new(brotli::Decoder::new(*next))),
            (Coding::Gzip, [0x1f, 0x8b]) => Kind::Gzip(Box::new(flate2::write::MultiGzDecoder::new(*next))),
            // RFC 1950: method 8, and a check that makes the two bytes a multiple of 31.
            (Coding::Deflate, &[cmf, flg]) if cmf & 0x0f == 8 && u16::from_be_bytes([cmf, flg]) % 31 == 0 => {
                Kind::Zlib(Box::new(flate2::write::ZlibDecoder::new(*next)))
            }
            (Coding::Deflate, _) => Kind::Deflate(Box::new(flate2::write::DeflateDecoder::new(*next))),
            // A frame, or one to be skipped (RFC 8878, § 3.1).
            (Coding::Zstd, [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]) => {
                let mut decoder = zstd::stream::write::Decoder::new(*next)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Kind::Zstd(Box::new(decoder))
            }
            (Coding::Gzip | Coding::Zstd, _) => Kind::Plain(next),
        };
        Ok(Some(head))
    }

    fn forward(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.kind {
            Kind::Reader(Some(reader)) => {
                reader.consume(bytes);
                Ok(())
            }
            Kind::Plain(next) => next.write_all(bytes),
            Kind::Gzip(decoder) => decoder.write_all(bytes),
            Kind::Zlib(decoder) => decoder.write_all(bytes),
            Kind::Deflate(decoder) => decoder.write_all(bytes),
            Kind::Brotli(decoder) => decoder.write_all(bytes),
            Kind::Zstd(decoder) => decoder.write_all(bytes),
            Kind::Reader(None) | Kind::Unopened(..) | Kind::Changing => Ok(()),
        }
    }
}

impl<C: Consume> Write for Stage<C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.received = self.received.saturating_add(bytes.len() as u64);
        if self.received > self.allowed {
            return Err(io::Error::other(TooDense));
        }
        let opened = self.open(bytes)?;
        let allowed = self.received.saturating_mul(RATIO).saturating_add(FREE);
        if let Some(next) = self.next_mut() {
            next.allowed = allowed;
        }
        self.forward(opened.as_deref().unwrap_or(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Kind::Gzip(decoder) => decoder.flush(),
            Kind::Zlib(decoder) => decoder.flush(),
            Kind::Deflate(decoder) => decoder.flush(),
            Kind::Brotli(decoder) => decoder.flush(),
            Kind::Zstd(decoder) => decoder.flush(),
            Kind::Reader(_) | Kind::Unopened(..) | Kind::Plain(_) | Kind::Changing => Ok(()),
        }
    }
}

/// `None` if any of them is not known.
fn parse(content_encoding: &str) -> Option<Vec<Coding>> {
    let mut codings = Vec::new();
    for name in content_encoding.split(',').map(str::trim) {
        let coding = match name.to_ascii_lowercase().as_str() {
            "" | "identity" => continue,
            "gzip" | "x-gzip" => Coding::Gzip,
            "deflate" => Coding::Deflate,
            "br" => Coding::Brotli,
            "zstd" => Coding::Zstd,
            _ => return None,
        };
        codings.push(coding);
    }
    (codings.len() <= MAX_CODINGS).then_some(codings)
}

/// Travels through the decoders as an error of their writer.
#[derive(Debug)]
struct TooDense;

impl fmt::Display for TooDense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body expands beyond reason")
    }
}

impl Error for TooDense {}

#[cfg(test)]
mod tests;
