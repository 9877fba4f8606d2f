//! Server-sent events, by the WHATWG rules (HTML Living Standard, § 9.2.6), cut anywhere, without holding an event.
//!
//! Only the data of an event is reported. Its name is left out because every dialect repeats it in the data.

use memchr::memchr2;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Takes the data of events.
pub(crate) trait Events {
    /// A whole event, its data in one piece.
    fn event(&mut self, data: &[u8]);

    /// A piece of an event's data; more may follow.
    fn part(&mut self, data: &[u8]);

    /// The event that was reported in parts is complete.
    fn end(&mut self);
}

/// The state between two pieces of a stream.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    line: Line,
    /// How much of a byte order mark was seen; it can only stand at the start.
    mark: usize,
    /// The last line ended with CR, so an LF right here belongs to that end.
    after_cr: bool,
    /// Parts of an event have been reported, and its end has not.
    is_open: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Line {
    /// Nothing of the line has been seen.
    #[default]
    Start,
    /// So many bytes of `data:` have been seen.
    Name(usize),
    /// After `data:`, where one space is left out.
    Space,
    /// In the value of `data`.
    Data,
    /// In a comment or a field of no interest.
    Other,
}

const NAME: &[u8] = b"data:";

impl Parser {
    pub(crate) fn push(&mut self, mut bytes: &[u8], events: &mut impl Events) {
        while self.mark < BYTE_ORDER_MARK.len() && !bytes.is_empty() {
            if bytes[0] == BYTE_ORDER_MARK[self.mark] {
                self.mark += 1;
                bytes = &bytes[1..];
            } else {
                // Half a mark is the beginning of some other field's name.
                self.line = if self.mark == 0 { Line::Start } else { Line::Other };
                self.mark = BYTE_ORDER_MARK.len();
            }
        }
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) && bytes[0] == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let used = if self.line == Line::Start { self.whole_line(bytes, events) } else { None };
            bytes = &bytes[used.unwrap_or_else(|| self.piece(bytes, events))..];
        }
    }

    /// The stream has ended. An event without its blank line still counts: what it says has been consumed.
    pub(crate) fn finish(&mut self, events: &mut impl Events) {
        if self.line == Line::Name(NAME.len() - 1) {
            self.begin_data(events);
        }
        if std::mem::take(&mut self.is_open) {
            events.end();
        }
    }

    /// Takes one line, and the blank one after it, if they are here from start to end. This is how nearly all arrive.
    fn whole_line(&mut self, bytes: &[u8], events: &mut impl Events) -> Option<usize> {
        let end = memchr2(b'\r', b'\n', bytes)?;
        let next = end + self.line_end(&bytes[end..]);
        let line = &bytes[..end];
        if line.is_empty() {
            if std::mem::take(&mut self.is_open) {
                events.end();
            }
        } else if let Some(data) = data(line) {
            let is_last = !self.after_cr && matches!(bytes.get(next), Some(b'\r' | b'\n'));
            if is_last && !self.is_open {
                events.event(data);
                return Some(next + self.line_end(&bytes[next..]));
            }
            self.begin_data(events);
            events.part(data);
        }
        Some(next)
    }

    /// Takes what is here of a line.
    fn piece(&mut self, bytes: &[u8], events: &mut impl Events) -> usize {
        let byte = bytes[0];
        let is_end = matches!(byte, b'\r' | b'\n');
        match self.line {
            Line::Start => self.line = Line::Name(0),
            Line::Name(seen) if seen < NAME.len() && byte == NAME[seen] => {
                self.line = if seen + 1 == NAME.len() { Line::Space } else { Line::Name(seen + 1) };
                if self.line == Line::Space {
                    self.begin_data(events);
                }
                return 1;
            }
            // `data` alone is an empty line of data.
            Line::Name(seen) if is_end && seen + 1 == NAME.len() => {
                self.begin_data(events);
                self.line = Line::Data;
            }
            Line::Name(0) if is_end => {
                if std::mem::take(&mut self.is_open) {
                    events.end();
                }
                self.line = Line::Other;
            }
            Line::Name(_) => self.line = Line::Other,
            Line::Space => {
                self.line = Line::Data;
                return usize::from(byte == b' ');
            }
            Line::Data | Line::Other => {
                let end = memchr2(b'\r', b'\n', bytes);
                let piece = &bytes[..end.unwrap_or(bytes.len())];
                if self.line == Line::Data && !piece.is_empty() {
                    events.part(piece);
                }
                let Some(end) = end else { return bytes.len() };
                self.line = Line::Start;
                return end + self.line_end(&bytes[end..]);
            }
        }
        0
    }

    /// The length of the line end that `bytes` begin with. A CR at their very end may have its LF in the next piece.
    fn line_end(&mut self, bytes: &[u8]) -> usize {
        match bytes {
            [b'\r', b'\n', ..] => 2,
            [b'\r'] => {
                self.after_cr = true;
                1
            }
            _ => 1,
        }
    }

    /// Lines of data are joined by LF.
    fn begin_data(&mut self, events: &mut impl Events) {
        if std::mem::replace(&mut self.is_open, true) {
            events.part(b"\n");
        }
    }
}

/// The value of a line `data:value`.
fn data(line: &[u8]) -> Option<&[u8]> {
    match line.strip_prefix(b"data")? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
