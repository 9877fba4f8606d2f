//! A world leaves nothing behind, however it ends. Needs root.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking, like the test")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use tollgate_world::{Trace, World};

/// A world with a program, a child of it that left its process group and session, and a root-owned file.
fn busy_world() -> (World, tollgate_world::Running) {
    let world = World::new().unwrap();
    fs::create_dir_all(world.directory().join("a/b")).unwrap();
    let script = "setsid -f sleep 100000; nohup sleep 100000 >/dev/null 2>&1 & echo up; sleep 100000";
    let running = world.client_command("sh").args(["-c", script]).start().unwrap();
    running.wait_for("up", Duration::from_mins(1)).unwrap();
    (world, running)
}

/// What of the machine itself a world could have changed.
fn machine() -> [String; 5] {
    let text = |path: &str| fs::read_to_string(path).unwrap();
    let output = Command::new("ip").args(["-o", "link"]).output().unwrap();
    [
        String::from_utf8(output.stdout).unwrap(),
        text("/etc/resolv.conf"),
        text("/etc/ssl/certs/ca-certificates.crt"),
        text("/proc/self/cgroup"),
        text("/proc/self/mountinfo"),
    ]
}

#[test]
fn a_dropped_world_leaves_nothing_and_the_machine_as_it_was() {
    let before = machine();
    let (world, running) = busy_world();
    let trace = world.trace();
    let left = trace.left().join("\n");
    for kind in ["directory", "process", "mount namespace", "network namespace"] {
        assert!(left.contains(kind), "the search is blind to a {kind}:\n{left}");
    }
    assert_eq!(machine(), before, "while the world lives");
    drop(running);
    drop(world);
    trace.assert_nothing_left();
    assert_eq!(machine(), before, "after its end");
}

#[test]
fn a_program_outlives_the_handle_of_its_world_but_not_its_own() {
    let (world, running) = busy_world();
    let trace = world.trace();
    drop(world);
    assert!(running.status().is_none());
    drop(running);
    trace.assert_nothing_left();
}

#[test]
fn a_world_whose_test_panics_leaves_nothing() {
    let (send, receive) = std::sync::mpsc::channel();
    let panicked = thread::spawn(move || {
        let (world, _running) = busy_world();
        send.send(world.trace()).unwrap();
        panic!("a test fails");
    });
    assert!(panicked.join().is_err());
    receive.recv().unwrap().assert_nothing_left();
}

#[test]
fn a_world_whose_process_is_killed_leaves_nothing() {
    let (mut process, trace) = other_process();
    process.kill().unwrap();
    process.wait().unwrap();
    trace.assert_nothing_left();
}

#[test]
fn what_a_killed_keeper_left_is_removed_by_the_next_world() {
    let (mut process, trace) = other_process();
    let keeper = keeper_of(process.id());
    assert!(Command::new("kill").args(["-KILL", &keeper.to_string()]).status().unwrap().success());
    process.kill().unwrap();
    process.wait().unwrap();
    drop(World::new().unwrap());
    trace.assert_nothing_left();
}

#[test]
fn without_root_one_sentence_says_what_to_do() {
    // The target directory may be closed to others.
    let copy = tempfile::tempdir().unwrap();
    let test = copy.path().join("leak");
    fs::copy(env::current_exe().unwrap(), &test).unwrap();
    fs::set_permissions(copy.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&test)
        .args(["--exact", "helper_world", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && text.contains("needs root") && text.contains("cargo xtask test"), "{text}");
}

/// Run by the tests above in a process of its own, never by itself.
#[test]
#[ignore = "a helper that the other tests start and kill"]
fn helper_world() {
    let (world, _running) = busy_world();
    let trace = world.trace();
    println!("\nworld {} {} {}", trace.name(), trace.cgroup().display(), trace.directory().display());
    thread::sleep(Duration::from_mins(10));
}

/// Starts this executable again, to make a world there.
fn other_process() -> (Child, Trace) {
    let mut process = Command::new(env::current_exe().unwrap())
        .args(["--exact", "helper_world", "--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line =
        lines.map(Result::unwrap).find(|line| line.starts_with("world ")).expect("the other process made a world");
    let words: Vec<&str> = line.split(' ').collect();
    let trace = Trace::of(words[1], Path::new(words[2]), Path::new(words[3]));
    assert!(!trace.left().is_empty());
    (process, trace)
}

/// The shell among the children of `process` that cleans up after its world.
fn keeper_of(process: u32) -> u32 {
    let children = |task: PathBuf| fs::read_to_string(task.join("children")).unwrap_or_default();
    let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|task| children(task.unwrap().path()));
    let pids: Vec<u32> = tasks.collect::<String>().split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    let keeper =
        |pid: &&u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap().contains("tollgate-world-keeper");
    *pids.iter().find(keeper).expect("a world has a keeper")
}
