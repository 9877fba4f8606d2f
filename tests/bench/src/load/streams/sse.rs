//! The events of one stream: how many came, which were lost or came twice, and how long each was on its way.

use memchr::memmem;

use crate::stamp;

/// What ends a stream in OpenAI's dialect.
const DONE: &[u8] = b"[DONE]";

/// Cuts server-sent events out of a body that comes in pieces, and checks their numbers.
#[derive(Default)]
pub(super) struct Reader {
    /// The beginning of an event whose end has not come yet.
    partial: Vec<u8>,
    /// The number that the next event should have.
    expected: u32,
    /// Events with a stamp.
    pub(super) events: u64,
    /// Numbers that were left out.
    pub(super) lost: u64,
    /// Numbers that came again, or late.
    pub(super) repeated: u64,
    /// Whether the last event of all came.
    pub(super) done: bool,
}

impl Reader {
    /// Reads a piece. `seen` gets the time that each event with a stamp was made.
    pub(super) fn read(&mut self, mut piece: &[u8], mut seen: impl FnMut(u64)) {
        if !self.partial.is_empty() {
            // The end may lie across the seam.
            let from = self.partial.len().saturating_sub(1);
            self.partial.extend_from_slice(piece);
            let Some(end) = memmem::find(&self.partial[from..], b"\n\n") else { return };
            let end = from + end + 2;
            let rest = self.partial.len() - end;
            let event = std::mem::take(&mut self.partial);
            self.event(&event[..end], &mut seen);
            piece = &piece[piece.len() - rest..];
        }
        while let Some(end) = memmem::find(piece, b"\n\n") {
            self.event(&piece[..end], &mut seen);
            piece = &piece[end + 2..];
        }
        self.partial.extend_from_slice(piece);
    }

    /// Counts what is missing at the end of a stream that should have had this many events.
    pub(super) fn finish(&mut self, events: u32) {
        self.lost += u64::from(events.saturating_sub(self.expected));
        self.expected = self.expected.max(events);
    }

    fn event(&mut self, event: &[u8], seen: &mut impl FnMut(u64)) {
        let Some((number, time)) = stamp::read(event) else {
            self.done |= memmem::find(event, DONE).is_some();
            return;
        };
        self.events += 1;
        if number < self.expected {
            self.repeated += 1;
        } else {
            self.lost += u64::from(number - self.expected);
            self.expected = number + 1;
        }
        seen(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(numbers: &[u32]) -> Vec<u8> {
        let event = |number: &u32| {
            let stamp = stamp::write(*number, u64::from(*number) + 1000);
            [b"data: {\"content\":\"".as_slice(), &stamp, b"\"}\n\n"].concat()
        };
        let mut bytes: Vec<u8> = numbers.iter().flat_map(event).collect();
        bytes.extend_from_slice(b"data: [DONE]\n\n");
        bytes
    }

    fn read(bytes: &[u8], cut: usize) -> (Reader, Vec<u64>) {
        let (mut reader, mut times) = (Reader::default(), Vec::new());
        for piece in bytes.chunks(cut) {
            reader.read(piece, |time| times.push(time));
        }
        (reader, times)
    }

    #[test]
    fn events_are_found_however_the_body_is_cut() {
        let bytes = stream(&[0, 1, 2]);
        for cut in 1..=bytes.len() {
            let (reader, times) = read(&bytes, cut);
            assert_eq!((reader.events, reader.lost, reader.repeated, reader.done), (3, 0, 0, true), "cut {cut}");
            assert_eq!(times, [1000, 1001, 1002], "cut {cut}");
        }
    }

    #[test]
    fn losses_and_repetitions_are_counted() {
        let (mut reader, _) = read(&stream(&[0, 2, 2, 1, 5]), 7);
        reader.finish(8);
        assert_eq!((reader.events, reader.lost, reader.repeated), (5, 1 + 2 + 2, 2));
    }
}
