use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use rustls::client::{EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs::hpke::ALL_SUPPORTED_SUITES;
use rustls::crypto::hpke::HpkePublicKey;
use rustls::server::Acceptor;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;
use crate::provider::provider;

const HOST: &str = "api.openai.com";
const BASE_EXTENSIONS: &str = "a hello from rustls has extensions";

// === Real hellos ===

fn config() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// What rustls sends first.
fn first_flight(config: ClientConfig, host: &str) -> Vec<u8> {
    let mut connection = ClientConnection::new(Arc::new(config), host.to_owned().try_into().unwrap()).unwrap();
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).unwrap();
    bytes
}

fn rustls_hello() -> Vec<u8> {
    let mut config = config();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    first_flight(config, HOST)
}

fn expected() -> Progress {
    Progress::Hello(ClientHello {
        server_name: Some(HOST.to_owned()),
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        encrypted_client_hello: false,
    })
}

/// What a program of this machine sends first when it is told to connect to `127.0.0.1:<port>`.
fn hello_of(program: &str, arguments: impl FnOnce(u16) -> Vec<String>) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut child = Command::new(program)
        .args(arguments(port))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    let (mut stream, _) = listener.accept().unwrap();
    let mut parser = Parser::new();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while parser.push(&[]) == Progress::More {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "{program} closed before its hello was whole");
        bytes.extend_from_slice(&buffer[..read]);
        parser.push(&buffer[..read]);
    }
    drop(stream.write_all(b"\x15\x03\x01\x00\x02\x02\x28")); // handshake_failure, to end it
    drop(stream);
    child.wait().unwrap();
    bytes
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

// === Made hellos ===

/// The body of a hello, in parts that can be changed.
#[derive(Clone, Debug)]
struct Body {
    head: Vec<u8>,
    extensions: Vec<(u16, Vec<u8>)>,
}

impl Body {
    fn of(flight: &[u8]) -> Self {
        let body = &flight[9..];
        let session_id = usize::from(body[34]);
        let suites_at = 35 + session_id;
        let suites = usize::from(u16::from_be_bytes([body[suites_at], body[suites_at + 1]]));
        let compression_at = suites_at + 2 + suites;
        let end = compression_at + 1 + usize::from(body[compression_at]);
        let mut extensions = Vec::new();
        let mut rest = &body[end + 2..];
        while let [a, b, c, d, tail @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*c, *d]));
            extensions.push((u16::from_be_bytes([*a, *b]), tail[..length].to_vec()));
            rest = &tail[length..];
        }
        assert!(!extensions.is_empty(), "{BASE_EXTENSIONS}");
        Self { head: body[..end].to_vec(), extensions }
    }

    fn with(mut self, kind: u16, content: &[u8]) -> Self {
        self.extensions.retain(|(other, _)| *other != kind);
        // `pre_shared_key` would have to stay last; there is none here.
        self.extensions.insert(0, (kind, content.to_vec()));
        self
    }

    fn without(mut self, kind: u16) -> Self {
        self.extensions.retain(|(other, _)| *other != kind);
        self
    }

    /// The handshake message.
    fn message(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        for (kind, content) in &self.extensions {
            extensions.extend(kind.to_be_bytes());
            extensions.extend(vector16(content));
        }
        handshake(&[self.head.clone(), vector16(&extensions)].concat())
    }

    fn flight(&self) -> Vec<u8> {
        records(&self.message(), 1 << 14)
    }
}

fn base() -> Body {
    Body::of(&rustls_hello())
}

fn vector16(content: &[u8]) -> Vec<u8> {
    [&u16::try_from(content.len()).unwrap().to_be_bytes(), content].concat()
}

fn handshake(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], body].concat()
}

/// The message in records of at most `size` bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|fragment| [vec![22, 3, 1], vector16(fragment)].concat()).collect()
}

fn names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let list: Vec<u8> = names.iter().flat_map(|(kind, name)| [vec![*kind], vector16(name)].concat()).collect();
    vector16(&list)
}

fn parse(bytes: &[u8]) -> Progress {
    Parser::new().push(bytes)
}

fn hello(bytes: &[u8]) -> ClientHello {
    match parse(bytes) {
        Progress::Hello(hello) => hello,
        other => panic!("no hello but {other:?}"),
    }
}

fn server_name(name: &[u8]) -> Option<String> {
    hello(&base().with(0, &names(&[(0, name)])).flight()).server_name
}

