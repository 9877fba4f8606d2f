//! What the hooks cost, measured and printed, not judged: a busy machine says nothing about them.

use std::{net::TcpListener, thread};

use tollgate_kernel::Options;

use crate::lab::{Agent, Lab, OTHER, PROVIDER, lab, load, patient};

/// The fastest of several rounds of calls, in nanoseconds per call.
fn fastest(lab: &Lab, address: &str, calls: u32, one: &str) -> u64 {
    let script = format!(
        "
import time
u = socket.socket(V4, UDP)
best = 1 << 60
for _ in range(9):
    start = time.perf_counter_ns()
    for _ in range({calls}):
        {one}
    best = min(best, time.perf_counter_ns() - start)
say(best // {calls})"
    );
    lab.client(&script.replace("ADDRESS", &format!("'{address}'"))).line().parse().expect("a number")
}

#[test]
#[ignore = "a measurement"]
fn of_connect() {
    const UDP: &str = "u.connect((ADDRESS, 9))";
    const TCP: &str = "s = socket.socket(V4, TCP); s.connect((ADDRESS, 8443)); s.close()";
    lab(|lab| {
        let udp = |address| fastest(lab, address, 50_000, UDP);
        let none = udp(OTHER);
        println!("connect of a datagram socket, which is little but the hook: {none} ns without the programs");
        let kernel = load(&patient());
        kernel.attach(lab.scope.path()).expect("attached");
        kernel.learn(PROVIDER.parse().expect("an address"), std::time::Duration::ZERO).expect("learned");
        println!("  to an unknown address: {} ns; to a known one: {} ns", udp(OTHER), udp(PROVIDER));
        drop(kernel);

        // Both ends in the same hands: a listener that is polled, so that nothing but the hooks differs.
        let server = TcpListener::bind("[::]:8443").expect("a port");
        server.set_nonblocking(true).expect("polled");
        let tcp = |address, accept: &dyn Fn() -> bool| {
            thread::scope(|threads| {
                let measured = threads.spawn(|| fastest(lab, address, 500, TCP));
                while !measured.is_finished() {
                    if !accept() {
                        thread::yield_now();
                    }
                }
                measured.join().expect("no panic")
            })
        };
        let plainly = || server.accept().is_ok();
        let direct = tcp(OTHER, &plainly);
        let agent = Agent::start(lab, &Options { ports: vec![8443], ..patient() });
        let unknown = tcp(OTHER, &plainly);
        let with_flow = || {
            agent
                .listeners
                .v4
                .accept()
                .is_ok_and(|(_, peer)| agent.take_flow(lab.netns, peer).expect("a flow").destination.port() == 8443)
        };
        let redirected = tcp(PROVIDER, &with_flow);
        println!("socket, connect, accept and close over loopback: {direct} ns without the programs");
        println!("  to an unknown address: {unknown} ns; redirected, and its flow taken: {redirected} ns");
    });
}
