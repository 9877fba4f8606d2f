//! Bounds on HTTP/1.1 heads.

/// How many field lines a head may have.
pub(crate) const MAX_HEADERS: usize = 1024;

/// How large a head may be, and how much is buffered for a connection, each way.
pub(crate) const MAX_BUFFER: usize = 288 * 1024;
