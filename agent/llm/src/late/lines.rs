use memchr::memchr2;

/// What ends an event.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    BlankLine,
    Line,
}

/// The state between two pieces of text in lines that end with LF, CR LF, or CR (HTML Living Standard, § 9.2.6).
#[expect(clippy::struct_excessive_bools, reason = "each is told by another byte")]
pub(super) struct Lines {
    end: End,
    /// Nothing of the line has come.
    is_blank: bool,
    /// Something of an event has come, and not its end.
    is_open: bool,
    /// The last byte was CR, so an LF right here belongs to that line's end.
    after_cr: bool,
    /// That line's end is an event's.
    ends_event: bool,
    line_end: &'static str,
    events: u64,
}

impl Lines {
    /// Events that a blank line ends.
    pub(super) fn of_events() -> Self {
        Self::new(End::BlankLine)
    }

    /// Events of a line each.
    pub(super) fn one_a_line() -> Self {
        Self::new(End::Line)
    }

    fn new(end: End) -> Self {
        Self { end, is_blank: true, is_open: false, after_cr: false, ends_event: false, line_end: "\n", events: 0 }
    }

    pub(super) fn is_between(&self) -> bool {
        self.is_blank && !self.is_open && !self.after_cr
    }

    /// How the stream ends its lines.
    pub(super) fn line_end(&self) -> &'static str {
        self.line_end
    }

    /// How many events have ended.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    /// As [`Boundary::seek`](super::Boundary::seek). Whether an event has ended with a CR is known only by the next byte.
    pub(super) fn seek(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if std::mem::take(&mut self.after_cr) {
                let is_pair = *byte == b'\n';
                self.line_end = if is_pair { "\r\n" } else { "\r" };
                at += usize::from(is_pair);
                if std::mem::take(&mut self.ends_event) {
                    return Some(at);
                }
                continue;
            }
            match byte {
                b'\r' => {
                    self.after_cr = true;
                    self.ends_event = self.end_line();
                    at += 1;
                }
                b'\n' => {
                    self.line_end = "\n";
                    at += 1;
                    if self.end_line() {
                        return Some(at);
                    }
                }
                _ => {
                    (self.is_blank, self.is_open) = (false, true);
                    at += memchr2(b'\r', b'\n', &bytes[at..]).unwrap_or(bytes.len() - at);
                }
            }
        }
        None
    }

    /// Whether an event ends with this line.
    fn end_line(&mut self) -> bool {
        let was_blank = std::mem::replace(&mut self.is_blank, true);
        let ends = self.is_open && (was_blank || self.end == End::Line);
        if ends {
            self.is_open = false;
            self.events += 1;
        }
        ends
    }
}
