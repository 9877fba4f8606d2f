//! DNS answers over UDP, read as they are delivered: an address is known before the program that asked reads it.
//!
//! What is learned holds for the whole node, so it takes more than a packet from port 53: the socket that gets the answer
//! must have asked, in a namespace that the agent serves. Sockets that were connected to a name server before the
//! programs were attached are not seen asking; the agent resolves exact names itself, so only what patterns match is late.

use core::ptr::read_volatile;

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock_addr},
    helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_skb_load_bytes},
    macros::cgroup_skb,
    maps::lpm_trie,
    programs::SkBuffContext,
};
use tollgate_ebpf::{
    Counter,
    address::Address,
    dns::{self, Key, MESSAGE, Outcome, Scratch, Sink},
    flow::Known,
    rule::{KEY, Name},
    verifier::opaque,
};

use crate::maps::{ADDRESSES, LISTENERS, NAMES, QUESTIONS, SCRATCH, count, now};

/// The packet is delivered.
const PASS: i32 = 1;

const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
const ETH_P_IPV6: u32 = 0x86dd_u16.to_be() as u32;
const UDP: u8 = 17;
/// The port that name servers are asked at.
pub(crate) const DOMAIN: u16 = 53;
const UDP_HEADER: usize = 8;
/// Without options.
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

/// A learned address counts for an hour at least, and a week at most.
const SHORTEST_LIFE: u32 = 3_600;
const LONGEST_LIFE: u32 = 7 * 24 * 3_600;

/// Remembers that the socket asks a name server, if its namespace is served: nothing is steered in others, and whoever
/// can make one has a name server of his own in it.
#[inline(always)]
pub(crate) fn asked(sock: *mut bpf_sock_addr) {
    // SAFETY: the context is the program's own.
    let (netns, cookie) = unsafe { (bpf_get_netns_cookie(sock.cast()), bpf_get_socket_cookie(sock.cast())) };
    if LISTENERS.get_ptr(netns).is_some() && QUESTIONS.get_ptr(cookie).is_none() {
        // Nothing is to be done if there is no room: an address is learned later.
        let _full = QUESTIONS.insert(cookie, 1, 0);
    }
}

/// Whether the socket that gets the packet asked a name server.
#[inline(always)]
fn is_solicited(skb: *mut __sk_buff) -> bool {
    // SAFETY: the context is the program's own.
    let cookie = unsafe { bpf_get_socket_cookie(skb.cast()) };
    QUESTIONS.get_ptr(cookie).is_some()
}

/// Learns from what arrives; never holds it up.
#[cgroup_skb(ingress)]
pub(crate) fn dns_answer(context: SkBuffContext) -> i32 {
    if let Some((offset, length)) = udp_payload(context.skb.skb)
        && is_solicited(context.skb.skb)
    {
        learn(context.skb.skb, offset, length);
    }
    PASS
}

/// Where the payload of a datagram from port 53 is. Each packet of the node comes here, so all others leave at once.
#[inline(always)]
fn udp_payload(skb: *mut __sk_buff) -> Option<(u32, u32)> {
    // SAFETY: the kernel's context is valid.
    let protocol = unsafe { read_volatile(&raw const (*skb).protocol) };
    let header = match protocol {
        ETH_P_IP => {
            let packet: &[u8; IPV4_HEADER + UDP_HEADER] = head(skb)?;
            if packet[9] != UDP {
                return None;
            }
            let header = usize::from(packet[0] & 0x0f) * 4;
            if header == IPV4_HEADER && [packet[IPV4_HEADER], packet[IPV4_HEADER + 1]] != DOMAIN.to_be_bytes() {
                return None;
            }
            header
        }
        ETH_P_IPV6 => {
            let packet: &[u8; IPV6_HEADER + UDP_HEADER] = head(skb)?;
            // Extension headers before UDP do not occur in what is delivered to resolvers.
            if packet[6] != UDP || [packet[IPV6_HEADER], packet[IPV6_HEADER + 1]] != DOMAIN.to_be_bytes() {
                return None;
            }
            IPV6_HEADER
        }
        _ => return None,
    };
    let [source, _destination, length, _checksum]: [u16; 4] = load(skb, header as u32)?;
    if source != DOMAIN.to_be() {
        // After the options of an IPv4 header.
        return None;
    }
    let before = UDP_HEADER as u32;
    Some((header as u32 + before, u32::from(u16::from_be(length)).checked_sub(before)?))
}

