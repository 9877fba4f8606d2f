//! Answers that arrive as packets make addresses known before the program reads them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd as _,
    time::Duration,
};

use hickory_proto::{
    op::{Message, OpCode, Query},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME},
    },
    serialize::binary::{BinEncodable as _, BinEncoder, NameEncoding},
};
use tollgate_kernel::{Kernel, Options, listen, listener::PORTS};

use crate::lab::{Agent, Client, Lab, lab, load, patient};

const HOST: &str = "api.openai.com";
const PATTERNS: [&str; 4] =
    [HOST, "*.openai.azure.com", "bedrock-runtime.*.amazonaws.com", "*-aiplatform.googleapis.com"];

fn options() -> Options {
    Options { patterns: PATTERNS.map(|text| text.parse().expect("a pattern")).to_vec(), ..patient() }
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}

fn address(owner: &str, ip: &str) -> Record {
    let data = match ip.parse().expect("an address") {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    };
    Record::from_rdata(name(owner), 60, data)
}

fn alias(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
}

fn answer(question: &str, records: Vec<Record>, names: NameEncoding) -> Vec<u8> {
    let mut message = Message::response(7, OpCode::Query);
    message.add_query(Query::query(name(question), RecordType::A));
    message.add_answers(records);
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(names);
    message.emit(&mut encoder).expect("a message");
    bytes
}

/// A name server that says anything, and a client in the lab's cgroup that asked it once and hears it.
struct Resolver {
    kernel: Kernel,
    client: Client,
    v4: (UdpSocket, SocketAddr),
    v6: (UdpSocket, SocketAddr),
}

impl Resolver {
    fn start(lab: &Lab, options: &Options) -> Self {
        let kernel = load(options);
        kernel.attach(lab.scope.path()).expect("attached");
        let listeners = listen(PORTS).expect("listeners");
        kernel.serve(&listeners).expect("served");
        let bind = |ip: &str| UdpSocket::bind((ip, 53)).expect("port 53");
        let (v4, v6) = (bind("192.0.2.53"), bind("2001:db8::53"));
        let mut client = lab.client(
            "
four = socket.socket(V4, UDP); four.bind(('127.0.0.1', 0))
six = socket.socket(V6, UDP); six.bind(('::1', 0))
four.sendto(b'?', ('192.0.2.53', 53)); six.sendto(b'?', ('2001:db8::53', 53))
say(four.getsockname()[1], six.getsockname()[1])
while True:
    for s in select.select([four, six], [], [])[0]:
        say(len(s.recv(65535)))",
        );
        let ports = client.line();
        let (four, six) = ports.split_once(' ').expect("two ports");
        Self {
            kernel,
            client,
            v4: (v4, format!("127.0.0.1:{four}").parse().expect("an address")),
            v6: (v6, format!("[::1]:{six}").parse().expect("an address")),
        }
    }

    /// Delivers a packet, and waits until the client has read it.
    fn say(&mut self, (socket, to): (UdpSocket, SocketAddr), packet: &[u8]) {
        assert_eq!(socket.send_to(packet, to).expect("sent"), packet.len());
        assert_eq!(self.client.line(), packet.len().to_string(), "the packet is delivered, whatever it says");
    }

    /// The same over IPv4, and what is known after it and was not before.
    fn learns(&mut self, packet: &[u8]) -> Vec<String> {
        let before = self.kernel.addresses();
        let server = (self.v4.0.try_clone().expect("a socket"), self.v4.1);
        self.say(server, packet);
        let mut new = self.kernel.addresses();
        new.retain(|ip| !before.contains(ip));
        new.sort();
        new.iter().map(ToString::to_string).collect()
    }

    fn count(&self, name: &str) -> u64 {
        self.kernel.counters().iter().find(|(counter, _)| *counter == name).expect("a counter").1
    }
}

const NONE: [&str; 0] = [];

#[test]
fn names_are_matched_as_patterns_say() {
    lab(|lab| {
        let mut resolver = Resolver::start(lab, &options());
        for (index, (question, wanted)) in [
            (HOST, true),
            ("API.OPENAI.COM", true),
            ("corp.openai.azure.com", true),
            ("a.b.openai.azure.com", true),
            ("bedrock-runtime.us-east-1.amazonaws.com", true),
            ("us-central1-aiplatform.googleapis.com", true),
            ("notapi.openai.com", false),
            ("openai.com", false),
            ("api.openai.com.evil.net", false),
            ("evilopenai.azure.com", false),
            ("openai.azure.com", false),
            ("s3.us-east-1.amazonaws.com", false),
            ("bedrock-runtime.a.b.amazonaws.com", false),
            ("evil.us-aiplatform.googleapis.com", false),
            ("example.org", false),
        ]
        .into_iter()
        .enumerate()
        {
            let ip = format!("198.51.100.{index}");
            let packet = answer(question, vec![address(question, &ip)], NameEncoding::Compressed);
            let expected = if wanted { vec![ip] } else { vec![] };
            assert_eq!(resolver.learns(&packet), expected, "{question}");
        }
        assert_eq!((resolver.count("dns_matched"), resolver.count("dns_learned")), (6, 6));
        assert_eq!(resolver.count("dns_malformed"), 0);
    });
}

