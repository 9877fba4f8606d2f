//! Which connections come by the agent, and that their programs cannot tell.

mod caller;
mod dns;
mod handover;
mod sockets;

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::de::DeserializeOwned;
use tollgate_world::{Output, Program, World};

const PROBE: &str = env!("CARGO_BIN_EXE_probe");
const GENEROUS: Duration = Duration::from_mins(1);

/// Debian's Python, which has sockets of all kinds.
fn python(world: &World, script: &str) -> Program {
    world.client_command("/usr/bin/python3").arg("-c").arg(script)
}

/// The lines that a script printed, JSON each.
fn lines<T: DeserializeOwned>(output: &Output) -> Result<Vec<T>> {
    let parse = |line: &str| serde_json::from_str(line).with_context(|| format!("not what is expected: {line}"));
    output.text().lines().map(parse).collect()
}
