//! How the agent comes to know a provider's addresses.

use std::fs;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tollgate_e2e::probe::{Plan, Request};
use tollgate_e2e::stage::{Run, Stage};
use tollgate_provider::{Dialect, Provider};
use tollgate_world::World;
use tollgate_world::dns::{Answer, Owner};

use crate::{GENEROUS, PROBE, python};

const CONFIG: &str = "providers:
  - name: cloud
    hosts: ['*.learned.example', 'llm.*.cloud.example', '*-llm.other.example', exact.learnt.example]
    dialect: openai
";

/// A provider of `hosts` at one more address of the internet.
fn provider(world: &World, hosts: &'static [&'static str], address: &str) -> Result<(Provider, IpAddr)> {
    let address: IpAddr = address.parse()?;
    world.add_address(address)?;
    let provider = world.another_provider(&[(address, 443).into()], move |builder| {
        hosts.iter().fold(builder, |builder, host| builder.host(host, Dialect::OpenAi))
    })?;
    Ok((provider, address))
}

/// A call to `host`, with and without the agent.
fn call(stage: &Stage, host: &str) -> Result<(Run, Run)> {
    let headers =
        [("Host", host), ("authorization", "Bearer k")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = Request {
        method: "GET".to_owned(),
        path: "/v1/models".to_owned(),
        headers: headers.into(),
        ..Request::default()
    };
    let plan = Plan { host: host.to_owned(), requests: vec![request], ..Plan::default() };
    let direct = stage.direct(PROBE, &plan)?;
    let steered = stage.steered(PROBE, &plan)?;
    for run in [&direct, &steered] {
        assert_eq!(run.report.answers[0].status, 200, "{host}: {:?}", run.report);
    }
    Ok((direct, steered))
}

fn assert_steered(stage: &Stage, host: &str, address: IpAddr) -> Result<()> {
    let (direct, steered) = call(stage, host)?;
    assert_ne!(direct.report.certificate, steered.report.certificate, "{host} is steered");
    assert_eq!((direct.report.peer, steered.report.peer), ((address, 443).into(), (address, 443).into()), "{host}");
    Ok(())
}

fn assert_direct(stage: &Stage, host: &str) -> Result<()> {
    let (direct, steered) = call(stage, host)?;
    assert_eq!(direct.report.certificate, steered.report.certificate, "{host} is left alone");
    Ok(())
}

/// A name, its address, and the form of the answer.
type Form = (&'static str, &'static str, fn(Answer) -> Answer);

#[test]
fn answers_teach_addresses_in_each_form() -> Result<()> {
    let stage = Stage::new(CONFIG)?;
    let seconds = Duration::from_secs;
    // Each has an address of its own, which nothing else could have taught.
    let forms: [Form; 10] = [
        ("plain.learned.example", "203.0.113.101", |answer| answer),
        ("deep.er.learned.example", "203.0.113.102", |answer| answer),
        ("one.learned.example", "203.0.113.103", |answer| answer.through(&["edge.cdn.example"])),
        ("three.learned.example", "203.0.113.104", |answer| {
            answer.through(&["a.cdn.example", "b.cdn.net", "c.example"])
        }),
        ("full.learned.example", "203.0.113.105", Answer::uncompressed),
        ("chain.learned.example", "203.0.113.106", |answer| {
            answer.through(&["a.b.c.example", "d.example"]).uncompressed()
        }),
        ("upper.learned.example", "203.0.113.107", |answer| answer.owner(Owner::Upper)),
        ("lower.learned.example", "203.0.113.108", |answer| answer.owner(Owner::Lower).uncompressed()),
        ("six.learned.example", "2001:db8::101", |answer| answer),
        ("chain6.learned.example", "2001:db8::102", |answer| answer.through(&["v6.cdn.example"]).uncompressed()),
    ];
    let hosts: &[&str] = &["*.learned.example", "*.er.learned.example"];
    let mut providers = Vec::new();
    for (host, address, form) in forms {
        let (serving, address) = provider(&stage.world, hosts, address)?;
        providers.push(serving);
        stage.world.dns().answer(host, form(Answer::addresses(&[address]).ttl(seconds(1))));
        assert_steered(&stage, host, address).with_context(|| host.to_owned())?;
    }
    // Asked in upper case, as resolvers do that randomise it (0x20).
    let (_serving, address) = provider(&stage.world, hosts, "203.0.113.110")?;
    stage.world.dns().set("case.learned.example", &[address], 1);
    let script = "import socket; print(socket.getaddrinfo('cAsE.LEARNED.eXaMpLe', 443)[0][4][0])";
    python(&stage.world, script).run()?.success()?;
    assert!(stage.world.dns().queries().iter().any(|query| query.name == "cAsE.LEARNED.eXaMpLe"), "asked as written");
    assert_steered(&stage, "case.learned.example", address)
}

#[test]
fn names_are_matched_to_their_boundaries() -> Result<()> {
    let stage = Stage::new(CONFIG)?;
    let mut providers = Vec::new();
    // Each has an address of its own: a shared one is steered and then passed through, which is another test's.
    let names: [(&[&str], &str, bool); 9] = [
        (&["eu.api.openai.com"], "203.0.113.121", true),
        (&["llm.eu-1.cloud.example"], "203.0.113.122", true),
        (&["eu-llm.other.example"], "203.0.113.123", true),
        (&["llm.a.b.cloud.example"], "203.0.113.124", false),
        (&["xllm.eu.cloud.example"], "203.0.113.125", false),
        (&["evillearned.example"], "203.0.113.126", false),
        (&["learned.example"], "203.0.113.127", false),
        (&["notapi.openai.com"], "203.0.113.128", false),
        (&["api.openai.com.evil.example"], "203.0.113.129", false),
    ];
    for (hosts, address, steered) in names {
        let (serving, address) = provider(&stage.world, hosts, address)?;
        providers.push(serving);
        stage.world.dns().set(hosts[0], &[address], 300);
        if steered { assert_steered(&stage, hosts[0], address)? } else { assert_direct(&stage, hosts[0])? }
    }
    Ok(())
}

#[test]
fn all_addresses_of_an_answer_are_learned() -> Result<()> {
    let stage = Stage::new(CONFIG)?;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for number in 140..152_u8 {
        addresses.push(format!("203.0.113.{number}").parse()?);
        addresses.push(format!("2001:db8::{number}").parse()?);
    }
    let mut providers = Vec::new();
    for address in &addresses {
        providers.push(provider(&stage.world, &["many.learned.example"], &address.to_string())?);
    }
    stage.world.dns().set("many.learned.example", &addresses, 300);
    let script = "import json, socket, ssl\n\
                  for family, _, _, _, address in socket.getaddrinfo('many.learned.example', 443, type=socket.SOCK_STREAM):\n\
                  \x20   sock = socket.socket(family, socket.SOCK_STREAM)\n\
                  \x20   sock.connect(address)\n\
                  \x20   tls = ssl.create_default_context().wrap_socket(sock, server_hostname='many.learned.example')\n\
                  \x20   tls.sendall(b'GET /v1/models HTTP/1.1\\r\\nhost: many.learned.example\\r\\nauthorization: Bearer k\\r\\n\\r\\n')\n\
                  \x20   assert tls.recv(12) == b'HTTP/1.1 200'\n\
                  \x20   print(json.dumps([tls.getpeername()[0], dict(p[0] for p in tls.getpeercert()['issuer'])['commonName']]))";
    let told: Vec<(String, String)> = crate::lines(&python(&stage.world, script).run()?.success()?)?;
    let direct = stage.world.agent_command("/usr/bin/python3").args(["-c", script]).run()?.success()?;
    let direct: Vec<(String, String)> = crate::lines(&direct)?;
    let addresses_of = |told: &[(String, String)]| told.iter().map(|(address, _)| address.clone()).collect::<Vec<_>>();
    assert_eq!(addresses_of(&told), addresses_of(&direct));
    assert_eq!(told.len(), addresses.len());
    let missed: Vec<_> = told.iter().filter(|(_, issuer)| *issuer == direct[0].1).collect();
    assert!(missed.is_empty(), "{missed:?}");
    Ok(())
}

/// The kernel does not read DNS over TCP: the agent's own look-ups cover it.
#[test]
fn an_answer_over_tcp_is_seeded_by_the_agent() -> Result<()> {
    let world = World::new()?;
    let (_provider, address) = provider(&world, &["exact.learnt.example"], "203.0.113.160")?;
    world.dns().answer("exact.learnt.example", Answer::addresses(&[address]).truncated());
    let agent = world.agent(CONFIG)?;
    world.trust(&agent.ca_pem()?)?;
    let stage = Stage { world, agent };
    let deadline = Instant::now() + GENEROUS;
    while call(&stage, "exact.learnt.example")
        .map(|(direct, steered)| direct.report.certificate == steered.report.certificate)?
    {
        anyhow::ensure!(Instant::now() < deadline, "never steered\n{}", stage.agent.log());
    }
    assert!(stage.world.dns().queries().iter().any(|query| query.tcp && query.name == "exact.learnt.example"));
    assert_steered(&stage, "exact.learnt.example", address)
}

/// A program that resolved before there was an agent, and does not again.
#[test]
fn an_address_from_before_the_agent_is_seeded() -> Result<()> {
    let world = World::new()?;
    let stop = world.directory().join("home/stop");
    let script = "import os, socket, ssl, sys, time\n\
                  address = socket.getaddrinfo('api.openai.com', 443, type=socket.SOCK_STREAM)[0]\n\
                  print('resolved', flush=True)\n\
                  while not os.path.exists('stop'):\n\
                  \x20   sock = socket.socket(address[0], socket.SOCK_STREAM)\n\
                  \x20   sock.connect(address[4])\n\
                  \x20   context = ssl.create_default_context()\n\
                  \x20   context.check_hostname, context.verify_mode = False, ssl.CERT_NONE\n\
                  \x20   tls = context.wrap_socket(sock, server_hostname='api.openai.com')\n\
                  \x20   tls.sendall(b'GET /v1/models HTTP/1.1\\r\\nhost: api.openai.com\\r\\nauthorization: Bearer k\\r\\n\\r\\n')\n\
                  \x20   assert tls.recv(12) == b'HTTP/1.1 200'\n\
                  \x20   print('connected', hash(tls.getpeercert(True)), flush=True)\n\
                  \x20   tls.close()";
    let program = python(&world, script).env("PYTHONHASHSEED", "0").start()?;
    let certificates = |stdout: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(stdout).into_owned();
        text.lines().filter_map(|line| line.strip_prefix("connected ")).map(str::to_owned).collect()
    };
    program.wait_until(GENEROUS, |stdout, _| certificates(stdout).len() > 2)?;
    let direct = certificates(&program.stdout())[0].clone();
    let agent = world.agent("")?;
    program
        .wait_until(GENEROUS, |stdout, _| certificates(stdout).last().is_some_and(|last| *last != direct))
        .with_context(|| agent.log())?;
    fs::write(stop, "")?;
    program.wait(GENEROUS)?.success()?;
    Ok(())
}