/// The answer when the bytes come one at a time.
fn drip(bytes: &[u8]) -> Progress {
    let mut parser = Parser::new();
    for byte in bytes {
        let progress = parser.push(std::slice::from_ref(byte));
        if progress != Progress::More {
            return progress;
        }
    }
    Progress::More
}

// === Cutting ===

#[test]
fn every_split_of_a_real_hello_gives_the_same_answer() {
    let hello = rustls_hello();
    assert!(hello.len() > 1216, "it should carry a post-quantum key share: {}", hello.len());
    for cut in 0..=hello.len() {
        let mut parser = Parser::new();
        let first = parser.push(&hello[..cut]);
        assert_eq!(first, if cut == hello.len() { expected() } else { Progress::More }, "at {cut}");
        assert_eq!(parser.push(&hello[cut..]), expected(), "at {cut}");
    }
    assert_eq!(drip(&hello), expected());
}

#[test]
fn records_of_every_size_give_the_same_answer() {
    let message = base().message();
    for size in 1..=message.len() {
        let bytes = records(&message, size);
        assert_eq!(parse(&bytes), expected(), "records of {size}");
    }
    assert_eq!(drip(&records(&message, 1)), expected());
    // The largest record there may be.
    let padded = base().with(21, &[0; 14_000]);
    let body = padded.message();
    let full = padded.with(21, &vec![0; 14_000 + (1 << 14) - body.len()]).message();
    assert_eq!(full.len(), 1 << 14);
    assert_eq!(parse(&records(&full, 1 << 14)), expected());
}

#[test]
fn what_follows_the_hello_changes_nothing() {
    let mut parser = Parser::new();
    let early_data = [rustls_hello(), b"\x17\x03\x03\x00\x05xxxxx and no TLS at all".to_vec()].concat();
    assert_eq!(parser.push(&early_data), expected());
    assert_eq!(parser.push(b"more"), expected());
    assert_eq!(drip(&early_data), expected());
}

proptest! {
    #[test]
    fn any_pieces_in_any_records_give_the_same_answer(
        record in 1_usize..2000,
        pieces in vec(1_usize..700, 0..20),
    ) {
        let bytes = records(&base().message(), record);
        let mut parser = Parser::new();
        let mut rest = bytes.as_slice();
        for piece in pieces {
            let (piece, tail) = rest.split_at(piece.min(rest.len()));
            parser.push(piece);
            rest = tail;
        }
        prop_assert_eq!(parser.push(rest), expected());
    }

    #[test]
    fn any_bytes_are_answered_alike_however_they_come(bytes in vec(any::<u8>(), 0..2000), tls in any::<bool>()) {
        let bytes = if tls { [&[22, 3, 1], bytes.as_slice()].concat() } else { bytes };
        prop_assert_eq!(parse(&bytes), drip(&bytes));
    }

    #[test]
    fn a_damaged_hello_is_answered_alike_however_it_comes(
        at in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<prop::sample::Index>(),
        record in 1_usize..2000,
    ) {
        let mut message = base().message();
        let at = at.index(message.len());
        message[at] = value;
        message.truncate(cut.index(message.len()) + 1);
        let bytes = records(&message, record);
        prop_assert_eq!(parse(&bytes), drip(&bytes));
    }

    #[test]
    fn no_answer_is_given_beyond_the_limit(limit in 0_usize..3000) {
        let bytes = rustls_hello();
        let wanted = if limit < bytes.len() { Progress::TooLarge } else { expected() };
        let mut parser = Parser::with_limit(limit);
        prop_assert_eq!(parser.push(&bytes), wanted);
    }

    /// Where rustls takes a hello, so do we, and both see the same.
    #[test]
    fn rustls_reads_the_same(
        host in "([a-zA-Z0-9]([a-zA-Z0-9_-]{0,10}[a-zA-Z0-9])?\\.){0,4}[a-zA-Z][a-zA-Z0-9]{0,10}\\.?|[0-9.]{1,15}|.{0,20}",
        alpn in vec("[ -~]{1,20}", 1..5),
        grease in vec((0_u16..16, vec(any::<u8>(), 0..600)), 0..3),
        record in 1_usize..3000,
        order in any::<u64>(),
    ) {
        let protocols: Vec<u8> = alpn.iter().flat_map(|p| [&[p.len() as u8], p.as_bytes()].concat()).collect();
        let mut body = base().with(16, &vector16(&protocols));
        if !host.is_empty() {
            body = body.with(0, &names(&[(0, host.as_bytes())]));
        }
        for (number, content) in &grease {
            body = body.with(number << 12 | 0x0a0a | number << 4, content);
        }
        let turn = usize::try_from(order % body.extensions.len() as u64).unwrap();
        body.extensions.rotate_left(turn);
        let bytes = records(&body.message(), record);

        let theirs = accepted_by_rustls(&bytes);
        if let Some((name, protocols)) = theirs {
            let ours = hello(&bytes);
            prop_assert_eq!(&ours.alpn, &protocols);
            // rustls keeps the dot and the case, and takes a trailing hyphen.
            let name = name.and_then(|name| crate::name::canonical(name.as_bytes()));
            prop_assert_eq!(ours.server_name, name);
        }
    }
}

