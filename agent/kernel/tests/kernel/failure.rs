//! Whatever becomes of the agent, the program's connections succeed; or fail, where that was asked for.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tollgate_kernel::{Kernel, OnFailure, Options};

use crate::lab::{Agent, OTHER, PROVIDER, PROVIDER6, enter, lab, patient};

fn closed() -> Options {
    Options { on_failure: OnFailure::Closed, ..patient() }
}

fn direct(address: &str) -> String {
    format!("direct {address} 443")
}

#[test]
fn without_a_listener_connections_go_direct() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        agent.withdraw(lab.netns).expect("withdrawn");
        agent.withdraw(lab.netns).expect("withdrawn twice is no error");
        assert_eq!(lab.call(PROVIDER), direct(PROVIDER));
        assert_eq!(lab.call(PROVIDER6), direct(PROVIDER6));
        assert_eq!(agent.count("no_listener"), 2);
    });
}

#[test]
fn after_the_listener_is_closed_connections_go_direct() {
    lab(|lab| {
        let Agent { kernel, listeners } = Agent::start(lab, &patient());
        drop(listeners.v6);
        assert_eq!(lab.call(PROVIDER6), direct(PROVIDER6));
        drop(listeners.v4);
        assert_eq!(lab.call(PROVIDER), direct(PROVIDER));
        assert!(kernel.counters().contains(&("no_listener", 2)));
    });
}

#[test]
fn a_stranger_on_the_port_of_a_listener_that_is_not_there_gets_nothing() {
    lab(|lab| {
        let mut agent = Agent::start(lab, &patient());
        // As where IPv6 came up after the agent had started, and somebody else took the port.
        let stranger = agent.listeners.v6.take().expect("a listener on ::1");
        stranger.set_nonblocking(false).expect("a blocking socket");
        agent.serve(&agent.listeners).expect("served");
        thread::spawn(move || crate::lab::serve(&stranger, "stranger"));
        assert_eq!(lab.call(PROVIDER6), direct(PROVIDER6));
        assert_eq!(agent.count("no_listener"), 1);
        let mut client = lab.client("call(V6, '::ffff:203.0.113.7')");
        agent.take();
        assert_eq!(client.line(), format!("agent ::ffff:{PROVIDER} 443"));
    });
}

#[test]
fn with_a_stale_heartbeat_connections_go_direct_until_it_beats_again() {
    lab(|lab| {
        let options = Options { stale_after: Duration::from_secs(3), ..patient() };
        let agent = Agent::start(lab, &options);
        thread::sleep(Duration::from_millis(3_100));
        assert_eq!(lab.call(PROVIDER), direct(PROVIDER));
        assert_eq!(agent.count("stale"), 1);
        let done = AtomicBool::new(false);
        thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    agent.beat();
                    thread::sleep(Duration::from_millis(20));
                }
            });
            agent.beat();
            let mut client = lab.client("call(V4, '203.0.113.7')");
            agent.take();
            assert_eq!(client.line(), format!("agent {PROVIDER} 443"));
            done.store(true, Ordering::Relaxed);
        });
    });
}

#[test]
fn closed_refuses_what_no_listener_takes_and_nothing_else() {
    lab(|lab| {
        let agent = Agent::start(lab, &closed());
        agent.withdraw(lab.netns).expect("withdrawn");
        assert_eq!(lab.call(PROVIDER), "Operation not permitted");
        assert_eq!(lab.call(PROVIDER6), "Operation not permitted");
        assert_eq!(lab.call(&format!("::ffff:{PROVIDER}")), "Operation not permitted");
        assert_eq!(agent.count("refused"), 3);
        assert_eq!(lab.call(OTHER), direct(OTHER));
        agent.serve(&agent.listeners).expect("served again");
        let mut client = lab.client("call(V4, '203.0.113.7')");
        agent.take();
        assert_eq!(client.line(), format!("agent {PROVIDER} 443"));
    });
}

#[test]
fn closed_refuses_while_the_heartbeat_is_stale() {
    lab(|lab| {
        let agent = Agent::start(lab, &Options { stale_after: Duration::ZERO, ..closed() });
        assert_eq!(lab.call(PROVIDER), "Operation not permitted");
        assert_eq!(lab.call(OTHER), direct(OTHER));
        assert_eq!(agent.count("refused"), 1);
    });
}

