//! Rows as bytes: what the journal's files and the writer's queue hold.
//!
//! A frame is its magic number, the length of the rest and the checksum of that, then the rest: id, start, process id, the
//! labels as one block (equal labels are equal bytes, so that the writer looks them up at once), what budgets were charged, and
//! the end, if there is one. Numbers are little-endian. A reader finds the next whole frame behind whatever was torn. Frames of the
//! version before, which had no charges and shorter lengths, begin otherwise, and are read too.

use std::io::{self, Read};

use super::charges::Charges;
use super::row::{End, LABELS, Labels, Row, clipped};
use super::schema::COUNTS;
use crate::record::Id;

/// How each frame begins: bytes that no text has.
const MAGIC: [u8; 2] = [0xfe, 0x7b];
/// How a frame of the version before does.
const OLDER: [u8; 2] = [0xfe, 0x7a];
/// Magic number, length, checksum.
const HEAD: usize = 10;
/// The same of the version before.
const OLDER_HEAD: usize = 8;
/// The longest frame. Texts and charges are of bounded length: all of it together is some 130 kilobytes at most.
const LONGEST: usize = 256 * 1024;
/// Bytes that are read from a file at once.
const CHUNK: usize = 128 * 1024;

const FIRST_BYTE: u16 = 1;
const FIRST_TOKEN: u16 = 1 << 1;
const COUNTED: u16 = 1 << 2;
const COST: u16 = 1 << 3;
const STATUS: u16 = 1 << 4;
const ERROR: u16 = 1 << 5;
const REFUSED: u16 = 1 << 6;
const BILLABLE: u16 = 1 << 7;
const LOST: u16 = 1 << 8;
const STREAM: u16 = 1 << 9;
const STREAMED: u16 = 1 << 10;
const REQUEST_ID: u16 = 1 << 11;

/// A row in its bytes, of which the labels and the end are not looked at yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<'a> {
    pub(super) id: Id,
    pub(super) started: i64,
    pub(super) pid: u32,
    /// The block of labels.
    pub(super) labels: &'a [u8],
    /// What budgets were charged.
    pub(super) charges: Charges<'a>,
    end: &'a [u8],
}

/// What stands before a frame.
struct Head {
    /// Bytes of itself.
    size: usize,
    /// Bytes that follow.
    rest: usize,
    checksum: [u8; 4],
    /// Whether charges stand in it.
    is_charged: bool,
}

impl Head {
    /// Of bytes that are at least as many as [`HEAD`].
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut head = Rest(bytes);
        let magic: [u8; 2] = head.take()?;
        let (size, rest) = match magic {
            MAGIC => (HEAD, u32::from_le_bytes(head.take()?) as usize),
            OLDER => (OLDER_HEAD, u16::from_le_bytes(head.take()?).into()),
            _ => return None,
        };
        let checksum = head.take()?;
        (rest <= LONGEST).then_some(Self { size, rest, checksum, is_charged: size == HEAD })
    }
}

/// Appends a row's frame.
pub(super) fn encode(row: &Row<'_>, into: &mut Vec<u8>) {
    let start = into.len();
    into.extend_from_slice(&[0; HEAD]);
    into.extend_from_slice(row.id.as_bytes());
    into.extend_from_slice(&row.started.to_le_bytes());
    into.extend_from_slice(&row.pid.to_le_bytes());
    let labels = into.len();
    into.extend_from_slice(&[0; 2]);
    encode_labels(&row.labels, into);
    let length = (into.len() - labels - 2) as u16;
    into[labels..labels + 2].copy_from_slice(&length.to_le_bytes());
    row.charges.encode(into);
    if let Some(end) = &row.end {
        encode_end(end, into);
    }
    let (head, rest) = into[start..].split_at_mut(HEAD);
    head[..2].copy_from_slice(&MAGIC);
    head[2..6].copy_from_slice(&(rest.len() as u32).to_le_bytes());
    head[6..].copy_from_slice(&crc32fast::hash(rest).to_le_bytes());
}

fn encode_labels(labels: &Labels<'_>, into: &mut Vec<u8>) {
    let mask = labels.texts.iter().enumerate().fold(0_u32, |mask, (at, text)| mask | u32::from(text.is_some()) << at);
    into.extend_from_slice(&labels.uid.to_le_bytes());
    into.extend_from_slice(&mask.to_le_bytes());
    for text in labels.texts.iter().flatten() {
        encode_text(text, into);
    }
}

