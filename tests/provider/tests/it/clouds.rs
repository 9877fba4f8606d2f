//! Bedrock and Vertex.

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use tollgate_provider::{Exchange, Outcome, Usage};

use crate::client::{Fixture, bytes, data, json, text};

const BEDROCK: &str = "bedrock-runtime.us-east-1.amazonaws.com";
const VERTEX: &str = "us-central1-aiplatform.googleapis.com";
const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1%3A0";

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

/// The events of a stream, by their type, as Amazon's own library reads them.
fn frames(body: &Bytes) -> Vec<(String, Value)> {
    let (mut decoder, mut buffer) = (MessageFrameDecoder::new(), BytesMut::from(&body[..]));
    let mut frames = Vec::new();
    while let DecodedFrame::Complete(message) = decoder.decode_frame(&mut buffer).unwrap() {
        let header = |name: &str| {
            let header = message.headers().iter().find(|header| header.name().as_str() == name)?;
            Some(header.value().as_string().ok()?.as_str().to_owned())
        };
        let name = header(":event-type").or_else(|| header(":exception-type")).unwrap();
        frames.push((name, serde_json::from_slice(message.payload()).unwrap()));
    }
    assert!(buffer.is_empty(), "the stream ends with a message");
    frames
}

/// The events of a model's own, out of base64.
fn chunks(body: &Bytes) -> Vec<Value> {
    let decoded = |(name, payload): (String, Value)| {
        assert_eq!(name, "chunk");
        serde_json::from_slice(&STANDARD.decode(payload["bytes"].as_str().unwrap()).unwrap()).unwrap()
    };
    frames(body).into_iter().map(decoded).collect()
}

async fn last(fixture: &Fixture) -> Exchange {
    fixture.provider.truth().settled().await;
    fixture.provider.truth().exchanges().pop().unwrap()
}

fn converse() -> String {
    json!({"messages": [{"role": "user", "content": [{"text": "say naïve 漢字"}]}]}).to_string()
}

fn converse_usage(usage: &Value) -> Usage {
    let (read, write) = (number(&usage["cacheReadInputTokens"]), number(&usage["cacheWriteInputTokens"]));
    Usage {
        input: number(&usage["inputTokens"]) + read + write,
        output: number(&usage["outputTokens"]),
        cache_read: read,
        cache_write: write,
        reasoning: 0,
    }
}

#[tokio::test]
async fn converse_says_the_same_whole_and_streamed() {
    let fixture = Fixture::start();
    for mut client in fixture.clients(BEDROCK).await {
        let whole = json(client.post(&format!("/model/{CLAUDE}/converse"), converse()).await).await;
        let told = last(&fixture).await;
        assert_eq!(told.usage, Some(converse_usage(&whole["usage"])));
        assert_eq!(told.model.as_deref(), Some("us.anthropic.claude-sonnet-4-5-20250929-v1:0"));
        let response = client.post(&format!("/model/{CLAUDE}/converse-stream"), converse()).await;
        assert_eq!(response.headers()["content-type"], "application/vnd.amazon.eventstream");
        let events = frames(&bytes(response).await);
        let text: String = events.iter().filter_map(|(_, event)| event["delta"]["text"].as_str()).collect();
        assert!(text.contains("naïve 漢字") && text.starts_with("Answer "));
        assert_eq!(events[0], ("messageStart".to_owned(), json!({"role": "assistant", "p": events[0].1["p"]})));
        let (name, metadata) = events.last().unwrap();
        assert_eq!(name, "metadata");
        let streamed = last(&fixture).await;
        assert_eq!(streamed.usage, Some(converse_usage(&metadata["usage"])));
        assert_eq!(streamed.said.bytes, text.len() as u64);
        assert_eq!(streamed.usage.unwrap().output, streamed.planned_usage.unwrap().output);
    }
}

