use std::io::{self, Write};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};

const BUFFER: usize = 8 << 10;

/// Decodes brotli (RFC 7932) into `next`.
///
/// The crate's own writer takes "large window" streams, which may ask for a gibibyte of memory and which no
/// `content-encoding` permits, and keeps decoded bytes back when a stream pauses or is cut.
pub(super) struct Decoder<W> {
    state: BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    buffer: Vec<u8>,
    ended: bool,
    next: W,
}

impl<W: Write> Decoder<W> {
    pub(super) fn new(next: W) -> Self {
        let alloc = StandardAlloc::default;
        let state = BrotliState::new_strict(alloc(), alloc(), alloc());
        Self { state, buffer: vec![0; BUFFER], ended: false, next }
    }

    pub(super) fn get_ref(&self) -> &W {
        &self.next
    }

    pub(super) fn get_mut(&mut self) -> &mut W {
        &mut self.next
    }
}

impl<W: Write> Write for Decoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (mut read, mut unread) = (0, bytes.len());
        loop {
            if self.ended {
                let is_all = unread == 0;
                return if is_all { Ok(bytes.len()) } else { Err(io::ErrorKind::InvalidData.into()) };
            }
            let (mut written, mut free, mut total) = (0, self.buffer.len(), 0);
            let result = BrotliDecompressStream(
                &mut unread,
                &mut read,
                bytes,
                &mut free,
                &mut written,
                &mut self.buffer,
                &mut total,
                &mut self.state,
            );
            self.next.write_all(&self.buffer[..written])?;
            match result {
                BrotliResult::ResultSuccess => self.ended = true,
                BrotliResult::ResultFailure => return Err(io::ErrorKind::InvalidData.into()),
                BrotliResult::NeedsMoreOutput => {}
                // All is read, but there may be more to write than the buffer took.
                BrotliResult::NeedsMoreInput if written == self.buffer.len() => {}
                BrotliResult::NeedsMoreInput => return Ok(bytes.len()),
            }
        }
    }

    /// Nothing is kept back between writes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
