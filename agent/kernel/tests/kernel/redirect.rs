//! Connections of every kind end at the agent, and the program does not notice.

use std::{
    net::{IpAddr, SocketAddr, TcpListener},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
    thread,
    time::Duration,
};

use aya::maps::{HashMap, Map, MapData, loaded_maps};
use tollgate_ebpf::flow::AGENT_PRIORITY;
use tollgate_kernel::{NetnsCookie, Options, listen, listener::PORTS};

use crate::lab::{Agent, Client, OTHER, OTHER6, PROVIDER, PROVIDER6, lab, patient};

/// The time that flows are stamped with.
fn now() -> Duration {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
    now.into()
}

/// Runs a client that connects, and checks where it ends and what it was told.
fn is_redirected(script: &str, destination: &str, told: &str) {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let mut client = lab.client(script);
        let flow = agent.take();
        assert_eq!(client.line(), told);
        assert_eq!(flow.destination, destination.parse::<SocketAddr>().expect("an address"));
        assert_eq!(flow.tgid, client.pid());
        assert_eq!(agent.count("redirected"), 1);
    });
}

/// Runs a client that connects, and checks that nothing happened to it.
fn is_untouched(script: &str, told: &str, counter: Option<&str>) {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        assert_eq!(lab.client(script).line(), told);
        assert_eq!(agent.count("redirected"), 0);
        if let Some(counter) = counter {
            assert_eq!(agent.count(counter), 1, "{counter}");
        }
    });
}

#[test]
fn ipv4_is_redirected() {
    is_redirected("call(V4, '203.0.113.7')", "203.0.113.7:443", "agent 203.0.113.7 443");
}

#[test]
fn ipv4_mapped_is_redirected() {
    is_redirected("call(V6, '::ffff:203.0.113.7')", "203.0.113.7:443", "agent ::ffff:203.0.113.7 443");
}

#[test]
fn ipv6_is_redirected() {
    is_redirected("call(V6, '2001:db8::7')", "[2001:db8::7]:443", "agent 2001:db8::7 443");
}

#[test]
fn other_ports_of_a_known_address_are_left_alone() {
    lab(|lab| {
        let server = TcpListener::bind("[::]:8443").expect("a port");
        thread::spawn(move || crate::lab::serve(&server, "direct"));
        let agent = Agent::start(lab, &patient());
        for (family, address) in [("V4", PROVIDER), ("V6", "::ffff:203.0.113.7"), ("V6", PROVIDER6)] {
            let mut client = lab.client(&format!("call({family}, '{address}', 8443)"));
            assert_eq!(client.line(), format!("direct {address} 8443"));
        }
        assert_eq!((agent.count("other_port"), agent.count("redirected")), (3, 0));
    });
}

#[test]
fn every_port_that_is_asked_for_is_redirected() {
    lab(|lab| {
        let agent = Agent::start(lab, &Options { ports: vec![80, 8443], ..patient() });
        for port in [80, 8443] {
            let mut client = lab.client(&format!("call(V4, '203.0.113.7', {port})"));
            assert_eq!(agent.take().destination.port(), port);
            assert_eq!(client.line(), format!("agent {PROVIDER} {port}"));
        }
        assert_eq!(lab.call(PROVIDER), format!("direct {PROVIDER} 443"));
    });
}

#[test]
fn a_nonblocking_connect_is_redirected() {
    let script = "
s = socket.socket(V4, TCP); s.setblocking(False)
status = s.connect_ex(('203.0.113.7', 443))
assert status in (0, 115), status
select.select([], [s], [], 30)
assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
talk(s)";
    is_redirected(script, "203.0.113.7:443", "agent 203.0.113.7 443");
}

#[test]
fn fast_open_in_sendto_is_redirected() {
    let script = "
s = socket.socket(V4, TCP)
s.sendto(b'early', socket.MSG_FASTOPEN, ('203.0.113.7', 443))
talk(s)";
    is_redirected(script, "203.0.113.7:443", "agent 203.0.113.7 443");
}

