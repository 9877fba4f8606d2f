//! What the agent knows about LLM providers: who they are, what a request asks, what an answer consumed and what it cost.
//!
//! Pure: bytes in, facts out, no input or output of its own. Bodies are watched as they pass and never held; prompts and
//! answers do not outlive the call that brought them.
#![forbid(unsafe_code)]

mod call;
mod catalogue;
mod clamp;
mod coding;
mod edit;
mod estimate;
mod eventstream;
mod failure;
mod json;
mod late;
mod multipart;
pub mod price;
mod refusal;
mod request;
mod response;
mod splice;
mod sse;
mod usage;
mod websocket;
mod worst;

pub use call::{Api, Call, Operation, identify, is_ambiguous};
pub use catalogue::{Catalogue, Dialect, Provider, StreamUsage};
pub use clamp::{Clamp, ClampError};
pub use edit::{Edit, EditConflict, Edits};
pub use estimate::{Sample, Tokenizers, estimate_roughly};
pub use failure::ErrorKind;
pub use late::Boundary;
pub use price::{Asked, PRICES_FROM, Pointed, Price, PriceStatus, Prices, Unpriced, WorstCase, load_prices};
pub use refusal::{Allowance, PolicyRefusal, RefusalBody, RefusalCause, refusal};
pub use request::{Caching, RequestFacts, RequestMeter};
pub use response::{ResponseFacts, ResponseMeter, Unmetered, Untold};
pub use splice::{ChunkRemover, Splicer, mentions_stream, names_stream_options};
pub use usage::{ServiceTier, Usage, UsageSource};
pub use websocket::{
    CloseCode, Held, HeldMessage, Sender, SocketAsk, SocketError, SocketEvent, SocketGaps, SocketHold, SocketMeter,
    SocketRemains, SocketSession, TurnEnd,
};
pub use worst::{estimate_input, largest_output};
