//! WebSockets: each response in a session is metered by itself, and not a byte of the session changes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use tollgate_e2e::logged::{self, usage};
use tollgate_e2e::probe::{Plan, Request};
use tollgate_e2e::stage::Stage;
use tollgate_provider::{Exchange, Outcome};
use tollgate_world::{Agent, Program};

const GENEROUS: Duration = Duration::from_mins(1);
const PYTHON: &str = "/usr/bin/python3";
const REALTIME: &str = "/v1/realtime?model=gpt-realtime";
const RESPONSES: &str = "/v1/responses";

/// Whether and how messages are compressed: what the client offers.
const OFFERS: [&str; 4] = [
    "",
    "permessage-deflate; client_max_window_bits",
    "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
    "permessage-deflate; client_max_window_bits=10",
];

/// The agent's lines about exchanges after the first `seen`, once there are so many turns: the session's own, and those of its turns.
fn lines(agent: &Agent, seen: usize, turns: usize) -> Result<(Value, Vec<Value>)> {
    let mut found = logged::at_least(agent, seen + turns + 1)?;
    let (mut sessions, turned): (Vec<_>, Vec<_>) =
        found.split_off(seen).into_iter().partition(|line| line["operation"] == "session");
    ensure!(sessions.len() == 1 && turned.len() == turns, "{sessions:#?}\n{turned:#?}");
    Ok((sessions.remove(0), turned))
}

fn session(python: Program, plan: &Value) -> Program {
    python.args(["-c", include_str!("session.py")]).stdin(plan.to_string())
}

fn report(python: Program, plan: &Value) -> Result<Value> {
    let output = session(python, plan).run()?.success()?;
    serde_json::from_slice(&output.stdout).with_context(|| format!("no report: {output}"))
}

/// The provider's record of a session and its turns, once it is complete.
fn truth(stage: &Stage) -> Result<(Exchange, Vec<Exchange>)> {
    let (mut sessions, turns): (Vec<_>, Vec<_>) =
        stage.settled()?.into_iter().partition(|exchange| matches!(exchange.method.as_str(), "GET" | "CONNECT"));
    ensure!(sessions.len() == 1, "{sessions:#?}");
    Ok((sessions.remove(0), turns))
}

fn sound() -> Value {
    json!({ "send": { "type": "input_audio_buffer.append", "audio": "AAAAUklGRiQA".repeat(8_000) } })
}

/// Speech and text, answered and transcribed.
fn realtime_steps() -> Vec<Value> {
    let transcribe = json!({ "audio": { "input": { "transcription": { "model": "gpt-4o-transcribe" } } } });
    let text =
        json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "naïve 漢字 🚦" }] });
    let ask = json!({ "output_modalities": ["text"], "instructions": "\"type\":\"session.update\"" });
    let wait = json!({ "wait": "response.done" });
    vec![
        json!({ "wait": "session.created" }),
        json!({ "send": { "type": "session.update", "session": transcribe } }),
        sound(),
        json!({ "send": { "type": "input_audio_buffer.commit" } }),
        json!({ "send": { "type": "response.create" } }),
        wait.clone(),
        json!({ "send": { "type": "conversation.item.create", "item": text } }),
        json!({ "send": { "response": ask, "type": "response.create" } }),
        wait.clone(),
        json!({ "send": { "type": "response.create", "event_id": "mine" } }),
        wait,
        json!({ "close": true }),
    ]
}

/// Both shapes of a request, and a long one.
fn responses_steps() -> Vec<Value> {
    let wait = json!({ "wait": "response.completed" });
    let long = "What is the toll at the gate, naïve 漢字 🚦? ".repeat(2_000);
    vec![
        json!({ "send": { "type": "response.create", "model": "gpt-5", "input": "Hello", "store": false } }),
        wait.clone(),
        json!({ "send": { "type": "response.create", "response": { "model": "gpt-5-mini", "input": long } } }),
        wait.clone(),
        json!({ "send": { "input": [{ "role": "user", "content": "More" }], "model": "gpt-5", "type": "response.create" } }),
        wait,
        json!({ "close": true }),
    ]
}