#[test]
fn fast_open_on_connect_is_redirected() {
    let script = "
s = socket.socket(V4, TCP)
s.setsockopt(socket.IPPROTO_TCP, 30, 1) # TCP_FASTOPEN_CONNECT
s.connect(('203.0.113.7', 443)); s.send(b'early')
talk(s)";
    is_redirected(script, "203.0.113.7:443", "agent 203.0.113.7 443");
}

#[test]
fn multipath_tcp_is_redirected() {
    // The hook for getpeername is not called for these sockets, so the name of the peer is the listener's.
    let script = "
s = socket.socket(V4, TCP, 262)
s.connect(('203.0.113.7', 443)); s.settimeout(30)
say(s.recv(100).decode()); s.close()";
    is_redirected(script, "203.0.113.7:443", "agent");
}

#[test]
fn a_bound_source_is_redirected() {
    let script = "
s = socket.socket(V4, TCP); s.bind(('192.0.2.1', 0)); s.connect(('203.0.113.7', 443))
talk(s)";
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let mut client = lab.client(script);
        let (stream, peer, flow) = agent.accept();
        assert_eq!(peer.ip().to_string(), "192.0.2.1", "the key is the real source");
        assert_eq!(flow.expect("a flow").destination.to_string(), "203.0.113.7:443");
        crate::lab::answer(stream, "agent");
        assert_eq!(client.line(), "agent 203.0.113.7 443");
    });
}

#[test]
fn a_socket_bound_to_a_device_is_left_alone() {
    let script = "
s = socket.socket(V4, TCP)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'lo\\0')
s.connect(('203.0.113.7', 443))
talk(s)";
    is_untouched(script, "direct 203.0.113.7 443", Some("bound_device"));
}

#[test]
fn other_addresses_are_untouched() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        assert_eq!(lab.call(OTHER), format!("direct {OTHER} 443"));
        assert_eq!(lab.call(OTHER6), format!("direct {OTHER6} 443"));
        assert_eq!(lab.call(&format!("::ffff:{OTHER}")), format!("direct ::ffff:{OTHER} 443"));
        assert_eq!(lab.call("127.0.0.1"), "direct 127.0.0.1 443");
        assert!(agent.counters().iter().all(|&(_, count)| count == 0), "{:?}", agent.counters());
    });
}

#[test]
fn the_flow_says_who_called() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let before = now();
        let script = "
open('/proc/self/comm', 'w').write('fifteen letters and more')
os.setresgid(2345, 2345, 2345); os.setresuid(1234, 1234, 1234)
s = socket.socket(V4, TCP); s.connect(('203.0.113.7', 443))
say(int.from_bytes(s.getsockopt(socket.SOL_SOCKET, 57, 8), sys.byteorder)) # SO_COOKIE
talk(s)";
        let mut client = lab.client(script);
        let flow = agent.take();
        assert_eq!((flow.tgid, flow.uid, flow.gid), (client.pid(), 1234, 2345));
        assert_eq!(flow.comm, "fifteen letters");
        assert_eq!(flow.cgroup_id, lab.scope.id());
        assert_eq!(flow.cgroup_id, std::fs::metadata(lab.scope.path()).expect("a directory").ino());
        assert_eq!(flow.netns, lab.netns);
        assert_eq!(client.line(), flow.socket_cookie.to_string());
        assert!(before <= flow.connected_at && flow.connected_at <= now(), "{flow:?}");
    });
}

#[test]
fn threads_are_attributed_to_their_process() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let script = "
import threading
t = threading.Thread(target=call, args=(V4, '203.0.113.7')); t.start(); t.join()";
        let client = lab.client(script);
        assert_eq!(agent.take().tgid, client.pid());
    });
}

