//! HTTP through the proxy: what clients send and providers answer, against what arrives at the other end.

mod http1;
mod http2;
mod support;