pub(super) fn encode_text(text: &str, into: &mut Vec<u8>) {
    into.extend_from_slice(&(text.len() as u16).to_le_bytes());
    into.extend_from_slice(text.as_bytes());
}

fn encode_end(end: &End<'_>, into: &mut Vec<u8>) {
    let flags = [
        (FIRST_BYTE, end.first_byte.is_some()),
        (FIRST_TOKEN, end.first_token.is_some()),
        (COUNTED, end.counts.is_some()),
        (COST, end.cost.is_some()),
        (STATUS, end.status.is_some()),
        (ERROR, end.is_error),
        (REFUSED, end.is_refused),
        (BILLABLE, end.is_billable),
        (LOST, end.is_lost),
        (STREAM, end.stream.is_some()),
        (STREAMED, end.stream == Some(true)),
        (REQUEST_ID, end.request_id.is_some()),
    ];
    let flags = flags.iter().fold(0, |flags, (flag, is_set)| if *is_set { flags | flag } else { flags });
    into.extend_from_slice(&u16::to_le_bytes(flags));
    for number in [end.duration, end.request_bytes, end.response_bytes] {
        into.extend_from_slice(&number.to_le_bytes());
    }
    for number in [end.first_byte, end.first_token].into_iter().flatten() {
        into.extend_from_slice(&number.to_le_bytes());
    }
    if let Some((nano, atto)) = end.cost {
        into.extend_from_slice(&nano.to_le_bytes());
        into.extend_from_slice(&atto.to_le_bytes());
    }
    if let Some(status) = end.status {
        into.extend_from_slice(&status.to_le_bytes());
    }
    if let Some(counts) = &end.counts {
        // Most are nought.
        let mask = counts.iter().enumerate().fold(0_u32, |mask, (at, count)| mask | u32::from(*count != 0) << at);
        into.extend_from_slice(&mask.to_le_bytes());
        for count in counts.iter().filter(|count| **count != 0) {
            into.extend_from_slice(&count.to_le_bytes());
        }
    }
    if let Some(request_id) = end.request_id {
        encode_text(request_id, into);
    }
}

impl<'a> Frame<'a> {
    /// Of what follows the head.
    fn parse(rest: &'a [u8], is_charged: bool) -> Option<Self> {
        let mut rest = Rest(rest);
        let id = Id::from_bytes(rest.take()?);
        let started = i64::from_le_bytes(rest.take()?);
        let pid = u32::from_le_bytes(rest.take()?);
        let length = u16::from_le_bytes(rest.take()?);
        let labels = rest.bytes(length.into())?;
        let charges = if is_charged { Charges::parse(&mut rest)? } else { Charges::default() };
        Some(Self { id, started, pid, labels, charges, end: rest.0 })
    }

    /// Takes the next frame off bytes that [`encode`] wrote.
    pub(super) fn next(bytes: &mut &'a [u8]) -> Option<Self> {
        let head = Head::parse(bytes)?;
        let mut rest = Rest(bytes.get(head.size..)?);
        let frame = Self::parse(rest.bytes(head.rest)?, head.is_charged)?;
        *bytes = rest.0;
        Some(frame)
    }

    /// Whether the exchange has ended.
    pub(super) fn is_ended(&self) -> bool {
        !self.end.is_empty()
    }

