//! Endpoints that every host has, for tests of transparency: echoes, random bytes, upgrades and WebSockets.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Bytes as WsBytes, Message};

use crate::answer::{Answer, Content};
use crate::exchange::{HangUp, Inbound, pairs};
use crate::fault::Faults;
use crate::json::obj;
use crate::script::Step;
use crate::seed::{Seed, hex};
use crate::serve::playback::Playback;
use crate::truth::Outcome;
use crate::websocket;

/// Which of these endpoints a request is for.
pub(crate) enum Special {
    /// `/echo`: a JSON account of the request, its body's digest included.
    Echo,
    /// `/mirror`: the body comes back as it arrives, frame by frame.
    Mirror,
    /// `/bytes/{n}?seed=S&chunk=C`: n random bytes.
    Bytes,
    /// `/websocket`: messages come back as they are.
    WebSocket,
    /// An API over a WebSocket.
    Socket(websocket::Kind),
    /// `/upgrade` with any `Upgrade` token: bytes come back as they are.
    Upgrade,
    /// `/http-only/…`: a WebSocket where the API has one but this server does not: 426.
    NoWebSocket,
}

impl Special {
    pub(crate) fn of(request: &Request<Incoming>) -> Option<Self> {
        let path = request.uri().path();
        let token = request.headers().get("upgrade").and_then(|value| value.to_str().ok());
        let extended = request.extensions().get::<Protocol>().map(|protocol| protocol.as_str() == "websocket");
        let websocket = token.is_some_and(|token| token.eq_ignore_ascii_case("websocket")) || extended == Some(true);
        match path {
            "/echo" => Some(Self::Echo),
            "/mirror" => Some(Self::Mirror),
            "/upgrade" if token.is_some() || extended.is_some() => Some(Self::Upgrade),
            "/websocket" if websocket => Some(Self::WebSocket),
            path if path.starts_with("/bytes/") => Some(Self::Bytes),
            path if websocket && path.starts_with("/http-only/") => Some(Self::NoWebSocket),
            path if websocket => websocket::Kind::of(path).map(Self::Socket),
            _ => None,
        }
    }

    pub(crate) async fn serve(self, mut inbound: Inbound) -> Result<Response<Playback>, HangUp> {
        if let Some(times) = inbound.faults.times {
            let request = &inbound.request;
            let this = format!("{} {} {:?}", request.method(), request.uri(), inbound.faults);
            if inbound.shared.count_try(Seed::of(&[this.as_bytes()])) > times {
                inbound.faults = Faults::default();
            }
        }
        if let Some(hold) = inbound.faults.stall_head {
            hold.wait().await;
        }
        if inbound.faults.hang_up {
            inbound.ticket.end(Outcome::Faulted);
            inbound.conn.kill(false);
            return Err(HangUp);
        }
        if let Some(status) = inbound.faults.status {
            let answer = Answer::new(status, "text/plain", "a fault was asked for\n");
            return Ok(inbound.play(&answer));
        }
        let answer = match self {
            Self::Echo => echo(&mut inbound).await,
            Self::Bytes => random(&mut inbound).await,
            Self::Mirror => return Ok(mirror(inbound)),
            Self::Socket(_) if inbound.lacks_key() => {
                let body = obj! { "error" => obj! { "message" => "no API key was provided", "type" => "invalid_request_error", "code" => "invalid_api_key" } };
                Answer::new(StatusCode::UNAUTHORIZED, "application/json", body.0)
            }
            Self::Socket(kind) => return Ok(websocket::serve(inbound, kind)),
            Self::WebSocket => return Ok(upgrade(inbound, true)),
            Self::Upgrade => return Ok(upgrade(inbound, false)),
            Self::NoWebSocket => {
                let body = obj! { "error" => obj! { "message" => "This endpoint speaks HTTP.", "type" => "invalid_request_error" } };
                Answer::new(StatusCode::UPGRADE_REQUIRED, "application/json", body.0).header("upgrade", "h2")
            }
        };
        Ok(inbound.play(&answer))
    }
}

async fn echo(inbound: &mut Inbound) -> Answer {
    let (mut length, mut frames) = (0, 0_u64);
    let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let read = if inbound.faults.early {
        Ok(HeaderMap::new())
    } else {
        inbound
            .each_frame(|data| {
                length += data.len() as u64;
                frames += 1;
                digest.update(&data);
                true
            })
            .await
    };
    let trailers = match read {
        Ok(trailers) => trailers,
        Err(error) => return Answer::new(StatusCode::BAD_REQUEST, "text/plain", error),
    };
    let mut headers = Vec::new();
    inbound.ticket.update(|exchange| headers.clone_from(&exchange.headers));
    let list = |pairs: &[(String, String)]| -> Vec<[String; 2]> {
        pairs.iter().map(|(name, value)| [name.clone(), value.clone()]).collect()
    };
    let request = &inbound.request;
    let body = obj! {
        "method" => request.method().as_str(),
        "path" => request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str),
        "version" => format!("{:?}", request.version()),
        "length" => length,
        "sha256" => hex(digest.finish().as_ref()),
        "headers" => list(&headers),
        "trailers" => list(&pairs(&trailers)),
    };
    Answer::new(StatusCode::OK, "application/json", body.0)
}

