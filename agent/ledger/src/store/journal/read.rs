use std::collections::HashMap;
use std::io::{self, BufRead, Read as _};

use super::Header;
use crate::record::Id;
use crate::store::row::Row;

/// The longest line that is read. Ours are a few kilobytes at most.
const LONGEST: u64 = 64 * 1024;
/// Exchanges that are held open at most while a file is read: more than fit into the largest.
const OPEN: usize = 1 << 20;

/// Reads a journal: calls `closed` for each exchange that ended, and puts into `open` those that did not. A line that
/// cannot be understood, as one that was being written at the end, is passed over. `None` where the header is not there.
pub(in super::super) fn read(
    mut from: impl BufRead,
    open: &mut HashMap<Id, Row>,
    mut closed: impl FnMut(Row),
) -> io::Result<Option<Header>> {
    let mut line = Vec::new();
    if !next(&mut from, &mut line)? {
        return Ok(None);
    }
    let Ok(header) = serde_json::from_slice::<Header>(&line) else { return Ok(None) };
    if header.version != 1 {
        return Ok(None);
    }
    while next(&mut from, &mut line)? {
        let Ok(row) = serde_json::from_slice::<Row>(&line) else { continue };
        if row.end.is_some() {
            closed(row);
        } else if open.len() < OPEN {
            open.insert(row.id, row);
        }
    }
    Ok(Some(header))
}

/// The next line, of which what is too long is left out. False at the end.
fn next(from: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let length = from.by_ref().take(LONGEST).read_until(b'\n', line)?;
    if length as u64 == LONGEST && line.last() != Some(&b'\n') {
        line.clear();
        from.skip_until(b'\n')?;
    }
    Ok(length > 0)
}

/// How many exchanges a journal tells of: ended ones, and ones that are open. `None` where it is none of ours. For fuzzing.
#[doc(hidden)]
pub fn journal_counts(bytes: &[u8]) -> Option<(usize, usize)> {
    let (mut open, mut ended) = (HashMap::new(), 0);
    read(bytes, &mut open, |row| {
        // What is read is written again without loss.
        let again = serde_json::to_vec(&row).expect("a row is text and numbers");
        assert_eq!(serde_json::from_slice::<Row>(&again).expect("it was written by us"), row);
        ended += 1;
    })
    .expect("memory does not fail")?;
    Some((ended, open.len()))
}
