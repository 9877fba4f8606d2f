//! What is shown, one function a scene.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tollgate_world::{Agent, World};

use crate::clients::{self, Clients};
use crate::reading;
use crate::screen::Screen;

/// How long something may take that normally takes a moment.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn one_command(screen: &Screen, world: &World, clients: &Clients) -> Result<()> {
    screen
        .text("The client is a few lines of Python and its standard library. It knows api.openai.com and its own key:");
    screen.file(clients::ASK);
    let question = "What is a toll gate?";
    screen.command(&format!("tollgate exec -- python3 ask.py '{question}'"));
    let program = world.tollgate()?.args(["exec", "--"]).args(clients.ask_words(question)).attached();
    clients::with_key(program).run()?.success().context("the client under `tollgate exec` failed")?;
    let asked = world.provider().truth().exchanges().len();
    ensure!(asked == 1, "the provider saw {asked} requests in place of one");
    screen.proof(
        "The answer streamed through; the table was made from a copy, and the provider saw one ordinary request.",
    );
    Ok(())
}

pub(crate) fn start_agent(screen: &Screen, world: &World) -> Result<Agent> {
    screen.command("tollgate run &");
    let started = Instant::now();
    let agent = world.agent("")?;
    screen.proof(&format!("Ready after {:.1} seconds.", started.elapsed().as_secs_f64()));
    screen.text(
        "The client host is told once to trust the agent's certificate authority, as update-ca-certificates does.",
    );
    let certificate = agent.ca_directory().join("ca.pem");
    let pem =
        std::fs::read_to_string(&certificate).with_context(|| format!("cannot read {}", certificate.display()))?;
    world.trust(&pem)?;
    Ok(agent)
}

pub(crate) fn whole_machine(screen: &Screen, world: &World, clients: &Clients, agent: &Agent) -> Result<()> {
    let question = "And who pays the toll?";
    screen.command(&format!("python3 ask.py '{question}'      # any program, any user, started as ever"));
    clients.ask(world, question).run()?.success().context("the Python client failed")?;

    let body =
        r#"{"model":"claude-sonnet-4-5","max_tokens":200,"messages":[{"role":"user","content":"And the bridge?"}]}"#;
    screen.command("curl https://api.anthropic.com/v1/messages -d '{\"model\":\"claude-sonnet-4-5\", …}'");
    let headers =
        ["-H", "x-api-key: sk-ant-demo", "-H", "anthropic-version: 2023-06-01", "-H", "content-type: application/json"];
    let mut arguments = vec!["https://api.anthropic.com/v1/messages", "--data", body];
    arguments.extend(headers);
    let answer = clients::curl(world, &arguments).run()?.success().context("curl failed")?;
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).context("the answer is not JSON")?;
    screen.text(answer["content"][0]["text"].as_str().context("the answer has no text")?);

    agent.process().wait_until(PATIENCE, |stdout, stderr| {
        let seen = |bytes: &[u8]| reading::exchanges(&String::from_utf8_lossy(bytes)).len();
        seen(stdout) + seen(stderr) >= 2
    })?;
    screen.text("");
    screen.proof("Who called what, in the agent's log:");
    for line in reading::exchanges(&agent.log()) {
        screen.text(&format!("   {line}"));
    }
    screen.command(
        "curl -s 127.0.0.1:9464/metrics | grep gen_ai_client_token_usage_sum      # most labels left out here",
    );
    let page = agent.metrics()?;
    let samples = reading::samples(&page, "gen_ai_client_token_usage_sum");
    ensure!(!samples.is_empty(), "the metrics page has no token usage");
    for sample in samples {
        screen.text(&format!("   {sample}"));
    }
    Ok(())
}

pub(crate) fn other_site(screen: &Screen, world: &World) -> Result<()> {
    screen.text("other-site.example shares api.openai.com's address, as sites behind a CDN do. Who signed what the client sees?");
    let provider = issuer(world, "https://api.openai.com/v1/models")?;
    let other = issuer(world, "https://other-site.example/")?;
    screen.text(&format!("   api.openai.com      {provider}\n   other-site.example  {other}"));
    ensure!(provider != other, "both have the same issuer, {provider}");
    screen.proof("The name decides, not the address: the other site is passed through, certificate and all.");
    Ok(())
}

pub(crate) fn death(screen: &Screen, world: &World, clients: &Clients, agent: &Agent) -> Result<()> {
    let before = issuer(world, "https://api.openai.com/v1/models")?;
    screen.command(&format!("kill -9 {}               # the agent: no warning, no clean-up", agent.pid()));
    agent.kill();
    let question = "Still there?";
    screen.command(&format!("python3 ask.py '{question}'"));
    clients.ask(world, question).run()?.success().context("the client failed without the agent")?;
    let after = issuer(world, "https://api.openai.com/v1/models")?;
    ensure!(before != after, "the certificate did not change with the agent's death: {after}");
    screen.text(&format!("   certificate before  {before}\n   certificate after   {after}"));
    screen.proof("The very next call went to the provider directly. Nobody had to notice.");

    screen.command("tollgate report --by user,program,model --model '*'      # reads the ledger; no agent runs now");
    let report = ["report", "--by", "user,program,model", "--model", "*"];
    let report = world.tollgate()?.args(report).run()?.success().context("`tollgate report` failed")?.text();
    ensure!(
        report.contains("gpt-4.1") && report.contains("claude-sonnet-4-5"),
        "a call is not on the ledger:\n{report}"
    );
    screen.text(report.trim_end());
    screen.proof("Every call is on the ledger, those of the command and those of the killed agent.");
    Ok(())
}

fn issuer(world: &World, url: &str) -> Result<String> {
    let key = ["--header", "authorization: Bearer sk-demo", "--verbose", "--output", "/dev/null", url];
    let output = clients::curl(world, &key).run()?.success()?;
    Ok(reading::issuer(&output.errors()).context("curl did not tell the certificate's issuer")?.to_owned())
}
