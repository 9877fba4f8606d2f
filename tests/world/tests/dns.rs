//! The world's name server, asked with real packets and by the C library. Needs root.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking, like the test")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tollgate_world::dns::{Answer, Owner};
use tollgate_world::{CLIENT, NAME_SERVER, OPENAI, World};

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

/// Everything that comes back within a moment, or the first packet.
fn ask(world: &World, server: IpAddr, packet: Vec<u8>) -> Vec<u8> {
    world.in_client(move || async move {
        let own: IpAddr = if server.is_ipv4() { CLIENT.v4.into() } else { CLIENT.v6.into() };
        let socket = UdpSocket::bind((own, 0)).await.unwrap();
        socket.send_to(&packet, (server, 53)).await.unwrap();
        receive(&socket).await
    })
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let (length, from) = timeout(Duration::from_secs(30), socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(from.port(), 53);
    buffer[..length].to_vec()
}

fn ask_tcp(world: &World, server: IpAddr, packets: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    world.in_client(move || async move {
        let mut stream = TcpStream::connect((server, 53)).await.unwrap();
        let mut answers = Vec::new();
        for packet in packets {
            stream.write_u16(packet.len().try_into().unwrap()).await.unwrap();
            stream.write_all(&packet).await.unwrap();
            let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
            stream.read_exact(&mut answer).await.unwrap();
            answers.push(answer);
        }
        answers
    })
}

fn addresses(packet: &[u8]) -> Vec<IpAddr> {
    let message = Message::from_vec(packet).unwrap();
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::from(a.0)),
        RData::AAAA(aaaa) => Some(IpAddr::from(aaaa.0)),
        _ => None,
    };
    message.answers.iter().filter_map(|record| address(&record.data)).collect()
}

/// What programs get: the C library's own resolver.
fn getaddrinfo(world: &World, name: &str) -> String {
    world.client_command("getent").args(["ahosts", name]).run().unwrap().text()
}

#[test]
fn it_answers_over_udp_and_tcp_and_both_families() {
    let world = World::new().unwrap();
    for server in NAME_SERVER.both() {
        let (a, aaaa) = (question("api.openai.com.", RecordType::A), question("api.openai.com.", RecordType::AAAA));
        assert_eq!(addresses(&ask(&world, server, a.clone())), [IpAddr::from(OPENAI.v4)]);
        assert_eq!(addresses(&ask(&world, server, aaaa.clone())), [IpAddr::from(OPENAI.v6)]);
        let answers = ask_tcp(&world, server, vec![a, aaaa]);
        assert_eq!(addresses(&answers[0]), [IpAddr::from(OPENAI.v4)]);
        assert_eq!(addresses(&answers[1]), [IpAddr::from(OPENAI.v6)]);
    }
    let log = world.dns().queries();
    assert_eq!(log.len(), 8);
    assert_eq!(log.iter().filter(|query| query.tcp).count(), 4);
    assert!(log.iter().all(|query| CLIENT.both().contains(&query.from.ip()) && query.name == "api.openai.com"));
}

#[test]
fn other_types_are_empty_and_unknown_names_do_not_exist() {
    let world = World::new().unwrap();
    let ask = |name: &str, kind| {
        let message = Message::from_vec(&ask(&world, NAME_SERVER.v4.into(), question(name, kind))).unwrap();
        (message.metadata.response_code, message.answers.len())
    };
    assert_eq!(ask("api.openai.com.", RecordType::HTTPS), (ResponseCode::NoError, 0));
    assert_eq!(ask("nowhere.example.", RecordType::A), (ResponseCode::NXDomain, 0));
    world.dns().answer("broken.example", Answer::failure(ResponseCode::ServFail));
    assert_eq!(ask("broken.example.", RecordType::A), (ResponseCode::ServFail, 0));
    world.dns().remove("api.openai.com");
    assert_eq!(ask("api.openai.com.", RecordType::A), (ResponseCode::NXDomain, 0));
    assert_eq!(getaddrinfo(&world, "nowhere.example"), "");
}

#[test]
fn the_question_keeps_its_case_and_the_owner_has_the_case_asked_for() {
    let world = World::new().unwrap();
    let owner = |owner: Owner| {
        world.dns().answer("api.openai.com", Answer::addresses(&OPENAI.both()).owner(owner));
        let packet = ask(&world, NAME_SERVER.v4.into(), question("aPi.OpenAI.com.", RecordType::A));
        let message = Message::from_vec(&packet).unwrap();
        assert_eq!(message.queries[0].name().to_ascii(), "aPi.OpenAI.com.");
        message.answers[0].name.to_ascii()
    };
    assert_eq!(owner(Owner::AsAsked), "aPi.OpenAI.com.");
    assert_eq!(owner(Owner::Upper), "API.OPENAI.COM.");
    assert_eq!(owner(Owner::Lower), "api.openai.com.");
    assert_eq!(world.dns().count("api.openai.com"), 3);
    assert_eq!(world.dns().queries()[0].name, "aPi.OpenAI.com");
}

