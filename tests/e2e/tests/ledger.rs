//! The ledger on disk: one row for each exchange that reached a provider, whatever becomes of the agent.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tollgate_e2e::{CHAT, chat, json as answered, post, samples, sum};
use tollgate_provider::{Exchange, Gate, Outcome};
use tollgate_world::{Agent, Program, World};

const GENEROUS: Duration = Duration::from_mins(2);

/// The ledger of the world's agents, as whoever asks it sees it.
struct Ledger(PathBuf);

impl Ledger {
    fn of(world: &World) -> Self {
        Self(world.ledger())
    }

    fn number(&self, sql: &str) -> Result<i64> {
        let file = Connection::open_with_flags(&self.0, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        file.busy_timeout(GENEROUS)?;
        Ok(file.query_row(sql, [], |row| row.get::<_, Option<i64>>(0))?.unwrap_or_default())
    }

    /// Waits until there are so many rows; more are a failure.
    fn rows(&self, expected: usize, agent: &Agent) -> Result<()> {
        let (expected, deadline) = (expected.cast_signed() as i64, Instant::now() + GENEROUS);
        loop {
            let rows = if self.0.exists() { self.number("SELECT count(*) FROM exchange").unwrap_or(-1) } else { -1 };
            ensure!(rows <= expected, "{rows} rows for {expected} exchanges");
            if rows == expected {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "{rows} rows for {expected} exchanges\n{}", agent.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Input and output tokens of those that the provider's own numbers are known of.
    fn tokens(&self) -> Result<(u64, u64)> {
        let of = "FROM exchange JOIN text ON text.id = source WHERE value = 'provider'";
        let sum = |column| self.number(&format!("SELECT sum({column}) {of}")).map(i64::cast_unsigned);
        Ok((sum("input")?, sum("output")?))
    }

    fn lost(&self) -> Result<i64> {
        self.number(
            "SELECT count(*) FROM exchange WHERE is_lost AND source = (SELECT id FROM text WHERE value = 'partial')
                AND outcome = (SELECT id FROM text WHERE value = 'stopped') AND input IS NULL",
        )
    }
}

/// So many streamed chats by one curl, all at once, each on a connection of its own. Only the agent's certificate is
/// trusted, so that no call gets past the agent.
fn streams(world: &World, agent: &Agent, count: usize, faults: &str) -> Result<Program> {
    let certificate = world.directory().join("agent-alone.pem");
    std::fs::write(&certificate, agent.ca_pem()?)?;
    let body = json!({
        "model": "gpt-4o-mini", "stream": true, "stream_options": {"include_usage": true},
        "messages": [{"role": "user", "content": "Hello, world"}],
    });
    Ok(world
        .client_command("curl")
        .args(["--silent", "--no-buffer", "--http1.1", "--parallel", "--parallel-immediate", "--parallel-max", "300"])
        .args(["--header", "content-type: application/json", "--header", "authorization: Bearer sk-of-the-caller"])
        .args(["--header", &format!("x-provider-fault: {faults}"), "--data-binary", &body.to_string()])
        .arg("--cacert")
        .arg(certificate)
        .arg(format!("{CHAT}?n=[1-{count}]")))
}

fn exchanges(world: &World) -> Vec<Exchange> {
    world.provider().truth().exchanges()
}

/// What the provider says that it told of these.
fn told(exchanges: &[Exchange]) -> (u64, u64) {
    let completed = || exchanges.iter().filter(|it| it.outcome == Outcome::Completed).filter_map(|it| it.usage);
    (completed().map(|usage| usage.input).sum(), completed().map(|usage| usage.output).sum())
}

/// Lets each of so many streams write so many events, and no more.
fn advance(gate: &Gate, streams: usize, events: usize) -> Result<()> {
    let deadline = Instant::now() + GENEROUS;
    for round in 0..=events {
        while gate.waiting() < streams || gate.passed() < round * streams {
            ensure!(Instant::now() < deadline, "{} of {streams} streams wait", gate.waiting());
            std::thread::sleep(Duration::from_millis(10));
        }
        // All of them wait, in a queue, so each gets one.
        if round < events {
            gate.allow(streams);
        }
    }
    Ok(())
}

fn settled(agent: &Agent, count: u64) -> Result<()> {
    let deadline = Instant::now() + GENEROUS;
    while sum(&samples(agent)?, "tollgate_requests_total", &[]) < count {
        ensure!(Instant::now() < deadline, "they do not end\n{}", agent.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn an_agent_killed_amid_200_streams_has_one_row_for_each() -> Result<()> {
    let world = World::new()?;
    let agent = world.agent("")?;
    let gate = world.provider().gate("middle");
    let (held, whole) = (150, 50);
    let holding = streams(&world, &agent, held, "gate=middle,words=20")?.start()?;
    advance(&gate, held, 3)?;
    streams(&world, &agent, whole, "words=9")?.run()?.success()?;
    settled(&agent, whole as u64)?;
    agent.kill();
    drop(holding.wait(GENEROUS)?);
    gate.open();

    let served = exchanges(&world);
    assert_eq!(served.len(), held + whole, "every stream reached the provider");
    let ledger = Ledger::of(&world);
    let agent = world.agent("")?;
    ledger.rows(held + whole, &agent)?;
    assert_eq!(ledger.lost()?, held.cast_signed() as i64);
    let completed = served.iter().filter(|it| it.outcome == Outcome::Completed).count();
    assert_eq!(completed, whole);
    assert_eq!(ledger.tokens()?, told(&served), "what had ended is known to the token");
    assert_eq!(ledger.number("SELECT count(*) FROM open")?, 0);

    // Once only, however often an agent starts.
    assert_eq!(agent.stop(GENEROUS)?.status.code(), Some(0));
    let agent = world.agent("")?;
    answered(chat(&world, "gpt-4o-mini", false).envs(agent.trust_variables()?).run()?)?;
    assert_eq!(agent.stop(GENEROUS)?.status.code(), Some(0));
    assert_eq!(ledger.number("SELECT count(*) FROM exchange")?, (held + whole + 1).cast_signed() as i64);
    assert_eq!(ledger.number("SELECT count(*) FROM instance")?, 0, "nobody is left behind");
    Ok(())
}

/// So many streams of Gemini's, whose path names the model: another one for each call, so that each can be found again.
fn named_streams(world: &World, agent: &Agent, round: u64, count: usize) -> Result<Program> {
    let certificate = world.directory().join("agent-alone.pem");
    std::fs::write(&certificate, agent.ca_pem()?)?;
    let body = r#"{"contents":[{"role":"user","parts":[{"text":"Hello, world"}]}]}"#;
    let models = "https://generativelanguage.googleapis.com/v1beta/models";
    Ok(world
        .client_command("curl")
        .args(["--silent", "--no-buffer", "--http1.1", "--parallel", "--parallel-immediate", "--parallel-max", "300"])
        .args(["--header", "content-type: application/json", "--header", "x-goog-api-key: k"])
        .args(["--header", "x-provider-fault: slow=5,words=12", "--data-binary", body, "--cacert"])
        .arg(certificate)
        .arg(format!("{models}/gemini-2.5-flash-{round}-[1-{count}]:streamGenerateContent?alt=sse")))
}

#[test]
fn agents_killed_at_any_moment_leave_one_row_for_each_exchange_that_reached_a_provider() -> Result<()> {
    let world = World::new()?;
    for round in 0..4_u64 {
        let agent = world.agent("")?;
        let before = world.provider().truth().sums().completed;
        let running = named_streams(&world, &agent, round, 100)?.start()?;
        let deadline = Instant::now() + GENEROUS;
        // Some have ended, some are under way, and some have hardly begun.
        while world.provider().truth().sums().completed - before < 10 + 20 * round {
            ensure!(Instant::now() < deadline && agent.process().status().is_none(), "{}", agent.log());
            std::thread::sleep(Duration::from_millis(1));
        }
        agent.kill();
        drop(running.wait(GENEROUS)?);
    }
    let truth = world.provider().truth().clone();
    world.in_internet(move || async move { tokio::time::timeout(GENEROUS, truth.settled()).await }).context("open")?;
    let served = exchanges(&world);
    let agent = world.agent("")?;
    let ledger = Ledger::of(&world);
    let deadline = Instant::now() + GENEROUS;
    while ledger.number("SELECT count(*) FROM instance")? > 1 {
        ensure!(Instant::now() < deadline, "a dead agent is left\n{}", agent.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(agent.stop(GENEROUS)?.status.code(), Some(0));
    let model = |exchange: &Exchange| exchange.path.split(['/', ':']).nth(3).map(str::to_owned);
    let mut whole = 0;
    for exchange in &served {
        let model = model(exchange).context("a path without a model")?;
        let of = format!("FROM exchange JOIN text ON text.id = request_model WHERE value = '{model}'");
        assert_eq!(ledger.number(&format!("SELECT count(*) {of}"))?, 1, "{model}: {exchange:#?}");
        // What the ledger takes for whole was, and is known to the token.
        if ledger.number(&format!("SELECT count(*) {of} AND NOT is_lost AND error_type = 0"))? == 1 {
            let usage = exchange.usage.with_context(|| format!("no usage: {exchange:#?}"))?;
            let tokens = |column| ledger.number(&format!("SELECT {column} {of}")).map(i64::cast_unsigned);
            assert_eq!((tokens("input")?, tokens("output")?), (usage.input, usage.output), "{exchange:#?}");
            whole += 1;
        }
    }
    assert!(whole > 0, "none of {} exchanges is whole", served.len());
    // Others were opened, and their agent was killed before they reached a provider.
    let others = ledger.number("SELECT count(*) FROM exchange")? - served.len().cast_signed() as i64;
    assert!(others >= 0 && ledger.lost()? >= others, "{others} rows are of no exchange");
    Ok(())
}

#[test]
fn agents_that_take_turns_and_a_session_write_one_ledger_and_its_sums_are_the_providers() -> Result<()> {
    let world = World::new()?;
    let old = world.agent("drain:\n  timeout: 60s\n")?;
    streams(&world, &old, 20, "words=7")?.run()?.success()?;
    // Held by the old one while the new one takes over.
    let gate = world.provider().gate("turn");
    let long = streams(&world, &old, 10, "gate=turn,words=11")?.start()?;
    advance(&gate, 10, 2)?;
    let new = world.another_agent(9465, "")?;
    old.process().signal(tollgate_world::Signal::SIGTERM);
    old.process().wait_for("draining", GENEROUS)?;
    let fresh = streams(&world, &new, 30, "words=5")?.start()?;
    let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}"#;
    world
        .tollgate()?
        .args(["exec", "--", "curl", "--silent", "--fail", "-H", "content-type: application/json"])
        .args(["-H", "authorization: Bearer k", "--data-binary", body, CHAT])
        .run()?
        .success()?;
    gate.open();
    long.wait(GENEROUS)?.success()?;
    fresh.wait(GENEROUS)?.success()?;
    assert_eq!(old.stop(GENEROUS)?.status.code(), Some(0));
    assert_eq!(new.stop(GENEROUS)?.status.code(), Some(0));

    let served = exchanges(&world);
    assert_eq!(served.len(), 20 + 10 + 30 + 1);
    let ledger = Ledger::of(&world);
    assert_eq!(ledger.number("SELECT count(*) FROM exchange")?, served.len().cast_signed() as i64);
    assert_eq!(ledger.tokens()?, told(&served));
    assert_eq!(ledger.lost()?, 0);
    let bytes: u64 = served.iter().map(|it| it.response_bytes).sum();
    assert_eq!(ledger.number("SELECT sum(response_bytes) FROM exchange")?, bytes.cast_signed());
    Ok(())
}

#[test]
fn an_agent_whose_ledger_cannot_be_written_works_is_ready_and_says_so() -> Result<()> {
    let world = World::new()?;
    let file = world.directory().join("in-the-way");
    std::fs::write(&file, "")?;
    let config = format!("ledger:\n  directory: {}\n", file.join("ledger").display());
    let agent = world.agent(&config)?;
    answered(chat(&world, "gpt-4o-mini", false).envs(agent.trust_variables()?).run()?)?;
    let page = agent.metrics_when(GENEROUS, |page| page.contains("tollgate_ledger_up 0"))?;
    assert!(page.contains("tollgate_ledger_failures_total"), "{page}");
    assert_eq!(agent.get("/readyz")?.0, 200);
    let status: serde_json::Value = serde_json::from_str(&agent.get("/status")?.1)?;
    assert!(status["ledger"]["trouble"].as_str().is_some_and(|trouble| trouble.contains("in-the-way")), "{status:#}");
    let doctor = world.tollgate()?.args(["doctor"]).run()?;
    assert!(doctor.text().contains("wrong ledger"), "{doctor}");

    // Out of the way: what waited is written.
    std::fs::remove_file(&file)?;
    let page = agent.metrics_when(GENEROUS, |page| page.contains("tollgate_ledger_up 1"))?;
    assert!(page.contains(r#"tollgate_ledger_calls_total{what="lost"} 0"#), "{page}");
    Ledger(file.join("ledger/ledger.db")).rows(1, &agent)?;
    let off = world.another_agent(9466, "ledger:\n  directory: off\n")?;
    agent.kill();
    answered(post(&world, CHAT, r#"{"model":"gpt-4o-mini","messages":[]}"#).envs(off.trust_variables()?).run()?)?;
    assert!(!world.ledger().exists(), "no ledger is kept, so none is made");
    Ok(())
}
