//! `tollgate exec`: one command, metered, otherwise as if it had been run by itself.

use std::time::Duration;

use anyhow::Result;
use tollgate_e2e::CHAT;
use tollgate_world::{Output, Program, Signal, World};

const GENEROUS: Duration = Duration::from_mins(1);

fn exec(world: &World, command: &[&str]) -> Result<Program> {
    Ok(world.tollgate()?.args(["exec", "--"]).args(command))
}

fn curl_chat(model: &str, stream: bool) -> Vec<String> {
    let body = format!(r#"{{"model":"{model}","stream":{stream},"messages":[{{"role":"user","content":"Hello"}}]}}"#);
    [
        "curl",
        "--silent",
        "--show-error",
        "--no-buffer",
        "-H",
        "content-type: application/json",
        "-H",
        "authorization: Bearer k",
    ]
    .map(String::from)
    .into_iter()
    .chain(["--data-binary".into(), body, CHAT.into()])
    .collect()
}

fn run_chat(world: &World, model: &str) -> Result<Output> {
    let command = curl_chat(model, false);
    exec(world, &command.iter().map(String::as_str).collect::<Vec<_>>())?.run()?.success()
}

#[test]
fn the_commands_output_is_its_own_and_the_table_is_on_stderr() -> Result<()> {
    let world = World::new()?;
    let output = run_chat(&world, "gpt-4o-mini")?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let truth = world.provider().truth().sums();
    assert_eq!(truth.completed, 1, "{output}");
    assert_eq!(answer["usage"]["prompt_tokens"], truth.usage.input);
    let table = output.errors();
    for expected in ["openai", "gpt-4o-mini", &truth.usage.input.to_string(), &truth.usage.output.to_string(), "$"] {
        assert!(table.contains(expected), "{expected:?} is not in the table: {table}");
    }
    Ok(())
}

#[test]
fn without_calls_the_table_says_so() -> Result<()> {
    let world = World::new()?;
    let output = exec(&world, &["true"])?.run()?.success()?;
    assert!(output.errors().contains("no calls to LLM providers were seen"), "{output}");
    Ok(())
}

#[test]
fn the_exit_code_is_the_commands() -> Result<()> {
    let world = World::new()?;
    assert_eq!(exec(&world, &["sh", "-c", "exit 7"])?.run()?.status.code(), Some(7));
    assert_eq!(exec(&world, &["sh", "-c", "kill -TERM $$"])?.run()?.status.code(), Some(128 + 15));
    let missing = exec(&world, &["no-such-command-anywhere"])?.run()?;
    assert_eq!(missing.status.code(), Some(127), "{missing}");
    assert!(missing.errors().contains("no-such-command-anywhere"), "{missing}");
    Ok(())
}

#[test]
fn signals_reach_the_command() -> Result<()> {
    let world = World::new()?;
    let script = "trap 'echo told; exit 5' TERM; echo waiting; while :; do sleep 0.1; done";
    let running = exec(&world, &["sh", "-c", script])?.start()?;
    running.wait_for("waiting", GENEROUS)?;
    running.signal(Signal::SIGTERM);
    let output = running.wait(GENEROUS)?;
    assert_eq!(output.status.code(), Some(5), "{output}");
    assert!(output.text().contains("told"), "{output}");
    Ok(())
}

#[test]
fn the_command_runs_as_the_user_who_called_sudo_with_that_users_environment() -> Result<()> {
    let world = World::new()?;
    // What sudo does, as far as it matters here: it stays our parent, and replaces the environment.
    let sudo = world.directory().join("sudo");
    let script = "#!/bin/sh\nenv -i PATH=\"$PATH\" HOME=/root LOGNAME=root SUDO_UID=65534 SUDO_GID=65534 \"$@\"\n";
    std::fs::write(&sudo, script)?;
    std::fs::set_permissions(&sudo, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let inner =
        "id -u; id -g; echo $HOME; echo $API_KEY; printenv SUDO_UID; test -r \"$SSL_CERT_FILE\" && echo readable";
    let output = world
        .agent_command(&sudo)
        .arg(tollgate_world::agent::binary()?)
        .args(["exec", "--", "sh", "-c", inner])
        .env("HOME", "/home/caller")
        .env("API_KEY", "callers")
        .run()?
        .success()?;
    let lines: Vec<String> = output.text().lines().map(str::to_owned).collect();
    assert_eq!(lines, ["65534", "65534", "/home/caller", "callers", "readable"], "{output}");
    Ok(())
}

#[test]
fn in_a_root_shell_that_sudo_started_the_command_is_roots() -> Result<()> {
    let world = World::new()?;
    let output = exec(&world, &["id", "-u"])?.env("SUDO_UID", "65534").env("SUDO_GID", "65534").run()?.success()?;
    assert_eq!(output.text().trim(), "0", "root's environment is not for user 65534: {output}");
    Ok(())
}

#[test]
fn the_certificates_can_be_read_under_any_umask() -> Result<()> {
    let world = World::new()?;
    let script = "umask 077; \"$0\" exec -- sh -c 'stat -c %a \"$SSL_CERT_FILE\" \"$(dirname \"$SSL_CERT_FILE\")\"'";
    let output =
        world.agent_command("sh").args(["-c", script]).arg(tollgate_world::agent::binary()?).run()?.success()?;
    assert_eq!(output.text().split_whitespace().collect::<Vec<_>>(), ["644", "755"], "{output}");
    Ok(())
}

#[test]
fn only_the_command_and_its_children_are_metered() -> Result<()> {
    let world = World::new()?;
    let running = exec(&world, &["sh", "-c", "echo ready; exec sleep 600"])?.start()?;
    running.wait_for("ready", GENEROUS)?;
    // Beside it, and without any trust in it: this succeeds only if it is left alone.
    let url = "https://api.openai.com/v1/models";
    let beside = ["--silent", "--show-error", "--fail", "-H", "authorization: Bearer k", url];
    world.agent_command("curl").args(beside).run()?.success()?;
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait(GENEROUS)?.status.code(), Some(128 + 15));
    Ok(())
}

#[test]
fn a_childs_child_is_metered_too() -> Result<()> {
    let world = World::new()?;
    let command = curl_chat("gpt-4o-mini", true);
    let quoted: Vec<String> = command.iter().map(|word| format!("'{word}'")).collect();
    let script = "sh -c \"$CALL\" && true";
    let output = exec(&world, &["sh", "-c", script])?.env("CALL", quoted.join(" ")).run()?.success()?;
    assert!(output.text().contains("data: [DONE]"), "{output}");
    assert!(output.errors().contains("gpt-4o-mini"), "{output}");
    Ok(())
}

#[test]
fn nothing_is_left_behind() -> Result<()> {
    let world = World::new()?;
    run_chat(&world, "gpt-4o-mini")?;
    let cgroups = std::fs::read_dir(world.client_cgroup().parent().expect("a world's cgroup has a parent"))?;
    for entry in cgroups {
        let name = entry?.file_name().to_string_lossy().into_owned();
        assert!(!name.starts_with("tollgate-exec"), "{name} is left");
    }
    Ok(())
}
