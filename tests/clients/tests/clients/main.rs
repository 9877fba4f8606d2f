//! The vendors' SDKs and other people's programs, unmodified, at pinned versions.

mod node;
mod python;
