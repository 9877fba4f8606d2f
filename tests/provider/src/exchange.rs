//! One request and its response: read, find the faults, answer, play.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, DATE, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::answer::{Answer, Content};
use crate::coding::Coding;
use crate::dialect::bedrock::{self, signature::Signed};
use crate::dialect::{Ask, Dialect, general};
use crate::fault::{FAULT_HEADER, Faults};
use crate::provider::Shared;
use crate::script::script;
use crate::seed::{self, Seed, hex};
use crate::serve::heads;
use crate::serve::playback::Playback;
use crate::serve::wire::Conn;
use crate::truth::{Exchange, Outcome, Said, Ticket};

/// The largest body that is collected; larger ones are for `/echo`, which streams.
const BODY_LIMIT: usize = 128 << 20;

/// The connection is to be closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("hung up on purpose")]
pub(crate) struct HangUp;

/// Everything about a request that its answer may depend on, and where to record it.
pub(crate) struct Inbound {
    pub(crate) shared: Arc<Shared>,
    pub(crate) conn: Arc<Conn>,
    pub(crate) request: Request<Incoming>,
    pub(crate) ticket: Ticket,
    pub(crate) host: String,
    pub(crate) faults: Faults,
}

pub(crate) async fn serve(
    shared: Arc<Shared>,
    conn: Arc<Conn>,
    request: Request<Incoming>,
) -> Result<Response<Playback>, HangUp> {
    let exchange = describe(&conn, &request);
    let host = exchange.host.clone();
    let ticket = shared.truth.open(exchange);
    let served = conn.requests.fetch_add(1, Ordering::Relaxed) + 1;
    if shared.requests_per_connection.is_some_and(|most| served >= most) {
        conn.retire.notify_one();
    }
    let dialect = shared.dialect(&host).or_else(|| shared.dialect(conn.sni.as_deref()?));
    let mut inbound = Inbound { shared, conn, request, ticket, host, faults: Faults::default() };
    let Some(dialect) = dialect else {
        let text = format!("this server is not {}\n", inbound.host);
        return Ok(inbound.play(&Answer::new(StatusCode::MISDIRECTED_REQUEST, "text/plain", text)));
    };
    match inbound.header_faults(dialect) {
        Ok(faults) => inbound.faults = faults,
        Err(refusal) => return Ok(inbound.play(&refusal)),
    }
    if let Some(special) = general::Special::of(&inbound.request) {
        return special.serve(inbound).await;
    }
    answer(inbound, dialect).await
}

/// The way of a request to an API or the web site: its body is read whole, then answered.
async fn answer(mut inbound: Inbound, dialect: Dialect) -> Result<Response<Playback>, HangUp> {
    let mut body = Bytes::new();
    if !inbound.faults.early {
        match inbound.read_body().await {
            Ok(read) => body = read,
            Err(error) => {
                let refusal = dialect.error(StatusCode::BAD_REQUEST, &error, None, Seed([0; 32]));
                return Ok(inbound.play(&refusal));
            }
        }
    }
    let path = inbound.request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let method = inbound.request.method().clone();
    let signed = inbound.signed(dialect, path, &body);
    let unasked = without_usage_option(&body);
    if unasked.len() < body.len() {
        inbound.ticket.update(|exchange| exchange.unasked_sha256 = Some(seed::sha256(&unasked)));
    }
    let request_seed = Seed::of(&[method.as_str().as_bytes(), path.as_bytes(), &unasked]);
    let agent = is_coding_agent(inbound.request.headers());
    let mut ask = Ask::new(dialect, &method, path, &body, request_seed, agent);
    ask.body_length = unasked.len();
    let model = ask.model.clone();
    inbound.ticket.update(|exchange| exchange.model = model);
    let mut ask = match ask.with_faults(std::mem::take(&mut inbound.faults)) {
        Ok(ask) => ask,
        Err(refusal) => return Ok(inbound.play(&refusal)),
    };
    if let Some(times) = ask.faults.times {
        let this = Seed::of(&[&request_seed.0, format!("{:?}", ask.faults).as_bytes()]);
        if inbound.shared.count_try(this) > times {
            ask.faults = Faults::default();
        }
    }
    let faults = ask.faults.clone();
    if let Some(hold) = faults.stall_head {
        hold.wait().await;
    }
    if faults.hang_up {
        inbound.ticket.end(Outcome::Faulted);
        inbound.conn.kill(false);
        return Err(HangUp);
    }
    let answer = if let Some(status) = faults.status {
        Arc::new(dialect.error(status, "a fault was asked for", faults.retry_after, request_seed))
    } else if inbound.shared.require_key && !dialect.has_key(inbound.request.headers(), path) {
        Arc::new(dialect.error(StatusCode::UNAUTHORIZED, "no API key was provided", None, request_seed))
    } else if signed == Some(false) {
        Arc::new(bedrock::bad_signature(request_seed))
    } else {
        let Faults { words, no_usage, no_done, tools, refuse_stream_options, .. } = &faults;
        let options = (no_usage, no_done, tools, refuse_stream_options, unasked.len() < body.len());
        let variant = format!("{dialect:?} {agent} {words:?} {options:?}");
        let key = Seed::of(&[&request_seed.0, variant.as_bytes()]);
        inbound.shared.answer(key, || dialect.answer(&ask))
    };
    inbound.faults = faults;
    Ok(inbound.play(&answer))
}

