//! The vendors' SDKs and other people's programs, unmodified, at pinned versions.

mod python;
