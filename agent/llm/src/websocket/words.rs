//! What we say on a WebSocket in the server's place, or in the client's: errors as the API words them, and goodbyes.
//!
//! platform.openai.com/docs/api-reference/realtime-server-events/error and …/docs/guides/websocket-mode, read 2026-11.

use serde_json::json;

use super::frames::{CLOSE, TEXT};
use crate::call::Api;
use crate::refusal::PolicyRefusal;

/// A refusal to be told to a client.
#[derive(Debug, Clone, Copy)]
pub struct SocketError<'a> {
    /// Why.
    pub refusal: PolicyRefusal<'a>,
    /// The client's own name for the message that is refused, where there is one and it has one.
    pub about: Option<&'a str>,
    /// A name of our own for this error.
    pub id: &'a str,
}

impl SocketError<'_> {
    /// As a frame of the server's.
    pub fn frame(&self, api: Api) -> Vec<u8> {
        let mut error = self.refusal.openai();
        let event = if api == Api::Realtime {
            error["event_id"] = self.about.into();
            json!({"type": "error", "event_id": self.id, "error": error})
        } else {
            let mut event = json!({"type": "error", "status": self.refusal.status.as_u16(), "error": error});
            if let Some(about) = self.about {
                event["event_id"] = about.into();
            }
            if let Some(after) = self.refusal.retry_after {
                let seconds = after.as_millis().div_ceil(1000).max(1);
                event["headers"] = json!({"retry-after": seconds.to_string()});
            }
            event
        };
        frame(TEXT, None, event.to_string().as_bytes())
    }
}

/// Why we end a WebSocket (RFC 6455, § 7.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCode {
    /// There is nothing more to say.
    Normal = 1000,
    /// The bytes are no frames.
    Protocol = 1002,
    /// A policy forbids what is going on.
    Policy = 1008,
}

impl CloseCode {
    /// A server's Close frame. Of the reason, so much as fits is told.
    pub fn to_client(self, reason: &str) -> Vec<u8> {
        let mut payload = (self as u16).to_be_bytes().to_vec();
        payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON)]);
        frame(CLOSE, None, &payload)
    }

    /// A client's Close frame.
    pub fn to_server(self) -> Vec<u8> {
        frame(CLOSE, Some(MASK), &(self as u16).to_be_bytes())
    }
}

/// What of a control frame's 125 bytes the code leaves.
const MAX_REASON: usize = 123;

/// Masks keep what a page's script sends from looking like HTTP to proxies (§ 10.3). Ours says what no script chose.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x96, 0x2d];

/// A whole message in one frame.
pub(super) fn frame(opcode: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 14);
    frame.push(0x80 | opcode);
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..126 => frame.push(masked | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(masked | 0x7e);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(masked | 0x7f);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(mask.as_ref().map_or(&[], |mask| &mask[..]));
    let start = frame.len();
    frame.extend_from_slice(payload);
    if let Some(mask) = mask {
        super::frames::unmask(&mut frame[start..], mask);
    }
    frame
}