/// The option that asks for a stream's usage, as the agent puts it into a request.
pub const USAGE_OPTION: &str = r#","stream_options":{"include_usage":true}"#;

/// The body without the option that asks for a stream's usage: whether it is there or not, the answers
/// are alike but for the usage, and two runs can be compared.
fn without_usage_option(body: &Bytes) -> Bytes {
    let option = USAGE_OPTION.as_bytes();
    match body.windows(option.len()).position(|window| window == option) {
        Some(at) => [&body[..at], &body[at + option.len()..]].concat().into(),
        None => body.clone(),
    }
}

impl Inbound {
    /// Whether a request to AWS has the signature that it should; noted in the record. A body that was not read cannot be checked.
    fn signed(&self, dialect: Dialect, target: &str, body: &[u8]) -> Option<bool> {
        if dialect != Dialect::Bedrock || self.faults.early {
            return None;
        }
        let (method, headers) = (self.request.method(), self.request.headers());
        let signed = Signed { method, host: &self.host, target, headers, body }.holds();
        self.ticket.update(|exchange| exchange.signed = signed);
        signed
    }

    /// Faults from the header and from injection.
    fn header_faults(&self, dialect: Dialect) -> Result<Faults, Box<Answer>> {
        let mut faults = Faults::default();
        for value in self.request.headers().get_all(FAULT_HEADER) {
            let parsed = value.to_str().unwrap_or("not ASCII").parse::<Faults>();
            faults = faults.or(parsed.map_err(|error| dialect.refusal(&error.to_string()))?);
        }
        Ok(if dialect == Dialect::Site { faults } else { faults.or(self.shared.take_injected()) })
    }

    /// Whether the request has no API key, where one is asked for.
    pub(crate) fn lacks_key(&self) -> bool {
        let path = self.request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let protocols = self.request.headers().get_all("sec-websocket-protocol").iter();
        // Browsers cannot set other fields of a WebSocket's handshake.
        let mut protocols = protocols.filter_map(|value| value.to_str().ok());
        let in_protocol = protocols.any(|list| list.contains("openai-insecure-api-key."));
        let has = |dialect: Dialect| dialect.has_key(self.request.headers(), path) || in_protocol;
        self.shared.require_key && !self.shared.dialect(&self.host).is_some_and(has)
    }

    /// Reads and records the whole request body.
    pub(crate) async fn read_body(&mut self) -> Result<Bytes, String> {
        let mut body = BytesMut::new();
        let mut whole = None;
        let trailers = self
            .each_frame(|data| {
                // Most bodies are one frame: keep it instead of copying it.
                match (whole.take(), body.is_empty()) {
                    (None, true) => whole = Some(data),
                    (first, _) => {
                        body.extend_from_slice(&first.unwrap_or_default());
                        body.extend_from_slice(&data);
                    }
                }
                body.len() <= BODY_LIMIT
            })
            .await?;
        drop(trailers);
        Ok(whole.unwrap_or_else(|| body.freeze()))
    }

    /// Reads the request body frame by frame, records its digest, and returns its trailers. `take` says whether to go on.
    pub(crate) async fn each_frame(&mut self, mut take: impl FnMut(Bytes) -> bool) -> Result<HeaderMap, String> {
        let mut digest = Context::new(&SHA256);
        let mut length = 0;
        let mut trailers = HeaderMap::new();
        while let Some(frame) = self.request.body_mut().frame().await {
            match frame.map_err(|error| format!("the body could not be read: {error}"))?.into_data() {
                Ok(data) => {
                    digest.update(&data);
                    length += data.len() as u64;
                    if !take(data) {
                        return Err(format!("the body is larger than {BODY_LIMIT} bytes"));
                    }
                }
                Err(frame) => trailers.extend(frame.into_trailers().unwrap_or_default()),
            }
        }
        let sha256 = hex(digest.finish().as_ref());
        self.ticket.update(|exchange| {
            exchange.request_bytes = length;
            exchange.request_sha256 = Some(sha256);
            exchange.trailers = pairs(&trailers);
        });
        Ok(trailers)
    }