#[test]
fn names_are_compressed_unless_asked_otherwise() {
    let world = World::new().unwrap();
    let packet = question("api.openai.com.", RecordType::A);
    let compressed = ask(&world, NAME_SERVER.v4.into(), packet.clone());
    // The owner after the question is a pointer to it, at offset 12 (RFC 1035, 4.1.4).
    assert_eq!(compressed[packet.len()..packet.len() + 2], [0xc0, 12]);
    world.dns().answer("api.openai.com", Answer::addresses(&OPENAI.both()).uncompressed());
    let full = ask(&world, NAME_SERVER.v4.into(), packet.clone());
    assert_eq!(full[packet.len()..packet.len() + 5], *b"\x03api\x06");
    assert_eq!(addresses(&full), addresses(&compressed));
}

#[test]
fn a_chain_of_aliases_ends_in_the_addresses() {
    let world = World::new().unwrap();
    let chain = Answer::addresses(&OPENAI.both()).through(&["edge.example", "cdn.example"]).ttl(Duration::from_secs(9));
    world.dns().answer("api.openai.com", chain);
    let packet = ask(&world, NAME_SERVER.v4.into(), question("api.openai.com.", RecordType::A));
    let message = Message::from_vec(&packet).unwrap();
    let records: Vec<String> = message.answers.iter().map(ToString::to_string).collect();
    assert_eq!(
        records,
        [
            "api.openai.com. 9 IN CNAME edge.example.",
            "edge.example. 9 IN CNAME cdn.example.",
            "cdn.example. 9 IN A 203.0.113.10"
        ]
    );
    assert!(getaddrinfo(&world, "api.openai.com").contains("203.0.113.10"));
}

#[test]
fn a_truncated_answer_sends_the_c_library_to_tcp() {
    let world = World::new().unwrap();
    world.dns().answer("api.openai.com", Answer::addresses(&OPENAI.both()).truncated());
    let packet = ask(&world, NAME_SERVER.v4.into(), question("api.openai.com.", RecordType::A));
    let message = Message::from_vec(&packet).unwrap();
    assert!(message.metadata.truncation && message.answers.is_empty());
    assert!(getaddrinfo(&world, "api.openai.com").contains("203.0.113.10"));
    assert!(world.dns().queries().iter().any(|query| query.tcp));
}

#[test]
fn what_does_not_fit_is_truncated() {
    let world = World::new().unwrap();
    let many: Vec<IpAddr> = (0..100).map(|host| Ipv4Addr::new(192, 0, 2, host).into()).collect();
    world.dns().set("many.example", &many, 60);
    let packet = ask(&world, NAME_SERVER.v4.into(), question("many.example.", RecordType::A));
    assert!(packet.len() <= 512 && Message::from_vec(&packet).unwrap().metadata.truncation);
    let whole = ask_tcp(&world, NAME_SERVER.v4.into(), vec![question("many.example.", RecordType::A)]);
    assert_eq!(addresses(&whole[0]), many);
}

#[test]
fn an_answer_waits_as_long_as_asked() {
    let world = World::new().unwrap();
    world.dns().answer("slow.example", Answer::addresses(&OPENAI.both()).delay(Duration::from_millis(300)));
    let started = Instant::now();
    ask(&world, NAME_SERVER.v4.into(), question("slow.example.", RecordType::A));
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn hostile_packets_arrive_byte_for_byte() {
    let world = World::new().unwrap();
    world.dns().answer(
        "evil.example",
        Answer::packets(|query| vec![b"\0\x01garbage".to_vec(), [&query[..2], &[0xff; 9]].concat(), vec![]]),
    );
    let packets = world.in_client(|| async {
        let socket = UdpSocket::bind((CLIENT.v4, 0)).await.unwrap();
        socket.send_to(&question("evil.example.", RecordType::A), (NAME_SERVER.v4, 53)).await.unwrap();
        [receive(&socket).await, receive(&socket).await, receive(&socket).await]
    });
    assert_eq!(packets, [b"\0\x01garbage".to_vec(), [&[0, 7], &[0xff; 9][..]].concat(), vec![]]);
    // It still serves others.
    assert!(getaddrinfo(&world, "api.openai.com").contains("203.0.113.10"));
}

#[test]
fn an_answer_that_nobody_asked_for_comes_from_port_53() {
    let world = World::new().unwrap();
    let dns = world.dns().clone();
    let packet = world.in_client(move || async move {
        let socket = UdpSocket::bind((CLIENT.v4, 0)).await.unwrap();
        dns.send(b"unasked".to_vec(), socket.local_addr().unwrap());
        receive(&socket).await
    });
    assert_eq!(packet, b"unasked");
}

#[test]
fn the_client_asks_the_server_it_is_told() {
    let world = World::new().unwrap();
    world.set_name_server(NAME_SERVER.v6.into()).unwrap();
    assert!(getaddrinfo(&world, "api.openai.com").contains("203.0.113.10"));
    assert!(world.dns().queries().iter().all(|query| matches!(query.from, SocketAddr::V6(_))));
}
