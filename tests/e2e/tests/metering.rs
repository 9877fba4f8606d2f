//! What is counted is what was served: the provider's own record, call by call, in the log and in the metrics.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use tollgate_e2e::calls::Api;
use tollgate_e2e::logged::{calls, usage};
use tollgate_e2e::probe::{Body, Plan, Request};
use tollgate_e2e::stage::Stage;
use tollgate_provider::{Exchange, Outcome, Usage};

const GENEROUS: Duration = Duration::from_mins(1);

/// The provider's record, once it is complete.
fn truth(stage: &Stage, count: usize) -> Result<Vec<Exchange>> {
    let exchanges = stage.settled()?;
    assert_eq!(exchanges.len(), count);
    Ok(exchanges)
}

fn assert_logged(api: Api, line: &Value, exchange: &Exchange, stream: bool) {
    let about = format!("{api:?}, stream: {stream}\n{line:#}\n{exchange:#?}");
    assert!(exchange.usage.is_some(), "{about}");
    assert_eq!(usage(line), exchange.usage, "{about}");
    assert_eq!(line["usage_source"], "provider", "{about}");
    assert_eq!((&line["provider"], &line["operation"]), (&api.provider().into(), &api.operation().into()), "{about}");
    assert_eq!(line["host"].as_str(), Some(exchange.host.as_str()), "{about}");
    assert_eq!(line["request_model"].as_str(), exchange.model.as_deref(), "{about}");
    assert_eq!(line["response_model"].as_str(), exchange.response_model.as_deref(), "{about}");
    // Where the request does not say, neither does the log.
    let told = line["stream"].as_bool().unwrap_or(false);
    assert_eq!((&line["status"], told), (&exchange.status.into(), stream), "{about}");
    assert_eq!(line["outcome"], "completed", "{about}");
    assert_eq!(line["request_bytes"], exchange.request_bytes, "{about}");
    assert_eq!(line["response_bytes"], exchange.response_bytes, "{about}");
    assert!(line["cost_usd"].as_str().is_some_and(|cost| cost.starts_with("0.")), "{about}");
}

/// The sums of a metric's samples whose labels have all of these, for any number of metrics.
struct Samples(BTreeMap<String, u64>);

/// Sums of histograms are written with a decimal point, also where they are whole.
fn whole(value: &str) -> Option<u64> {
    value.strip_suffix(".0").unwrap_or(value).parse().ok()
}

impl Samples {
    fn of(page: &str) -> Self {
        let lines = page.lines().filter(|line| !line.starts_with('#'));
        Self(
            lines
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(key, value)| Some((key.to_owned(), whole(value)?)))
                .collect(),
        )
    }

    fn sum(&self, name: &str, labels: &[&str]) -> u64 {
        let fits = |key: &str| key.split('{').next() == Some(name) && labels.iter().all(|label| key.contains(label));
        self.0.iter().filter(|(key, _)| fits(key)).map(|(_, value)| value).sum()
    }
}

