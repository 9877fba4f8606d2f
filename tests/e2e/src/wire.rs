//! HTTP/1.1 as bytes: just enough to cut messages apart and to see all of them, order and case and spacing included, as no
//! HTTP library shows them. For the probe, and for the origin that it meets.

use std::io;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Names and values, in order. Bytes that are not ASCII are the characters of the same number.
pub type Fields = Vec<(String, String)>;

/// A head longer than this is an error.
const LONGEST_HEAD: usize = 4 << 20;

/// How the end of a body is found (RFC 9112 § 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// So many bytes.
    Length(u64),
    /// In chunks, perhaps with trailers.
    Chunked,
    /// Until the connection is closed.
    Close,
}

/// Length and digest of what passes.
pub struct Sum {
    length: u64,
    context: Context,
}

impl Default for Sum {
    fn default() -> Self {
        Self { length: 0, context: Context::new(&SHA256) }
    }
}

impl Sum {
    /// Adds bytes.
    pub fn add(&mut self, data: &[u8]) {
        self.length += data.len() as u64;
        self.context.update(data);
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// SHA-256 in hexadecimal, as [`tollgate_provider::sha256`] writes it.
    pub fn digest(&self) -> String {
        hex(self.context.clone().finish().as_ref())
    }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Each byte as the character of its number.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// The bytes that [`latin1`] made a text of.
pub fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character).expect("a text of Latin-1 characters")).collect()
}

/// The field lines of a head, values without the space around them.
pub fn fields(head: &[u8]) -> Fields {
    let lines = head.split(|&byte| byte == b'\n').skip(1);
    let field = |line: &[u8]| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((latin1(&line[..colon]), latin1(line[colon + 1..].trim_ascii())))
    };
    lines.filter_map(field).collect()
}

/// A head with one space before each value and none after: the space there has no meaning (RFC 9110 § 5.5), and HTTP libraries
/// do not keep it.
pub fn tidy(head: &str) -> String {
    let line = |line: &str| match line.split_once(':') {
        Some((name, value)) => format!("{name}: {}\r\n", value.trim_matches([' ', '\t'])),
        None => format!("{line}\r\n"),
    };
    let (first, rest) = head.split_once("\r\n").unwrap_or((head, ""));
    format!("{first}\r\n") + &rest.split_terminator("\r\n").map(line).collect::<String>()
}

/// The value of the first field of this name.
pub fn field<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    fields.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// What the fields say of a body; `otherwise` where they say nothing.
pub fn framing(fields: &Fields, otherwise: Framing) -> Framing {
    if field(fields, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Framing::Chunked;
    }
    field(fields, "content-length").and_then(|length| length.parse().ok()).map_or(otherwise, Framing::Length)
}

/// Reads messages from a connection.
pub struct Reader<R> {
    io: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// Reads from `io`.
    pub fn new(io: R) -> Self {
        Self { io, buffer: BytesMut::new() }
    }