#[test]
fn chains_of_both_families_are_followed_in_both_encodings_and_any_order() {
    lab(|lab| {
        let mut resolver = Resolver::start(lab, &options());
        let mut last = 0;
        for names in [NameEncoding::Compressed, NameEncoding::Uncompressed] {
            for reverse in [false, true] {
                last += 1;
                let (four, six) = (format!("198.51.100.{last}"), format!("2001:db8:1::{last}"));
                let mut records = vec![
                    alias("API.openai.com", "edge.cdn.example"),
                    alias("edge.cdn.example", "x.edge.CDN.example"),
                    address("x.edge.cdn.example", &four),
                    address("x.Edge.cdn.example", &six),
                    address("stray.cdn.example", "198.51.100.99"),
                ];
                if reverse {
                    records.reverse();
                }
                assert_eq!(resolver.learns(&answer(HOST, records, names)), [four, six], "reversed: {reverse}");
            }
        }
    });
}

#[test]
fn answers_over_ipv6_are_read() {
    lab(|lab| {
        let mut resolver = Resolver::start(lab, &options());
        let packet = answer(HOST, vec![address(HOST, "2001:db8:1::6")], NameEncoding::Compressed);
        let server = (resolver.v6.0.try_clone().expect("a socket"), resolver.v6.1);
        resolver.say(server, &packet);
        assert_eq!(resolver.kernel.addresses(), ["2001:db8:1::6".parse::<IpAddr>().expect("an address")]);
    });
}

#[test]
fn answers_after_ip_options_are_read() {
    lab(|lab| {
        let mut resolver = Resolver::start(lab, &options());
        // Options that do nothing, and their end.
        let options = [1_u8, 1, 1, 1, 1, 0];
        // SAFETY: the pointer and the length are those of the array.
        let status = unsafe {
            libc::setsockopt(
                resolver.v4.0.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_OPTIONS,
                options.as_ptr().cast(),
                options.len() as u32,
            )
        };
        assert_eq!(status, 0, "{}", std::io::Error::last_os_error());
        let packet = answer(HOST, vec![address(HOST, "198.51.100.7")], NameEncoding::Compressed);
        assert_eq!(resolver.learns(&packet), ["198.51.100.7"]);
    });
}

/// An answer that gives the intercepted name this address.
fn teaching(ip: &str) -> Vec<u8> {
    answer(HOST, vec![address(HOST, ip)], NameEncoding::Compressed)
}

#[test]
fn whoever_asks_is_believed_however_he_asks() {
    lab(|lab| {
        let resolver = Resolver::start(lab, &options());
        for (index, ask) in [
            "s = socket.socket(V4, UDP); s.connect(('192.0.2.53', 53)); s.send(b'?')",
            "s = socket.socket(V6, UDP); s.connect(('2001:db8::53', 53)); s.send(b'?')",
            "s = socket.socket(V6, UDP); s.connect(('::ffff:192.0.2.53', 53)); s.send(b'?')",
            "s = socket.socket(V4, UDP); s.setblocking(False); s.connect(('192.0.2.53', 53)); s.send(b'?'); s.setblocking(True)",
            "s = socket.socket(V4, UDP); s.sendto(b'?', ('192.0.2.53', 53))",
            "s = socket.socket(V6, UDP); s.sendto(b'?', ('2001:db8::53', 53))",
            "s = socket.socket(V6, UDP); s.sendto(b'?', ('::ffff:192.0.2.53', 53))",
            "s = socket.socket(V4, UDP); s.sendmsg([b'?'], [], 0, ('192.0.2.53', 53))",
            "s = socket.socket(V6, UDP); s.sendmsg([b'?'], [], 0, ('2001:db8::53', 53))",
        ]
        .into_iter()
        .enumerate()
        {
            // The first question there is that of the resolver's own client.
            let server = if ask.contains("2001") { &resolver.v6.0 } else { &resolver.v4.0 };
            let ip = format!("198.51.100.{index}");
            let mut client = lab.client(&format!("{ask}; say(s.getsockname()[1]); say(len(s.recv(65535)))"));
            let port = client.line();
            let asker = loop {
                let (_, asker) = server.recv_from(&mut [0; 16]).expect("a question");
                if asker.port().to_string() == port {
                    break asker;
                }
            };
            let packet = teaching(&ip);
            server.send_to(&packet, asker).expect("answered");
            assert_eq!(client.line(), packet.len().to_string());
            assert!(resolver.kernel.addresses().contains(&ip.parse().expect("an address")), "{ask}");
        }
    });
}

