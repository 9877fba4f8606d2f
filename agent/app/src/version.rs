//! `tollgate version`.

use std::io::Write as _;
use std::process::ExitCode;

pub(crate) fn version() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "tollgate {}", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "prices: {}", tollgate_llm::PRICES_FROM)?;
    Ok(ExitCode::SUCCESS)
}