    /// A head with its empty line; `None` where the connection was closed instead.
    pub async fn head(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut searched = 0;
        loop {
            let found = self.buffer[searched..].windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(at) = found {
                return Ok(Some(self.buffer.split_to(searched + at + 4).to_vec()));
            }
            searched = self.buffer.len().saturating_sub(3);
            if searched > LONGEST_HEAD {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a head without an end"));
            }
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// A body, counted into `sum` as it comes, and its trailers.
    pub async fn body(&mut self, framing: Framing, sum: &mut Sum) -> io::Result<Fields> {
        match framing {
            Framing::Empty => {}
            Framing::Length(length) => self.pass(length, sum).await?,
            Framing::Chunked => return self.chunks(sum).await,
            Framing::Close => {
                while !self.buffer.is_empty() || self.fill().await? > 0 {
                    sum.add(&self.buffer.split());
                }
            }
        }
        Ok(Fields::new())
    }

    async fn chunks(&mut self, sum: &mut Sum) -> io::Result<Fields> {
        loop {
            let line = self.line().await?;
            let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
            let size = std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok());
            let size = size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a chunk's size"))?;
            if size == 0 {
                break;
            }
            self.pass(size, sum).await?;
            if !self.line().await?.is_empty() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a chunk longer than its size"));
            }
        }
        let mut trailers = Fields::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(trailers);
            }
            trailers.append(&mut fields(&[b"\n", &line[..]].concat()));
        }
    }

    /// A line without its end.
    async fn line(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(at + 1);
                return Ok(line[..at].strip_suffix(b"\r").unwrap_or(&line[..at]).to_vec());
            }
            self.more().await?;
        }
    }

    async fn pass(&mut self, mut length: u64, sum: &mut Sum) -> io::Result<()> {
        while length > 0 {
            if self.buffer.is_empty() {
                self.more().await?;
            }
            let size = usize::try_from(length).unwrap_or(usize::MAX).min(self.buffer.len());
            sum.add(&self.buffer[..size]);
            self.buffer.advance(size);
            length -= size as u64;
        }
        Ok(())
    }

    /// So many bytes that are no message.
    pub async fn exactly(&mut self, length: usize) -> io::Result<Bytes> {
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(self.buffer.split_to(length).freeze())
    }

    async fn more(&mut self) -> io::Result<()> {
        if self.fill().await? == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(64 * 1024);
        self.io.read_buf(&mut self.buffer).await
    }
}

/// A body on the wire: `pieces` of data, in chunks with `trailers` or as they are.
pub fn frame(piece: &[u8], framing: Framing) -> Bytes {
    match framing {
        Framing::Chunked if piece.is_empty() => Bytes::new(),
        Framing::Chunked => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat().into(),
        _ => Bytes::copy_from_slice(piece),
    }
}

/// What ends a body on the wire.
pub fn last(framing: Framing, trailers: &Fields) -> Vec<u8> {
    if framing != Framing::Chunked {
        return Vec::new();
    }
    let mut end = b"0\r\n".to_vec();
    end.extend(lines(trailers));
    end.extend_from_slice(b"\r\n");
    end
}

/// Fields as lines, spaced as most software does.
pub fn lines(fields: &Fields) -> Vec<u8> {
    let space = |value: &str| if value.is_empty() { "" } else { " " };
    fields.iter().flat_map(|(name, value)| bytes(&format!("{name}:{}{value}\r\n", space(value)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_are_cut_apart() {
        let wire = b"POST / HTTP/1.1\r\nX: \xe9 y \r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: u\r\n\r\nGET / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi";
        let mut reader = Reader::new(&wire[..]);
        let head = reader.head().await.unwrap().unwrap();
        assert_eq!(fields(&head)[0], ("X".to_owned(), "é y".to_owned()));
        let mut sum = Sum::default();
        let trailers = reader.body(framing(&fields(&head), Framing::Empty), &mut sum).await.unwrap();
        assert_eq!((sum.length(), sum.digest()), (3, tollgate_provider::sha256(b"abc")));
        assert_eq!(trailers, [("T".to_owned(), "u".to_owned())]);
        let head = reader.head().await.unwrap().unwrap();
        assert_eq!(framing(&fields(&head), Framing::Empty), Framing::Length(2));
        assert_eq!(reader.exactly(2).await.unwrap(), "hi");
        assert!(reader.head().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_cut_short_is_an_error() {
        for (wire, framing) in [
            (&b"ab"[..], Framing::Length(3)),
            (b"3\r\nab", Framing::Chunked),
            (b"2\r\nab\r\n", Framing::Chunked),
            (b"2\r\nab\r\n0\r\n", Framing::Chunked),
        ] {
            let mut reader = Reader::new(wire);
            assert!(reader.body(framing, &mut Sum::default()).await.is_err(), "{wire:?}");
        }
    }
}