    /// Turns an answer into the response that goes out, faults applied.
    pub(crate) fn play(self, answer: &Answer) -> Response<Playback> {
        let coding = self.coding(answer);
        let pace = if answer.is_stream() { self.shared.pace } else { std::time::Duration::ZERO };
        let script = script(answer, &self.faults, coding, pace, &self.shared.gates);
        self.ticket.update(|exchange| {
            exchange.status = answer.status.as_u16();
            exchange.stream = answer.is_stream();
            exchange.planned_usage = answer.usage;
            exchange.response_model.clone_from(&answer.model);
        });
        if self.faults.odd_headers && !self.conn.http2 {
            self.play_by_hand(answer);
        }
        if self.faults.goaway {
            self.conn.retire.notify_one();
        }
        let mut response = Response::builder().status(answer.status).header(DATE, seed::DATE);
        for (name, value) in &answer.headers {
            response = response.header(*name, value);
        }
        if coding != Coding::Identity {
            response = response.header(CONTENT_ENCODING, coding.name()).header("vary", "accept-encoding");
        }
        if let Some(length) = script.length {
            response = response.header("content-length", length);
        }
        if let Some(size) = self.faults.huge_headers {
            for index in 0..size.div_ceil(4096) {
                response = response.header(format!("x-huge-{index}"), "h".repeat(size.min(4096)));
            }
        }
        if self.faults.trailers {
            response = response.header("trailer", "x-provider-trailer, x-provider-checksum");
        }
        if *self.request.method() == http::Method::HEAD {
            let length = response.headers_mut().and_then(|headers| headers.remove("content-length"));
            let mut response =
                response.body(Playback::empty(self.ticket, self.conn)).expect("names and values are valid");
            length.map(|length| response.headers_mut().insert("content-length", length));
            return response;
        }
        response.body(Playback::new(script, self.ticket, self.conn)).expect("names and values are valid")
    }

    fn coding(&self, answer: &Answer) -> Coding {
        let empty = matches!(&answer.content, Content::Whole(body) if body.is_empty());
        if empty || matches!(answer.content, Content::Random { .. }) {
            return Coding::Identity;
        }
        if let Some(coding) = self.faults.coding {
            return coding;
        }
        if !self.shared.compress {
            return Coding::Identity;
        }
        let accepts = self.request.headers().get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok());
        let dialect = self.shared.dialect(&self.host).unwrap_or(Dialect::Site);
        Coding::negotiate(accepts, dialect.codings())
    }

    /// Writes the whole response past hyper, with a head such as no HTTP library would write. The connection closes after.
    fn play_by_hand(&self, answer: &Answer) {
        let Content::Whole(body) = &answer.content else { return };
        let head = format!(
            "HTTP/1.1 {} Odd But Fine\r\nX-oDD-cASE: One\r\nx-second: 2\r\nX-ODD-CASE: Three\r\nZ-First:no space\r\n\
             a-last:   wide   \r\nx-empty:\r\nConTent-TYPE: {}\r\nCONNECTION: close\r\ncontent-Length: {}\r\n\r\n",
            answer.status.as_u16(),
            answer.headers.first().map_or("application/json", |(_, value)| value),
            body.len()
        );
        self.conn.write_by_hand([head.as_bytes(), body].concat().into());
        self.conn.retire.notify_one();
    }
}

fn describe(conn: &Conn, request: &Request<Incoming>) -> Exchange {
    let raw_head = if conn.http2 { None } else { conn.heads.lock().take() };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = match &raw_head {
        Some(head) => heads::fields(head).map(|(name, value)| (text(name), text(value))).collect(),
        None => pairs(request.headers()),
    };
    let authority = request.uri().authority().map(http::uri::Authority::as_str);
    let header = || request.headers().get("host").and_then(|value| value.to_str().ok());
    let host = authority.or_else(header).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    Exchange {
        id: 0,
        connection: conn.id,
        peer: conn.peer,
        local: conn.local,
        sni: conn.sni.clone(),
        alpn: conn.alpn.clone(),
        tls_resumed: conn.resumed,
        version: format!("{:?}", request.version()),
        method: request.method().to_string(),
        host: without_port(host).to_ascii_lowercase(),
        path: path.to_owned(),
        headers,
        raw_head,
        trailers: Vec::new(),
        request_bytes: 0,
        request_sha256: None,
        unasked_sha256: None,
        model: None,
        response_model: None,
        stream: false,
        status: 0,
        response_bytes: 0,
        usage: None,
        planned_usage: None,
        said: Said::default(),
        signed: None,
        outcome: Outcome::Open,
    }
}

pub(crate) fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Coding agents run the tools they are told to call, so they are answered in text unless a test asks for more.
fn is_coding_agent(headers: &HeaderMap) -> bool {
    let agent = headers.get("user-agent").and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["claude-cli/", "codex", "GeminiCLI"].iter().any(|name| agent.starts_with(name))
}
