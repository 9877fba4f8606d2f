//! From an answer and its faults to the steps of writing it.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use crate::answer::{Answer, Content, Event};
use crate::coding::Coding;
use crate::fault::{Cut, CutHow, Faults, Split};
use crate::gate::{Gate, Gates};
use crate::seed::Random;
use crate::truth::{Said, Usage};

/// One thing to do while writing a response body.
pub(crate) enum Step {
    Data(Bytes, Option<Usage>),
    /// The next data hold this piece of the answer.
    Say(Said),
    Wait(Duration),
    Gate(Gate),
    /// Lets the connection write what it has, so that the next bytes travel alone.
    Flush,
    Stall,
    Fail(CutHow),
    Trailers(HeaderMap),
}

/// The steps, and the body's length where it is known beforehand.
pub(crate) struct Script {
    pub(crate) steps: Box<dyn Iterator<Item = Step> + Send>,
    pub(crate) length: Option<u64>,
}

/// Writes the script of `answer`. `pace` is the wait before each event where no fault says otherwise.
pub(crate) fn script(answer: &Answer, faults: &Faults, coding: Coding, pace: Duration, gates: &Gates) -> Script {
    if let Content::Random { seed, length, chunk } = answer.content {
        let steps = Box::new(random(seed, length, chunk, faults).chain(trailers(faults)));
        return Script { steps, length: (!faults.trailers).then_some(length) };
    }
    let plain = *faults == Faults::default() && coding == Coding::Identity;
    if let (Content::Whole(body), true) = (&answer.content, plain) {
        let step = (!body.is_empty()).then(|| Step::Data(body.clone(), answer.usage));
        return Script { steps: Box::new(step.into_iter()), length: Some(body.len() as u64) };
    }
    let (coded, whole_length) = coded(pieces(answer, faults), faults, coding);
    let length = (!answer.is_stream() && !faults.trailers).then_some(whole_length);
    let waits = Waits { pace, faults: faults.clone(), gate: faults.gate.as_deref().map(|name| gates.named(name)) };
    let cut = faults.cut;
    // An error event was already put in its place, to be coded with the rest.
    let limit = cut.filter(|cut| cut.how != CutHow::Error).map_or(usize::MAX, |cut| cut.after);
    let mut steps = Vec::with_capacity(coded.len() * 2 + 3);
    for (index, piece) in coded.into_iter().take(limit).enumerate() {
        waits.before(index, &mut steps);
        split(piece, faults.split, &mut steps);
    }
    if let Some(cut) = cut {
        end_badly(cut, &mut steps);
    } else {
        steps.extend(trailers(faults));
    }
    Script { steps: Box::new(steps.into_iter()), length }
}

struct Waits {
    pace: Duration,
    faults: Faults,
    gate: Option<Gate>,
}

impl Waits {
    fn before(&self, index: usize, steps: &mut Vec<Step>) {
        if let Some(gate) = &self.gate {
            steps.push(Step::Gate(gate.clone()));
        }
        let wait = self.faults.delay.unwrap_or(self.pace);
        if !wait.is_zero() {
            steps.push(Step::Wait(wait));
        } else if index > 0 {
            steps.push(Step::Flush);
        }
    }
}

/// The plain pieces: a stream's events, or a whole body, cut into eighths where a fault needs places.
fn pieces(answer: &Answer, faults: &Faults) -> Vec<Event> {
    match &answer.content {
        Content::Events(events) => {
            let mut events = events.clone();
            if let Some(Cut { after, how: CutHow::Error }) = faults.cut {
                events.truncate(after);
                events.push(Event::new(answer.error_event.clone()));
            }
            if faults.crlf {
                for event in &mut events {
                    event.bytes = String::from_utf8_lossy(&event.bytes).replace('\n', "\r\n").into();
                }
            }
            if let Some(event) = faults.damage.and_then(|at| events.get_mut(at)) {
                let mut bytes = event.bytes.to_vec();
                let middle = bytes.len() / 2;
                bytes[middle..].iter_mut().take(1).for_each(|byte| *byte ^= 1);
                event.bytes = bytes.into();
            }
            if faults.keepalive {
                let ping = || Event::new(&b": keep-alive\n\n"[..]);
                events = events.into_iter().flat_map(|event| [ping(), event]).collect();
            }
            events
        }
        Content::Whole(body) => {
            let size = if faults.cut.is_some() || faults.delay.is_some() || faults.gate.is_some() {
                body.len().div_ceil(8).max(1)
            } else {
                body.len().max(1)
            };
            let mut pieces: Vec<Event> = (0..body.len())
                .step_by(size)
                .map(|start| Event::new(body.slice(start..body.len().min(start + size))))
                .collect();
            if let Some(last) = pieces.last_mut() {
                last.usage = answer.usage;
            }
            pieces
        }
        Content::Random { .. } => unreachable!("random content has its own steps"),
    }
}