/// Server name and protocols as rustls reads them; `None` where it refuses the hello.
fn accepted_by_rustls(mut bytes: &[u8]) -> Option<(Option<String>, Vec<Vec<u8>>)> {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).ok()?;
        if let Some(accepted) = acceptor.accept().ok()? {
            let hello = accepted.client_hello();
            let protocols = hello.alpn().map(|all| all.map(<[u8]>::to_vec).collect()).unwrap_or_default();
            return Some((hello.server_name().map(str::to_owned), protocols));
        }
    }
    None
}

#[test]
fn rustls_does_accept_the_hellos_that_it_is_compared_on() {
    let (name, protocols) = accepted_by_rustls(&records(&base().with(0x3a3a, b"grease").message(), 100)).unwrap();
    assert_eq!(name.as_deref(), Some(HOST));
    assert_eq!(protocols.len(), 2);
}

// === Content ===

#[test]
fn openssl_is_read_in_every_version() {
    for (options, alpn) in [("-tls1_3 -alpn h2,http/1.1", 2), ("-tls1_2 -alpn http/1.1", 1), ("-tls1_2", 0)] {
        let bytes = hello_of("openssl", |port| {
            words(&format!("s_client -connect 127.0.0.1:{port} -servername Api.OpenAI.com {options}"))
        });
        let hello = hello(&bytes);
        assert_eq!(hello.server_name.as_deref(), Some(HOST), "{options}");
        assert_eq!(hello.alpn.len(), alpn, "{options}");
        assert_eq!(drip(&bytes), parse(&bytes), "{options}");
    }
    let bytes = hello_of("openssl", |port| words(&format!("s_client -connect 127.0.0.1:{port} -noservername")));
    assert_eq!(hello(&bytes).server_name, None);
}

#[test]
fn curl_is_read() {
    let bytes = hello_of("curl", |port| {
        words(&format!("-sk --noproxy * --resolve {HOST}:{port}:127.0.0.1 https://{HOST}:{port}/"))
    });
    let hello = hello(&bytes);
    assert_eq!(hello.server_name.as_deref(), Some(HOST));
    assert_eq!(hello.alpn, [b"h2".to_vec(), b"http/1.1".to_vec()]);
}

#[test]
fn encrypted_client_hello_is_seen() {
    let suite = ALL_SUPPORTED_SUITES[0];
    let (key, _) = suite.generate_key_pair().unwrap();
    let grease = EchMode::Grease(EchGreaseConfig::new(suite, HpkePublicKey(key.0)));
    let config = ClientConfig::builder_with_provider(provider())
        .with_ech(grease)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let hello = hello(&first_flight(config, HOST));
    assert!(hello.encrypted_client_hello);
    assert_eq!(hello.server_name.as_deref(), Some(HOST));
}

#[test]
fn a_hello_without_a_usable_name_has_none() {
    assert_eq!(hello(&base().without(0).flight()).server_name, None);
    assert_eq!(hello(&first_flight(config(), "192.0.2.1")).server_name, None);
    for name in [&b"192.0.2.1"[..], b"::1", b"*.openai.com", b"a b", b"\xff\xfe", b"", &[b'a'; 300]] {
        assert_eq!(server_name(name), None, "{name:?}");
    }
    // An empty list is forbidden, but harmless. Other types of names are skipped.
    assert_eq!(hello(&base().with(0, &names(&[])).flight()).server_name, None);
    assert_eq!(hello(&base().with(0, &names(&[(7, b"x")])).flight()).server_name, None);
    assert_eq!(
        hello(&base().with(0, &names(&[(0, HOST.as_bytes()), (7, b"x")])).flight()).server_name.as_deref(),
        Some(HOST)
    );
}

#[test]
fn a_name_is_made_canonical() {
    assert_eq!(server_name(b"API.OPENAI.COM.").as_deref(), Some(HOST));
}