#[tokio::test]
async fn every_vendors_model_answers_in_its_own_shape() {
    let fixture = Fixture::start();
    let mut client = fixture.http1(BEDROCK).await;
    for (model, place) in [
        ("meta.llama3-3-70b-instruct-v1%3A0", Some(("/prompt_token_count", "/generation_token_count"))),
        ("amazon.nova-pro-v1%3A0", Some(("/usage/inputTokens", "/usage/outputTokens"))),
        ("amazon.titan-text-express-v1", Some(("/inputTextTokenCount", "/results/0/tokenCount"))),
        (CLAUDE, Some(("/usage/input_tokens", "/usage/output_tokens"))),
        ("openai.gpt-oss-120b-1%3A0", Some(("/usage/prompt_tokens", "/usage/completion_tokens"))),
        ("mistral.mistral-7b-instruct-v0%3A2", None),
        ("cohere.command-r-v1%3A0", None),
    ] {
        let body = json!({"prompt": "hi", "messages": [{"role": "user", "content": "hi"}]}).to_string();
        let response = client.post(&format!("/model/{model}/invoke"), body.clone()).await;
        let header = |name: &str| response.headers()[name].to_str().unwrap().parse::<u64>().unwrap();
        let told = (header("x-amzn-bedrock-input-token-count"), header("x-amzn-bedrock-output-token-count"));
        let whole = json(response).await;
        if let Some((input, output)) = place {
            let count = |path| number(whole.pointer(path).unwrap_or_else(|| panic!("{path} of {model}: {whole}")));
            assert_eq!((count(input), count(output)), told, "{model}");
        }
        let usage = last(&fixture).await.usage.unwrap();
        assert_eq!((usage.input - usage.cache_read - usage.cache_write, usage.output), told, "{model}");

        let response = client.post(&format!("/model/{model}/invoke-with-response-stream"), body).await;
        assert_eq!(response.headers()["x-amzn-bedrock-content-type"], "application/json");
        let events = chunks(&bytes(response).await);
        let metrics = &events.last().unwrap()["amazon-bedrock-invocationMetrics"];
        let streamed = last(&fixture).await;
        let usage = streamed.usage.unwrap();
        assert_eq!(number(&metrics["inputTokenCount"]), usage.input - usage.cache_read - usage.cache_write, "{model}");
        assert_eq!(number(&metrics["outputTokenCount"]), usage.output, "{model}");
        assert!(streamed.said.tokens > 10 && streamed.stream, "{model}");
        assert!(events.iter().all(|event| event["type"] != "ping"), "Claude sends none here");
    }
    for model in ["amazon.titan-embed-text-v2%3A0", "cohere.embed-english-v3"] {
        let response = client.post(&format!("/model/{model}/invoke"), r#"{"inputText":"hi"}"#).await;
        let told = response.headers()["x-amzn-bedrock-input-token-count"].to_str().unwrap().parse().unwrap();
        assert_eq!(last(&fixture).await.usage, Some(Usage { input: told, ..Usage::default() }), "{model}");
    }
}

#[tokio::test]
async fn bedrocks_faults_are_exceptions() {
    let fixture = Fixture::start();
    let mut client = fixture.http1(BEDROCK).await;
    let path = |action: &str| format!("/model/{CLAUDE}/{action}");
    let limited = client.faulty(&path("converse"), "429", converse()).await;
    assert_eq!(limited.status(), 429);
    assert!(limited.headers()["x-amzn-errortype"].to_str().unwrap().starts_with("ThrottlingException"));
    assert!(json(limited).await["message"].is_string());
    let broken = frames(&bytes(client.faulty(&path("converse-stream"), "error=3", converse()).await).await);
    assert_eq!((broken.len(), &broken[3].0[..]), (4, "throttlingException"));
    let broken = frames(&bytes(client.faulty(&path("invoke-with-response-stream"), "error=0", "{}").await).await);
    assert_eq!(broken[0].0, "modelStreamErrorException");
    let damaged = bytes(client.faulty(&path("converse-stream"), "damage=2", converse()).await).await;
    let sound = bytes(client.post(&path("converse-stream"), converse()).await).await;
    assert_eq!(damaged.iter().zip(&sound).filter(|(a, b)| a != b).count(), 1);
    let unknown = client.post("/model/m/dance", "{}").await;
    assert_eq!(unknown.status(), 404);
    let split = bytes(client.faulty(&path("converse-stream"), "split=7", converse()).await).await;
    assert_eq!(split, sound);
}

#[tokio::test]
async fn only_a_signature_that_holds_or_a_key_is_let_in() {
    let fixture = Fixture::start();
    let mut client = fixture.http1(BEDROCK).await;
    let signed = |signature: &str| {
        http::Request::post(format!("/model/{CLAUDE}/converse"))
            .header("x-amz-date", "20261123T010203Z")
            .header("authorization", format!("AWS4-HMAC-SHA256 Credential={}/20261123/us-east-1/bedrock/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}", tollgate_provider::AWS_KEY_ID))
            .body(crate::client::full(converse()))
            .unwrap()
    };
    let refused = client.send(signed("00")).await.unwrap();
    assert_eq!(refused.status(), 403);
    assert!(refused.headers()["x-amzn-errortype"].to_str().unwrap().starts_with("InvalidSignatureException"));
    assert_eq!(last(&fixture).await.signed, Some(false));
    // The client's key of every kind is a bearer token here.
    assert_eq!(client.post(&format!("/model/{CLAUDE}/converse"), converse()).await.status(), 200);
    assert_eq!(last(&fixture).await.signed, None);
}

#[tokio::test]
async fn vertex_answers_in_the_publishers_shape() {
    let fixture = Fixture::start();
    let mut client = fixture.http2(VERTEX).await;
    let model = |publisher: &str, model: &str| {
        format!("/v1/projects/p/locations/us-central1/publishers/{publisher}/models/{model}")
    };
    let gemini = json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}).to_string();
    let whole = json(client.post(&model("google", "gemini-2.5-pro:generateContent"), gemini.clone()).await).await;
    let told = last(&fixture).await;
    assert_eq!(number(&whole["usageMetadata"]["promptTokenCount"]), told.usage.unwrap().input);
    assert_eq!(told.model.as_deref(), Some("gemini-2.5-pro"));
    let array = text(client.post(&model("google", "gemini-2.5-pro:streamGenerateContent"), gemini).await).await;
    assert!(serde_json::from_str::<Value>(&array).unwrap().is_array());

    let claude = |stream: bool| {
        json!({"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "stream": stream,
               "messages": [{"role": "user", "content": "hi"}]})
        .to_string()
    };
    let path = model("anthropic", "claude-sonnet-4-5@20250929:rawPredict");
    let whole = json(client.post(&path, claude(false)).await).await;
    assert_eq!(whole["type"], "message");
    assert_eq!(number(&whole["usage"]["output_tokens"]), last(&fixture).await.usage.unwrap().output);
    let stream = text(client.post(&path.replace("rawPredict", "streamRawPredict"), claude(true)).await).await;
    assert!(data(&stream).last().unwrap().contains("message_stop"));
    let streamed = last(&fixture).await;
    assert_eq!((streamed.outcome, streamed.model.as_deref()), (Outcome::Completed, Some("claude-sonnet-4-5@20250929")));
    let unknown = client.post(&model("nobody", "m:rawPredict"), "{}").await;
    assert_eq!(json(unknown).await["error"]["status"], "NOT_FOUND");
}
