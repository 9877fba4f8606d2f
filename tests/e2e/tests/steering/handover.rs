//! An upgrade: a new agent beside the old one, which drains. No call fails, and none goes by both.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tollgate_e2e::calls::Api;
use tollgate_e2e::stage::Stage;
use tollgate_world::{Agent, Output};

use crate::{GENEROUS, lines, python};

/// One call after the other, each on a connection of its own, until the file `stop` appears.
const LOOP: &str = "
import http.client, json, os, ssl
context = ssl.create_default_context()
body = json.dumps({'model': 'gpt-4o-mini', 'messages': [{'role': 'user', 'content': 'Hello'}]})
while not os.path.exists('stop'):
    connection = http.client.HTTPSConnection('api.openai.com', context=context)
    connection.connect()
    issuer = dict(pair[0] for pair in connection.sock.getpeercert()['issuer'])['commonName']
    peer = connection.sock.getpeername()[0]
    connection.request('POST', '/v1/chat/completions', body, {'content-type': 'application/json', 'authorization': 'Bearer k'})
    answer = connection.getresponse()
    json.load(answer)
    print(json.dumps([answer.status, issuer, peer]), flush=True)
    connection.close()
";

/// The calls in an agent's log.
fn calls(output: &Output) -> Vec<Value> {
    let log = output.text() + &output.errors();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["target"] == "exchange").collect()
}

fn stop(agent: Agent) -> Result<Output> {
    let output = agent.stop(GENEROUS)?;
    assert_eq!(output.status.code(), Some(0), "{output}");
    Ok(output)
}

#[test]
fn no_call_fails_and_each_is_counted_once_while_agents_take_turns() -> Result<()> {
    let stage = Stage::new("drain:\n  timeout: 60s\n")?;
    let Stage { world, agent: first } = stage;
    let program = python(&world, LOOP).start()?;
    let done = |stdout: &[u8]| stdout.split(|&byte| byte == b'\n').count() - 1;
    let more = |calls: usize| {
        let target = done(&program.stdout()) + calls;
        program.wait_until(GENEROUS, |stdout, _| done(stdout) >= target)
    };
    more(5)?;
    // A stream that the first agent has to finish.
    let gate = world.provider().gate("handover");
    let stream = Api::Messages.call(&world, "Hello", true, "gate=handover,words=6").start()?;
    gate.allow(2);
    stream.wait_for("data:", GENEROUS)?;

    let second = world.another_agent(9465, "")?;
    more(5)?;
    first.process().signal(tollgate_world::Signal::SIGTERM);
    first.process().wait_for("draining", GENEROUS)?;
    more(20)?;
    assert!(first.process().status().is_none(), "it waits for its stream\n{}", first.log());
    gate.open();
    let stream = stream.wait(GENEROUS)?.success()?;
    assert!(stream.text().contains("message_stop"), "the stream is whole: {stream}");
    let first = stop(first)?;
    more(5)?;

    // And back again, to an agent that finds the last one's programs and not its own.
    let third = world.another_agent(9464, "")?;
    more(3)?;
    let second = stop(second)?;
    more(5)?;
    fs::write(world.directory().join("home/stop"), "")?;
    let output = program.wait(GENEROUS)?.success().context("a call failed")?;
    let third = stop(third)?;

    let told: Vec<(u16, String, String)> = lines(&output)?;
    let (status, issuer, peer) = &told[0];
    assert!(told.iter().all(|call| call == &told[0]), "every call looked the same: {told:?}");
    assert_eq!((*status, issuer.contains("Stand-in"), peer.contains("2001:db8::10")), (200, false, true), "{told:?}");
    let counted = [&first, &second, &third].map(|output| calls(output).len());
    assert_eq!(counted.iter().sum::<usize>(), told.len() + 1, "{counted:?}, and the stream is one of them");
    assert!(counted.iter().all(|&count| count >= 5), "each had its turn: {counted:?}");
    assert_eq!(world.provider().truth().sums().exchanges, told.len() as u64 + 1);
    Ok(())
}
