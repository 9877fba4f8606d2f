//! The answer parser, against messages written by hand, and against hickory's encoder and decoder.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hickory_proto::{
    op::{Message, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, TXT},
    },
    serialize::binary::{BinEncodable as _, BinEncoder, NameEncoding},
};
use proptest::{prelude::*, sample::Index};
use tollgate_ebpf::{
    address::Address,
    dns::{self, Key, Outcome, Scratch, Sink},
    name::{self, Compiled, Pattern},
    rule,
};

/// What the kernel's maps would hold.
struct Maps {
    rules: Vec<Compiled>,
    learned: BTreeMap<IpAddr, u32>,
    asked: u32,
}

impl Sink for Maps {
    fn wants(&mut self, key: &Key, name: &rule::Name) -> bool {
        self.asked += 1;
        name::accepts(&self.rules, key, name)
    }

    fn learn(&mut self, address: Address, time_to_live: u32) {
        let [high, low] = address.key();
        let octets: [u8; 16] = [high.to_ne_bytes(), low.to_ne_bytes()].concat().try_into().expect("sixteen bytes");
        self.learned.insert(Ipv6Addr::from(octets).to_canonical(), time_to_live);
    }
}

/// Reads a message where these names are intercepted.
fn read(patterns: &[&str], message: &[u8]) -> (Outcome, BTreeMap<IpAddr, u32>) {
    let patterns: Vec<Pattern> = patterns.iter().map(|text| text.parse().expect("a pattern")).collect();
    let mut maps = Maps { rules: name::compile(&patterns).expect("few"), learned: BTreeMap::new(), asked: 0 };
    let mut scratch = Scratch::new();
    // What an earlier message left behind must not matter.
    scratch.message.fill(0xa5);
    let outcome = dns::read_message(&mut scratch, message, &mut maps);
    assert!(maps.asked <= 1);
    (outcome, maps.learned)
}

fn learned(patterns: &[&str], message: &[u8]) -> Vec<String> {
    read(patterns, message).1.keys().map(ToString::to_string).collect()
}

fn name(text: &str) -> Name {
    let mut name = Name::from_ascii(text).expect("a name");
    name.set_fqdn(true);
    name
}

fn address(owner: &str, text: &str) -> Record {
    let data = match text.parse().expect("an address") {
        IpAddr::V4(v4) => RData::A(A(v4)),
        IpAddr::V6(v6) => RData::AAAA(AAAA(v6)),
    };
    Record::from_rdata(name(owner), 60, data)
}

fn alias(owner: &str, target: &str) -> Record {
    Record::from_rdata(name(owner), 60, RData::CNAME(CNAME(name(target))))
}

fn answer(question: &str, records: Vec<Record>) -> Message {
    let mut message = Message::response(7, OpCode::Query);
    message.add_query(Query::query(name(question), RecordType::A));
    message.add_answers(records);
    message
}

fn encode(message: &Message, names: NameEncoding) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = BinEncoder::new(&mut bytes);
    encoder.set_name_encoding(names);
    message.emit(&mut encoder).expect("a message that fits");
    bytes
}

fn compressed(message: &Message) -> Vec<u8> {
    encode(message, NameEncoding::Compressed)
}

const HOST: &str = "api.openai.com";

#[test]
fn addresses_of_both_families_are_learned_with_their_time_to_live() {
    let mut records = vec![address(HOST, "203.0.113.7"), address(HOST, "2001:db8::7")];
    records[0].ttl = 4_000;
    records[1].ttl = 0x8000_0000; // RFC 2181: counts as 0.
    let (outcome, learned) = read(&[HOST], &compressed(&answer(HOST, records)));
    assert_eq!(outcome, Outcome::Read);
    let expected = [("203.0.113.7", 4_000), ("2001:db8::7", 0)];
    assert_eq!(learned, expected.map(|(text, ttl)| (text.parse().expect("an address"), ttl)).into());
}