    /// The labels that its block of labels says.
    pub(super) fn labels(&self) -> Option<Labels<'a>> {
        let mut rest = Rest(self.labels);
        let uid = u32::from_le_bytes(rest.take()?);
        let mask = u32::from_le_bytes(rest.take()?);
        let mut labels = Labels { uid, ..Labels::default() };
        for at in (0..LABELS).filter(|at| mask & 1 << at != 0) {
            labels.texts[at] = Some(rest.text()?);
        }
        Some(labels)
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<End<'a>> {
        let mut rest = Rest(self.end);
        let flags = u16::from_le_bytes(rest.take()?);
        let has = |flag| flags & flag != 0;
        let mut end = End {
            duration: rest.number()?,
            request_bytes: rest.number()?,
            response_bytes: rest.number()?,
            is_error: has(ERROR),
            is_refused: has(REFUSED),
            is_billable: has(BILLABLE),
            is_lost: has(LOST),
            stream: has(STREAM).then_some(has(STREAMED)),
            ..End::default()
        };
        if has(FIRST_BYTE) {
            end.first_byte = Some(rest.number()?);
        }
        if has(FIRST_TOKEN) {
            end.first_token = Some(rest.number()?);
        }
        if has(COST) {
            end.cost = Some((rest.number()?, rest.number()?));
        }
        if has(STATUS) {
            end.status = Some(u16::from_le_bytes(rest.take()?));
        }
        if has(COUNTED) {
            let mask = u32::from_le_bytes(rest.take()?);
            let mut counts = [0; COUNTS.len()];
            for (_, count) in counts.iter_mut().enumerate().filter(|(at, _)| mask & 1 << at != 0) {
                *count = rest.number()?;
            }
            end.counts = Some(counts);
        }
        if has(REQUEST_ID) {
            end.request_id = Some(rest.text()?);
        }
        Some(end)
    }

    /// The whole of it; `None` where it is none of ours.
    pub(super) fn row(&self) -> Option<Row<'a>> {
        let end = if self.is_ended() { Some(self.end()?) } else { None };
        Some(Row {
            id: self.id,
            started: self.started,
            pid: self.pid,
            labels: self.labels()?,
            charges: self.charges,
            end,
        })
    }
}

/// What is left to be read.
pub(super) struct Rest<'a>(pub(super) &'a [u8]);

impl<'a> Rest<'a> {
    fn bytes(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn take<const LENGTH: usize>(&mut self) -> Option<[u8; LENGTH]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    pub(super) fn number(&mut self) -> Option<i64> {
        self.take().map(i64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = u16::from_le_bytes(self.take()?);
        str::from_utf8(self.bytes(length.into())?).ok().map(clipped)
    }
}

/// Frames of a file, which a crash may have torn anywhere.
pub(super) struct Frames<R> {
    from: R,
    buffer: Vec<u8>,
    at: usize,
    is_at_end: bool,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, buffer: Vec::new(), at: 0, is_at_end: false }
    }

    /// The next that is whole, with its bytes.
    pub(super) fn next(&mut self) -> io::Result<Option<(Frame<'_>, &[u8])>> {
        let (head, length) = loop {
            if !self.fill(HEAD)? {
                return Ok(None);
            }
            if let Some(head) = Head::parse(&self.buffer[self.at..]) {
                let length = head.size + head.rest;
                if self.fill(length)? && is_whole(&head, &self.buffer[self.at..self.at + length]) {
                    break (head, length);
                }
            }
            self.at += 1;
            self.at +=
                self.buffer[self.at..].iter().position(|byte| *byte == MAGIC[0]).unwrap_or(self.buffer.len() - self.at);
        };
        let bytes = &self.buffer[self.at..self.at + length];
        self.at += length;
        Ok(Frame::parse(&bytes[head.size..], head.is_charged).map(|frame| (frame, bytes)))
    }

    /// Whether there is so much ahead.
    fn fill(&mut self, length: usize) -> io::Result<bool> {
        while self.buffer.len() - self.at < length && !self.is_at_end {
            self.buffer.drain(..self.at);
            self.at = 0;
            self.is_at_end = self.from.by_ref().take(CHUNK as u64).read_to_end(&mut self.buffer)? == 0;
        }
        Ok(self.buffer.len() - self.at >= length)
    }
}

fn is_whole(head: &Head, frame: &[u8]) -> bool {
    let rest = &frame[head.size..];
    head.checksum == crc32fast::hash(rest).to_le_bytes()
        && Frame::parse(rest, head.is_charged).is_some_and(|frame| frame.row().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::record::tests::{charged, chat};

    #[test]
    fn a_row_reads_back_from_its_bytes() {
        let full = Record { request_id: Some("req_1".into()), region: Some("eu".into()), ..charged(1.into()) };
        let bare = Record { usage: None, cost: None, status: None, stream: None, ..chat() };
        let (full, bare) = (Row::settled(&full, Some("/usr/bin/x")), Row::settled(&bare, None));
        let open = Row { end: None, ..full.clone() };
        let mut bytes = Vec::new();
        for row in [&full, &bare, &open] {
            encode(row, &mut bytes);
        }
        let mut rest = &bytes[..];
        for row in [&full, &bare, &open] {
            assert_eq!(&Frame::next(&mut rest).unwrap().row().unwrap(), row);
        }
        assert!(rest.is_empty());
    }
}
