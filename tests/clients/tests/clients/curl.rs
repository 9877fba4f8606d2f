//! curl, which Debian builds with OpenSSL and nghttp2.

use anyhow::Result;
use tollgate_clients::{Trial, Trust, source};

fn curl(version: &str) -> Result<Trial> {
    Ok(Trial::new("sh")?.arg(source("curl/ask.sh")).arg(version).never_retries())
}

#[test]
fn curl_http1() -> Result<()> {
    curl("--http1.1")?.run()
}

#[test]
fn curl_http2() -> Result<()> {
    curl("--http2")?.trusting(Trust::System).run()
}
