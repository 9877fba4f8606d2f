//! Asking for the usage of streams in OpenAI's dialect, which providers tell only when asked.
//!
//! Of a request that asks for a stream and not for its usage, one span of the body is edited, and with it `content-length` and
//! `accept-encoding` (so that the answer can be read). A provider that refuses the option is sent the request as it came, and is
//! not asked again for a while. [`Relayed`](super::Relayed) takes the extra chunk out of the answer.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderName,
    HeaderValue,
};
use http::{Method, Response, StatusCode, request};
use http_body::Frame;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};
use tollgate_llm::{Api, Call, ChunkRemover, Edits, Provider, StreamUsage, names_stream_options};

use super::Shared;
use super::headers::joined_lines;
use super::request::{Budget, Collection, LARGEST, PAUSE, Room, Terms};
use crate::http2::{ReceiveError, Received};
use crate::observe::{Observer, UpstreamEvent};
use crate::upstream::{Lease, Outgoing, SendError, Target};

/// How much of a refusal is read to see what it is about, and how long it may take to come.
pub(super) const REFUSAL: usize = 64 * 1024;
const REFUSAL_FRAMES: usize = 1024;
pub(super) const REFUSAL_TIME: Duration = Duration::from_secs(5);

/// How long an endpoint that refused the option is not asked: servers are updated.
const REFUSED_FOR: Duration = Duration::from_hours(6);

/// How many such endpoints are remembered.
const REFUSING: usize = 1024;

/// Fields that vouch for the body's bytes.
const DIGESTS: [HeaderName; 6] = [
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("signature-input"),
    HeaderName::from_static("x-amz-content-sha256"),
];

/// What the requests of all connections have in common for this.
pub(super) struct Splicing {
    is_on: bool,
    budget: Budget,
    refusing: Refusing,
}

impl Splicing {
    pub(super) fn new(is_on: bool, budget: Budget) -> Self {
        Self { is_on, budget, refusing: Refusing::default() }
    }

    /// Whether a request may have to be edited, as far as its head tells. The length of its body, if that is known, comes along.
    pub(super) fn candidate(
        &self,
        provider: &Provider,
        host: &str,
        call: &Call,
        parts: &request::Parts,
    ) -> Option<Candidate> {
        let is_asked = self.is_on
            && provider.stream_usage == StreamUsage::OnRequest
            && matches!(call.api, Api::ChatCompletions | Api::Completions)
            && parts.method == Method::POST
            && is_plain_json(&parts.headers)
            && !is_vouched_for(&parts.headers);
        if !is_asked {
            return None;
        }
        let length = match parts.headers.get(CONTENT_LENGTH) {
            Some(value) => Some(value.to_str().ok()?.parse().ok().filter(|length| *length <= LARGEST)?),
            None => None,
        };
        let endpoint = self.refusing.endpoint(host, parts.uri.path());
        (!self.refusing.contains(endpoint)).then_some(Candidate { length, endpoint })
    }

    /// An endpoint has refused what was edited, and taken the request as it came: it is not asked again for a while.
    pub(super) fn has_refused(&self, candidate: &Candidate) {
        self.refusing.insert(candidate.endpoint);
    }

    /// Whether there is room for so many bytes of a request that is collected elsewhere. What was taken before is in `room`.
    pub(super) fn has_room(&self, room: &mut Option<Room>, bytes: usize) -> bool {
        self.budget.grow(room, bytes)
    }

    /// What all bodies that are collected share.
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Collects a request's body, and edits the request if there is something to edit. `false` if the client broke off.
    pub(super) async fn prepare(&self, candidate: &Candidate, outgoing: &mut Outgoing) -> bool {
        let terms =
            Terms { length: candidate.length, largest: LARGEST, pause: PAUSE, asks_usage: true, is_needed: false };
        match outgoing.source.collect(terms, &self.budget).await {
            Collection::Whole(usage) => edit(outgoing, Edits::default(), usage),
            Collection::Part(_) => {}
            Collection::Broken => return false,
        }
        true
    }
}

