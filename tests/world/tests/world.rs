//! The world itself, proven on the real kernel. Needs root.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking, like the test")]

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_world::{CLIENT, NAME_SERVER, OPENAI, OTHER, World};

/// Prints who connects, on port 7 of `other.example`, and sends back what comes.
fn greet(world: &World, greeting: &'static str) {
    let listeners = world.listen(&OTHER.both().map(|address| (address, 4242).into())).unwrap();
    for listener in listeners {
        world.internet().spawn(async move {
            loop {
                let (mut stream, peer) = listener.accept().await.unwrap();
                stream.write_all(format!("{greeting} {}\n", peer.ip()).as_bytes()).await.unwrap();
            }
        });
    }
}

/// Reads all that the greeter of this world says to a client that resolves `other.example` itself.
fn hear(world: &World, family: &str) -> String {
    let script = format!(
        "import socket\n\
         info = socket.getaddrinfo('other.example', 4242, socket.{family}, socket.SOCK_STREAM)[0]\n\
         s = socket.socket(info[0]); s.settimeout(30); s.connect(info[4])\n\
         print(s.makefile().readline().strip())"
    );
    world.client_command("python3").args(["-c", &script]).run().unwrap().success().unwrap().text().trim().to_owned()
}

#[test]
fn a_client_reaches_the_internet_by_name_over_both_families() {
    let world = World::new().unwrap();
    greet(&world, "hello");
    assert_eq!(hear(&world, "AF_INET"), format!("hello {}", CLIENT.v4));
    assert_eq!(hear(&world, "AF_INET6"), format!("hello {}", CLIENT.v6));
    assert_eq!(world.dns().count("other.example"), 2);
}

#[test]
fn worlds_do_not_meet() {
    let (one, two) = (World::new().unwrap(), World::new().unwrap());
    greet(&one, "one");
    greet(&two, "two");
    let heard = std::thread::scope(|scope| {
        [&one, &two].map(|world| scope.spawn(move || hear(world, "AF_INET"))).map(|thread| thread.join().unwrap())
    });
    assert_eq!(heard, [format!("one {}", CLIENT.v4), format!("two {}", CLIENT.v4)]);
}

#[test]
fn a_client_runs_in_its_cgroup_and_an_agent_beside_it() {
    let world = World::new().unwrap();
    let name = world.trace().name().to_owned();
    let client = world.client_command("cat").arg("/proc/self/cgroup").run().unwrap().success().unwrap().text();
    assert!(client.contains(&format!("0::/{name}/client\n")), "{client}");
    let agent = world.agent_command("cat").arg("/proc/self/cgroup").run().unwrap().success().unwrap().text();
    assert!(agent.contains(&format!("0::/{name}/agent\n")), "{agent}");
}

#[test]
fn a_client_has_a_clean_environment_and_only_what_it_is_given() {
    let world = World::new().unwrap();
    let output = world.client_command("env").env("MINE", "1").run().unwrap().success().unwrap().text();
    let mut names: Vec<&str> = output.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    // PWD comes from the shell that joins the cgroup.
    assert_eq!(names, ["HOME", "LANG", "MINE", "PATH", "PWD"]);
    assert!(output.contains(&format!("HOME={}", world.directory().display())), "{output}");
}

#[test]
fn a_client_runs_as_any_user() {
    let world = World::new().unwrap();
    let script = "id -u; id -g; id -G; echo x >~/written; cat /etc/resolv.conf";
    let output = world.client_command("sh").args(["-c", script]).user(1234).run().unwrap().success().unwrap().text();
    assert!(output.starts_with("1234\n1234\n1234\n"), "{output}");
    assert!(output.contains(&format!("nameserver {}\n", NAME_SERVER.v4)), "{output}");
}