/// An answer that comes late, or again, or for a name with a short life, does not take anything away.
#[test]
fn an_address_outlives_its_record() -> Result<()> {
    let stage = Stage::new(CONFIG)?;
    let (_first, first) = provider(&stage.world, &["*.learned.example"], "203.0.113.171")?;
    let (_second, second) = provider(&stage.world, &["*.learned.example"], "203.0.113.172")?;
    stage.world.dns().set("moving.learned.example", &[first], 0);
    assert_steered(&stage, "moving.learned.example", first)?;
    stage.world.dns().set("moving.learned.example", &[second], 0);
    assert_steered(&stage, "moving.learned.example", second)?;
    // A program that still has the old one, as the JVM keeps them.
    sleep(Duration::from_millis(1100));
    stage.world.dns().set("moving.learned.example", &[first], 0);
    stage.world.dns().remove("moving.learned.example");
    let script = format!(
        "import socket, ssl\nsock = socket.create_connection(('{first}', 443))\n\
         tls = ssl.create_default_context().wrap_socket(sock, server_hostname='moving.learned.example')\n\
         print(dict(p[0] for p in tls.getpeercert()['issuer'])['commonName'])"
    );
    let steered = python(&stage.world, &script).run()?.success()?.text();
    let direct = stage.world.agent_command("/usr/bin/python3").args(["-c", &script]).run()?.success()?.text();
    assert_ne!(steered, direct);
    Ok(())
}
