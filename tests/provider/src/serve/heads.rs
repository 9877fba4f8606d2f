//! HTTP/1 request heads as received.
//!
//! hyper keeps neither the order nor, for the reader, the case of header names, and those are what a transparent
//! gateway must not touch. This follows the request framing of RFC 9112 on a copy of the bytes, just far enough to cut
//! out each head.

use std::collections::VecDeque;

/// A head longer than this is not captured, nor is anything after it.
const LONGEST_HEAD: usize = 2 << 20;
/// Heads kept for requests that the server has not reached yet.
const MOST_WAITING: usize = 64;

/// Follows one connection's request bytes.
#[derive(Default)]
pub(crate) struct Heads {
    place: Place,
    /// The part of a head or of a chunk's size line seen so far.
    partial: Vec<u8>,
    ready: VecDeque<Vec<u8>>,
}

#[derive(Clone, Copy, Default)]
enum Place {
    #[default]
    Head,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    Trailers,
    /// Not HTTP/1 any more, or broken.
    Off,
}

impl Heads {
    /// The oldest head not taken yet.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        self.ready.pop_front()
    }

    /// Stops following: the connection speaks something else now.
    pub(crate) fn stop(&mut self) {
        self.place = Place::Off;
        self.partial = Vec::new();
    }

    pub(crate) fn feed(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            data = match self.place {
                Place::Off => return,
                Place::Head => self.head(data),
                Place::Body(left) => self.skip(data, left, Place::Head, Place::Body),
                Place::Chunk(left) => self.skip(data, left, Place::ChunkSize, Place::Chunk),
                Place::ChunkSize | Place::Trailers => self.line(data),
            };
        }
    }

    fn head<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        // RFC 9112 §2.2: empty lines before a request line are ignored.
        if self.partial.is_empty() && matches!(data[0], b'\r' | b'\n') {
            return &data[1..];
        }
        let from = self.partial.len().saturating_sub(3);
        let before = self.partial.len();
        self.partial.extend_from_slice(data);
        let Some(end) = self.partial[from..].windows(4).position(|window| window == b"\r\n\r\n") else {
            if self.partial.len() > LONGEST_HEAD {
                self.stop();
            }
            return &[];
        };
        let end = from + end + 4;
        self.partial.truncate(end);
        let head = std::mem::take(&mut self.partial);
        self.place = after(&head);
        if self.ready.len() == MOST_WAITING {
            self.ready.pop_front();
        }
        self.ready.push_back(head);
        &data[end - before..]
    }

    fn skip<'a>(&mut self, data: &'a [u8], left: u64, then: Place, still: fn(u64) -> Place) -> &'a [u8] {
        let size = left.min(data.len() as u64);
        self.place = if size == left { then } else { still(left - size) };
        &data[size as usize..]
    }

    fn line<'a>(&mut self, data: &'a [u8]) -> &'a [u8] {
        let Some(end) = data.iter().position(|&byte| byte == b'\n') else {
            self.partial.extend_from_slice(data);
            if self.partial.len() > LONGEST_HEAD {
                self.stop();
            }
            return &[];
        };
        self.partial.extend_from_slice(&data[..end]);
        let line = std::mem::take(&mut self.partial);
        let line = line.trim_ascii();
        self.place = match self.place {
            Place::Trailers if line.is_empty() => Place::Head,
            Place::Trailers => Place::Trailers,
            _ => {
                let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
                match std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
                    Some(0) => Place::Trailers,
                    Some(size) => Place::Chunk(size.saturating_add(2)),
                    None => Place::Off,
                }
            }
        };
        &data[end + 1..]
    }
}

/// The header lines of a head: name as written, value without the space around it.
pub(crate) fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    head.split(|&byte| byte == b'\n').skip(1).filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

fn after(head: &[u8]) -> Place {
    let mut place = Place::Head;
    for (name, value) in fields(head) {
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Place::ChunkSize;
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = std::str::from_utf8(value).ok().and_then(|value| value.parse::<u64>().ok());
            place = length.map_or(Place::Off, |length| if length == 0 { Place::Head } else { Place::Body(length) });
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_cut_out_whatever_the_bodies_and_splits() {
        let heads = [
            "POST /a HTTP/1.1\r\nHost: x\r\nX-oDD:  v \r\ncontent-LENGTH: 5\r\n\r\n",
            "POST /b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET /c HTTP/1.1\r\nb: 1\r\na: 2\r\nB: 3\r\n\r\n",
            "PUT /d HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
        ];
        let bodies = ["\r\n\r\nz", "4;x=y\r\n\r\n\r\n\r\nA\r\n0123456789\r\n0\r\nt: u\r\n\r\n", "", "\r\n"];
        let wire: Vec<u8> =
            heads.iter().zip(bodies).flat_map(|(head, body)| [head.as_bytes(), body.as_bytes()].concat()).collect();
        for size in 1..=wire.len() {
            let mut parser = Heads::default();
            wire.chunks(size).for_each(|piece| parser.feed(piece));
            let found: Vec<_> =
                std::iter::from_fn(|| parser.take()).map(|head| String::from_utf8(head).unwrap()).collect();
            assert_eq!(found, heads, "pieces of {size}");
        }
        let names: Vec<_> = fields(heads[2].as_bytes()).map(|(name, value)| (name[0], value[0])).collect();
        assert_eq!(names, [(b'b', b'1'), (b'a', b'2'), (b'B', b'3')]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_in_any_pieces_give_the_same_heads(
            data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            prefix in 0..3_usize,
            size in 1..40_usize,
        ) {
            let prefixes = ["", "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", "GET / HTTP/1.1\r\ncontent-length: 9\r\n\r\n"];
            let wire = [prefixes[prefix].as_bytes(), &data].concat();
            let heads = |size: usize| {
                let mut parser = Heads::default();
                wire.chunks(size).for_each(|piece| parser.feed(piece));
                std::iter::from_fn(|| parser.take()).collect::<Vec<_>>()
            };
            proptest::prop_assert_eq!(heads(size), heads(wire.len().max(1)));
        }
    }

    #[test]
    fn nonsense_switches_the_capture_off_and_never_panics() {
        let mut parser = Heads::default();
        parser.feed(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n");
        parser.feed(b"GET / HTTP/1.1\r\n\r\n");
        assert!(parser.take().is_some());
        assert!(parser.take().is_none());
    }
}
