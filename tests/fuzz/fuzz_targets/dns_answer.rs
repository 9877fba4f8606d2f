//! The DNS reader never leaves its memory, and learns no address that hickory would not give to the question's name.
#![no_main]

use std::{
    cell::RefCell,
    net::{IpAddr, Ipv6Addr},
};

use hickory_proto::{
    op::Message,
    rr::{DNSClass, Name, RData},
};
use libfuzzer_sys::fuzz_target;
use tollgate_ebpf::{
    address::Address,
    dns::{self, Key, Scratch, Sink},
    rule,
};

thread_local! {
    /// Kept from one message to the next, as in the kernel: what is left behind must not matter.
    static SCRATCH: RefCell<Box<Scratch>> = RefCell::new(Scratch::new());
}

/// Takes every name.
#[derive(Default)]
struct Learned(Vec<IpAddr>);

impl Sink for Learned {
    fn wants(&mut self, key: &Key, name: &rule::Name) -> bool {
        assert!(name.length <= 254 && name.labels <= 127 && key.bits == (name.length + 1) * 8);
        assert_eq!(key.bytes[name.length as usize], 0);
        true
    }

    fn learn(&mut self, address: Address, time_to_live: u32) {
        assert!(address.is_interceptable() && time_to_live <= i32::MAX as u32);
        let octets: [u8; 16] = address.key().map(u64::to_ne_bytes).concat().try_into().expect("sixteen bytes");
        self.0.push(Ipv6Addr::from(octets).to_canonical());
    }
}

fuzz_target!(|bytes: &[u8]| {
    let mut learned = Learned::default();
    let outcome = SCRATCH.with_borrow_mut(|scratch| dns::read_message(scratch, bytes, &mut learned));
    let mut fresh = Learned::default();
    assert_eq!(dns::read_message(&mut Scratch::new(), bytes, &mut fresh), outcome);
    assert_eq!(fresh.0, learned.0);
    if let Ok(message) = Message::from_vec(bytes) {
        let allowed = reachable(&message);
        assert!(learned.0.iter().all(|ip| allowed.contains(ip)), "{learned:?} from {message}", learned = learned.0);
    }
});

/// The addresses that any chain of CNAMEs leads to from the question.
fn reachable(message: &Message) -> Vec<IpAddr> {
    let mut names: Vec<Name> = message.queries.iter().map(|query| query.name().clone()).collect();
    let answers = || message.answers.iter().filter(|record| record.dns_class == DNSClass::IN);
    while let Some(next) = answers().find_map(|record| match &record.data {
        RData::CNAME(target) if names.contains(&record.name) && !names.contains(&target.0) => Some(target.0.clone()),
        _ => None,
    }) {
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