#[test]
fn packets_that_nobody_asked_for_are_delivered_and_teach_nothing() {
    lab(|lab| {
        let mut resolver = Resolver::start(lab, &options());
        let mut client = lab.client(
            "
def listening(port=0):
    s = socket.socket(V4, UDP); s.bind(('127.0.0.1', port)); return s
silent, elsewhere, gone = listening(), listening(), listening()
elsewhere.sendto(b'?', ('192.0.2.53', 5353))
gone.sendto(b'?', ('192.0.2.53', 53))
port = gone.getsockname()[1]; gone.close(); later = listening(port)
for s in (silent, elsewhere, later):
    say(s.getsockname()[1]); say(len(s.recv(65535)))",
        );
        let packet = teaching("198.51.100.1");
        for who in ["one that never asked", "one that asked another port", "one that has the port of one that asked"] {
            let to: SocketAddr = format!("127.0.0.1:{}", client.line()).parse().expect("an address");
            resolver.v4.0.send_to(&packet, to).expect("sent");
            assert_eq!(client.line(), packet.len().to_string());
            assert_eq!(resolver.kernel.addresses(), Vec::<IpAddr>::new(), "{who}");
        }
        assert_eq!(resolver.count("dns_matched"), 0);
        assert_eq!(resolver.learns(&packet), ["198.51.100.1"], "the packet is good");
    });
}

#[test]
fn answers_in_a_namespace_that_is_not_served_teach_nothing() {
    lab(|lab| {
        let resolver = Resolver::start(lab, &options());
        // What any user can do: a network of his own, with a name server in it.
        let script = format!(
            "
inner = '''
import socket, subprocess
subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); server.bind(('127.0.0.1', 53))
for connected in (True, False):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    if connected:
        s.connect(('127.0.0.1', 53)); s.send(b'?')
    else:
        s.sendto(b'?', ('127.0.0.1', 53))
    server.sendto(bytes({:?}), server.recvfrom(16)[1])
    print(len(s.recv(65535)), flush=True)
'''
os.execvp('unshare', ['unshare', '-Urn', sys.executable, '-I', '-S', '-c', inner])",
            teaching("198.51.100.1")
        );
        let mut client = lab.client(&script);
        let length = teaching("198.51.100.1").len().to_string();
        assert_eq!((client.line(), client.line()), (length.clone(), length));
        assert_eq!(resolver.kernel.addresses(), Vec::<IpAddr>::new());
        assert_eq!(resolver.count("dns_matched"), 0);
    });
}

#[test]
fn only_port_53_is_believed() {
    lab(|lab| {
        let mut resolver = Resolver::start(lab, &options());
        let packet = answer(HOST, vec![address(HOST, "198.51.100.1")], NameEncoding::Compressed);
        let stranger = UdpSocket::bind(("192.0.2.53", 5353)).expect("a port");
        let to = resolver.v4.1;
        resolver.say((stranger, to), &packet);
        assert!(resolver.kernel.addresses().is_empty());
    });
}

#[test]
fn large_answers_are_read_and_larger_ones_are_delivered() {
    lab(|lab| {
        let mut resolver = Resolver::start(lab, &options());
        let many = |count: u8| {
            let ip = |last| Record::from_rdata(name(HOST), 60, RData::A(A(Ipv4Addr::new(198, 51, 100, last))));
            answer(HOST, (0..count).map(ip).collect(), NameEncoding::Compressed)
        };
        assert_eq!(resolver.learns(&many(75)).len(), 75);
        let mut packet = many(75);
        packet.resize(60_000, 0);
        assert_eq!(resolver.learns(&packet), NONE);
        assert_eq!(resolver.count("dns_matched"), 2);
    });
}

