//! Heads of HTTP/1.1 messages: read, and passed on as they came but for what concerns one connection alone.
//!
//! A head is taken only where there is one way to read it. What is odd, in its line ends, its framing or what it asks for, is left
//! to hyper, which writes it anew in its own words: two readers of odd bytes may disagree about where a message ends.

use std::mem::MaybeUninit;
use std::ops::Range;
use std::time::Duration;

use http::header::HeaderMap;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, request};
use httparse::Status;
use memchr::{memchr_iter, memmem};

use super::framing::Framing;
use super::limits::{MAX_BUFFER, MAX_HEADERS};

/// Field lines that are read without allocating.
const USUAL: usize = 64;

/// What the agent reads of heads, beside their framing: whose call it is, how it is coded and vouched for, what it is called.
const READ: [HeaderName; 21] = [
    http::header::ACCEPT_ENCODING,
    http::header::AUTHORIZATION,
    http::header::CONTENT_ENCODING,
    http::header::CONTENT_TYPE,
    http::header::SEC_WEBSOCKET_PROTOCOL,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("apim-request-id"),
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("request-id"),
    HeaderName::from_static("signature-input"),
    http::header::TRAILER,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-cloud-trace-context"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("x-goog-request-id"),
    HeaderName::from_static("x-ms-request-id"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-amz-content-sha256"),
];

/// What Amazon tells in heads, of which there is more than can be listed.
const AMAZONS: &str = "x-amzn-";

/// A request's head.
pub(super) struct RequestHead {
    /// Method, target, and the fields that are read.
    pub(super) parts: request::Parts,
    /// How many bytes it has.
    pub(super) length: usize,
    pub(super) body: Framing,
    /// As the head says it.
    pub(super) content_length: Option<u64>,
    /// The client wants the connection closed after the answer.
    pub(super) closes: bool,
    /// Where the values stand that are edited with the body.
    places: Places,
}

#[derive(Default)]
struct Places {
    content_length: Range<usize>,
    /// There may be several, and then none is edited.
    accept_encoding: Vec<Range<usize>>,
    user_agent: Option<Range<usize>>,
}

impl RequestHead {
    /// The client's name for itself. `bytes` begin with the head.
    pub(super) fn user_agent<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        bytes.get(self.places.user_agent.clone()?)
    }

    /// The head for a body of another length. `bytes` begin with the head. Where it `asks_usage`, the answer is to come without a
    /// coding. Nothing where the head would have to be written anew.
    pub(super) fn edited(&self, bytes: &[u8], length: u64, asks_usage: bool) -> Option<Vec<u8>> {
        let Places { content_length, accept_encoding, .. } = &self.places;
        let accept_encoding = if asks_usage { &accept_encoding[..] } else { &[] };
        if content_length.is_empty() || accept_encoding.len() > 1 {
            return None;
        }
        let length = length.to_string();
        let mut edits = vec![(content_length.clone(), length.as_bytes())];
        edits.extend(accept_encoding.iter().map(|place| (place.clone(), &b"identity"[..])));
        edits.sort_unstable_by_key(|(place, _)| place.start);
        let (mut head, mut at) = (Vec::with_capacity(self.length + 16), 0);
        for (place, value) in edits {
            head.extend_from_slice(&bytes[at..place.start]);
            head.extend_from_slice(value);
            at = place.end;
        }
        head.extend_from_slice(&bytes[at..self.length]);
        Some(head)
    }
}

/// What the first bytes of a connection, or those after a message, are.
pub(super) enum Found {
    /// Not all of a head.
    Part,
    /// A head, and what follows it is its body.
    Head(Box<RequestHead>),
    /// Nothing that is taken here.
    Odd,
}

/// Reads a request's head, if it is all there. `host` is whom the connection is for.
pub(super) fn request(bytes: &[u8], host: &str) -> Found {
    let Some(length) = end(bytes) else { return if may_become_plain(bytes) { Found::Part } else { Found::Odd } };
    let bytes = &bytes[..length];
    if !has_plain_lines(bytes) {
        return Found::Odd;
    }
    let mut usual = [const { MaybeUninit::uninit() }; USUAL];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut usual) {
        Ok(Status::Complete(parsed)) if parsed == length => read_request(&request, bytes, host),
        // hyper takes more lines, and says what is wrong.
        Ok(_) | Err(_) => None,
    }
    .map_or(Found::Odd, |head| Found::Head(Box::new(head)))
}

