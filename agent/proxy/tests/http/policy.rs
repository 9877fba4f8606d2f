//! Calls that have to pass a policy: what the provider gets of them, what their callers are told, what is charged.

mod budgets;
mod rules;
mod unreadable;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, request, response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tollgate_policy::{
    Action, Amount, Budget, Count, Engine, Field, Limit, Measure, Mode, Patterns, Policy, Rule, Selector, Spec, Unit,
    Window,
};
use tollgate_proxy::http::{Metering, OnDisconnect, PolicySettings};

use crate::support::{HOST, Rig, Site, patiently};

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The ways that a call goes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// HTTP/1.1 without hyper.
    Direct,
    /// HTTP/1.1 with it.
    Hyper,
    /// HTTP/2 to HTTP/1.1.
    Mixed,
    /// HTTP/2.
    Http2,
    /// HTTP/1.1 to HTTP/2: passed without hyper, and then handed to it.
    HandedOver,
}

const WAYS: [Way; 5] = [Way::Direct, Way::Hyper, Way::Mixed, Way::Http2, Way::HandedOver];

impl Way {
    fn is_http2(self) -> bool {
        matches!(self, Self::Mixed | Self::Http2)
    }

    fn alpn(self) -> &'static [&'static str] {
        if matches!(self, Self::Http2 | Self::HandedOver) { &["h2"] } else { &["http/1.1"] }
    }
}

/// A proxy with a policy, and its provider.
struct Stage {
    rig: Rig,
    engine: Arc<Engine>,
    provider: Arc<Provider>,
    way: Way,
}

/// A provider that answers when it may.
#[derive(Default)]
struct Provider {
    arrivals: Mutex<Vec<(request::Parts, Bytes)>>,
    may_answer: Option<Semaphore>,
}

impl Provider {
    fn bodies(&self) -> Vec<String> {
        let text = |(_, body): &(_, Bytes)| String::from_utf8(body.to_vec()).expect("text");
        self.arrivals.lock().iter().map(text).collect()
    }

    /// Waits until so many calls are here.
    async fn has(&self, count: usize) {
        patiently(async {
            while self.arrivals.lock().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    }

    async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        self.arrivals.lock().push((parts, body));
        if let Some(may_answer) = &self.may_answer {
            may_answer.acquire().await.expect("never closed").forget();
        }
        let model = asked["model"].as_str().unwrap_or_default();
        if model == "old" && asked["stream_options"]["include_usage"] == true {
            return Ok(json_answer(400, &json!({"error": {"message": "Unrecognized: stream_options"}})));
        }
        if model == "broken" {
            return Ok(json_answer(500, &json!({"error": {"message": "no"}})));
        }
        if asked["stream"] == true {
            let usage =
                json!({"model": "gpt-4o-mini", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 10}});
            let events = format!(
                "data: {{\"choices\":[{{\"delta\":{{\"content\":\"Hi\"}}}}]}}\n\ndata: {usage}\n\ndata: [DONE]\n\n"
            );
            let response = Response::builder().header("content-type", "text/event-stream");
            return Ok(response.body(Full::new(events.into())).expect("a response"));
        }
        Ok(json_answer(200, &json!({"model": "gpt-4o-mini", "usage": {"prompt_tokens": 7, "completion_tokens": 10}})))
    }
}

fn json_answer(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("content-type", "application/json");
    response.body(Full::new(body.to_string().into())).expect("a response")
}

impl Stage {
    async fn new(way: Way, spec: Spec) -> Self {
        Self::with(way, spec, None, PolicySettings::default()).await
    }

    /// One whose provider answers as often as it is let.
    async fn held(way: Way, spec: Spec) -> Self {
        Self::with(way, spec, Some(Semaphore::new(0)), PolicySettings::default()).await
    }

    async fn with(way: Way, spec: Spec, may_answer: Option<Semaphore>, settings: PolicySettings) -> Self {
        let site = Site::new().await;
        let drains = OnDisconnect::Drain { timeout: Duration::from_mins(1), limit: 1 << 20 };
        let on_disconnect = if way == Way::Hyper { drains } else { OnDisconnect::Cancel };
        let mut rig = Rig::metering(&site, Metering { include_usage: true, on_disconnect });
        let engine = Arc::new(Engine::new(Policy::new(spec)));
        rig.http = rig.http.with_policy(Arc::clone(&engine), settings);
        let provider = Arc::new(Provider { may_answer, ..Provider::default() });
        let of_site = Arc::clone(&provider);
        site.serve(way.alpn(), move |_, stream| {
            let provider = Arc::clone(&of_site);
            async move {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let service = service_fn(move |request| Arc::clone(&provider).serve(request));
                let io = TokioIo::new(stream);
                if is_http2 {
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    drop(builder.serve_connection(io, service).await);
                } else {
                    drop(hyper::server::conn::http1::Builder::new().serve_connection(io, service).await);
                }
            }
        });
        Self { rig, engine, provider, way }
    }