#[test]
fn the_flow_is_there_before_the_connection_and_once() {
    const CALLS: usize = 400;
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let script = format!(
            "
import threading
def many():
    for _ in range({CALLS} // 8):
        s = socket.socket(V4, TCP); s.connect(('203.0.113.7', 443)); s.close()
for _ in range(8): threading.Thread(target=many).start()"
        );
        let client = lab.client(&script);
        let mut cookies = Vec::new();
        for _ in 0..CALLS {
            let (_stream, peer, flow) = agent.accept();
            let flow = flow.unwrap_or_else(|| panic!("the connection from {peer} has no flow"));
            assert_eq!((flow.tgid, flow.destination.port()), (client.pid(), 443));
            assert_eq!(agent.take_flow(lab.netns, peer), None, "taken already");
            cookies.push(flow.socket_cookie);
        }
        cookies.sort_unstable();
        cookies.dedup();
        assert_eq!(cookies.len(), CALLS);
    });
}

#[test]
fn a_connection_made_to_the_listener_has_no_flow() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let port = agent.listeners.port;
        let mut client = lab.client(&format!("call(V4, '127.0.0.1', {port}); call(V6, '::1', {port})"));
        for told in [format!("agent 127.0.0.1 {port}"), format!("agent ::1 {port}")] {
            let (stream, _, flow) = agent.accept();
            assert_eq!(flow, None);
            thread::spawn(move || crate::lab::answer(stream, "agent"));
            assert_eq!(client.line(), told);
        }
    });
}

#[test]
fn a_flow_that_was_never_taken_is_not_inherited_with_its_port() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let port = agent.listeners.port;
        let script = format!(
            "
s = socket.socket(V4, TCP); s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
s.connect(('203.0.113.7', 443)); own = s.getsockname(); s.close() # with RST, so the port is free at once
other = socket.socket(V4, TCP); other.bind(own)
other.connect(('127.0.0.1', {port}))
say(own[1]); talk(other)"
        );
        let mut client = lab.client(&script);
        let own = client.line();
        for _ in 0..2 {
            let (stream, peer) = loop {
                match agent.listeners.v4.accept() {
                    Ok(accepted) => break accepted,
                    Err(_none_yet) => thread::sleep(Duration::from_millis(1)),
                }
            };
            assert_eq!(peer.port().to_string(), own);
            assert_eq!(agent.take_flow(lab.netns, peer), None, "neither the one that was reset nor the next");
            thread::spawn(move || crate::lab::answer(stream, "agent"));
        }
        assert_eq!(client.line(), format!("agent 127.0.0.1 {port}"));
    });
}

#[test]
fn a_connection_elsewhere_from_the_same_port_leaves_a_flow_alone() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let server = TcpListener::bind("127.0.0.1:8443").expect("a port");
        thread::spawn(move || crate::lab::serve(&server, "direct"));
        let script = "
def bound(own):
    s = socket.socket(V4, TCP); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(own); return s
s = bound(('127.0.0.1', 0)); other = bound(s.getsockname())
s.connect(('203.0.113.7', 443)); other.connect(('127.0.0.1', 8443)); talk(other)
talk(s)";
        let mut client = lab.client(script);
        assert_eq!(client.line(), "direct 127.0.0.1 8443");
        assert_eq!(agent.take().destination.to_string(), "203.0.113.7:443");
        assert_eq!(client.line(), format!("agent {PROVIDER} 443"));
    });
}

#[test]
fn a_socket_that_is_used_again_is_told_the_truth_each_time() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let script = "
import ctypes
s = socket.socket(V4, TCP)
s.connect(('203.0.113.7', 443)); say(s.getpeername()[0])
for address in ('203.0.113.8', '127.0.0.1'):
    unspecified = struct.pack('H14x', 0)
    assert ctypes.CDLL(None).connect(s.fileno(), unspecified, 16) == 0
    s.connect((address, 443))
    say(*s.getsockname()); say(*s.getpeername())
    sys.stdin.readline()";
        let mut client = lab.client(script);
        assert_eq!(agent.take().destination.to_string(), "203.0.113.7:443");
        assert_eq!(client.line(), PROVIDER);
        for address in [OTHER, "127.0.0.1"] {
            let own = client.line().replace(' ', ":").parse::<SocketAddr>().expect("an address");
            assert_eq!(client.line(), format!("{address} 443"));
            assert_eq!(agent.take_flow(lab.netns, own), None, "this one was not redirected");
            client.tell("go on");
        }
    });
}