/// The pieces as coded, and the length of all of them.
fn coded(pieces: Vec<Event>, faults: &Faults, coding: Coding) -> (Vec<Event>, u64) {
    if coding == Coding::Identity {
        let length = pieces.iter().map(|piece| piece.bytes.len() as u64).sum();
        return (pieces, length);
    }
    let mut encoder = coding.encoder();
    let mut coded: Vec<Event> =
        pieces.into_iter().map(|piece| Event { bytes: encoder.push(&piece.bytes), ..piece }).collect();
    let end = encoder.finish();
    match coded.last_mut() {
        // The end of the coding travels with the last piece, as a server that knows its body's end would write it.
        Some(last) if faults.gate.is_none() => last.bytes = [&last.bytes[..], &end[..]].concat().into(),
        _ => coded.push(Event::new(end)),
    }
    let length = coded.iter().map(|piece| piece.bytes.len() as u64).sum();
    (coded, length)
}

fn split(piece: Event, how: Option<Split>, steps: &mut Vec<Step>) {
    let Event { bytes, usage, said } = piece;
    let ends: Vec<usize> = match how {
        None => Vec::new(),
        Some(Split::Bytes(size)) => (size..bytes.len()).step_by(size).collect(),
        Some(Split::Characters) => {
            let continues = |byte: u8| byte & 0b1100_0000 == 0b1000_0000;
            (1..bytes.len()).filter(|&at| continues(bytes[at]) && bytes[at - 1] >= 0b1100_0000).collect()
        }
    };
    let mut start = 0;
    for end in ends {
        steps.push(Step::Data(bytes.slice(start..end), None));
        steps.push(Step::Flush);
        start = end;
    }
    if said != Said::default() {
        steps.push(Step::Say(said));
    }
    steps.push(Step::Data(bytes.slice(start..), usage));
}

fn end_badly(cut: Cut, steps: &mut Vec<Step>) {
    match cut.how {
        CutHow::Stall => steps.push(Step::Stall),
        CutHow::Error => steps.push(Step::Fail(CutHow::Error)),
        how => {
            // A reset discards what still waits in the socket: give the bytes before it time to leave.
            steps.push(Step::Wait(Duration::from_millis(20)));
            steps.push(Step::Fail(how));
        }
    }
}

fn random(seed: u64, length: u64, chunk: usize, faults: &Faults) -> impl Iterator<Item = Step> + Send + use<> {
    let cut = faults.cut;
    let end = cut.map_or(length, |cut| length.min(length / 8 * cut.after as u64));
    let wait = faults.delay;
    let mut random = Random::new(seed);
    let mut sent = 0;
    let data = std::iter::from_fn(move || {
        let size = (end - sent).min(chunk as u64);
        sent += size;
        (size > 0).then(|| {
            let mut data = vec![0; size as usize];
            random.fill(&mut data);
            Step::Data(data.into(), None)
        })
    });
    let paced = data.flat_map(move |step| wait.map(Step::Wait).into_iter().chain([step]));
    let last = cut.map(|cut| match cut.how {
        CutHow::Stall => vec![Step::Stall],
        how => vec![Step::Wait(Duration::from_millis(20)), Step::Fail(how)],
    });
    paced.chain(last.into_iter().flatten())
}

fn trailers(faults: &Faults) -> Option<Step> {
    faults.trailers.then(|| {
        let mut map = HeaderMap::new();
        map.insert("x-provider-trailer", HeaderValue::from_static("the end"));
        map.insert("x-provider-checksum", HeaderValue::from_static("none"));
        Step::Trailers(map)
    })
}