#[test]
fn names_are_matched_as_patterns_say() {
    for (patterns, question, wanted) in [
        (vec![HOST], "API.OpenAI.CoM", true),
        (vec![HOST], "notapi.openai.com", false),
        (vec![HOST], "api.openai.com.evil.net", false),
        (vec!["*.openai.azure.com"], "corp.openai.azure.com", true),
        (vec!["*.openai.azure.com"], "a.b.openai.azure.com", true),
        (vec!["*.openai.azure.com"], "evilopenai.azure.com", false),
        (vec!["*.openai.azure.com"], "openai.azure.com", false),
        (vec!["bedrock-runtime.*.amazonaws.com"], "bedrock-runtime.us-east-1.amazonaws.com", true),
        (vec!["bedrock-runtime.*.amazonaws.com"], "s3.us-east-1.amazonaws.com", false),
        (vec!["bedrock-runtime.*.amazonaws.com"], "bedrock-runtime.a.b.amazonaws.com", false),
        (vec!["*-aiplatform.googleapis.com"], "us-central1-aiplatform.googleapis.com", true),
        (vec!["*-aiplatform.googleapis.com"], "evil.a-aiplatform.googleapis.com", false),
        (vec!["bedrock.*.amazonaws.com", "x.amazonaws.com", HOST], "x.amazonaws.com", true),
        (vec![], HOST, false),
    ] {
        let message = compressed(&answer(question, vec![address(question, "203.0.113.7")]));
        let expected = if wanted { vec!["203.0.113.7"] } else { vec![] };
        assert_eq!(learned(&patterns, &message), expected, "{patterns:?} {question}");
    }
}

#[test]
fn a_label_with_a_dot_inside_is_not_a_boundary() {
    // One label `x.openai.azure.com`, which looks like the suffix when it is printed.
    let mut message = vec![0, 7, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 18];
    message.extend_from_slice(b"x.openai.azure.com\0\0\x01\0\x01\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x07");
    assert!(Message::from_vec(&message).is_ok());
    assert_eq!(read(&["*.openai.azure.com"], &message), (Outcome::Unwanted, BTreeMap::new()));
}

#[test]
fn a_chain_is_followed_in_any_order_and_encoding() {
    let chain = vec![
        alias(HOST, "edge.cdn.example"),
        alias("EDGE.cdn.example", "a.edge.cdn.example"),
        address("a.edge.cdn.example", "203.0.113.7"),
        address("A.edge.CDN.example", "2001:db8::7"),
    ];
    let mut reversed = chain.clone();
    reversed.reverse();
    for records in [chain, reversed] {
        for names in [NameEncoding::Compressed, NameEncoding::Uncompressed] {
            let message = encode(&answer(HOST, records.clone()), names);
            assert_eq!(learned(&[HOST], &message), ["203.0.113.7", "2001:db8::7"]);
        }
    }
}

#[test]
fn strays_are_not_learned() {
    let records = vec![
        address("www.openai.com", "203.0.113.1"),
        alias("www.openai.com", "evil.example"),
        address("evil.example", "203.0.113.2"),
        address(HOST, "203.0.113.7"),
        address("x.api.openai.com", "203.0.113.3"),
        address("openai.com", "203.0.113.4"),
    ];
    for names in [NameEncoding::Compressed, NameEncoding::Uncompressed] {
        assert_eq!(learned(&[HOST], &encode(&answer(HOST, records.clone()), names)), ["203.0.113.7"]);
    }
}

#[test]
fn only_the_answer_section_counts() {
    let mut message = answer(HOST, vec![address(HOST, "203.0.113.7")]);
    message.add_authority(address(HOST, "203.0.113.8"));
    message.add_additional(address(HOST, "203.0.113.9"));
    assert_eq!(learned(&[HOST], &compressed(&message)), ["203.0.113.7"]);
}

#[test]
fn local_addresses_are_not_learned() {
    let records = ["127.0.0.1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::1", "::", "fe80::1", "203.0.113.7"];
    let message = answer(HOST, records.map(|text| address(HOST, text)).to_vec());
    assert_eq!(learned(&[HOST], &compressed(&message)), ["203.0.113.7"]);
}

#[test]
fn what_is_no_successful_answer_to_one_question_is_ignored() {
    let good = answer(HOST, vec![address(HOST, "203.0.113.7")]);
    let mut failed = good.clone();
    failed.metadata.response_code = ResponseCode::NXDomain;
    let mut two = good.clone();
    two.add_query(Query::query(name(HOST), RecordType::AAAA));
    let mut query = compressed(&good);
    query[2] &= 0x7f;
    let mut update = compressed(&good);
    update[2] |= 0x28;
    for bytes in [compressed(&failed), compressed(&two), query, update, vec![], vec![0; 11]] {
        assert_eq!(read(&[HOST], &bytes), (Outcome::Ignored, BTreeMap::new()));
    }
    let mut chaos = good;
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(read(&[HOST], &compressed(&chaos)).1, BTreeMap::new());
}

#[test]
fn the_longest_name_and_the_largest_message_are_read() {
    let longest = [vec!["a"; 124].join("."), "abcde".into()].join("."); // 253 characters
    let message = compressed(&answer(&longest, vec![address(&longest, "203.0.113.7")]));
    assert_eq!(learned(&[&longest], &message), ["203.0.113.7"]);
    let many: Vec<Record> =
        (0..75).map(|last| Record::from_rdata(name(HOST), 60, RData::A(A(Ipv4Addr::new(203, 0, 113, last))))).collect();
    let message = compressed(&answer(HOST, many));
    assert!(message.len() > 1200, "as much as fits into a packet of 1232 bytes");
    assert_eq!(learned(&[HOST], &message).len(), 75);
}