fn assert_counted(stage: &Stage, exchanges: &[Exchange]) -> Result<()> {
    let page = stage.agent.metrics_when(GENEROUS, |page| {
        Samples::of(page).sum("tollgate_requests_total", &[]) == exchanges.len() as u64
    })?;
    let samples = Samples::of(&page);
    let total = |field: fn(&Usage) -> u64| exchanges.iter().filter_map(|it| it.usage.as_ref()).map(field).sum::<u64>();
    let tokens =
        |kind: &str| samples.sum("gen_ai_client_token_usage_sum", &[&format!(r#"gen_ai_token_type="{kind}""#)]);
    assert_eq!((tokens("input"), tokens("output")), (total(|it| it.input), total(|it| it.output)));
    for (name, field) in [
        ("tollgate_cache_read_tokens_total", (|it| it.cache_read) as fn(&Usage) -> u64),
        ("tollgate_cache_write_tokens_total", |it| it.cache_write),
        ("tollgate_reasoning_tokens_total", |it| it.reasoning),
    ] {
        assert_eq!(samples.sum(name, &[]), total(field), "{name}\n{}", names(&page));
    }
    let sum = |field: fn(&Exchange) -> u64| exchanges.iter().map(field).sum::<u64>();
    assert_eq!(samples.sum("tollgate_request_body_bytes_total", &[]), sum(|it| it.request_bytes), "{}", names(&page));
    assert_eq!(samples.sum("tollgate_response_body_bytes_total", &[]), sum(|it| it.response_bytes), "{}", names(&page));
    Ok(())
}

/// What there is on a page, for when a name has changed.
fn names(page: &str) -> String {
    page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect::<Vec<_>>().join("\n")
}

/// Every call that was made is in the log and in the metrics as the provider has it.
fn assert_all(stage: &Stage, made: &[(Api, bool)]) -> Result<()> {
    let (lines, exchanges) = (calls(&stage.agent, made.len())?, truth(stage, made.len())?);
    for (((api, stream), line), exchange) in made.iter().zip(&lines).zip(&exchanges) {
        assert_logged(*api, line, exchange, *stream);
    }
    assert_counted(stage, &exchanges)
}

#[test]
fn each_api_streamed_or_not_over_both_protocols() -> Result<()> {
    let stage = Stage::new("")?;
    let mut made = Vec::new();
    for api in Api::ALL {
        for stream in [false, true] {
            for version in ["--http1.1", "--http2"] {
                let output = api.call(&stage.world, version, stream, "").arg(version).run()?.success()?;
                assert!(output.stdout.len() > 100, "{output}");
                made.push((api, stream));
            }
        }
    }
    assert_all(&stage, &made)
}

#[test]
fn each_content_coding_is_read_on_a_copy() -> Result<()> {
    let stage = Stage::new("")?;
    let mut made = Vec::new();
    for api in Api::ALL {
        for (coding, stream) in
            [("gzip", true), ("br", true), ("zstd", true), ("deflate", true), ("gzip", false), ("zstd", false)]
        {
            let output = api.call(&stage.world, "Hello", stream, coding).run()?.success()?;
            assert!(!output.text().contains("usage"), "it came coded: {output}");
            made.push((api, stream));
        }
    }
    assert_all(&stage, &made)
}

#[test]
fn however_the_events_are_cut() -> Result<()> {
    let stage = Stage::new("")?;
    let mut made = Vec::new();
    for api in Api::ALL {
        for faults in ["split", "split=7,gzip", "split-utf8", "crlf", "keepalive", "no-done"] {
            api.call(&stage.world, "Hello", true, faults).run()?.success()?;
            made.push(api);
        }
    }
    let (lines, exchanges) = (calls(&stage.agent, made.len())?, truth(&stage, made.len())?);
    for ((api, line), exchange) in made.iter().zip(&lines).zip(&exchanges) {
        assert_logged(*api, line, exchange, true);
    }
    assert_counted(&stage, &exchanges)
}

/// "Hello" is a token of OpenAI's, a message costs four more, and a conversation three.
const HELLO: u64 = 8;

/// The text of an answer as far as the client has it, in OpenAI's tokens.
fn written(api: Api, stdout: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(stdout);
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data:")?).ok());
    let deltas = events.filter_map(|event| match api {
        Api::Chat => event["choices"][0]["delta"]["content"].as_str().map(str::to_owned),
        _ => event["delta"].as_str().map(str::to_owned),
    });
    bpe_openai::o200k_base().count(&deltas.collect::<String>()) as u64
}

#[test]
fn what_the_provider_does_not_tell_is_estimated_and_said_to_be() -> Result<()> {
    let stage = Stage::new("")?;
    let mut written_to = Vec::new();
    for api in [Api::Chat, Api::Responses] {
        let output = api.call(&stage.world, "Hello", true, "no-usage").run()?.success()?;
        written_to.push(written(api, &output.stdout));
    }
    let lines = calls(&stage.agent, 2)?;
    for (line, written) in lines.iter().zip(written_to) {
        assert_eq!((&line["usage_source"], &line["outcome"]), (&"estimated".into(), &"completed".into()), "{line:#}");
        let counts = (&line["input_tokens"], &line["output_tokens"]);
        assert_eq!(counts, (&HELLO.into(), &written.into()), "{line:#}");
        assert!(line["cost_usd"].as_str().is_some_and(|cost| cost.starts_with("0.")), "{line:#}");
    }
    Ok(())
}

/// The record of a stream that broke off: what was told is kept to the token, and the rest is estimated from what was sent.
fn assert_broken_off(api: Api, line: &Value, exchange: &Exchange, written: u64, about: &str) {
    let about = format!("{api:?} {about}: {line:#}\n{exchange:#?}");
    let logged = usage(line).expect("told or estimated");
    match (api, exchange.usage) {
        (Api::Chat | Api::Responses, None) => {
            assert_eq!((logged.input, logged.output), (HELLO, written), "{about}");
            assert_eq!(line["usage_source"], "estimated", "{about}");
        }
        // Its count so far is told with every chunk.
        (Api::Gemini, Some(told)) => {
            assert_eq!(logged, told, "{about}");
            assert_eq!(line["usage_source"], "partial", "{about}");
        }
        // The input is told first. What is told of the output then is not what it will have been.
        (Api::Messages, Some(told)) => {
            assert_eq!(Usage { output: told.output, ..logged }, told, "{about}");
            assert!(logged.output >= told.output, "{about}");
            let source = if logged.output == told.output { "partial" } else { "estimated" };
            assert_eq!(line["usage_source"], source, "{about}");
        }
        _ => panic!("{about}"),
    }
}

/// The client hangs up in the middle: the provider's work is cancelled, and what it had told until then is counted.
#[test]
fn a_client_that_leaves_is_recorded_and_its_call_cancelled() -> Result<()> {
    for version in ["--http1.1", "--http2"] {
        let stage = Stage::new("")?;
        let gate = stage.world.provider().gate("leaves");
        for (number, api) in Api::ALL.into_iter().enumerate() {
            let call = api.call(&stage.world, "Hello", true, "gate=leaves").arg(version).start()?;
            gate.allow(3);
            let mut received = Vec::new();
            call.wait_until(GENEROUS, |stdout, _| {
                received = stdout.to_vec();
                (stdout.ends_with(b"\n\n") || stdout.ends_with(b"\r\n\r\n"))
                    && stdout.windows(5).filter(|window| window == b"data:").count() == 3
            })?;
            call.kill();
            let exchange = truth(&stage, number + 1)?.pop().context("there is one")?;
            assert_eq!(exchange.outcome, Outcome::ClientGone, "{api:?} {version}: the provider is told at once");
            assert_eq!(gate.waiting(), 0, "{api:?} {version}");
            let line = calls(&stage.agent, number + 1)?.pop().context("there is one")?;
            assert_eq!(line["outcome"], "client_gone", "{api:?} {version}: {line:#}");
            assert_eq!(line["response_bytes"], exchange.response_bytes, "{api:?} {version}: {line:#}");
            assert_broken_off(api, &line, &exchange, written(api, &received), version);
        }
    }
    Ok(())
}

/// One of several streams of a connection is given up.
#[test]
fn a_stream_that_is_given_up_is_cancelled_and_the_connection_goes_on() -> Result<()> {
    let stage = Stage::new("")?;
    let text = |prompt: &str| Api::Chat.body("gpt-4o-mini", prompt, true).to_string();
    let fields = |fault: &str, length: usize| {
        let length = length.to_string();
        [("authorization", "Bearer k"), ("x-provider-fault", fault), ("content-length", &length)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    };
    let request = |fault: &str, prompt: &str, leave| Request {
        method: "POST".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        headers: fields(fault, text(prompt).len()),
        text: Some(text(prompt)),
        leave,
        ..Request::default()
    };
    let requests = vec![request("stall=3", "given up", Some(600)), request("", "goes on", None)];
    let plan = Plan { host: "api.openai.com".to_owned(), http2: true, requests, ..Plan::default() };
    let run = stage.steered(env!("CARGO_BIN_EXE_probe"), &plan)?;
    assert!(run.report.answers.iter().all(|answer| answer.status == 200 && answer.error.is_none()), "{:?}", run.report);
    let outcomes: Vec<_> = run.exchanges.iter().map(|exchange| exchange.outcome).collect();
    assert_eq!(outcomes, [Outcome::ClientGone, Outcome::Completed]);
    let lines = calls(&stage.agent, 2)?;
    assert_eq!((&lines[0]["outcome"], &lines[1]["outcome"]), (&"client_gone".into(), &"completed".into()));
    assert_eq!(usage(&lines[1]), run.exchanges[1].usage);
    Ok(())
}

/// The client hangs up before there is an answer.
#[test]
fn a_client_that_does_not_wait_is_recorded_and_its_call_cancelled() -> Result<()> {
    for version in ["--http1.1", "--http2"] {
        let stage = Stage::new("")?;
        let provider = stage.world.provider().truth().clone();
        for (number, api) in Api::ALL.into_iter().enumerate() {
            let call = api.call(&stage.world, "Hello", true, "stall-head").arg(version).start()?;
            let deadline = Instant::now() + GENEROUS;
            while provider.exchanges().get(number).is_none_or(|exchange| exchange.model.is_none()) {
                anyhow::ensure!(Instant::now() < deadline, "the provider was not asked\n{}", stage.agent.log());
                sleep(Duration::from_millis(5));
            }
            call.kill();
            let exchange = truth(&stage, number + 1)?.pop().context("there is one")?;
            assert_eq!(exchange.outcome, Outcome::ClientGone, "{api:?} {version}: the provider is told at once");
            let line = calls(&stage.agent, number + 1)?.pop().context("there is one")?;
            assert_eq!((&line["outcome"], &line["status"]), (&"client_gone".into(), &Value::Null), "{line:#}");
            assert_eq!(line["request_model"].as_str(), exchange.model.as_deref(), "{line:#}");
            // It was asked, so it has read, and nobody knows what it wrote.
            assert_eq!((&line["usage_source"], &line["output_tokens"]), (&"estimated".into(), &0.into()), "{line:#}");
            let input = line["input_tokens"].as_u64().context("estimated")?;
            let openai = matches!(api, Api::Chat | Api::Responses);
            assert!(if openai { input == HELLO } else { (7..=10).contains(&input) }, "{line:#}");
        }
    }
    Ok(())
}

/// The client hangs up while it still sends.
#[test]
fn a_client_that_leaves_within_its_request_is_recorded() -> Result<()> {
    for http2 in [false, true] {
        let stage = Stage::new("")?;
        let host = (!http2).then_some(("Host", "api.openai.com"));
        let fields = host.into_iter().chain([("authorization", "Bearer k"), ("content-length", "3000000")]);
        let request = Request {
            method: "POST".to_owned(),
            path: "/echo".to_owned(),
            headers: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: Some(Body { seed: 1, length: 3_000_000, pieces: Vec::new() }),
            // It will wait for ever: there is no answer before the end.
            wait_after: Some(1_000_000),
            ..Request::default()
        };
        let plan = Plan { host: "api.openai.com".to_owned(), http2, requests: vec![request], ..Plan::default() };
        let probe =
            stage.world.client_command(env!("CARGO_BIN_EXE_probe")).stdin(serde_json::to_vec(&plan)?).start()?;
        let deadline = Instant::now() + GENEROUS;
        while stage.world.provider().truth().exchanges().is_empty() {
            anyhow::ensure!(Instant::now() < deadline, "the provider was not asked\n{}", stage.agent.log());
            sleep(Duration::from_millis(5));
        }
        probe.kill();
        let exchange = truth(&stage, 1)?.remove(0);
        assert_eq!(exchange.request_sha256, None, "the provider never had the whole request: {exchange:#?}");
        let line = calls(&stage.agent, 1)?.remove(0);
        assert_eq!(line["outcome"], "client_gone", "{line:#}");
    }
    Ok(())
}

#[test]
fn an_error_inside_a_stream_is_recorded() -> Result<()> {
    let stage = Stage::new("")?;
    for api in Api::ALL {
        let output = api.call(&stage.world, "Hello", true, "error=3").run()?.success()?;
        assert!(output.text().contains("error"), "the client has it: {output}");
    }
    let (lines, exchanges) = (calls(&stage.agent, 4)?, truth(&stage, 4)?);
    for ((api, line), exchange) in Api::ALL.iter().zip(&lines).zip(&exchanges) {
        assert_eq!((&line["status"], &line["stream"]), (&200.into(), &true.into()), "{api:?}: {line:#}");
        assert!(line["error_type"].as_str().is_some_and(|kind| !kind.is_empty()), "{api:?}: {line:#}");
        assert_eq!(line["response_bytes"], exchange.response_bytes, "{api:?}: {line:#}");
    }
    Ok(())
}

#[test]
fn a_stream_that_breaks_off_is_recorded() -> Result<()> {
    let stage = Stage::new("")?;
    let mut made = Vec::new();
    for api in Api::ALL {
        for (fault, version) in [("reset=4", "--http1.1"), ("reset=4", "--http2"), ("truncate=4", "--http1.1")] {
            let output = api.call(&stage.world, "Hello", true, fault).arg(version).run()?;
            assert!(!output.status.success(), "the client is told: {output}");
            made.push((api, fault, written(api, &output.stdout)));
        }
    }
    let (lines, exchanges) = (calls(&stage.agent, made.len())?, truth(&stage, made.len())?);
    for (((api, fault, written), line), exchange) in made.into_iter().zip(&lines).zip(&exchanges) {
        assert_eq!(line["outcome"], "upstream_failed", "{line:#}");
        assert_eq!(line["response_bytes"], exchange.response_bytes, "{line:#}");
        assert_broken_off(api, line, exchange, written, fault);
    }
    Ok(())
}

#[test]
fn refusals_of_the_provider_are_no_usage() -> Result<()> {
    let stage = Stage::new("")?;
    let statuses = [(401, "authentication"), (429, "rate_limited"), (500, "server_error")];
    for api in Api::ALL {
        for (status, _) in statuses {
            api.call(&stage.world, "Hello", true, &status.to_string()).run()?.success()?;
        }
    }
    let lines = calls(&stage.agent, 4 * statuses.len())?;
    for (line, (status, kind)) in lines.iter().zip(statuses.iter().cycle()) {
        assert_eq!(line["status"], *status, "{line:#}");
        assert_eq!((&line["input_tokens"], &line["outcome"]), (&Value::Null, &"completed".into()), "{line:#}");
        assert_eq!(line["error_type"], *kind, "{line:#}");
    }
    Ok(())
}
