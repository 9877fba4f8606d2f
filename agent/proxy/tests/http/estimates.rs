//! What is recorded of exchanges whose provider did not tell their usage, and the other facts of a record that come from heads and
//! bodies.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tollgate_ledger::{Outcome, Record, UpstreamFailure};
use tollgate_llm::{ErrorKind, UsageSource};
use tollgate_proxy::Fingerprints;
use tollgate_proxy::http::{Metering, OnDisconnect};

use crate::support::{PATIENCE, Rig, Site, patiently, read_head, say};

/// Ten tokens of o200k_base.
const TEXT: &str = "The quick brown fox jumps over the lazy dog.";
/// What it is as the only message of a conversation: four more for the message, three for the conversation.
const ASKED: u64 = 17;

/// What the provider does with a request that it has read.
#[derive(Clone, Copy)]
enum Answer {
    /// These bytes, and then it waits for the client to leave.
    Hang(&'static str),
    /// These bytes, and then it closes.
    Close(&'static str),
}

/// What the client does.
#[derive(Clone, Copy, PartialEq)]
enum Client {
    /// Reads to the end.
    Stays,
    /// Leaves when it has read this.
    LeavesAfter(&'static str),
    /// Leaves when the provider has read the request.
    LeavesBefore,
    /// Leaves within its request.
    LeavesWithin,
}

fn chat(stream: bool) -> String {
    format!(r#"{{"model":"gpt-4o","stream":{stream},"messages":[{{"role":"user","content":"{TEXT}"}}]}}"#)
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-request-id: req_123\r\nconnection: close\r\n\r\n";

/// A stream of chat with these events.
fn events(events: &[&str]) -> &'static str {
    let events = events.iter().flat_map(|event| ["data: ", event, "\n\n"]);
    let all: String = std::iter::once(STREAM).chain(events).collect();
    Box::leak(all.into_boxed_str())
}

/// [`TEXT`], in three deltas, without usage.
fn words() -> &'static str {
    events(&[
        r#"{"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
        r#"{"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"The quick brown"}}]}"#,
        r#"{"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":" fox jumps over"}}]}"#,
        r#"{"model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":" the lazy dog."}}]}"#,
    ])
}

/// One exchange, with as little help for the count as possible: the provider is not asked for usage.
async fn exchange(path: &str, body: &str, answer: Answer, client: Client) -> Record {
    exchange_with(false, path, body, answer, client).await
}

async fn exchange_with(include_usage: bool, path: &str, body: &str, answer: Answer, client: Client) -> Record {
    exchanges(1, include_usage, path, body, answer, client).await.remove(0)
}

async fn exchanges(
    times: usize,
    include_usage: bool,
    path: &str,
    body: &str,
    answer: Answer,
    client: Client,
) -> Vec<Record> {
    let site = Site::new().await;
    let metering = Metering { include_usage, on_disconnect: OnDisconnect::Cancel };
    let rig = Rig::metering(&site, metering);
    let (read, mut has_read) = tokio::sync::mpsc::unbounded_channel();
    let length = body.len();
    site.serve(&["http/1.1"], move |_, mut stream| {
        let read = read.clone();
        async move {
            let head = read_head(&mut stream).await;
            let sent = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
            let mut body = vec![0; sent.parse().expect("a number")];
            if stream.read_exact(&mut body).await.is_err() {
                return;
            }
            read.send(()).expect("the test waits");
            let (Answer::Hang(bytes) | Answer::Close(bytes)) = answer;
            say(&mut stream, bytes).await;
            match answer {
                Answer::Hang(_) => drop(stream.read(&mut [0]).await),
                Answer::Close(_) => drop(stream.shutdown().await),
            }
        }
    });
    for _ in 0..times {
        let (mut socket, serving) = rig.client(false).await;
        let sent = if client == Client::LeavesWithin { &body[..length / 2] } else { body };
        say(&mut socket, format!("POST {path} HTTP/1.1\r\nhost: api.openai.com\r\nauthorization: Bearer sk-1\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{sent}")).await;
        match client {
            Client::Stays => drop(read_all(&mut socket).await),
            Client::LeavesAfter(text) => read_until(&mut socket, text).await,
            Client::LeavesBefore => drop(patiently(has_read.recv()).await),
            Client::LeavesWithin => {}
        }
        drop(socket);
        drop(patiently(serving).await);
    }
    rig.recorder.records(times).await
}

async fn read_all(socket: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    drop(patiently(socket.read_to_end(&mut all)).await);
    all
}

async fn read_until(socket: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    while !seen.ends_with(text.as_bytes()) {
        seen.push(patiently(socket.read_u8()).await.expect("more comes"));
    }
}

fn counted(record: &Record) -> Option<(u64, u64, UsageSource)> {
    record.usage.map(|usage| (usage.input, usage.output, record.usage_source))
}

const COMPLETIONS: &str = "/v1/chat/completions";

#[tokio::test]
async fn a_stream_whose_client_leaves_is_estimated_and_always_the_same() {
    let client = Client::LeavesAfter(" the lazy dog.\"}}]}\n\n");
    for record in exchanges(20, false, COMPLETIONS, &chat(true), Answer::Hang(words()), client).await {
        assert_eq!(record.outcome, Outcome::ClientGone);
        assert_eq!(counted(&record), Some((ASKED, 10, UsageSource::Estimated)));
        assert!(record.cost.is_some_and(|cost| !cost.is_zero()), "{record:?}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_usage_is_estimated() {
    let record = exchange(COMPLETIONS, &chat(true), Answer::Close(words()), Client::Stays).await;
    assert_eq!(counted(&record), Some((ASKED, 10, UsageSource::Estimated)));
    assert_eq!(record.outcome, Outcome::Completed);
}

#[tokio::test]
async fn a_stream_that_the_provider_breaks_off_is_estimated() {
    let bytes: &'static str = Box::leak(words().replace("connection: close", "content-length: 9999").into_boxed_str());
    let record = exchange(COMPLETIONS, &chat(true), Answer::Close(bytes), Client::Stays).await;
    assert_eq!(record.outcome, Outcome::UpstreamFailed(UpstreamFailure::Reset));
    assert_eq!(counted(&record), Some((ASKED, 10, UsageSource::Estimated)));
}

#[tokio::test]
async fn responses_are_estimated_from_their_deltas() {
    let body = format!(r#"{{"model":"gpt-5","stream":true,"input":"{TEXT}"}}"#);
    let answer = events(&[
        r#"{"type":"response.created","response":{"model":"gpt-5-2025-08-07","usage":null}}"#,
        r#"{"type":"response.output_text.delta","delta":"The quick brown fox jumps"}"#,
        r#"{"type":"response.output_text.delta","delta":" over the lazy dog."}"#,
    ]);
    let client = Client::LeavesAfter("lazy dog.\"}\n\n");
    let record = exchange("/v1/responses", &body, Answer::Hang(answer), client).await;
    assert_eq!(counted(&record), Some((ASKED, 10, UsageSource::Estimated)));
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_owes_what_it_asked() {
    // With and without a body that is collected before it is sent.
    for include_usage in [false, true] {
        let client = Client::LeavesBefore;
        let record = exchange_with(include_usage, COMPLETIONS, &chat(true), Answer::Hang(""), client).await;
        assert_eq!((record.outcome, record.status), (Outcome::ClientGone, None));
        assert_eq!(counted(&record), Some((ASKED, 0, UsageSource::Estimated)), "include_usage: {include_usage}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_within_its_request_owes_nothing() {
    let record = exchange(COMPLETIONS, &chat(false), Answer::Hang(""), Client::LeavesWithin).await;
    assert_eq!((counted(&record), record.usage_source), (None, UsageSource::None));
}

#[tokio::test]
async fn images_are_not_estimated_whichever_api_they_are_asked_for_by() {
    for (model, is_estimated) in [("amazon.nova-canvas-v1:0", false), ("amazon.titan-text-lite-v1", true)] {
        let body = format!(r#"{{"inputText":"{TEXT}"}}"#);
        let path = format!("/model/{model}/invoke");
        let record = exchange(&path, &body, Answer::Hang(""), Client::LeavesBefore).await;
        assert_eq!(record.request_model.as_deref(), Some(model));
        assert_eq!(record.usage.is_some(), is_estimated, "{record:?}");
    }
}

#[tokio::test]
async fn a_whole_answer_without_usage_and_what_is_no_call_are_not_estimated() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    let vectors: &'static str = Box::leak(format!("{answer}{{\"data\":[{{\"embedding\":[0.5]}}]}}").into_boxed_str());
    let body = format!(r#"{{"model":"text-embedding-3-small","input":"{TEXT}"}}"#);
    let record = exchange("/v1/embeddings", &body, Answer::Close(vectors), Client::Stays).await;
    assert_eq!((counted(&record), record.usage_source, record.cost), (None, UsageSource::None, None));
    assert_eq!(record.outcome, Outcome::Completed);

    let moved = "HTTP/1.1 307 Temporary Redirect\r\nlocation: /v2\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let record = exchange(COMPLETIONS, &chat(true), Answer::Close(moved), Client::Stays).await;
    assert_eq!((counted(&record), record.usage_source), (None, UsageSource::None));
}

/// Where a WebSocket may be opened, but was not.
#[tokio::test]
async fn what_was_not_switched_to_a_websocket_used_nothing() {
    let site = Site::new().await;
    let rig = Rig::metering(&site, Metering::default());
    site.serve(&["http/1.1"], |_, mut stream| async move {
        read_head(&mut stream).await;
        let body = r#"{"model":"gpt-5","usage":{"input_tokens":5,"output_tokens":7}}"#;
        let head = format!("content-type: application/json\r\nconnection: close\r\ncontent-length: {}", body.len());
        say(&mut stream, format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}")).await;
    });
    let (mut socket, _serving) = rig.client(false).await;
    say(&mut socket, "GET /v1/responses HTTP/1.1\r\nhost: api.openai.com\r\n\r\n").await;
    read_all(&mut socket).await;
    let record = rig.recorder.record().await;
    assert_eq!((record.usage, record.operation), (None, tollgate_llm::Operation::Other));
}

#[tokio::test]
async fn what_was_told_is_not_estimated_and_zero_is_told() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\
        {\"model\":\"gpt-4o\",\"choices\":[{\"message\":{\"content\":\"The quick brown fox\"}}],\
        \"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}";
    let record = exchange(COMPLETIONS, &chat(false), Answer::Close(answer), Client::Stays).await;
    assert_eq!(counted(&record), Some((0, 0, UsageSource::Provider)));
}

#[tokio::test]
async fn errors_are_not_estimated() {
    let body = r#"{"error":{"type":"rate_limit_error","code":"rate_limit_exceeded"}}"#;
    for (answer, error) in [
        (
            format!(
                "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{body}"
            ),
            ErrorKind::RateLimited,
        ),
        ("HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\n\r\noops".to_owned(), ErrorKind::ServerError),
        (format!("{STREAM}data: {body}\n\n"), ErrorKind::RateLimited),
    ] {
        let answer = Answer::Close(Box::leak(answer.into_boxed_str()));
        let record = exchange(COMPLETIONS, &chat(true), answer, Client::Stays).await;
        assert_eq!((counted(&record), record.usage_source), (None, UsageSource::None), "{record:?}");
        assert_eq!((record.error, record.cost), (Some(error), None));
    }
}

#[tokio::test]
async fn refusals_and_filtered_and_empty_answers_are_counted_as_what_they_are() {
    let refusal = events(&[
        r#"{"choices":[{"delta":{"refusal":"The quick brown fox jumps over the lazy dog."}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    let filtered = events(&[
        r#"{"choices":[{"delta":{"content":"The quick brown fox jumps over the lazy dog."}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#,
        "[DONE]",
    ]);
    let empty = events(&[
        r#"{"choices":[{"delta":{"content":""}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
        "[DONE]",
    ]);
    for (answer, output, has_text) in [(refusal, 10, true), (filtered, 10, true), (empty, 0, false)] {
        let record = exchange(COMPLETIONS, &chat(true), Answer::Close(answer), Client::Stays).await;
        assert_eq!(counted(&record), Some((ASKED, output, UsageSource::Estimated)));
        assert_eq!((record.outcome, record.error), (Outcome::Completed, None), "billed, and no error");
        assert_eq!(record.time_to_first_token.is_some(), has_text);
    }
}

#[tokio::test]
async fn a_record_tells_the_first_token_the_request_id_and_the_credential() {
    let site = Site::new().await;
    let mut rig = Rig::metering(&site, Metering::default());
    let fingerprints = Fingerprints::ephemeral().expect("random bytes");
    rig.http = rig.http.clone().with_fingerprints(fingerprints);
    site.serve(&["http/1.1"], |_, mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, words().replace("req_123", "req_\t45")).await;
    });
    let mut credentials = Vec::new();
    for (count, key) in ["sk-1", "sk-2", "sk-1"].iter().enumerate() {
        let (mut socket, _serving) = rig.client(false).await;
        say(
            &mut socket,
            format!("GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\nauthorization: Bearer {key}\r\n\r\n"),
        )
        .await;
        read_all(&mut socket).await;
        let record = rig.recorder.records(count + 1).await.remove(count);
        assert_eq!(record.request_id, None, "what is no plain word is no name");
        assert_eq!(record.time_to_first_token, None, "a list of models has no tokens");
        credentials.push(record.credential.expect("a credential"));
    }
    assert_eq!(credentials[0], credentials[2]);
    assert_ne!(credentials[0], credentials[1]);
    assert!(credentials.iter().all(|credential| credential.len() == 16 && !credential.contains("sk")));

    let client = Client::LeavesAfter(" the lazy dog.\"}}]}\n\n");
    let record = exchange(COMPLETIONS, &chat(true), Answer::Hang(words()), client).await;
    assert_eq!(record.request_id.as_deref(), Some("req_123"));
    let (byte, token) = (record.time_to_first_byte.expect("it came"), record.time_to_first_token.expect("it came"));
    assert!(byte <= token && token <= record.duration, "{byte:?} {token:?} {:?}", record.duration);
    assert!(record.duration < PATIENCE);
    assert_eq!(record.credential, None, "nothing was asked to tell them apart");
}