#[test]
fn after_detaching_connections_go_direct_and_taken_ones_carry_on() {
    lab(|lab| {
        let agent = Agent::start(lab, &closed());
        let mut taken = lab.client("call(V4, '203.0.113.7')");
        let (stream, _, flow) = agent.accept();
        assert!(flow.is_some());
        agent.detach();
        assert_eq!(lab.call(PROVIDER), direct(PROVIDER));
        thread::spawn(move || crate::lab::answer(stream, "agent"));
        // Nobody is left to say who the peer was meant to be.
        assert_eq!(taken.line(), format!("agent 127.0.0.1 {}", agent.listeners.port));
        agent.attach(lab.scope.path()).expect("attached again");
        let mut client = lab.client("call(V4, '203.0.113.7')");
        agent.take();
        assert_eq!(client.line(), format!("agent {PROVIDER} 443"));
        drop(agent);
        assert_eq!(lab.call(PROVIDER), direct(PROVIDER));
    });
}

/// The variable that makes [`agent_process`] one.
const ROLE: &str = "TOLLGATE_TEST_AGENT_CGROUP";

/// Not a test of its own: the process that others start as their agent.
#[test]
#[ignore = "started by other tests"]
fn agent_process() {
    let Some(cgroup) = std::env::var_os(ROLE) else { return };
    let kernel = Kernel::load(&Options { stale_after: Duration::from_secs(3), ..patient() }).expect("loaded");
    let listeners = tollgate_kernel::listen(tollgate_kernel::listener::PORTS).expect("listeners");
    kernel.learn(PROVIDER.parse().expect("an address"), Duration::ZERO).expect("learned");
    kernel.attach(cgroup.as_ref()).expect("attached");
    kernel.serve(&listeners).expect("served");
    // Its own connection, although it is in the cgroup: exempt by its process id.
    let stream = std::net::TcpStream::connect((PROVIDER, 443)).expect("a connection");
    println!("\nagent {}", stream.peer_addr().expect("a peer"));
    println!("exempt {:?}", kernel.counters().iter().find(|(name, _)| *name == "agent"));
    loop {
        kernel.beat();
        if let Ok((stream, peer)) = listeners.v4.accept() {
            let word = if kernel.take_flow(listeners.netns, peer).is_some() { "agent" } else { "stranger" };
            thread::spawn(move || crate::lab::answer(stream, word));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// A child that does not outlive its test, however that ends.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        self.0.kill().expect("a child that nobody has waited for");
        self.0.wait().expect("a child of this process");
    }
}

#[test]
fn an_agent_that_hangs_or_is_killed_lets_connections_go_direct() {
    lab(|lab| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "failure::agent_process", "--ignored", "--nocapture"]);
        command.env(ROLE, lab.scope.path()).stdout(Stdio::piped());
        enter(&mut command, &lab.scope);
        let mut agent = Reaped(command.spawn().expect("this program again"));
        let mut lines = BufReader::new(agent.0.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        assert_eq!(lines.find(|line| line.starts_with("agent")).as_deref(), Some("agent 203.0.113.7:443"));
        assert_eq!(lines.next().as_deref(), Some("exempt Some((\"agent\", 1))"));
        let taken = format!("agent {PROVIDER} 443");
        assert_eq!(lab.call(PROVIDER), taken, "another process in the same cgroup is not exempt");

        let pid = Pid::from_raw(i32::try_from(agent.0.id()).expect("a process id"));
        kill(pid, Signal::SIGSTOP).expect("stopped");
        thread::sleep(Duration::from_millis(3_200));
        assert_eq!(lab.call(PROVIDER), direct(PROVIDER), "its listener is there, but it hangs");
        kill(pid, Signal::SIGCONT).expect("continued");
        while lab.call(PROVIDER) != taken {}

        drop(agent);
        assert_eq!(lab.call(PROVIDER), direct(PROVIDER));
    });
}

#[test]
fn what_is_no_cgroup_cannot_be_attached_to() {
    let kernel = crate::lab::load(&patient());
    let error = kernel.attach("/nonexistent".as_ref()).expect_err("no such directory").to_string();
    assert!(error.contains("/nonexistent"), "{error}");
    let error = kernel.attach("/tmp".as_ref()).expect_err("no cgroup").to_string();
    assert!(error.contains("cgroup v2"), "{error}");
}