/// Runs a plan directly and through the agent, and fails unless both saw the same bytes and the agent counted what was served.
fn assert_metered(stage: &Stage, plan: &Value, seen: &mut usize, turns: usize) -> Result<()> {
    let about = format!("{} {} {}", plan["path"], plan["extensions"], plan["faults"]);
    let clear = || stage.world.provider().truth().clear();
    clear();
    let direct = report(stage.world.agent_command(PYTHON), plan)?;
    stage.settled()?;
    clear();
    let steered = report(stage.world.client_command(PYTHON), plan)?;
    ensure!(steered == direct, "{about}\n{steered:#}\n{direct:#}");
    ensure!(plan["extensions"] == "" || direct["agreed"] != "", "{about}: it was to be compressed");

    let (served, truth) = truth(stage)?;
    assert_eq!(served.request_sha256.as_deref(), steered["sent"].as_str(), "{about}");
    let (line, mut lines) = lines(&stage.agent, *seen, turns)?;
    *seen += turns + 1;
    let bytes = (&line["request_bytes"], &line["response_bytes"]);
    assert_eq!(bytes, (&steered["sent_bytes"], &steered["received_bytes"]), "{about}");
    assert_eq!((&line["status"], &line["outcome"]), (&101.into(), &"completed".into()), "{about}\n{line:#}");
    assert_eq!((&line["input_tokens"], &line["cost_usd"]), (&Value::Null, &Value::Null), "{about}");
    assert_eq!(truth.len(), turns, "{about}\n{truth:#?}");
    // What was said is transcribed before it is answered, and both were asked for by then.
    lines.sort_by_key(|line| line["operation"] != "transcription");
    for ((line, exchange), told) in lines.iter().zip(&truth).zip(steered["usages"].as_array().context("usages")?) {
        let about = format!("{about}\n{line:#}\n{exchange:#?}");
        assert!(exchange.usage.is_some(), "{about}");
        assert_eq!((usage(line), &line["usage_source"]), (exchange.usage, &"provider".into()), "{about}");
        assert_eq!((&line["status"], &line["stream"]), (&101.into(), &true.into()), "{about}");
        assert_eq!(line["outcome"], "completed", "{about}");
        assert_eq!(line["request_model"].as_str(), exchange.model.as_deref(), "{about}");
        assert_eq!(line["response_model"].as_str(), exchange.response_model.as_deref(), "{about}");
        let details = &told["input_token_details"];
        for (name, told) in [
            ("input_audio_tokens", &details["audio_tokens"]),
            ("cache_read_audio_tokens", &details["cached_tokens_details"]["audio_tokens"]),
            ("output_audio_tokens", &told["output_token_details"]["audio_tokens"]),
        ] {
            assert_eq!(line[name].as_u64().unwrap_or(0), told.as_u64().unwrap_or(0), "{name}, {about}");
        }
        assert!(line["time_to_first_token_ms"].as_f64() <= line["duration_ms"].as_f64(), "{about}");
    }
    Ok(())
}

#[test]
fn every_response_is_metered_and_no_byte_changes_however_it_is_packed() -> Result<()> {
    let stage = Stage::new("")?;
    let mut seen = 0;
    for (path, steps, turns) in [(REALTIME, realtime_steps(), 4), (RESPONSES, responses_steps(), 3)] {
        for (index, offer) in OFFERS.iter().enumerate() {
            let mut plan = json!({ "path": path, "extensions": offer, "steps": steps, "faults": "" });
            if index % 2 == 1 {
                // In fragments, with pings between them, and in pieces that end anywhere.
                plan["faults"] = "split=61".into();
                (plan["fragments"], plan["pieces"]) = (997.into(), 1_009.into());
            }
            assert_metered(&stage, &plan, &mut seen, turns)?;
        }
    }
    Ok(())
}