#[test]
fn a_socket_is_remembered_until_it_is_closed() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let script = "
for _ in range(2):
    open_ones = [socket.create_connection((a, 443)) for a in ('203.0.113.7', '2001:db8::7', '::ffff:203.0.113.7', '203.0.113.8')]
    say('open'); sys.stdin.readline()
    for s in open_ones: s.close()
    say('closed'); sys.stdin.readline()";
        let mut client = lab.client(script);
        for _ in 0..2 {
            assert_eq!(client.line(), "open");
            assert_eq!(agent.redirected_sockets(), 3);
            client.tell("go on");
            assert_eq!(client.line(), "closed");
            assert_eq!(agent.redirected_sockets(), 0);
            client.tell("go on");
        }
    });
}

/// Makes an address's entry end now. There is no waiting for it: an entry lives for an hour at least.
fn expire(known_beside: IpAddr, address: IpAddr) {
    let key = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    // Other tests have such a map, too; only ours knows that address.
    let maps = loaded_maps().flatten().filter(|map| map.name_as_str() == Some("ADDRESSES"));
    let mut ours = maps
        .filter_map(|map| HashMap::<_, [u8; 16], u64>::try_from(Map::LruHashMap(MapData::from_id(map.id()).ok()?)).ok())
        .find(|map| map.get(&key(known_beside), 0).is_ok())
        .expect("the map of this test");
    ours.insert(key(address), 1, 0).expect("replaced");
}

#[test]
fn an_address_whose_time_is_over_is_not_known() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let (provider, beside) = (PROVIDER.parse().expect("an address"), lab_address(lab.scope.id()));
        agent.learn(beside, Duration::ZERO).expect("learned");
        assert!(agent.addresses().contains(&provider));
        expire(beside, provider);
        assert!(!agent.addresses().contains(&provider) && agent.addresses().contains(&beside));
        assert_eq!(lab.call(PROVIDER), format!("direct {PROVIDER} 443"));
        agent.learn(provider, Duration::ZERO).expect("learned again");
        let mut client = lab.client("call(V4, '203.0.113.7')");
        agent.take();
        assert_eq!(client.line(), format!("agent {PROVIDER} 443"));
    });
}

/// An address that no other test uses, made of the cgroup's id.
fn lab_address(id: u64) -> IpAddr {
    let [.., a, b, c] = id.to_be_bytes();
    IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, u16::from(a), u16::from_be_bytes([b, c])])
}

#[test]
fn two_agents_on_one_cgroup_do_not_redirect_twice() {
    lab(|lab| {
        let first = Agent::start(lab, &patient());
        let second = Agent::start(lab, &patient());
        assert_ne!(first.listeners.port, second.listeners.port);
        let mut client = lab.client("call(V4, '203.0.113.7')");
        assert_eq!(first.take().destination.to_string(), "203.0.113.7:443");
        assert_eq!(client.line(), "agent 203.0.113.7 443");
        assert_eq!((first.count("redirected"), second.count("redirected")), (1, 0));
    });
}

#[test]
fn the_agent_is_exempt_by_its_cgroup() {
    lab(|lab| {
        let own = tollgate_kernel::cgroup::Scope::create(lab.scope.path(), "agent").expect("a child");
        let agent = Agent::start(lab, &Options { agent_cgroup: Some(own.id()), ..patient() });
        let mut upstream = Client::start(&own, "call(V4, '203.0.113.7'); call(V6, '2001:db8::7')");
        assert_eq!(upstream.line(), format!("direct {PROVIDER} 443"));
        assert_eq!(upstream.line(), format!("direct {PROVIDER6} 443"));
        assert_eq!(agent.count("agent"), 2);
        let mut client = lab.client("call(V4, '203.0.113.7')");
        agent.take();
        assert_eq!(client.line(), format!("agent {PROVIDER} 443"));
        drop(upstream);
    });
}

