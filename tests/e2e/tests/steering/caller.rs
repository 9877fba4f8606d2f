//! Who is said to have called.

use anyhow::{Context as _, Result};
use tollgate_e2e::calls::Api;
use tollgate_e2e::logged::at_least;
use tollgate_e2e::stage::Stage;
use tollgate_world::Running;

use crate::GENEROUS;

/// The pid of a started program, and its end.
fn ended(program: Running) -> Result<u32> {
    let pid = program.pid();
    program.wait(GENEROUS)?.success()?;
    Ok(pid)
}

#[test]
fn the_log_names_program_user_process_and_cgroup() -> Result<()> {
    let stage = Stage::new("")?;
    let curl = ended(Api::Chat.call(&stage.world, "Hello", true, "").user(1000).start()?)?;
    let lines = at_least(&stage.agent, 1)?;
    let line = &lines[0];
    assert_eq!((&line["program"], &line["uid"], &line["pid"]), (&"curl".into(), &1000.into(), &curl.into()), "{line}");
    // The client has a mount namespace of its own, as a container has, where the host's names for numbers do not hold.
    assert_eq!(line["user"], "1000", "{line}");
    assert_eq!(line["executable"], std::fs::canonicalize("/usr/bin/curl")?.to_string_lossy().as_ref(), "{line}");
    let cgroup = line["cgroup"].as_str().context("no cgroup")?;
    let expected = stage.world.client_cgroup();
    assert!(expected.ends_with(cgroup.trim_start_matches('/')), "{cgroup} is not {}", expected.display());

    let page = stage.agent.metrics_when(GENEROUS, |page| page.contains(r#"program="curl""#))?;
    assert!(page.contains(r#"user="1000""#), "{page:.2000}");
    Ok(())
}

#[test]
fn a_thread_and_a_child_are_told_by_their_process() -> Result<()> {
    let stage = Stage::new("")?;
    let script = "import os, ssl, threading, urllib.request\n\
                  def call():\n\
                  \x20   request = urllib.request.Request('https://api.openai.com/v1/models', headers={'authorization': 'Bearer k'})\n\
                  \x20   urllib.request.urlopen(request).read()\n\
                  thread = threading.Thread(target=call, name='worker')\n\
                  thread.start()\n\
                  thread.join()\n\
                  child = os.fork()\n\
                  if child == 0:\n\
                  \x20   call()\n\
                  \x20   os._exit(0)\n\
                  assert os.waitpid(child, 0)[1] == 0\n\
                  print(os.getpid(), child)";
    let output = stage.world.client_command("/usr/bin/python3").args(["-c", script]).user(1000).run()?.success()?;
    let pids: Vec<u64> = output.text().split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let lines = at_least(&stage.agent, 2)?;
    let told: Vec<u64> = lines.iter().filter_map(|line| line["pid"].as_u64()).collect();
    assert_eq!(told, pids);
    let program = std::fs::canonicalize("/usr/bin/python3")?;
    let program = program.file_name().context("a file has a name")?.to_string_lossy().into_owned();
    assert!(lines.iter().all(|line| line["program"] == program.as_str() && line["uid"] == 1000), "{lines:?}");
    Ok(())
}

/// A program that has ended before its call is looked at is known by what the kernel saw.
#[test]
fn a_process_that_is_gone_is_still_named() -> Result<()> {
    let stage = Stage::new("")?;
    let (gate, world) = (stage.world.provider().gate("gone"), &stage.world);
    let curl = Api::Chat.call(world, "Hello", true, "gate=gone").user(1001).start()?;
    gate.allow(1);
    curl.wait_for("data:", GENEROUS)?;
    let pid = curl.pid();
    curl.kill();
    let lines = at_least(&stage.agent, 1)?;
    let line = &lines[0];
    assert_eq!((&line["program"], &line["uid"], &line["pid"]), (&"curl".into(), &1001.into(), &pid.into()), "{line}");
    assert_eq!(line["outcome"], "client_gone", "{line}");
    Ok(())
}