#[test]
fn a_hello_without_extensions_is_one() {
    let mut bare = base();
    bare.extensions.clear();
    assert_eq!(parse(&bare.flight()), Progress::Hello(ClientHello::default()));
    assert_eq!(parse(&records(&handshake(&bare.head), 1 << 14)), Progress::Hello(ClientHello::default()));
}

#[test]
fn a_hello_that_two_readers_could_read_differently_is_none() {
    let twice = names(&[(0, b"api.openai.com"), (0, b"evil.example")]);
    assert_eq!(parse(&base().with(0, &twice).flight()), Progress::NotTls);
    for kind in [0, 16, 0xfe0d, 0x2a2a] {
        let mut doubled = base().with(kind, &names(&[]));
        doubled.extensions.retain(|(other, _)| *other != 16);
        let valid = match kind {
            16 => vector16(b"\x02h2"),
            _ => names(&[(0, HOST.as_bytes())]),
        };
        doubled = doubled.with(kind, &valid);
        assert!(matches!(parse(&doubled.flight()), Progress::Hello(_)), "{kind:#x} once");
        doubled.extensions.push((kind, valid));
        assert_eq!(parse(&doubled.flight()), Progress::NotTls, "{kind:#x} twice");
    }
}

#[test]
fn a_malformed_hello_is_none() {
    let body = base();
    let cases = [
        ("name longer than its list", body.clone().with(0, b"\x00\x05\x00\x00\x09abc")),
        ("list longer than its extension", body.clone().with(0, b"\x00\xff\x00\x00\x01a")),
        ("bytes after the list", body.clone().with(0, &[names(&[(0, b"a.com")]), vec![0]].concat())),
        ("empty server_name extension", body.clone().with(0, b"")),
        ("no protocols", body.clone().with(16, &vector16(b""))),
        ("empty protocol", body.clone().with(16, &vector16(b"\x00"))),
        ("cut protocol", body.clone().with(16, &vector16(b"\x05h2"))),
    ];
    for (what, body) in cases {
        assert_eq!(parse(&body.flight()), Progress::NotTls, "{what}");
    }
    let mut longer = body.message();
    longer[3] = longer[3].wrapping_add(1);
    longer.push(0);
    assert_eq!(parse(&records(&longer, 1 << 14)), Progress::NotTls, "a byte after the extensions");
}

// === Not TLS ===

#[test]
fn what_is_not_tls_is_known_at_its_first_bytes() {
    for first in [
        &b"G"[..], // GET / HTTP/1.1
        b"P",      // PRI * HTTP/2.0
        b"S",      // SSH-2.0-
        b"\x80",   // SSL 2.0
        b"\x00",
        b"\x15",                     // an alert
        b"\x17",                     // application data
        b"\x16\x02",                 // no TLS version
        b"\x16\x03\x01\x00\x00",     // an empty record
        b"\x16\x03\x01\x40\x01",     // a record longer than 2^14
        b"\x16\x03\x01\x00\x05\x02", // a ServerHello
    ] {
        assert_eq!(parse(first), Progress::NotTls, "{first:?}");
        assert_eq!(drip(first), Progress::NotTls, "{first:?}");
    }
    assert_eq!(parse(b""), Progress::More);
    assert_eq!(parse(b"\x16\x03\x01\x40\x00\x01"), Progress::More);
}

#[test]
fn another_record_amid_the_hello_ends_it() {
    let hello = records(&base().message(), 100);
    for other in [&b"\x15\x03\x01\x00\x02\x01\x00"[..], b"\x14\x03\x01\x00\x01\x01"] {
        let bytes = [&hello[..105], other, &hello[105..]].concat();
        assert_eq!(parse(&bytes), Progress::NotTls);
        assert_eq!(drip(&bytes), Progress::NotTls);
    }
}

// === Bounds ===

#[test]
fn a_hello_that_announces_too_much_is_not_waited_for() {
    assert_eq!(parse(b"\x16\x03\x01\x40\x00\x01\x01\x00\x00"), Progress::TooLarge);
    assert_eq!(drip(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff"), Progress::TooLarge);
}

#[test]
fn endless_small_records_are_cut_off() {
    let mut parser = Parser::new();
    let mut sent = 0;
    assert_eq!(parser.push(b"\x16\x03\x01\x00\x04\x01\x00\xff\xf0"), Progress::More);
    while parser.push(b"\x16\x03\x01\x00\x01\x00") == Progress::More {
        sent += 6;
        assert!(sent <= LIMIT, "still reading after {sent} bytes");
    }
    assert_eq!(parser.push(b"\x16"), Progress::TooLarge);
    assert_eq!(parser.records.message_capacity(), 0, "the memory is given back");
}
