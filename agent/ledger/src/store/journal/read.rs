use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read};

use super::Header;
use crate::record::Id;
use crate::store::frame::{Frame, Frames, encode};

/// The longest first line that is read. Ours has one path.
const LONGEST: u64 = 8192;
/// Exchanges that are held open at most while a file is read: more than fit into the largest.
const OPEN: usize = 1 << 20;

/// Reads a journal: calls `closed` for each exchange that ended, and puts the frames of those that did not into `open`. What
/// is torn, as what was being written at the end, is passed over. `None` where the header is not there.
pub(in super::super) fn read(
    from: impl Read,
    open: &mut HashMap<Id, Box<[u8]>>,
    mut closed: impl FnMut(&Frame<'_>),
) -> io::Result<Option<Header>> {
    let mut from = BufReader::new(from);
    let Some(header) = header(&mut from)? else { return Ok(None) };
    let mut frames = Frames::new(from);
    while let Some((frame, bytes)) = frames.next()? {
        if frame.is_ended() {
            closed(&frame);
        } else if open.len() < OPEN {
            open.insert(frame.id, bytes.into());
        }
    }
    Ok(Some(header))
}

/// The first line, if it is one that this version reads.
fn header(from: &mut impl BufRead) -> io::Result<Option<Header>> {
    let mut line = Vec::new();
    from.take(LONGEST).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice::<Header>(&line).ok().filter(Header::is_readable))
}

/// How many exchanges a journal tells of: ended ones, and ones that are open. `None` where it is none of ours. For fuzzing.
#[doc(hidden)]
pub fn journal_counts(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut open, mut ended) = (HashMap::new(), 0);
    read(bytes, &mut open, |frame| {
        // What is read is written again without loss.
        let row = frame.row().expect("it is whole");
        let mut again = Vec::new();
        encode(&row, &mut again);
        assert_eq!(Frame::next(&mut &again[..]).and_then(|frame| frame.row()).as_ref(), Some(&row));
        ended += 1;
    })
    .expect("memory does not fail")?;
    Some((ended, open.len()))
}