#[test]
fn the_host_sees_none_of_the_clients_files() {
    let before = fs::read_to_string("/etc/resolv.conf").unwrap();
    let world = World::new().unwrap();
    let inside = world.client_command("cat").args(["/etc/resolv.conf", "/etc/hosts"]).run().unwrap().success().unwrap();
    assert!(inside.text().contains(&NAME_SERVER.v4.to_string()), "{inside}");
    assert_eq!(fs::read_to_string("/etc/resolv.conf").unwrap(), before);
    assert!(!fs::read_to_string("/proc/self/mountinfo").unwrap().contains(world.trace().name()));
}

#[test]
fn a_program_that_hangs_is_killed_and_quoted() {
    let world = World::new().unwrap();
    let hanging = world.client_command("sh").args(["-c", "echo before; echo oops >&2; sleep 1000 & wait"]);
    let error = hanging.timeout(Duration::from_secs(1)).run().unwrap_err().to_string();
    assert!(error.contains("was killed") && error.contains("before") && error.contains("oops"), "{error}");
}

#[test]
fn output_is_seen_while_the_program_runs() {
    let world = World::new().unwrap();
    let running = world
        .client_command("sh")
        .args(["-c", "echo first; read -r line; echo \"$line\"; sleep 1000"])
        .stdin("second\n")
        .start()
        .unwrap();
    running.wait_for("second", Duration::from_secs(30)).unwrap();
    assert_eq!(running.stdout(), b"first\nsecond\n");
    assert_eq!(running.status(), None);
    let error = running.wait_for("third", Duration::from_millis(100)).unwrap_err();
    assert!(format!("{error:#}").contains("third"), "{error:#}");
    running.kill();
    assert!(running.status().is_some());
}

#[test]
fn a_missing_program_is_an_exit_code_and_a_sentence() {
    let world = World::new().unwrap();
    let output = world.client_command("no-such-program").run().unwrap();
    assert_eq!(output.status.code(), Some(127));
    assert!(output.errors().contains("no-such-program"), "{output}");
}

#[test]
fn sockets_work_in_either_namespace_from_the_test() {
    let world = World::new().unwrap();
    world.add_address("203.0.113.200".parse().unwrap()).unwrap();
    let listener = world.listen(&["203.0.113.200:80".parse().unwrap()]).unwrap().remove(0);
    let seen = world.internet().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    });
    world.in_client(|| async {
        let mut stream = tokio::net::TcpStream::connect("203.0.113.200:80").await.unwrap();
        stream.write_all(b"hi").await.unwrap();
    });
    assert_eq!(world.in_internet(move || seen).unwrap(), "hi");
}

#[test]
#[should_panic(expected = "on purpose")]
fn a_panic_inside_reaches_the_test() {
    World::new().unwrap().in_client(|| async { panic!("on purpose") });
}

#[test]
fn the_trust_store_is_the_worlds() {
    let world = World::new().unwrap();
    world.trust("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let file = world.directory().join("cacert.pem");
    fs::write(&file, "public roots").unwrap();
    world.trust_in_file(&file).unwrap();
    let files = ["/etc/ssl/certs/ca-certificates.crt", file.to_str().unwrap()];
    for path in files {
        let inside = world.client_command("cat").arg(path).run().unwrap().success().unwrap().text();
        assert!(inside.contains("AAAA") && inside.starts_with(world.root_pem()), "{path}: {inside}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "public roots");
}

#[test]
fn an_address_that_is_not_there_does_not_answer_and_a_closed_port_refuses() {
    let world = World::new().unwrap();
    let connect = |address: IpAddr, seconds| {
        world.in_client(move || async move {
            let connecting = tokio::net::TcpStream::connect((address, 81));
            tokio::time::timeout(Duration::from_secs(seconds), connecting).await.map(|made| made.unwrap_err().kind())
        })
    };
    assert_eq!(connect(OPENAI.v4.into(), 60).unwrap(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(connect(OPENAI.v6.into(), 60).unwrap(), std::io::ErrorKind::ConnectionRefused);
    assert!(connect("203.0.113.99".parse().unwrap(), 1).is_err(), "it should have been silent");
}