/// Whether the beginning of a head is one, as far as it goes.
fn may_become_plain(bytes: &[u8]) -> bool {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL];
    let parsed = httparse::Request::new(&mut []).parse_with_uninit_headers(bytes, &mut usual);
    // A carriage return at the very end may be half a line's end.
    bytes.len() < MAX_BUFFER
        && parsed == Ok(Status::Partial)
        && has_plain_lines(bytes.strip_suffix(b"\r").unwrap_or(bytes))
}

fn read_request(request: &httparse::Request<'_, '_>, bytes: &[u8], host: &str) -> Option<RequestHead> {
    let target = request.path.filter(|target| target.starts_with('/'))?;
    let method = Method::from_bytes(request.method?.as_bytes()).ok()?;
    if request.version != Some(1) || method == Method::CONNECT {
        return None;
    }
    let (mut parts, ()) = http::Request::new(()).into_parts();
    (parts.method, parts.uri) = (method, Uri::try_from(target).ok()?);
    let (mut named, mut closes, mut content_length, mut is_chunked) = (false, false, None, false);
    let mut places = Places::default();
    let place = |value: &[u8]| {
        let start = value.as_ptr().addr() - bytes.as_ptr().addr();
        start..start + value.len()
    };
    for field in &*request.headers {
        match Kind::of(field.name) {
            Kind::Other => {}
            Kind::Read(name) => {
                if name == http::header::ACCEPT_ENCODING {
                    places.accept_encoding.push(place(field.value));
                }
                parts.headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
            }
            Kind::ContentLength if content_length.is_none() => {
                let length = digits(field.value)?;
                content_length = Some(length);
                places.content_length = place(field.value);
                parts.headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            Kind::TransferEncoding if !is_chunked && field.value.eq_ignore_ascii_case(b"chunked") => is_chunked = true,
            Kind::Host if !named && is_host(field.value, host) => named = true,
            Kind::Te if field.value.eq_ignore_ascii_case(b"trailers") => {}
            Kind::UserAgent => places.user_agent = Some(place(field.value)),
            Kind::Connection => {
                for option in options(field.value) {
                    closes |= option.eq_ignore_ascii_case(b"close");
                    if !["close", "keep-alive", "te"].iter().any(|o| option.eq_ignore_ascii_case(o.as_bytes())) {
                        return None;
                    }
                }
            }
            _ => return None,
        }
    }
    let body = match (content_length, is_chunked) {
        (Some(_), true) => return None,
        (Some(length), false) => Framing::length(length),
        (None, true) => Framing::CHUNKED,
        (None, false) => Framing::EMPTY,
    };
    named.then_some(RequestHead { parts, length: bytes.len(), body, content_length, closes, places })
}

/// A response's head.
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    /// The fields that are read.
    pub(super) fields: HeaderMap,
    /// How many bytes it has.
    pub(super) length: usize,
    pub(super) body: Framing,
    /// What the client is sent in its place, where that is not the same.
    pub(super) edited: Option<Vec<u8>>,
    /// The connection cannot be used again.
    pub(super) closes: bool,
    /// How long the server keeps an unused connection, where it says so (RFC 2068 § 19.7.1).
    pub(super) keeps_for: Option<Duration>,
}

/// What came is no HTTP/1 response.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("invalid head of a response")]
pub struct NotHttp;

/// Reads the head of a response to `method`, if it is all there.
pub(super) fn response(bytes: &[u8], method: &Method) -> Result<Option<ResponseHead>, NotHttp> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL];
    let mut response = httparse::Response::new(&mut []);
    let mut config = httparse::ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true);
    match config.parse_response_with_uninit_headers(&mut response, bytes, &mut usual) {
        Ok(Status::Complete(length)) => return read_response(&response, bytes, length, method).map(Some),
        Ok(Status::Partial) if bytes.len() < MAX_BUFFER => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {}
        Ok(Status::Partial) | Err(_) => return Err(NotHttp),
    }
    let mut many = vec![MaybeUninit::uninit(); MAX_HEADERS];
    match config.parse_response_with_uninit_headers(&mut response, bytes, &mut many) {
        Ok(Status::Complete(length)) => read_response(&response, bytes, length, method).map(Some),
        Ok(Status::Partial) if bytes.len() < MAX_BUFFER => Ok(None),
        Ok(Status::Partial) | Err(_) => Err(NotHttp),
    }
}