#[test]
fn a_response_that_breaks_off_is_recorded_with_what_is_known() -> Result<()> {
    let stage = Stage::new("")?;
    let mut seen = 0;
    for (path, source, steps) in [
        (REALTIME, "partial", vec![json!({ "send": { "type": "response.create" } })]),
        (
            RESPONSES,
            "estimated",
            vec![json!({ "send": { "type": "response.create", "model": "gpt-5", "input": "Hello, how are you?" } })],
        ),
    ] {
        for fault in ["reset=7", "truncate=7"] {
            stage.world.provider().truth().clear();
            let steps = [&steps[..], &[json!({ "wait": "never" })]].concat();
            let plan = json!({ "path": path, "extensions": OFFERS[1], "faults": fault, "steps": steps });
            let report = report(stage.world.client_command(PYTHON), &plan)?;
            assert_eq!(report["closed"], false, "{report:#}");
            let (_, truth) = truth(&stage)?;
            assert_eq!(truth[0].outcome, Outcome::Faulted);
            let (_, lines) = lines(&stage.agent, seen, 1)?;
            seen += 2;
            let line = &lines[0];
            assert_eq!(
                (&line["outcome"], &line["usage_source"]),
                (&"upstream_failed".into(), &source.into()),
                "{line:#}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_client_that_is_killed_in_the_middle_of_a_response_leaves_one_record_of_it() -> Result<()> {
    let stage = Stage::new("")?;
    let send = json!({ "send": { "type": "response.create", "model": "gpt-5", "input": "Hello" } });
    let steps =
        [send.clone(), json!({ "wait": "response.completed" }), send, json!({ "wait": "response.output_text.delta" })];
    let steps = [&steps[..], &[json!({ "hold": "in the middle" })]].concat();
    let gate = stage.world.provider().gate("killed");
    let plan = json!({ "path": RESPONSES, "extensions": OFFERS[1], "faults": "gate=killed,words=40", "steps": steps });
    // All of the first, and some of the second.
    gate.allow(70);
    let client = session(stage.world.client_command(PYTHON), &plan).start()?;
    client.wait_for("in the middle", GENEROUS)?;
    client.kill();
    let (_, truth) = truth(&stage)?;
    assert_eq!((truth[0].outcome, truth[1].outcome), (Outcome::Completed, Outcome::ClientGone), "{truth:#?}");
    let (_, lines) = lines(&stage.agent, 0, 2)?;
    assert_eq!(usage(&lines[0]), truth[0].usage);
    let line = &lines[1];
    assert_eq!((&line["outcome"], &line["usage_source"]), (&"client_gone".into(), &"estimated".into()), "{line:#}");
    assert!(line["input_tokens"].as_u64() > Some(0) && line["output_tokens"].as_u64() > Some(0), "{line:#}");
    Ok(())
}

#[test]
fn a_cancelled_response_costs_what_the_provider_says_it_did() -> Result<()> {
    let stage = Stage::new("")?;
    let gate = stage.world.provider().gate("cancelled");
    gate.allow(8);
    let steps = json!([
        { "send": { "type": "response.create" } },
        { "wait": "response.output_audio.delta" },
        { "send": { "type": "response.cancel" } },
        { "wait": "response.done" },
        { "close": true },
    ]);
    let plan = json!({ "path": REALTIME, "extensions": OFFERS[1], "faults": "gate=cancelled", "steps": steps });
    report(stage.world.client_command(PYTHON), &plan)?;
    let (_, truth) = truth(&stage)?;
    assert!(truth[0].usage.is_some() && truth[0].usage != truth[0].planned_usage, "{truth:#?}");
    let (_, lines) = lines(&stage.agent, 0, 1)?;
    assert_eq!((usage(&lines[0]), &lines[0]["outcome"]), (truth[0].usage, &"completed".into()), "{:#}", lines[0]);
    assert_eq!(lines[0]["usage_source"], "provider");
    Ok(())
}

#[test]
fn an_agent_that_is_stopped_records_what_it_cuts_off() -> Result<()> {
    let Stage { world, agent } = Stage::new("drain:\n  timeout: 1s")?;
    let gate = world.provider().gate("stopped");
    gate.allow(8);
    let steps = json!([
        { "send": { "type": "response.create" } },
        { "wait": "response.output_audio.delta" },
        { "hold": "in the middle" },
    ]);
    let plan = json!({ "path": REALTIME, "extensions": "", "faults": "gate=stopped", "steps": steps });
    let client = session(world.client_command(PYTHON), &plan).start()?;
    client.wait_for("in the middle", GENEROUS)?;
    let output = agent.stop(GENEROUS)?;
    let text = output.text() + &output.errors();
    let all: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let exchange = |operation: &str| {
        all.iter().find(|line| line["target"] == "exchange" && line["operation"] == operation).context("no such line")
    };
    let (session, turn) = (exchange("session")?, exchange("realtime")?);
    assert_eq!((&session["outcome"], &turn["outcome"]), (&"stopped".into(), &"stopped".into()), "{text}");
    assert_eq!(turn["usage_source"], "partial");
    assert!(session["response_bytes"].as_u64() > Some(1_000), "{session:#}");
    Ok(())
}

/// A text in one frame (RFC 6455 § 5.2), masked with zeros.
fn frame(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    assert!(length < 126);
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

#[test]
fn a_websocket_over_http2_is_metered_too() -> Result<()> {
    const PROBE: &str = env!("CARGO_BIN_EXE_probe");
    let stage = Stage::new("")?;
    let message = json!({ "type": "response.create", "model": "gpt-5", "input": "Hello" });
    let steps = json!([{ "send": message }, { "wait": "response.completed" }]);
    let alike =
        report(stage.world.agent_command(PYTHON), &json!({ "path": RESPONSES, "extensions": "", "steps": steps }))?;
    let expected = usize::try_from(alike["received_bytes"].as_u64().context("a count")?)?;
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let authorization = header("authorization", "Bearer k");
    let ask = |requests| Plan { host: "api.openai.com".to_owned(), http2: true, requests, ..Plan::default() };
    // Extended CONNECT is offered once the agent has seen that the provider has it.
    let models = Request {
        method: "GET".to_owned(),
        path: "/v1/models".to_owned(),
        headers: vec![authorization.clone()],
        ..Request::default()
    };
    stage.steered(PROBE, &ask(vec![models]))?;
    let socket = Request {
        method: "CONNECT".to_owned(),
        path: RESPONSES.to_owned(),
        headers: vec![authorization, header("sec-websocket-version", "13")],
        protocol: Some("websocket".to_owned()),
        switched: Some((frame(&message.to_string()), expected)),
        ..Request::default()
    };
    let run = stage.steered(PROBE, &ask(vec![socket]))?;
    assert_eq!(run.report.answers[0].status, 200, "{:#?}", run.report);
    let truth = run.exchanges.iter().find(|exchange| exchange.method == "response.create").context("it was served")?;
    let (session, lines) = lines(&stage.agent, 1, 1)?;
    assert_eq!((&session["status"], session["response_bytes"].as_u64()), (&200.into(), Some(expected as u64)));
    assert!(truth.usage.is_some(), "{truth:#?}");
    assert_eq!(
        (usage(&lines[0]), lines[0]["usage_source"].as_str()),
        (truth.usage, Some("provider")),
        "{:#}",
        lines[0]
    );
    Ok(())
}

/// Operation, source and input tokens of each row of the ledger, in the order in which they began, once there are so many.
fn rows(stage: &Stage, count: usize) -> Result<Vec<(String, String, Option<i64>)>> {
    const ROWS: &str = "SELECT operation.value, source.value, exchange.input FROM exchange
        JOIN text AS operation ON operation.id = exchange.operation
        JOIN text AS source ON source.id = exchange.source ORDER BY exchange.started";
    let read = || -> Result<Vec<_>> {
        let file = Connection::open_with_flags(stage.world.ledger(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        file.busy_timeout(GENEROUS)?;
        let mut rows = file.prepare(ROWS)?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    };
    let deadline = Instant::now() + GENEROUS;
    loop {
        // The file may not be there yet.
        let rows = read();
        match rows {
            Ok(rows) if rows.len() >= count => return Ok(rows),
            rows => ensure!(Instant::now() < deadline, "{rows:?}\n{}", stage.agent.log()),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_agent_that_is_killed_has_one_row_for_each_response() -> Result<()> {
    let mut stage = Stage::new("")?;
    let send = json!({ "send": { "type": "response.create" } });
    let gate = stage.world.provider().gate("cut");
    let steps = json!([
        send, { "wait": "response.done" }, send, { "wait": "response.output_audio.delta" }, { "hold": "in the middle" },
    ]);
    let plan = json!({ "path": REALTIME, "extensions": OFFERS[1], "faults": "gate=cut,words=4", "steps": steps });
    // All of the first, and some of the second.
    gate.allow(28);
    let client = session(stage.world.client_command(PYTHON), &plan).start()?;
    client.wait_for("in the middle", GENEROUS)?;
    stage.agent.kill();
    drop(client.wait(GENEROUS)?);
    gate.open();
    let (_, truth) = truth(&stage)?;
    let told = truth[0].usage.context("the first was answered")?;
    stage.agent = stage.world.agent("")?;
    let row = |operation: &str, source: &str, input| (operation.to_owned(), source.to_owned(), input);
    let expected = [
        row("session", "partial", None),
        row("realtime", "provider", Some(told.input.cast_signed())),
        row("realtime", "partial", None),
    ];
    assert_eq!(rows(&stage, 3)?, expected);
    Ok(())
}
