//! How far a body reaches on the wire (RFC 9112 § 6), told from its bytes as they pass. They are never changed.

use memchr::memchr;

/// What a chunk's extensions and a body's trailers may take. Nobody has use for more.
const MAX_EXTENSION: u32 = 16 * 1024;
const MAX_TRAILERS: u32 = 64 * 1024;

/// Follows one body. A copy can be sent ahead to see where the body ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Framing(Kind);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// So many bytes are to come.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// Where in a chunked body (RFC 9112 § 7.1) the next byte is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Chunked {
    /// Among a size's digits.
    Size {
        size: u64,
        digits: u8,
    },
    /// Behind them. Old servers fill up with spaces.
    Extension {
        size: u64,
        left: u32,
    },
    SizeLineFeed {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataReturn,
    DataLineFeed,
    /// At the beginning of a trailer line.
    LineStart {
        left: u32,
    },
    Line {
        left: u32,
    },
    LineFeed {
        left: u32,
    },
    LastLineFeed,
    End,
    /// It was malformed, and stays so: whoever asks again must not be told of another end.
    Malformed,
}

/// A body whose bytes are not what its framing says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid chunked body")]
pub(super) struct Malformed;

impl Framing {
    pub(super) const EMPTY: Self = Self(Kind::Length(0));
    pub(super) const CHUNKED: Self = Self(Kind::Chunked(Chunked::Size { size: 0, digits: 0 }));
    pub(super) const UNTIL_CLOSE: Self = Self(Kind::UntilClose);

    pub(super) fn length(length: u64) -> Self {
        Self(Kind::Length(length))
    }

    /// Whether all has passed.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.0, Kind::Length(0) | Kind::Chunked(Chunked::End))
    }

    /// Whether a body of a known length is here as a whole.
    pub(super) fn is_done_by(&self, bytes: &[u8]) -> bool {
        matches!(self.0, Kind::Length(left) if left <= bytes.len() as u64)
    }

    /// Whether it comes in chunks.
    pub(super) fn is_chunked(&self) -> bool {
        matches!(self.0, Kind::Chunked(_))
    }

    /// Whether only the close of the connection ends it.
    pub(super) fn is_until_close(&self) -> bool {
        self.0 == Kind::UntilClose
    }

    /// Takes the next bytes. `look` is shown what of them is content. Gives how many belong to the body.
    pub(super) fn pass(&mut self, bytes: &[u8], mut look: impl FnMut(&[u8])) -> Result<usize, Malformed> {
        match &mut self.0 {
            Kind::UntilClose => {
                look(bytes);
                Ok(bytes.len())
            }
            Kind::Length(left) => {
                let used = at_most(*left, bytes.len());
                if used > 0 {
                    look(&bytes[..used]);
                    *left -= used as u64;
                }
                Ok(used)
            }
            Kind::Chunked(state) => {
                let used = chunked(state, bytes, look);
                if used.is_err() {
                    *state = Chunked::Malformed;
                }
                used
            }
        }
    }

    /// The same, with nobody to look.
    pub(super) fn skip(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        self.pass(bytes, |_| ())
    }
}

fn at_most(left: u64, length: usize) -> usize {
    usize::try_from(left).map_or(length, |left| left.min(length))
}

fn chunked(state: &mut Chunked, bytes: &[u8], mut look: impl FnMut(&[u8])) -> Result<usize, Malformed> {
    let mut at = 0;
    while at < bytes.len() && *state != Chunked::End {
        let rest = &bytes[at..];
        match state {
            Chunked::Data { left } => {
                let used = at_most(*left, rest.len());
                look(&rest[..used]);
                at += used;
                *left -= used as u64;
                if *left == 0 {
                    *state = Chunked::DataReturn;
                }
            }
            Chunked::Line { left } | Chunked::Extension { left, .. } if rest[0] != b'\r' => {
                let used = memchr(b'\r', rest).unwrap_or(rest.len());
                *left = u32::try_from(used).ok().and_then(|used| left.checked_sub(used)).ok_or(Malformed)?;
                if memchr(b'\n', &rest[..used]).is_some() {
                    return Err(Malformed);
                }
                at += used;
            }
            _ => {
                *state = state.next(rest[0])?;
                at += 1;
            }
        }
    }
    Ok(at)
}

impl Chunked {
    fn next(self, byte: u8) -> Result<Self, Malformed> {
        Ok(match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < 16 => {
                let digit = (byte as char).to_digit(16).ok_or(Malformed)?;
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { size, digits: 1.. }, b';' | b' ' | b'\t') => Self::Extension { size, left: MAX_EXTENSION },
            (Self::Size { size, digits: 1.. } | Self::Extension { size, .. }, b'\r') => Self::SizeLineFeed { size },
            (Self::SizeLineFeed { size: 0 }, b'\n') => Self::LineStart { left: MAX_TRAILERS },
            (Self::SizeLineFeed { size }, b'\n') => Self::Data { left: size },
            (Self::DataReturn, b'\r') => Self::DataLineFeed,
            (Self::DataLineFeed, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::LineStart { .. }, b'\r') => Self::LastLineFeed,
            (Self::LineStart { left }, _) if byte != b'\n' => {
                Self::Line { left: left.checked_sub(1).ok_or(Malformed)? }
            }
            (Self::Line { left }, b'\r') => Self::LineFeed { left },
            (Self::LineFeed { left }, b'\n') => Self::LineStart { left },
            (Self::LastLineFeed, b'\n') => Self::End,
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests;