/// A message whose first record's owner is these bytes.
fn with_owner(owner: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut message = compressed(&answer(HOST, vec![]));
    message[7] = 1;
    message.extend_from_slice(owner);
    message.extend_from_slice(rest);
    message
}

#[test]
fn hostile_names_end_the_reading_and_teach_nothing() {
    const RECORD: &[u8] = b"\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x07";
    assert_eq!(learned(&[HOST], &with_owner(b"\xc0\x0c", RECORD)), ["203.0.113.7"], "the frame is good");
    let start = with_owner(b"", b"").len() as u8;
    for (owner, why) in [
        (&[0xc0, start][..], "a pointer to itself"),
        (&[0xc0, start + 2, 0xc0, start], "pointers to each other"),
        (&[1, b'a', 0xc0, start], "a pointer to its own name"),
        (&[0xc0, 0], "a pointer into the header"),
        (&[0xff, 0xff], "a pointer behind the end"),
        (&[0x40], "a label of an obsolete kind"),
        (&[0x80], "a label of an unused kind"),
        (&[63, b'a'], "a label behind the end"),
        (&[0xc0], "half a pointer"),
    ] {
        assert_eq!(read(&[HOST], &with_owner(owner, RECORD)).1, BTreeMap::new(), "{why}");
    }
    for (record, why) in [
        (&b"\0\x01\0\x01\0\0\0\x3c\0\x03\xcb\0\x71"[..], "a short A"),
        (b"\0\x01\0\x01\0\0\0\x3c\0\x05\xcb\0\x71\x07\x07", "a long A"),
        (b"\0\x1c\0\x01\0\0\0\x3c\0\x04\xcb\0\x71\x07", "a short AAAA"),
        (b"\0\x01\0\x01\0\0\0\x3c\0\x04\xcb\0\x71", "an address behind the end"),
        (b"\0\x01\0\x01\0\0\0\x3c\xff\xff\xcb\0\x71\x07", "a record behind the end"),
        (b"\0\x01\0\x01\0\0", "half a record"),
        (b"", "no record"),
        (b"\0\x05\0\x01\0\0\0\x3c\0\x03\xc0\x0c\0", "a CNAME that does not fill its record"),
        (b"\0\x05\0\x01\0\0\0\x3c\0\x01\xc0\x0c", "a CNAME that leaves its record"),
    ] {
        assert_eq!(read(&[HOST], &with_owner(b"\xc0\x0c", record)), (Outcome::Malformed, BTreeMap::new()), "{why}");
    }
    // RFC 1035, section 4.1.4: a pointer leads to a prior occurrence.
    let mut forward = with_owner(&[0xc0, start + 16], RECORD);
    forward.extend_from_slice(b"\x03api\x06openai\x03com\0\0\x10\0\x01\0\0\0\x3c\0\x01\0");
    forward[7] = 2;
    assert_eq!(read(&[HOST], &forward), (Outcome::Malformed, BTreeMap::new()), "a pointer ahead");
    let mut endless = with_owner(b"\xc0\x0c", b"\0\x05\0\x01\0\0\0\x3c\0\x02\xc0\x0c");
    assert_eq!(read(&[HOST], &endless), (Outcome::Read, BTreeMap::new()), "a CNAME to itself");
    endless[6..8].copy_from_slice(&[0xff, 0xff]);
    assert_eq!(read(&[HOST], &endless).0, Outcome::Malformed, "fewer records than it says");
}

// === The same, of what nobody thought of

fn label() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::from("a")), Just(String::from("edge")), "[a-z0-9]([a-z0-9-]{0,12}[a-z0-9])?", "[a-z]{63}",]
}

fn host() -> impl Strategy<Value = String> {
    prop::collection::vec(label(), 1..4).prop_map(|labels| labels.join("."))
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u8>().prop_map(|last| IpAddr::V4(Ipv4Addr::new(203, 0, 113, last))),
        any::<u16>().prop_map(|last| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last))),
    ]
}

/// The same name with some letters in upper case.
fn mixed(text: &str, seed: u64) -> String {
    let upper = |index: usize| seed >> (index % 64) & 1 == 1;
    text.char_indices().map(|(index, char)| if upper(index) { char.to_ascii_uppercase() } else { char }).collect()
}