fn read_response(
    response: &httparse::Response<'_, '_>,
    bytes: &[u8],
    length: usize,
    method: &Method,
) -> Result<ResponseHead, NotHttp> {
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or(NotHttp)?;
    let mut fields = HeaderMap::new();
    let (mut closes, mut stays) = (false, false);
    let (mut content_length, mut codings, mut keeps_for) = (None, None, None);
    let mut for_us = false;
    for field in &*response.headers {
        match Kind::of(field.name) {
            Kind::ContentLength => {
                let length = listed_length(field.value).ok_or(NotHttp)?;
                if content_length.replace(length).is_some_and(|before| before != length) {
                    return Err(NotHttp);
                }
                fields.insert(http::header::CONTENT_LENGTH, HeaderValue::from(length));
            }
            Kind::TransferEncoding => {
                codings = Some(options(field.value).last().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked")));
            }
            Kind::Connection => {
                for option in options(field.value) {
                    closes |= option.eq_ignore_ascii_case(b"close");
                    stays |= option.eq_ignore_ascii_case(b"keep-alive");
                    for_us |= !is_common_option(option);
                }
            }
            Kind::KeepAlive => {
                for_us = true;
                keeps_for = keep_alive_timeout(field.value).or(keeps_for);
            }
            Kind::ProxyConnection => for_us = true,
            Kind::Te if !field.value.eq_ignore_ascii_case(b"trailers") => for_us = true,
            Kind::Read(name) => {
                if let Ok(value) = HeaderValue::from_bytes(field.value) {
                    fields.append(name, value);
                }
            }
            _ => {}
        }
    }
    let is_bare = *method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = match (codings, content_length) {
        _ if is_bare => Framing::EMPTY,
        (Some(true), _) => Framing::CHUNKED,
        (Some(false), _) | (None, None) => Framing::UNTIL_CLOSE,
        (None, Some(length)) => Framing::length(length),
    };
    // The coding overrides the length, and whoever reads on must not see both (RFC 9112 § 6.3).
    for_us |= codings.is_some() && content_length.is_some();
    let edited = for_us.then(|| edited(bytes, length, &response.headers[..], codings.is_some()));
    // An old server that uses a coding is not believed to know where its message ends (RFC 9112 § 6.1).
    let closes = closes || body.is_until_close() || (response.version == Some(0) && (!stays || codings.is_some()));
    Ok(ResponseHead { status, fields, length, body, edited, closes, keeps_for })
}

/// The head without what concerns our connection to the server alone (RFC 9110 § 7.6.1).
fn edited(bytes: &[u8], length: usize, fields: &[httparse::Header<'_>], without_length: bool) -> Vec<u8> {
    let place = |name: &str| name.as_ptr().addr() - bytes.as_ptr().addr();
    let nominated: Vec<&[u8]> = fields
        .iter()
        .filter(|field| matches!(Kind::of(field.name), Kind::Connection))
        .flat_map(|field| options(field.value))
        .filter(|option| !is_common_option(option))
        .collect();
    let first = fields.first().map_or(length, |field| place(field.name));
    let mut head = bytes[..first].to_vec();
    for (index, field) in fields.iter().enumerate() {
        // With whatever stands around it, folded lines included. The last ends before the empty line.
        let next = fields.get(index + 1).map(|next| place(next.name));
        let line = &bytes[place(field.name)..next.unwrap_or_else(|| empty_line(bytes, length))];
        let kind = Kind::of(field.name);
        match kind {
            Kind::KeepAlive | Kind::ProxyConnection => {}
            Kind::Te if !field.value.eq_ignore_ascii_case(b"trailers") => {}
            Kind::ContentLength if without_length => {}
            Kind::Connection if options(field.value).any(|option| !is_common_option(option)) => {
                let rest: Vec<&[u8]> = options(field.value).filter(|option| is_common_option(option)).collect();
                if !rest.is_empty() {
                    head.extend_from_slice(field.name.as_bytes());
                    head.extend_from_slice(b": ");
                    head.extend_from_slice(&rest.join(&b", "[..]));
                    head.extend_from_slice(b"\r\n");
                }
            }
            // Nominated or not, they say how far the body reaches.
            Kind::ContentLength | Kind::TransferEncoding | Kind::Connection => head.extend_from_slice(line),
            _ if nominated.iter().any(|name| name.eq_ignore_ascii_case(field.name.as_bytes())) => {}
            _ => head.extend_from_slice(line),
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Says that the connection closes after this response, in a head that does not say so.
pub(super) fn with_close(head: &[u8]) -> Vec<u8> {
    let end = empty_line(head, head.len());
    [&head[..end], b"connection: close\r\n\r\n"].concat()
}

/// Where the empty line at the end of a head of so many bytes begins.
fn empty_line(bytes: &[u8], length: usize) -> usize {
    if bytes[..length].ends_with(b"\r\n") { length - 2 } else { length - 1 }
}

/// The length of a head, the empty line included.
fn end(bytes: &[u8]) -> Option<usize> {
    memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

/// Whether every line ends in CR and LF, and neither stands anywhere else.
fn has_plain_lines(head: &[u8]) -> bool {
    let mut lines = 0;
    for at in memchr_iter(b'\n', head) {
        if at == 0 || head[at - 1] != b'\r' {
            return false;
        }
        lines += 1;
    }
    memchr_iter(b'\r', head).count() == lines
}

/// What a field is to us.
enum Kind {
    Other,
    Read(HeaderName),
    ContentLength,
    TransferEncoding,
    Connection,
    Host,
    Te,
    UserAgent,
    KeepAlive,
    ProxyConnection,
    /// What asks for more than a request and its answer.
    Special,
}

impl Kind {
    fn of(name: &str) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            2 if is("te") => Self::Te,
            4 if is("host") => Self::Host,
            6 if is("expect") => Self::Special,
            7 if is("upgrade") => Self::Special,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::KeepAlive,
            10 if is("user-agent") => Self::UserAgent,
            14 if is("content-length") => Self::ContentLength,
            14 if is("http2-settings") => Self::Special,
            16 if is("proxy-connection") => Self::ProxyConnection,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            _ => read_name(name).map_or(Self::Other, Self::Read),
        }
    }
}

/// The name of a field that is read.
fn read_name(name: &str) -> Option<HeaderName> {
    if name.get(..AMAZONS.len()).is_some_and(|start| start.eq_ignore_ascii_case(AMAZONS)) {
        return HeaderName::from_bytes(name.as_bytes()).ok();
    }
    READ.iter().find(|read| name.eq_ignore_ascii_case(read.as_str())).cloned()
}

fn is_host(value: &[u8], host: &str) -> bool {
    let name = value.strip_suffix(b":443").unwrap_or(value);
    name.eq_ignore_ascii_case(host.as_bytes())
}

fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

/// Options that mean the same on the next connection. The others name fields that are dropped.
fn is_common_option(option: &[u8]) -> bool {
    ["close", "keep-alive", "upgrade", "te"].iter().any(|common| option.eq_ignore_ascii_case(common.as_bytes()))
}

fn digits(value: &[u8]) -> Option<u64> {
    let is_number = !value.is_empty() && value.len() < 19 && value.iter().all(u8::is_ascii_digit);
    is_number.then(|| value.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// A length that may be said several times over (RFC 9110 § 8.6).
fn listed_length(value: &[u8]) -> Option<u64> {
    let mut lengths = value.split(|&byte| byte == b',').map(|length| digits(length.trim_ascii()));
    let first = lengths.next()??;
    lengths.all(|length| length == Some(first)).then_some(first)
}

fn keep_alive_timeout(value: &[u8]) -> Option<Duration> {
    let seconds = options(value).find_map(|part| digits(part.strip_prefix(b"timeout=")?.trim_ascii()))?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests;
