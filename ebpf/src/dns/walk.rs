//! The two passes over a message: its question, then the names and records of its answer.

use super::{MESSAGE, Outcome, Scratch, Sink};
use crate::{address::Address, rule::lower};

const HEADER: u32 = 12;
/// The most labels that fit into a name of 255 bytes.
const LABELS: u32 = 127;
/// How many labels and pointers are followed: enough for what fits into an unfragmented packet. A record whose owner
/// is one pointer to the wanted name takes one step.
const STEPS: u32 = 192;

const CLASS_IN: u32 = 1;
const TYPE_A: u32 = 1;
const TYPE_CNAME: u32 = 5;
const TYPE_AAAA: u32 = 28;

/// The phases of the walk: which name is being read.
const QUESTION: u32 = 0;
const OWNER: u32 = 1;
const TARGET: u32 = 2;

/// Checks the header, and finds the end of the question's name.
#[inline(always)]
pub(super) fn question(scratch: &mut Scratch, length: u32) -> Outcome {
    if length < HEADER || length > MESSAGE as u32 {
        return Outcome::Ignored;
    }
    // A response (QR) to a standard query (OPCODE 0) without an error (RCODE 0).
    if scratch.byte(2) & 0xf8 != 0x80 || scratch.byte(3) & 0x0f != 0 || scratch.short(4) != 1 {
        return Outcome::Ignored;
    }
    let records = scratch.short(6);
    if records == 0 {
        return Outcome::Ignored;
    }
    let length = scratch.state.length.launder(length);
    scratch.state.records.set(records);
    scratch.state.at.set(HEADER);
    scratch.state.left.set(0); // Counts the labels here.
    let mut found = false;
    for _ in 0..=LABELS {
        let at = scratch.state.at.get();
        let label = scratch.byte(at);
        if label == 0 {
            found = true;
            break;
        }
        // Nothing is before the question that a pointer could lead to.
        if label > 63 || at + label + 1 >= length {
            break;
        }
        scratch.state.at.set(at + label + 1);
        let labels = scratch.state.left.get();
        scratch.state.left.set(labels + 1);
    }
    let end = scratch.state.at.get();
    let name = end.wrapping_sub(HEADER);
    // The root, the type and the class follow.
    if !found || name == 0 || name > 254 || end + 5 > length || scratch.short(end + 3) != CLASS_IN {
        return Outcome::Malformed;
    }
    let labels = scratch.state.left.get();
    scratch.take_name(HEADER, name, labels);
    Outcome::Read
}

/// Goes through the question's name again, to hash it, and through the records.
#[inline(always)]
pub(super) fn answers(scratch: &mut Scratch, sink: &mut impl Sink) -> Outcome {
    scratch.state.phase.set(QUESTION);
    start_name(scratch, HEADER);
    for _ in 0..STEPS {
        match step(scratch, sink) {
            Step::On => {}
            Step::End => return Outcome::Read,
            Step::Fault => return Outcome::Malformed,
        }
    }
    Outcome::Malformed
}

/// How a step went.
enum Step {
    On,
    End,
    Fault,
}

/// Begins to read the name at an offset.
#[inline(always)]
fn start_name(scratch: &mut Scratch, at: u32) {
    let state = &mut scratch.state;
    state.at.set(at);
    state.run.set(at);
    state.resume.set(0);
    state.spent.set(0);
    state.hash.set(0);
}

/// Reads one label or pointer; at the end of a name, also what follows it.
#[inline(always)]
fn step(scratch: &mut Scratch, sink: &mut impl Sink) -> Step {
    let at = scratch.state.at.get();
    if at >= scratch.state.length.get() {
        return Step::Fault;
    }
    let label = scratch.byte(at);
    if label == 0 {
        if scratch.state.resume.get() == 0 {
            scratch.state.resume.set(at + 1);
        }
    } else if label < 64 {
        let spent = scratch.state.spent.get() + label + 1;
        if spent > 254 {
            return Step::Fault;
        }
        scratch.state.spent.set(spent);
        hash_label(scratch, at, label + 1);
        scratch.state.at.set(at + label + 1);
        return Step::On;
    } else if label >= 0xc0 {
        let target = scratch.short(at) & 0x3fff;
        // Strictly backwards, so that pointers end; never into the header.
        if target < HEADER || target >= scratch.state.run.get() {
            return Step::Fault;
        }
        if scratch.state.resume.get() == 0 {
            scratch.state.resume.set(at + 2);
        }
        let whole = scratch.state.spent.get() == 0 && scratch.state.phase.get() == OWNER;
        if !whole || target != scratch.state.wanted_at.get() {
            scratch.state.at.set(target);
            scratch.state.run.set(target);
            return Step::On;
        }
        let wanted = scratch.state.wanted.get();
        scratch.state.hash.set(wanted);
    } else {
        return Step::Fault; // Label types 01 and 10 are obsolete (RFC 6891, section 5).
    }
    let end = scratch.state.resume.get();
    match scratch.state.phase.get() {
        OWNER => record(scratch, end, sink),
        TARGET => target(scratch, end),
        _ => {
            let wanted = scratch.state.hash.get();
            scratch.state.wanted.set(wanted);
            scratch.state.wanted_at.set(HEADER);
            scratch.state.first.set(end + 4);
            start_pass(scratch)
        }
    }
}