#[test]
fn connections_of_any_agent_are_exempt_and_only_the_privileged_can_say_so() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let script = format!(
            "
def marked():
    s = socket.socket(V4, TCP)
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, {AGENT_PRIORITY})
    except OSError as error:
        say(os.strerror(error.errno))
    s.connect(('203.0.113.7', 443)); talk(s)
marked(); os.setresuid(1234, 1234, 1234); marked()"
        );
        let mut client = lab.client(&script);
        assert_eq!(client.line(), format!("direct {PROVIDER} 443"));
        assert_eq!(agent.count("agent"), 1);
        assert_eq!(client.line(), "Operation not permitted");
        agent.take();
        assert_eq!(client.line(), format!("agent {PROVIDER} 443"));
    });
}

#[test]
fn a_new_listener_takes_over_at_once_and_the_old_one_drains() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let mut waiting = lab.client("call(V4, '203.0.113.7')");
        while agent.count("redirected") == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        let green = listen(PORTS).expect("a second port");
        agent.serve(&green).expect("flipped");
        let mut next = lab.client("call(V4, '203.0.113.7')");
        let stream = loop {
            if let Ok((stream, peer)) = green.v4.accept() {
                assert!(agent.take_flow(lab.netns, peer).is_some());
                break stream;
            }
            thread::sleep(Duration::from_millis(1));
        };
        thread::spawn(move || crate::lab::answer(stream, "green"));
        assert_eq!(next.line(), format!("green {PROVIDER} 443"));
        agent.take();
        assert_eq!(waiting.line(), format!("agent {PROVIDER} 443"));
    });
}

#[test]
fn listeners_in_another_namespace_take_its_connections() {
    lab(|lab| {
        let agent = Agent::start(lab, &patient());
        let home = std::fs::File::open("/proc/thread-self/ns/net").expect("this namespace");
        crate::lab::lab(|other| {
            assert_ne!(other.netns, lab.netns);
            // The agent is at home; the client and its listener are here.
            agent.attach(other.scope.path()).expect("attached here too");
            let here = std::fs::File::open("/proc/thread-self/ns/net").expect("this namespace");
            assert_eq!(other.call(PROVIDER), format!("direct {PROVIDER} 443"), "no listener here yet");
            let listeners = thread::scope(|threads| {
                let make = || {
                    nix::sched::setns(&home, nix::sched::CloneFlags::CLONE_NEWNET).expect("home");
                    let listeners = tollgate_kernel::listener::listen_in(here.as_fd(), PORTS).expect("listeners there");
                    assert_eq!(NetnsCookie::current().expect("a cookie"), lab.netns, "this thread stayed at home");
                    listeners
                };
                threads.spawn(make).join().expect("no panic")
            });
            assert_eq!(listeners.netns, other.netns);
            agent.serve(&listeners).expect("served");
            let mut client = other.client("call(V4, '203.0.113.7')");
            let (stream, peer) = loop {
                match listeners.v4.accept() {
                    Ok(accepted) => break accepted,
                    Err(_none_yet) => thread::sleep(Duration::from_millis(1)),
                }
            };
            let flow = agent.take_flow(other.netns, peer).expect("a flow");
            assert_eq!((flow.netns, flow.cgroup_id), (other.netns, other.scope.id()));
            assert_eq!(agent.take_flow(lab.netns, peer), None, "the same address elsewhere is another one");
            thread::spawn(move || crate::lab::answer(stream, "there"));
            assert_eq!(client.line(), format!("there {PROVIDER} 443"));
            agent.detach();
        });
    });
}
