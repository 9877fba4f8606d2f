//! The vendors' SDKs and other people's programs, unmodified, at pinned versions.

mod claude_code;
mod curl;
mod go;
mod java;
mod ledger;
mod node;
mod python;
mod refusals;