/// A request that may have to be edited.
pub(super) struct Candidate {
    pub(super) length: Option<usize>,
    endpoint: Endpoint,
}

/// What a provider answered.
pub(super) struct Answered {
    pub(super) response: Response<Received>,
    pub(super) lease: Lease,
    /// What was read of the body already.
    pub(super) read: VecDeque<Result<Frame<Bytes>, ReceiveError>>,
}

/// Sends a request, and again as it came if the provider refuses what was edited.
pub(super) async fn send(
    shared: &Shared,
    target: &Target,
    outgoing: &mut Outgoing,
    candidate: Option<&Candidate>,
) -> Result<Answered, SendError> {
    let Shared { upstream, observer, splicing, .. } = shared;
    if outgoing.unasked.is_some() {
        observer.upstream(UpstreamEvent::UsageAsked);
    }
    let (mut response, mut lease) = upstream.send(target, outgoing, observer).await?;
    let mut read = VecDeque::new();
    if outgoing.unasked.is_some() && may_refuse(response.status()) {
        let is_refusal;
        Read { frames: read, is_refusal } = read_refusal(response.body_mut()).await;
        if is_refusal {
            observer.upstream(UpstreamEvent::UsageRefused);
            lease.give_back();
            restore(outgoing);
            read.clear();
            (response, lease) = upstream.send(target, outgoing, observer).await?;
            // Refused again, it was about something else.
            if let Some(candidate) = candidate.filter(|_| response.status().is_success()) {
                splicing.has_refused(candidate);
            }
        }
    }
    outgoing.source.release();
    Ok(Answered { response, lease, read })
}

/// What takes the extra chunk out of a response to an edited request. It must be a stream of events as it is: without a coding,
/// and without a length, which would be wrong.
pub(super) fn remover(status: StatusCode, headers: &HeaderMap, observer: &dyn Observer) -> Option<ChunkRemover> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !status.is_success() || !essence(content_type).eq_ignore_ascii_case("text/event-stream") {
        return None;
    }
    let coding = joined_lines(headers, &CONTENT_ENCODING);
    if headers.contains_key(CONTENT_LENGTH) || coding.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        observer.upstream(UpstreamEvent::UsageShown);
        return None;
    }
    Some(ChunkRemover::default())
}

/// A media type without its parameters.
fn essence(content_type: Option<&str>) -> &str {
    content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim()
}

fn is_plain_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    essence(content_type).eq_ignore_ascii_case("application/json") && !headers.contains_key(CONTENT_ENCODING)
}

/// Whether an edit would be noticed, or the client waits for a word of the provider before it sends the body.
pub(super) fn is_vouched_for(headers: &HeaderMap) -> bool {
    let signed = headers.get(AUTHORIZATION).is_some_and(|value| value.as_bytes().starts_with(b"AWS4-"));
    signed || headers.contains_key(EXPECT) || DIGESTS.iter().any(|name| headers.contains_key(name))
}

/// A request as it is sent to a provider that refuses to be asked for usage.
pub(crate) struct Unasked {
    headers: HeaderMap,
    edits: Option<Arc<Edits>>,
}

/// Edits a request whose body was collected as a whole: as the policy has it, and to ask for usage.
pub(super) fn edit(outgoing: &mut Outgoing, clamp: Edits, usage: Option<Edits>) {
    if clamp.is_empty() && usage.is_none() {
        return;
    }
    let length = outgoing.parts.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    let set_length = |headers: &mut HeaderMap, edits: &Edits| {
        if let Some(length) = length {
            // In its place: the map keeps the order of what is replaced.
            headers.insert(CONTENT_LENGTH, HeaderValue::from(edits.length(length)));
        }
    };
    let headers = &mut outgoing.parts.headers;
    set_length(headers, &clamp);
    let mut all = clamp.clone();
    let is_asked = usage.is_some_and(|usage| all.extend(usage).is_ok());
    let clamp = (!clamp.is_empty()).then(|| Arc::new(clamp));
    if !is_asked {
        outgoing.small |= clamp.is_some();
        return outgoing.source.set_edits(clamp, false);
    }
    let unasked = Unasked { headers: headers.clone(), edits: clamp };
    set_length(headers, &all);
    outgoing.source.set_edits(Some(Arc::new(all)), true);
    outgoing.small = true;
    // Its headers stay what they were.
    ask_uncoded(outgoing);
    outgoing.unasked = Some(Box::new(unasked));
}