async fn random(inbound: &mut Inbound) -> Answer {
    if !inbound.faults.early
        && let Err(error) = inbound.read_body().await
    {
        return Answer::new(StatusCode::BAD_REQUEST, "text/plain", error);
    }
    let uri = inbound.request.uri();
    let number = |name: &str, default: u64| {
        let pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).find_map(|(_, value)| value.parse().ok()).unwrap_or(default)
    };
    let Ok(length) = uri.path().trim_start_matches("/bytes/").parse::<u64>() else {
        return Answer::new(StatusCode::BAD_REQUEST, "text/plain", "/bytes/{length}?seed=S&chunk=C\n");
    };
    let mut answer = Answer::new(StatusCode::OK, "application/octet-stream", Bytes::new());
    // Whole multiples of eight, so that the bytes do not depend on the pieces.
    let chunk = number("chunk", 64 * 1024).clamp(8, 1 << 24).next_multiple_of(8) as usize;
    answer.content = Content::Random { seed: number("seed", 0), length, chunk };
    answer
}

/// Sends back each frame of the request body when it arrives; both directions flow at once.
fn mirror(inbound: Inbound) -> Response<Playback> {
    let (frames, mut receiver) = tokio::sync::mpsc::channel::<Step>(4);
    let (head, mut body) = inbound.request.into_parts();
    let (length, content_type) = (head.headers.get("content-length"), head.headers.get("content-type"));
    inbound.ticket.update(|exchange| exchange.status = 200);
    tokio::spawn(async move {
        while let Some(Ok(frame)) = body.frame().await {
            let step = match frame.into_data() {
                Ok(data) => Step::Data(data, None),
                Err(frame) => Step::Trailers(frame.into_trailers().unwrap_or_default()),
            };
            if frames.send(step).await.is_err() {
                return;
            }
        }
    });
    let steps = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
    let playback = Playback::live(Box::pin(steps), inbound.ticket, inbound.conn);
    let mut response = Response::new(playback);
    for (name, value) in [("content-length", length), ("content-type", content_type)] {
        if let Some(value) = value {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// Answers an upgrade (HTTP/1) or extended CONNECT (HTTP/2), and echoes what follows.
fn upgrade(mut inbound: Inbound, websocket: bool) -> Response<Playback> {
    let headers = inbound.request.headers();
    let mut response = Response::builder();
    if inbound.request.version() == Version::HTTP_2 {
        response = response.status(StatusCode::OK);
    } else {
        let token = headers.get("upgrade").cloned();
        response = response.status(StatusCode::SWITCHING_PROTOCOLS).header("connection", "Upgrade");
        response = token.into_iter().fold(response, |response, token| response.header("upgrade", token));
        if let (true, Some(key)) = (websocket, headers.get("sec-websocket-key")) {
            response = response.header("sec-websocket-accept", derive_accept_key(key.as_bytes()));
        }
    }
    let protocol = headers.get("sec-websocket-protocol").and_then(|value| value.to_str().ok());
    if let Some(first) = protocol.and_then(|list| list.split(',').next()) {
        response = response.header("sec-websocket-protocol", first.trim());
    }
    let status = if *inbound.request.method() == Method::CONNECT { 200 } else { 101 };
    inbound.ticket.update(|exchange| exchange.status = status);
    inbound.conn.heads.lock().stop();
    let upgraded = hyper::upgrade::on(&mut inbound.request);
    let (conn, mut ticket) = (inbound.conn, inbound.ticket);
    let response = response.body(Playback::nothing(Arc::clone(&conn))).expect("names and values are valid");
    tokio::spawn(async move {
        if let Ok(upgraded) = upgraded.await {
            let io = TokioIo::new(upgraded);
            if websocket {
                echo_messages(WebSocketStream::from_raw_socket(io, Role::Server, None).await).await;
            } else {
                let (mut read, mut write) = tokio::io::split(io);
                // Either side's end is the end; the test sees what came back.
                drop(tokio::io::copy(&mut read, &mut write).await);
                drop(tokio::io::AsyncWriteExt::shutdown(&mut write).await);
            }
            ticket.end(Outcome::Completed);
        }
    });
    response
}

/// Sends back every message.
async fn echo_messages<S>(mut socket: WebSocketStream<S>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = socket.next().await {
        let reply = match &message {
            Message::Text(_) | Message::Binary(_) => message,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => continue,
            Message::Close(_) => return,
        };
        if socket.send(reply).await.is_err() {
            return;
        }
    }
    drop(socket.send(Message::Pong(WsBytes::new())).await);
}