#[test]
fn hostile_packets_are_delivered_and_teach_nothing() {
    lab(|lab| {
        let mut resolver = Resolver::start(lab, &options());
        let record = &b"\0\x01\0\x01\0\0\0\x3c\0\x04\xc6\x33\x64\x07"[..];
        let frame = |owner: &[u8], rest: &[u8]| {
            let mut packet = answer(HOST, vec![], NameEncoding::Compressed);
            packet[7] = 1;
            packet.extend_from_slice(owner);
            packet.extend_from_slice(rest);
            packet
        };
        let start = frame(b"", b"").len() as u8;
        let mut packets: Vec<Vec<u8>> = [
            &[0xc0, start][..],
            &[0xc0, start + 2, 0xc0, start],
            &[1, b'a', 0xc0, start],
            &[0xc0, 0],
            &[0xff, 0xff],
            &[0x40],
            &[0x80],
            &[63, b'a'],
            &[0xc0],
        ]
        .map(|owner| frame(owner, record))
        .to_vec();
        packets.extend(
            [
                &b"\0\x01\0\x01\0\0\0\x3c\0\x03\xc6\x33\x64"[..],
                b"\0\x01\0\x01\0\0\0\x3c\0\x04\xc6\x33\x64",
                b"\0\x01\0\x01\0\0\0\x3c\xff\xff\xc6\x33\x64\x07",
                b"\0\x1c\0\x01\0\0\0\x3c\0\x04\xc6\x33\x64\x07",
                b"\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x0c",
                b"\0\x01\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01",
                b"",
            ]
            .map(|rest| frame(b"\xc0\x0c", rest)),
        );
        let good = frame(b"\xc0\x0c", record);
        packets.extend((0..good.len()).map(|length| good[..length].to_vec()));
        let mut endless = frame(b"\xc0\x0c", b"\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x0c");
        endless[6..8].copy_from_slice(&[0xff, 0xff]);
        packets.push(endless);
        // A question without an end, and one of labels that lead to it again.
        packets.push([&good[..12], &[1, b'a'].repeat(2_000)].concat());
        packets.push([&good[..12], &[0xc0, 0x0c, 0, 1, 0, 1][..]].concat());
        for packet in &packets {
            assert_eq!(resolver.learns(packet), NONE, "{packet:x?}");
        }
        assert_eq!(resolver.learns(&good), ["198.51.100.7"], "the frame is good");
    });
}

#[test]
fn random_packets_are_delivered_and_teach_nothing() {
    lab(|lab| {
        let mut resolver = Resolver::start(lab, &options());
        let good = answer(
            HOST,
            vec![alias(HOST, "a.example"), address("b.example", "198.51.100.7")],
            NameEncoding::Compressed,
        );
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..2_000 {
            let mut packet = good.clone();
            for _ in 0..4 {
                let place = 12 + random() as usize % (packet.len() - 12);
                packet[place] = random() as u8;
            }
            packet.truncate(12 + random() as usize % (packet.len() - 12));
            resolver.learns(&packet);
        }
        let known = resolver.kernel.addresses();
        assert!(known.len() < 20, "damage seldom makes an address of the question's own: {known:?}");
    });
}

#[test]
fn an_address_is_known_before_the_program_reads_the_answer() {
    lab(|lab| {
        let agent = Agent::start(lab, &options());
        let server = UdpSocket::bind("192.0.2.53:53").expect("port 53");
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((_, client)) = server.recv_from(&mut query) {
                let ip = format!("203.0.113.{}", query[0]);
                let packet = answer(HOST, vec![address(HOST, &ip)], NameEncoding::Compressed);
                server.send_to(&packet, client).expect("answered");
            }
        });
        let mut client = lab.client(
            "
for last in range(100, 200):
    resolver = socket.socket(V4, UDP); resolver.settimeout(30)
    resolver.sendto(bytes([last]), ('192.0.2.53', 53))
    a, b, c, d = resolver.recv(512)[-4:]
    call(V4, f'{a}.{b}.{c}.{d}')",
        );
        for last in 100..200 {
            let flow = agent.take();
            assert_eq!(flow.destination.to_string(), format!("203.0.113.{last}:443"));
            assert_eq!(client.line(), format!("agent 203.0.113.{last} 443"));
        }
    });
}

#[test]
fn the_table_of_addresses_is_bounded_and_keeps_the_newest() {
    let kernel = load(&patient());
    let ip = |index: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + index));
    for index in 0..40_000 {
        kernel.learn(ip(index), Duration::from_secs(5)).expect("learned");
    }
    let known = kernel.addresses();
    assert!((1_000..=16_384).contains(&known.len()), "{}", known.len());
    assert!(known.contains(&ip(39_999)));
}

#[test]
fn local_addresses_cannot_be_taught() {
    let kernel = load(&patient());
    for ip in ["127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "fe80::1", "::ffff:127.0.0.1"] {
        kernel.learn(ip.parse().expect("an address"), Duration::from_secs(5)).expect("left out");
    }
    assert!(kernel.addresses().is_empty());
}
