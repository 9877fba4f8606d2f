//! `bench try`: does each contender start here, and pass one answer and one stream of the provider for load? The first thing to run
//! where a figure looks odd.

use std::time::Instant;

use anyhow::{Result, ensure};
use comfy_table::Table;

use crate::contender::{self, Contender, Running, Scheme};
use crate::load;
use crate::measure::of_cgroup;
use crate::stage::Stage;

/// The command line of `bench try`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these contenders (by comma)
    #[arg(value_name = "NAME", value_delimiter = ',')]
    contenders: Vec<String>,
}

/// How much of a reason is told, in characters.
const REASON: usize = 300;
/// How many events with text the provider is asked for.
const EVENTS: usize = 20;

/// Tries each contender and prints one line for each. What fails is said in its column.
pub fn run(args: &Args) -> Result<()> {
    let contenders = contender::chosen(&args.contenders)?;
    let stage = Stage::new()?;
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header([
        "contender",
        "version",
        "TLS",
        "start",
        "1 KB chat",
        "stream",
        "HTTP/2",
        "resident after",
        "mark",
    ]);
    for contender in contenders {
        eprintln!("trying {}", contender.name());
        table.add_row(row(&stage, contender));
    }
    println!("{table}");
    Ok(())
}

fn row(stage: &Stage, contender: &dyn Contender) -> Vec<String> {
    let traits = contender.traits();
    let tls = match (traits.client_tls, traits.upstream_tls) {
        (true, true) => "both sides",
        (false, true) => "upstream",
        (true, false) => "client",
        (false, false) => "none",
    };
    let mut row = vec![contender.name().to_owned(), told(contender.version()), tls.to_owned()];
    let began = Instant::now();
    match contender.start(stage) {
        Ok(target) => {
            row.push(format!("{:.2} s", began.elapsed().as_secs_f64()));
            row.push(told(chat(stage, &target, false)));
            row.push(told(stream(stage, &target)));
            row.push(if traits.client_h2 { told(chat(stage, &target, true)) } else { "-".into() });
            let memory = target.cgroup.as_deref().map(of_cgroup);
            row.push(
                memory.map_or_else(|| "-".into(), |memory| told(memory.map(|it| format!("{} MiB", it.rss >> 20)))),
            );
        }
        Err(error) => {
            row.push(told(Err(error)));
            row.extend(std::iter::repeat_n("-".to_owned(), 4));
        }
    }
    row.push(traits.note.to_owned());
    row
}

/// What it gave, or the beginning of why it did not, in one line.
fn told(outcome: Result<String>) -> String {
    outcome.unwrap_or_else(|error| {
        let text = format!("no: {error:#}");
        text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(REASON).collect()
    })
}

/// One answer that is not streamed.
fn chat(stage: &Stage, target: &Running, h2: bool) -> Result<String> {
    let answer = call(stage, target, h2, &load::chat_body(&target.model, 1000))?;
    let json: serde_json::Value = serde_json::from_str(&answer)?;
    let content = json["choices"][0]["message"]["content"].as_str().unwrap_or_default();
    ensure!(!content.is_empty(), "an answer without content");
    Ok(format!("{} bytes", answer.len()))
}

/// One answer that is. `max_tokens` tells the provider for load how many events to send.
fn stream(stage: &Stage, target: &Running) -> Result<String> {
    let body = serde_json::json!({
        "model": target.model, "stream": true, "max_tokens": EVENTS, "messages": [{"role": "user", "content": "Go on."}],
    });
    let answer = call(stage, target, false, &body.to_string())?;
    let count = answer.lines().filter(|line| line.starts_with("data:")).count();
    ensure!(count >= EVENTS && answer.contains("[DONE]"), "{count} events of {EVENTS} or more");
    Ok(format!("{count} events"))
}

/// The body of the answer. Its status must be 200, in the right version of HTTP.
fn call(stage: &Stage, target: &Running, h2: bool, body: &str) -> Result<String> {
    let file = stage.file("trial.json", body)?;
    let mut curl = stage
        .load("curl")
        .args(["--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code} %{http_version}"])
        .args(["-H", "content-type: application/json", "-H", "authorization: Bearer sk-bench", "--cacert"])
        .arg(&target.root)
        .arg(if h2 { "--http2" } else { "--http1.1" })
        .arg("--data")
        .arg(format!("@{}", file.display()));
    for (name, value) in &target.headers {
        curl = curl.arg("-H").arg(format!("{name}: {value}"));
    }
    if let (Scheme::Https, Some(address)) = (target.scheme, target.address) {
        curl = curl.arg("--connect-to").arg(format!("::{address}"));
    }
    let output = curl.arg(load::chat_url(target)).run()?.success()?;
    let text = output.text();
    let (answer, status) = text.rsplit_once('\n').unwrap_or(("", &text));
    let expected = if h2 { "200 2" } else { "200 1.1" };
    ensure!(status == expected, "status {status}: {}", answer.chars().take(200).collect::<String>());
    Ok(answer.to_owned())
}