/// Has the answer come as it is: what is coded could not be ended in words.
pub(super) fn ask_uncoded(outgoing: &mut Outgoing) {
    let unasked = outgoing.unasked.as_mut().map(|unasked| &mut unasked.headers);
    for headers in unasked.into_iter().chain([&mut outgoing.parts.headers]) {
        if headers.contains_key(ACCEPT_ENCODING) {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
    }
}

/// Asks no more.
fn restore(outgoing: &mut Outgoing) {
    if let Some(unasked) = outgoing.unasked.take() {
        let Unasked { headers, edits } = *unasked;
        outgoing.parts.headers = headers;
        outgoing.source.set_edits(edits, false);
    }
}

/// Whether a response may be a refusal of the option. Most servers say 400; those that check against a schema, 422.
pub(super) fn may_refuse(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY)
}

/// What was read of a response to see whether it refuses the option.
struct Read {
    frames: VecDeque<Result<Frame<Bytes>, ReceiveError>>,
    /// It names the option, and was read to its end.
    is_refusal: bool,
}

/// Reads a response's body, within bounds, to see whether it names the option. What was read is to be passed on if not.
async fn read_refusal(body: &mut Received) -> Read {
    let (mut frames, mut text) = (VecDeque::new(), Vec::new());
    let deadline = Instant::now() + REFUSAL_TIME;
    let is_whole = loop {
        let Ok(read) = timeout_at(deadline, body.frame()).await else { break false };
        let Some(frame) = read else { break true };
        if let Some(data) = frame.as_ref().ok().and_then(Frame::data_ref) {
            text.extend_from_slice(data);
        }
        let is_over = frame.is_err() || text.len() > REFUSAL || frames.len() > REFUSAL_FRAMES;
        frames.push_back(frame);
        if is_over {
            break false;
        }
    };
    Read { frames, is_refusal: is_whole && names_stream_options(&text) }
}

/// Host and path, which may hold a deployment's name, as a number that tells nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Endpoint(u64);

/// Endpoints that refused the option, and when.
#[derive(Default)]
struct Refusing {
    hasher: RandomState,
    since: Mutex<HashMap<Endpoint, Instant>>,
}

impl Refusing {
    fn endpoint(&self, host: &str, path: &str) -> Endpoint {
        Endpoint(self.hasher.hash_one((host, path)))
    }

    fn contains(&self, endpoint: Endpoint) -> bool {
        self.since.lock().get(&endpoint).is_some_and(|since| since.elapsed() < REFUSED_FOR)
    }

    fn insert(&self, endpoint: Endpoint) {
        let mut since = self.since.lock();
        if since.len() >= REFUSING && !since.contains_key(&endpoint) {
            let oldest = since.iter().min_by_key(|(_, since)| **since).map(|(endpoint, _)| *endpoint);
            oldest.map(|oldest| since.remove(&oldest));
        }
        since.insert(endpoint, Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_are_remembered_for_a_while_and_within_a_bound() {
        let refusing = Refusing::default();
        let endpoint = |number: usize| refusing.endpoint("host", &number.to_string());
        for number in 0..2 * REFUSING {
            refusing.insert(endpoint(number));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert_eq!(refusing.since.lock().len(), REFUSING);
        assert!(refusing.contains(endpoint(2 * REFUSING - 1)) && !refusing.contains(endpoint(0)));
        tokio::time::advance(REFUSED_FOR).await;
        assert!(!refusing.contains(endpoint(2 * REFUSING - 1)));
    }
}
