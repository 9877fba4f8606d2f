//! The calls in an agent's log, which is the form of the ledger's rows.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tollgate_provider::Usage;
use tollgate_world::Agent;

const GENEROUS: Duration = Duration::from_mins(1);

/// The calls, once there are `count` or more, in the order of their beginnings.
pub fn at_least(agent: &Agent, count: usize) -> Result<Vec<Value>> {
    let parse = |log: &[u8]| -> Vec<Value> {
        let text = String::from_utf8_lossy(log);
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["target"] == "exchange").collect()
    };
    let mut found = Vec::new();
    agent.process().wait_until(GENEROUS, |stdout, stderr| {
        found = [parse(stdout), parse(stderr)].concat();
        found.len() >= count
    })?;
    // A call is settled a moment after its end, and another may have begun by then.
    found.sort_by_key(|line| line["started"].to_string());
    Ok(found)
}

/// The calls, once there are `count`, which must be all.
pub fn calls(agent: &Agent, count: usize) -> Result<Vec<Value>> {
    let found = at_least(agent, count)?;
    ensure!(found.len() == count, "{} calls, not {count}: {found:#?}", found.len());
    Ok(found)
}

/// The tokens of a call, as the provider's own record has them.
pub fn usage(line: &Value) -> Option<Usage> {
    let tokens = |name: &str| line[name].as_u64();
    Some(Usage {
        input: tokens("input_tokens")?,
        output: tokens("output_tokens")?,
        cache_read: tokens("cache_read_tokens")?,
        cache_write: tokens("cache_write_tokens")?,
        reasoning: tokens("reasoning_tokens")?,
    })
}