    /// Lets the provider answer so often.
    fn let_answer(&self, times: usize) {
        self.provider.may_answer.as_ref().expect("it waits").add_permits(times);
    }

    async fn client(&self) -> Client {
        if self.way.is_http2() {
            return Client::Http2(self.rig.http2().await);
        }
        let (socket, _) = self.rig.client(false).await;
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.expect("a connection");
        tokio::spawn(async move { drop(connection.await) });
        Client::Http1(sender)
    }
}

/// A connection of a caller's.
enum Client {
    Http1(hyper::client::conn::http1::SendRequest<Body>),
    Http2(hyper::client::conn::http2::SendRequest<Body>),
    /// It was given away.
    None,
}

impl Client {
    /// Another call on the same connection, or the connection itself where that has one at a time.
    fn another(&mut self) -> Self {
        match self {
            Self::Http2(sender) => Self::Http2(sender.clone()),
            only => std::mem::replace(only, Self::None),
        }
    }

    async fn send(&mut self, mut request: Request<Body>) -> (response::Parts, Value) {
        let response = match self {
            Self::Http1(sender) => {
                let path = request.uri().path_and_query().expect("a path").as_str().parse().expect("a path");
                *request.uri_mut() = path;
                request.headers_mut().insert("host", HeaderValue::from_static(HOST));
                patiently(sender.ready()).await.expect("the connection is still of use");
                patiently(sender.send_request(request)).await
            }
            Self::Http2(sender) => {
                patiently(sender.ready()).await.expect("the connection is still of use");
                patiently(sender.send_request(request)).await
            }
            Self::None => unreachable!("it was given away"),
        };
        let (parts, body) = response.expect("an answer").into_parts();
        let body = patiently(body.collect()).await.expect("all of it").to_bytes();
        (parts, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
    }

    async fn post(&mut self, body: impl Into<Bytes>) -> (response::Parts, Value) {
        self.send(chat(body)).await
    }
}

fn chat(body: impl Into<Bytes>) -> Request<Body> {
    post("/v1/chat/completions", body)
}

fn post(path: &str, body: impl Into<Bytes>) -> Request<Body> {
    let request = Request::post(format!("https://{HOST}{path}")).header("content-type", "application/json");
    let request = request.header("user-agent", "OpenAI/Python 2.8.0").header("accept-encoding", "gzip");
    request.body(whole(body)).expect("a request")
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body in pieces, of no length that is known.
fn pieces(body: &str, size: usize) -> Body {
    let pieces: Vec<_> =
        body.as_bytes().chunks(size).map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
    StreamBody::new(futures_util::stream::iter(pieces)).boxed_unsync()
}

fn patterns(texts: &[&str]) -> Patterns {
    Patterns::parse(texts).expect("patterns")
}

fn of(field: Field, texts: &[&str]) -> Selector {
    Selector { fields: vec![(field, patterns(texts))], labels: Vec::new() }
}

fn rule(name: &str, matches: Selector) -> Rule {
    Rule {
        name: name.into(),
        matches,
        when: None,
        action: Action::Allow,
        mode: Mode::Enforce,
        models: None,
        hours: None,
        max_output_tokens: None,
        require: Vec::new(),
        message: None,
        contact: Some("platform@example.com".into()),
    }
}

fn deny(name: &str, matches: Selector) -> Rule {
    Rule { action: Action::Deny, ..rule(name, matches) }
}

fn rules(rules: Vec<Rule>) -> Spec {
    Spec { rules, ..Spec::default() }
}

/// A budget of output tokens.
fn budget(name: &str, tokens: u64) -> Budget {
    Budget {
        name: name.into(),
        matches: Selector::default(),
        when: None,
        per: Vec::new(),
        amount: Amount::Tokens(tokens, Count::Output),
        window: Window { unit: Unit::Month, zone: jiff::tz::TimeZone::UTC },
        soft: Vec::new(),
        on_exhausted: tollgate_policy::OnExhausted::Finish,
        unpriced: tollgate_policy::Unpriced::Allow,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    }
}

fn budgets(budgets: Vec<Budget>) -> Spec {
    Spec { budgets, ..Spec::default() }
}

fn limit(name: &str, measure: Measure, amount: u64) -> Limit {
    Limit {
        name: name.into(),
        matches: Selector::default(),
        when: None,
        per: Vec::new(),
        measure,
        amount,
        period: Duration::from_hours(24),
        wait: None,
        mode: Mode::Enforce,
        message: None,
        contact: None,
    }
}

fn limits(limits: Vec<Limit>) -> Spec {
    Spec { limits, ..Spec::default() }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().expect("text"))
}

const SMALL: &str = r#"{"model":"gpt-4o-mini","messages":[],"max_tokens":10}"#;
const LARGE: &str = r#"{"model":"gpt-4o","messages":[],"max_tokens":10}"#;

fn is_ok(answer: &(response::Parts, Value)) -> bool {
    answer.0.status == StatusCode::OK
}
