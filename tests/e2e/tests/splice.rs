//! Streams in OpenAI's dialect that are asked for their usage in the client's place: the client sees what it would have seen, the
//! record has what the provider counted, and a client that leaves is counted as the configuration says.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tollgate_e2e::logged::{calls, usage};
use tollgate_e2e::stage::Stage;
use tollgate_e2e::wait_for_count;
use tollgate_provider::{Exchange, Outcome, sha256};
use tollgate_world::Program;

const GENEROUS: Duration = Duration::from_mins(1);
const VERSIONS: [&str; 2] = ["--http1.1", "--http2"];
const OPTION: &str = r#","stream_options":{"include_usage":true}"#;

fn body(asks: bool) -> String {
    let option = if asks { OPTION } else { "" };
    format!(r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":"Hello"}}],"stream":true{option}}}"#)
}

/// A call by curl; `program` is curl in one or the other cgroup.
fn call(program: Program, version: &str, fault: &str, body: &str) -> Program {
    let fault = (!fault.is_empty()).then(|| format!("x-provider-fault: {fault}"));
    let fields = ["content-type: application/json", "authorization: Bearer k"];
    let program = program.args(["--silent", "--show-error", "--no-buffer", version]);
    let program =
        fields.into_iter().map(str::to_owned).chain(fault).fold(program, |program, field| program.arg("-H").arg(field));
    // By standard input, as a large one is.
    program.args(["--data-binary", "@-", "https://api.openai.com/v1/chat/completions"]).stdin(body.as_bytes().to_vec())
}

fn assert_counted(line: &Value, exchange: &Exchange) {
    assert!(exchange.usage.is_some(), "{exchange:#?}");
    assert_eq!(usage(line), exchange.usage, "{line:#}\n{exchange:#?}");
    assert_eq!(line["usage_source"], "provider", "{line:#}");
    assert_eq!(line["response_bytes"], exchange.response_bytes, "{line:#}");
}

/// Waits until the agent has counted so many of these events.
fn wait_for_event(stage: &Stage, event: &str, count: u64) -> Result<()> {
    wait_for_count(&stage.agent, EVENTS, &[&format!(r#""{event}""#)], count)
}

/// The metric of what happened between the agent and providers.
const EVENTS: &str = "tollgate_upstream_events_total";

#[test]
fn the_client_sees_what_it_would_have_seen_and_its_call_is_counted_to_the_token() -> Result<()> {
    let stage = Stage::new("")?;
    let mut made = 0;
    for fault in ["", "split=7", "split-utf8", "crlf,keepalive", "keepalive", "no-done"] {
        for version in VERSIONS {
            // What the provider says when it is asked, without its last chunk.
            let asked = call(stage.world.agent_command("curl"), version, fault, &body(true)).run()?.success()?.text();
            let (direct, chunk) = without_chunk(&asked).with_context(|| format!("{fault}: no chunk in {asked}"))?;
            assert!(chunk.contains("prompt_tokens"), "{chunk}");
            let unasked =
                call(stage.world.agent_command("curl"), version, fault, &body(false)).run()?.success()?.text();
            // But for this, and a comment before the chunk, the provider says the same.
            let alike = |text: &str| text.replace(r#","usage":null"#, "").replace(": keep-alive\n\n", "");
            assert_eq!(alike(&direct), alike(&unasked));
            stage.world.provider().truth().clear();
            let steered = call(stage.world.client_command("curl"), version, fault, &body(false));
            // It would be coded, and could not be edited.
            let steered = steered.args(["-H", "accept-encoding: gzip, br"]).run()?.success()?.text();
            assert_eq!(steered, direct, "{version} {fault}");
            let exchange = stage.settled()?.remove(0);
            assert_eq!(exchange.request_sha256, Some(sha256(body(true).as_bytes())), "one span was edited");
            assert_eq!(exchange.request_bytes, body(true).len() as u64);
            made += 1;
            let line = calls(&stage.agent, made)?.pop().context("there is one")?;
            assert_counted(&line, &exchange);
            assert_eq!(line["request_bytes"], body(false).len() as u64, "as the client sent it: {line:#}");
            assert_eq!(line["outcome"], "completed", "{line:#}");
        }
    }
    // A client that asks sees its chunk.
    for version in VERSIONS {
        let direct = call(stage.world.agent_command("curl"), version, "", &body(true)).run()?.success()?.text();
        let steered = call(stage.world.client_command("curl"), version, "", &body(true)).run()?.success()?.text();
        assert_eq!(steered, direct);
    }
    wait_for_event(&stage, "usage_asked", made as u64)
}

/// A stream without its chunk of usage, and that chunk.
fn without_chunk(stream: &str) -> Option<(String, &str)> {
    let end = if stream.contains("\r\n\r\n") { "\r\n\r\n" } else { "\n\n" };
    let chunk = stream.split_inclusive(end).find(|event| event.contains(r#""choices":[],"usage":{"#))?;
    // A comment before it is none of it.
    let chunk = &chunk[chunk.find("data:")?..];
    Some((stream.replacen(chunk, "", 1), chunk))
}

#[test]
fn a_provider_that_refuses_the_option_is_asked_once() -> Result<()> {
    for version in VERSIONS {
        let stage = Stage::new("")?;
        for _ in 0..3 {
            let output =
                call(stage.world.client_command("curl"), version, "refuse-stream-options", &body(false)).run()?;
            assert!(output.success()?.text().contains("[DONE]"));
        }
        let requests: Vec<_> = stage.settled()?.into_iter().map(|it| (it.status, it.request_bytes)).collect();
        let plain = body(false).len() as u64;
        let expected = [(400, body(true).len() as u64), (200, plain), (200, plain), (200, plain)];
        assert_eq!(requests, expected, "{version}");
        for line in calls(&stage.agent, 3)? {
            assert_eq!((&line["status"], &line["outcome"]), (&200.into(), &"completed".into()), "{line:#}");
        }
        wait_for_event(&stage, "usage_refused", 1)?;
    }
    Ok(())
}

#[test]
fn it_can_be_turned_off_and_large_requests_pass_as_they_are() -> Result<()> {
    let large = body(false).replace("Hello", &"Hello ".repeat(1_000_000));
    for (config, body) in [("metering:\n  include_usage: off\n", body(false)), ("", large)] {
        let stage = Stage::new(config)?;
        for version in VERSIONS {
            stage.world.provider().truth().clear();
            let program = call(stage.world.client_command("curl"), version, "identity", &body);
            let output = program.args(["-H", "accept-encoding: gzip, br"]).run()?.success()?;
            assert!(output.text().ends_with("data: [DONE]\n\n"), "{output}");
            let exchange = stage.settled()?.remove(0);
            assert_eq!(exchange.request_sha256, Some(sha256(body.as_bytes())), "{config}");
            let header = exchange.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("accept-encoding"));
            assert_eq!(header.map(|(_, value)| value.as_str()), Some("gzip, br"), "{config}");
        }
    }
    Ok(())
}

/// Read to its end, its usage is the provider's, and the provider is not told that its client has left.
#[test]
fn a_drained_stream_is_counted_to_the_token_though_its_client_left() -> Result<()> {
    let stage = Stage::new("metering:\n  on_disconnect: drain\n")?;
    for (number, version) in VERSIONS.into_iter().enumerate() {
        stage.world.provider().truth().clear();
        let name = format!("drained{number}");
        let gate = stage.world.provider().gate(&name);
        let call = call(stage.world.client_command("curl"), version, &format!("gate={name}"), &body(false)).start()?;
        gate.allow(3);
        call.wait_until(GENEROUS, |stdout, _| stdout.windows(5).filter(|window| window == b"data:").count() >= 2)?;
        call.kill();
        wait_for_event(&stage, "read_on", number as u64 + 1)?;
        gate.open();
        let exchange = stage.settled()?.remove(0);
        assert_eq!(exchange.outcome, Outcome::Completed, "{version}: {exchange:#?}");
        let line = calls(&stage.agent, number + 1)?.pop().context("there is one")?;
        assert_counted(&line, &exchange);
        assert_eq!(line["outcome"], "client_gone", "{line:#}");
    }
    Ok(())
}

/// Cancelled at once, the same bytes seen are the same count.
#[test]
fn a_cancelled_stream_is_counted_the_same_each_time() -> Result<()> {
    let stage = Stage::new("")?;
    for version in VERSIONS {
        let mut counts = Vec::new();
        for turn in 0..4 {
            stage.world.provider().truth().clear();
            let name = format!("cancelled{version}{turn}");
            let gate = stage.world.provider().gate(&name);
            let call =
                call(stage.world.client_command("curl"), version, &format!("gate={name}"), &body(false)).start()?;
            gate.allow(4);
            call.wait_until(GENEROUS, |stdout, _| stdout.windows(5).filter(|window| window == b"data:").count() == 4)?;
            call.kill();
            let exchange = stage.settled()?.remove(0);
            assert_eq!(exchange.outcome, Outcome::ClientGone, "{version}: {exchange:#?}");
            let line = calls(&stage.agent, counts.len() + 1 + if version == VERSIONS[1] { 4 } else { 0 })?
                .pop()
                .context("there is one")?;
            assert_eq!(
                (&line["outcome"], &line["response_bytes"]),
                (&"client_gone".into(), &exchange.response_bytes.into())
            );
            let facts =
                ["usage_source", "input_tokens", "output_tokens", "cost_usd", "response_model", "response_bytes"];
            counts.push(facts.map(|name| line[name].to_string()));
        }
        assert!(counts.iter().all(|count| *count == counts[0]), "{counts:#?}");
    }
    Ok(())
}
