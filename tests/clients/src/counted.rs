//! What the agent counted: by its log, exchange for exchange, and by its metrics, in sum.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tollgate_provider::{Sums, Usage};
use tollgate_world::Agent;

use crate::served::{Served, same};
use crate::trial::SETTLED;

const CONNECTIONS: &str = "tollgate_connections_total";

/// One exchange as both the provider and the agent know it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Counted {
    host: String,
    request_model: Option<String>,
    response_model: Option<String>,
    status: u64,
    request_bytes: u64,
    response_bytes: u64,
    /// Input, output, cache read, cache write, reasoning. None is something else than zero.
    usage: Option<[u64; 5]>,
}

/// Which exchanges are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// All.
    All,
    /// Those with a model: a client that ends may leave its last words to others unanswered.
    WithModel,
}

/// Fails unless the agent's log holds exactly these exchanges, with the same models, bytes and tokens, and its metrics their sums.
pub(crate) fn is_the_truth(agent: &Agent, served: &[Served], sums: Sums, which: Which) -> Result<()> {
    let deadline = Instant::now() + SETTLED;
    while exchanges(&agent.log(), which).len() < served.len() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = agent.log();
    is_logged(&log, served, which)?;
    let page = agent.metrics()?;
    let usage = sums.usage;
    // Of a stream that a fault ended the provider told some of its output, and the agent counted what had come.
    let told: u64 = served.iter().filter(|served| served.faulted).filter_map(|served| Some(served.usage?[1])).sum();
    let came: u64 = exchanges(&log, which).iter().filter(|line| !is_final(line)).filter_map(output).sum();
    for (name, label, truth) in [
        ("gen_ai_client_token_usage_sum", r#"gen_ai_token_type="input""#, usage.input),
        ("gen_ai_client_token_usage_sum", r#"gen_ai_token_type="output""#, usage.output - told + came),
        ("tollgate_cache_read_tokens_total", "", usage.cache_read),
        ("tollgate_cache_write_tokens_total", "", usage.cache_write),
        ("tollgate_reasoning_tokens_total", "", usage.reasoning),
        ("tollgate_leaked_exchanges_total", "", 0),
    ] {
        let counted = sum(&page, name, &[label])?;
        ensure!(counted == truth, "{name}{{{label}}} is {counted}, and the truth {truth}");
    }
    let requests = sum(&page, "tollgate_requests_total", &[])?;
    ensure!(
        which == Which::WithModel || requests == sums.exchanges,
        "{requests} requests were counted, and {} made",
        sums.exchanges
    );
    Ok(())
}

/// Fails unless the log holds exactly these exchanges.
pub(crate) fn is_logged(log: &str, served: &[Served], which: Which) -> Result<()> {
    let lines = exchanges(log, which);
    let broken = lines.iter().filter(|line| line["outcome"] != "completed").count();
    let faulted = served.iter().filter(|served| served.faulted).count();
    ensure!(broken <= faulted, "{broken} exchanges ended before their end, and {faulted} of them by a fault\n{log}");

    let open = lines.iter().filter(|line| output(line).is_some() && !is_final(line)).count();
    ensure!(
        open <= faulted,
        "{open} counts are not the provider's final ones, and {faulted} streams ended by a fault\n{log}"
    );

    let mut lines = lines.iter().map(Counted::by_agent).collect::<Result<Vec<_>>>()?;
    lines.sort();
    let mut truth: Vec<_> = served.iter().map(Counted::by_provider).collect();
    truth.sort();
    same(&lines, &truth).context("what the agent logged differs from what the provider served")
}

/// Fails unless the table that a session ends with has these totals.
pub(crate) fn is_in_table(errors: &str, usage: Usage) -> Result<()> {
    let total = errors.lines().rfind(|line| line.trim_start().starts_with("Total")).context("there is no table")?;
    let numbers: Vec<u64> = total.split_whitespace().filter_map(|word| word.replace(',', "").parse().ok()).collect();
    let truth = [usage.input, usage.output, usage.cache_read, usage.reasoning];
    ensure!(numbers.ends_with(&truth), "the table says `{total}`, and the truth is {truth:?}");
    Ok(())
}

/// How many connections had this fate, by a metrics page.
pub(crate) fn connections(page: &str, fate: &str) -> Result<u64> {
    sum(page, CONNECTIONS, &[&format!("fate=\"{fate}\"")])
}

/// How many connections there were in all.
pub(crate) fn all_connections(page: &str) -> Result<u64> {
    sum(page, CONNECTIONS, &[])
}

/// What became of the connections, for people.
pub(crate) fn fates(page: &str) -> String {
    page.lines().filter(|line| line.starts_with(CONNECTIONS)).collect::<Vec<_>>().join("\n")
}

/// The sum of all samples of a metric, which must be on the page, whose labels contain each of `labels`.
fn sum(page: &str, name: &str, labels: &[&str]) -> Result<u64> {
    // A family that has no sample yet is on the page as its type alone.
    let family = name.trim_end_matches("_total").trim_end_matches("_sum");
    if !page.contains(&format!("# TYPE {family} ")) {
        bail!("there is no metric {name}");
    }
    let mut sum = 0.0;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (key, value) = line.rsplit_once(' ').with_context(|| format!("no sample: {line}"))?;
        if key.split('{').next() == Some(name) && labels.iter().all(|label| key.contains(label)) {
            sum += value.parse::<f64>().with_context(|| format!("no number: {line}"))?;
        }
    }
    #[expect(clippy::cast_sign_loss, reason = "counts are not negative")]
    Ok(sum as u64)
}

/// Whether the provider had the last word on the tokens.
fn is_final(line: &Value) -> bool {
    line["usage_source"] == "provider"
}

fn output(line: &Value) -> Option<u64> {
    line["output_tokens"].as_u64()
}

/// Counts that can be compared: the output of a broken stream is told by one side and estimated by the other.
fn but_for_output(mut usage: [u64; 5], is_final: bool) -> [u64; 5] {
    if !is_final {
        usage[1] = 0;
    }
    usage
}

/// The log's lines about exchanges.
fn exchanges(log: &str, which: Which) -> Vec<Value> {
    // The last line may still be being written.
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    let values = whole.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let wanted = |line: &Value| which == Which::All || line["request_model"].is_string();
    values.filter(|line| line["target"] == "exchange" && wanted(line)).collect()
}

impl Counted {
    fn by_agent(line: &Value) -> Result<Self> {
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        let number = |key: &str| line[key].as_u64().unwrap_or_default();
        let tokens = ["input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens"];
        Ok(Self {
            host: text("host").context("a line without a host")?,
            request_model: text("request_model"),
            response_model: text("response_model"),
            status: number("status"),
            request_bytes: if line["stream"] == true && line["status"] == 200 { 0 } else { number("request_bytes") },
            response_bytes: number("response_bytes"),
            usage: line["input_tokens"].is_u64().then(|| but_for_output(tokens.map(number), is_final(line))),
        })
    }

    fn by_provider(served: &Served) -> Self {
        Self {
            host: served.host.clone(),
            request_model: served.model.clone(),
            response_model: served.response_model.clone(),
            status: served.status.into(),
            // The agent may have asked for the usage; it counts what the client sent.
            request_bytes: if served.stream { 0 } else { served.request_bytes },
            response_bytes: served.response_bytes,
            usage: served.usage.map(|usage| but_for_output(usage, !served.faulted)),
        }
    }
}
