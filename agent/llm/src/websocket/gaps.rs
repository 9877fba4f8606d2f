//! Where in a server's frames there is room for a message of ours: between two messages of its own.

use super::Sender;
use super::frames::{CLOSE, CONTINUATION, Head};
use crate::response::Unmetered;

/// Follows a server's frames, cut anywhere, without a look at what is in them.
#[derive(Default)]
pub struct SocketGaps {
    head: Head,
    /// Of the current frame's payload; `None` before its header is whole.
    left: Option<u64>,
    in_message: bool,
    is_closing: bool,
    is_closed: bool,
}

impl SocketGaps {
    /// Takes bytes up to the next gap, or all of them, and tells how many those are. An error says that they are no frames.
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize, Unmetered> {
        let mut used = 0;
        while used < bytes.len() {
            match &mut self.left {
                None => {
                    used += self.head.push(&bytes[used..]);
                    let Some(frame) = self.head.end(Sender::Server).map_err(Unmetered::from)? else { continue };
                    self.left = Some(frame.length);
                    self.is_closing |= frame.opcode == CLOSE;
                    if !frame.is_control() {
                        let is_first = frame.opcode != CONTINUATION;
                        if is_first == self.in_message {
                            return Err(Unmetered::Framing);
                        }
                        self.in_message = !frame.is_final;
                    }
                }
                Some(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len() - used);
                    *left -= taken as u64;
                    used += taken;
                }
            }
            if self.left == Some(0) {
                self.left = None;
                self.is_closed |= self.is_closing;
                if self.is_gap() {
                    break;
                }
            }
        }
        Ok(used)
    }

    /// Whether a message may be put here.
    pub fn is_gap(&self) -> bool {
        self.is_between_frames() && !self.in_message && !self.is_closed
    }

    /// Whether a control frame may be put here.
    pub fn is_between_frames(&self) -> bool {
        self.left.is_none() && self.head.as_bytes().is_empty()
    }

    /// Whether the server has said that it sends no more.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }
}

impl std::fmt::Debug for SocketGaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketGaps").field("is_gap", &self.is_gap()).finish_non_exhaustive()
    }
}
