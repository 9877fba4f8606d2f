//! permessage-deflate (RFC 7692): what a handshake agreed on, and messages inflated on a copy as they pass.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Sender, Stop};

/// What a message may expand to, in bytes, before its ratio counts. A second of silence, as Realtime clients send it,
/// compresses to a thousandth, which is the most that deflate can do.
const FREE: u64 = 1 << 20;
/// How many bytes may come of one.
const RATIO: u64 = 256;
/// How much is inflated at once.
const BLOCK: usize = 4096;
/// What a sender leaves out at the end of a message (§ 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What permessage-deflate was agreed on. The sizes of windows need not be known: the largest reads them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Deflate {
    client_no_context_takeover: bool,
    server_no_context_takeover: bool,
}

impl Deflate {
    /// Reads the answer's `Sec-WebSocket-Extensions`. `Ok(None)` where none was agreed on.
    pub(super) fn agreed(extensions: &str) -> Result<Option<Self>, Stop> {
        let mut agreed = None;
        for extension in extensions.split(',').map(str::trim).filter(|extension| !extension.is_empty()) {
            let mut parameters = extension.split(';').map(str::trim);
            let is_deflate = parameters.next().is_some_and(|name| name.eq_ignore_ascii_case("permessage-deflate"));
            if !is_deflate || agreed.is_some() {
                return Err(Stop::Extension);
            }
            let mut deflate = Self { client_no_context_takeover: false, server_no_context_takeover: false };
            for parameter in parameters {
                match parameter.split('=').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
                    "client_no_context_takeover" => deflate.client_no_context_takeover = true,
                    "server_no_context_takeover" => deflate.server_no_context_takeover = true,
                    "client_max_window_bits" | "server_max_window_bits" => {}
                    _ => return Err(Stop::Extension),
                }
            }
            agreed = Some(deflate);
        }
        Ok(agreed)
    }

    pub(super) fn inflate(self, from: Sender) -> Inflate {
        let forgets = match from {
            Sender::Client => self.client_no_context_takeover,
            Sender::Server => self.server_no_context_takeover,
        };
        Inflate { forgets, stream: None, taken: 0, given: 0, is_fresh: true }
    }
}

/// Inflates the messages of one direction.
pub(super) struct Inflate {
    /// Each message stands alone.
    forgets: bool,
    /// Made when the first compressed message comes: it is 43 KiB.
    stream: Option<Box<Decompress>>,
    /// Of the current message.
    taken: u64,
    given: u64,
    /// Nothing was read since the stream began, or began anew.
    is_fresh: bool,
}

impl Inflate {
    /// The next bytes of a message.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut give: impl FnMut(&[u8])) -> Result<(), Stop> {
        self.taken += bytes.len() as u64;
        let allowed = FREE + self.taken.saturating_mul(RATIO);
        let stream = self.stream.get_or_insert_with(|| Box::new(Decompress::new(false)));
        let mut block = [0; BLOCK];
        loop {
            let (before_in, before_out) = (stream.total_in(), stream.total_out());
            let status = stream.decompress(bytes, &mut block, FlushDecompress::None).map_err(|_error| Stop::Corrupt)?;
            let (taken, given) = (stream.total_in() - before_in, stream.total_out() - before_out);
            let (taken, given) = (taken as usize, given as usize);
            bytes = &bytes[taken..];
            self.is_fresh &= taken == 0;
            self.given += given as u64;
            if self.given > allowed {
                return Err(Stop::TooDense);
            }
            if given > 0 {
                give(&block[..given]);
            }
            if status == Status::StreamEnd {
                // Senders may end each message's stream (§ 7.2.3.4); what follows is another.
                stream.reset(false);
                self.is_fresh = true;
            } else if given < BLOCK && (bytes.is_empty() || taken + given == 0) {
                return if bytes.is_empty() { Ok(()) } else { Err(Stop::Corrupt) };
            }
            if bytes.is_empty() && self.is_fresh {
                return Ok(());
            }
        }
    }

    /// The message is complete.
    pub(super) fn end(&mut self, give: impl FnMut(&[u8])) -> Result<(), Stop> {
        if !self.is_fresh {
            self.push(&TAIL, give)?;
        }
        if self.forgets {
            self.stream = None;
            self.is_fresh = true;
        }
        (self.taken, self.given) = (0, 0);
        Ok(())
    }
}