/// The first bytes of the packet, where they are in one piece. The kernel has seen to that for the headers of IP and UDP
/// before it delivers them.
#[inline(always)]
fn head<'a, const LENGTH: usize>(skb: *mut __sk_buff) -> Option<&'a [u8; LENGTH]> {
    // SAFETY: the kernel's context is valid. These fields have 32 bits in it, and are loaded as pointers.
    let (start, end) =
        unsafe { (read_volatile(&raw const (*skb).data) as usize, read_volatile(&raw const (*skb).data_end) as usize) };
    // SAFETY: the packet has as many bytes, of any value, and stays while the program runs.
    (start + LENGTH <= end).then(|| unsafe { &*(start as *const [u8; LENGTH]) })
}

/// Reads a message, and takes its addresses if its question is an intercepted name.
#[inline(always)]
fn learn(skb: *mut __sk_buff, offset: u32, length: u32) {
    let Some(scratch) = SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: the map's value is valid, aligned and zeroed at first, and no other program uses it meanwhile: packets
    // are delivered with bottom halves off.
    let scratch: &mut Scratch = unsafe { &mut *scratch };
    // SAFETY: the kernel's context is valid.
    let rest = unsafe { read_volatile(&raw const (*skb).len) }.wrapping_sub(offset);
    // A datagram that is longer than its packet is not delivered, but the verifier does not know.
    if length > rest {
        return;
    }
    let length = if length > MESSAGE as u32 { MESSAGE as u32 } else { length };
    // From 1 to the room there is, so that older verifiers see it, too. No length becomes more than the packet has.
    let length = (opaque(length.wrapping_sub(1)) & (MESSAGE as u32 - 1)) + 1;
    // SAFETY: the message has room for the length.
    if unsafe { bpf_skb_load_bytes(skb.cast(), offset, scratch.message.as_mut_ptr().cast(), length) } != 0 {
        return;
    }
    if let Outcome::Malformed = dns::read(scratch, length, &mut Maps) {
        count(Counter::DnsMalformed);
    }
}

/// Bytes of the packet.
#[inline(always)]
fn load<T: Default>(skb: *mut __sk_buff, offset: u32) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the value has the size that is told, and any bytes are a value of the arrays that are asked for.
    let status = unsafe { bpf_skb_load_bytes(skb.cast(), offset, (&raw mut value).cast(), size_of::<T>() as u32) };
    (status == 0).then_some(value)
}

/// The maps, as the reader sees them.
struct Maps;

impl Sink for Maps {
    #[inline(always)]
    fn wants(&mut self, key: &Key, name: &Name) -> bool {
        // SAFETY: both are a number of bits and the bytes after it, packed or not.
        let key = unsafe { &*(&raw const *key).cast::<lpm_trie::Key<[u8; KEY]>>() };
        let wanted = NAMES.get(key).is_some_and(|rule| rule.accepts(name));
        if wanted {
            count(Counter::DnsMatched);
        }
        wanted
    }

    #[inline(always)]
    fn learn(&mut self, address: Address, time_to_live: u32) {
        let life = time_to_live.clamp(SHORTEST_LIFE, LONGEST_LIFE);
        let known = Known { until_ns: now() + u64::from(life) * 1_000_000_000 };
        if ADDRESSES.insert(address.key(), known, 0).is_ok() {
            count(Counter::DnsLearned);
        }
    }
}