/// Begins with the first record.
#[inline(always)]
fn start_pass(scratch: &mut Scratch) -> Step {
    scratch.state.phase.set(OWNER);
    scratch.state.skipped.set(0);
    scratch.state.advanced.set(0);
    let records = scratch.state.records.get();
    scratch.state.left.set(records);
    let first = scratch.state.first.get();
    start_name(scratch, first);
    Step::On
}

/// Mixes a label, its length byte included, into the name's hash. All eight words, whatever the length, and no branch:
/// the verifier would follow each way out of a loop to the end of the message.
#[inline(always)]
fn hash_label(scratch: &mut Scratch, at: u32, length: u32) {
    let mut hash = scratch.state.hash.get();
    for step in 0..8 {
        hash = (hash ^ lower(scratch.label_word(at, length, step))).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^= hash >> 32;
    }
    scratch.state.hash.set(hash);
}

/// Reads the record whose owner ends at an offset.
#[inline(always)]
fn record(scratch: &mut Scratch, end: u32, sink: &mut impl Sink) -> Step {
    let fixed = scratch.word(end, 0).swap_bytes();
    let data = end + 10;
    let size = scratch.short(end + 8);
    if data + size > scratch.state.length.get() {
        return Step::Fault;
    }
    scratch.state.next.set(data + size);
    let kind = (fixed >> 48) as u32;
    let class = (fixed >> 32) as u32 & 0xffff;
    let relevant = class == CLASS_IN && (kind == TYPE_A || kind == TYPE_AAAA || kind == TYPE_CNAME);
    if relevant && scratch.state.hash.get() != scratch.state.wanted.get() {
        scratch.state.skipped.set(1);
    } else if relevant && kind == TYPE_CNAME {
        scratch.state.phase.set(TARGET);
        scratch.state.target.set(data);
        start_name(scratch, data);
        return Step::On;
    } else if relevant {
        // RFC 2181, section 8: a time to live with the top bit set is 0.
        let time_to_live = if fixed as u32 >> 31 == 0 { fixed as u32 } else { 0 };
        if !address_record(scratch, kind, data, size, time_to_live, sink) {
            return Step::Fault;
        }
    }
    next_record(scratch)
}

/// Takes the address of an A or AAAA record; false if its size is wrong.
#[inline(always)]
fn address_record(scratch: &Scratch, kind: u32, data: u32, size: u32, time_to_live: u32, sink: &mut impl Sink) -> bool {
    let first = scratch.word(data, 0).swap_bytes();
    let address = if kind == TYPE_A {
        if size != 4 {
            return false;
        }
        Address::v4((first >> 32) as u32)
    } else {
        if size != 16 {
            return false;
        }
        Address::v6(first, scratch.word(data, 1).swap_bytes())
    };
    if address.is_interceptable() {
        sink.learn(address, time_to_live);
    }
    true
}

/// Goes on from a CNAME's target, which must fill its record.
#[inline(always)]
fn target(scratch: &mut Scratch, end: u32) -> Step {
    if end != scratch.state.next.get() {
        return Step::Fault;
    }
    let wanted = scratch.state.hash.get();
    scratch.state.wanted.set(wanted);
    let start = scratch.state.target.get();
    scratch.state.wanted_at.set(start);
    scratch.state.advanced.set(1);
    next_record(scratch)
}

/// Steps over a record, and begins anew after the last one if the chain went on to names that were passed over.
#[inline(always)]
fn next_record(scratch: &mut Scratch) -> Step {
    scratch.state.phase.set(OWNER);
    let left = scratch.state.left.get().wrapping_sub(1);
    scratch.state.left.set(left);
    if left != 0 {
        let next = scratch.state.next.get();
        start_name(scratch, next);
        return Step::On;
    }
    if scratch.state.skipped.get() != 0 && scratch.state.advanced.get() != 0 {
        return start_pass(scratch);
    }
    Step::End
}