#[derive(Clone, Debug)]
struct Case {
    chain: Vec<String>,
    addresses: Vec<IpAddr>,
    strays: Vec<(String, IpAddr)>,
    texts: usize,
    letters: u64,
    order: Vec<Index>,
    compress: bool,
}

fn case() -> impl Strategy<Value = Case> {
    (
        prop::collection::vec(host(), 1..4),
        prop::collection::vec(ip(), 0..4),
        prop::collection::vec((host(), ip()), 0..3),
        0..2_usize,
        any::<u64>(),
        prop::collection::vec(any::<Index>(), 0..12),
        any::<bool>(),
    )
        .prop_map(|(chain, addresses, strays, texts, letters, order, compress)| Case {
            chain,
            addresses,
            strays,
            texts,
            letters,
            order,
            compress,
        })
        .prop_filter("names differ", |case| {
            let mut names = case.chain.clone();
            names.sort();
            names.dedup();
            names.len() == case.chain.len() && case.strays.iter().all(|(name, _)| !case.chain.contains(name))
        })
}

impl Case {
    fn message(&self) -> Message {
        let mut records = Vec::new();
        for (index, pair) in self.chain.windows(2).enumerate() {
            let (owner, target) = (&pair[0], &pair[1]);
            records.push(alias(&mixed(owner, self.letters >> index), &mixed(target, self.letters)));
        }
        let last = self.chain.last().expect("a name");
        records.extend(self.addresses.iter().map(|ip| address(&mixed(last, self.letters >> 7), &ip.to_string())));
        records.extend(self.strays.iter().map(|(owner, ip)| address(owner, &ip.to_string())));
        let text = || Record::from_rdata(name(last), 9, RData::TXT(TXT::new(vec!["v=1".into()])));
        records.extend((0..self.texts).map(|_| text()));
        for (place, index) in self.order.iter().enumerate().take(records.len()) {
            let other = index.index(records.len());
            records.swap(place, other);
        }
        answer(&mixed(&self.chain[0], self.letters), records)
    }

    fn bytes(&self) -> Vec<u8> {
        encode(&self.message(), if self.compress { NameEncoding::Compressed } else { NameEncoding::Uncompressed })
    }
}

/// The addresses that any chain of CNAMEs leads to from the question.
fn reachable(message: &Message) -> Vec<IpAddr> {
    let mut names = vec![message.queries[0].name().clone()];
    let answers = || message.answers.iter().filter(|record| record.dns_class == DNSClass::IN);
    loop {
        let next = answers().find_map(|record| match &record.data {
            RData::CNAME(target) if names.contains(&record.name) && !names.contains(&target.0) => {
                Some(target.0.clone())
            }
            _ => None,
        });
        let Some(next) = next else { break };
        names.push(next);
    }
    let owned = answers().filter(|record| names.contains(&record.name));
    owned
        .filter_map(|record| match &record.data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(aaaa) => Some(aaaa.0.to_canonical()),
            _ => None,
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_addresses_at_the_end_of_the_chain_are_learned(case in case()) {
        let bytes = case.bytes();
        prop_assert!(Message::from_vec(&bytes).is_ok());
        let (outcome, learned) = read(&[&case.chain[0]], &bytes);
        // hickory leaves the count at 0 where there is no record, and that is no answer.
        let empty = case.message().answers.is_empty();
        prop_assert_eq!(outcome, if empty { Outcome::Ignored } else { Outcome::Read });
        let mut expected = case.addresses.clone();
        expected.sort();
        expected.dedup();
        prop_assert_eq!(learned.into_keys().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn nothing_is_learned_for_other_names(case in case(), other in host()) {
        prop_assume!(other != case.chain[0]);
        prop_assert_eq!(read(&[&other], &case.bytes()).1, BTreeMap::new());
    }

    #[test]
    fn damaged_messages_teach_no_more_than_hickory_reads(
        case in case(), damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4), cut in any::<Option<Index>>(),
    ) {
        let mut bytes = case.bytes();
        for (index, byte) in damage {
            let place = index.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let patterns = [&*case.chain[0], "*.edge", "*a.a"];
        let (_, learned) = read(&patterns, &bytes);
        if let Ok(message) = Message::from_vec(&bytes) {
            let reachable = if message.queries.is_empty() { vec![] } else { reachable(&message) };
            for ip in learned.keys() {
                prop_assert!(reachable.contains(ip), "{} is not among {:?}", ip, reachable);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..5_000), answer in any::<bool>()) {
        if answer && bytes.len() > 12 {
            bytes[..12].copy_from_slice(&[0, 7, 0x81, 0x80, 0, 1, 0, 40, 0, 0, 0, 0]);
        }
        let _outcome = read(&["*.a", "a", "*.com"], &bytes);
    }
}
