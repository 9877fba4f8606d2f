//! Providers with dialects of their own: counted to the token where their answers have it, and nothing of a signed request changed.

use anyhow::Result;
use serde_json::{Value, json};
use tollgate_e2e::logged::{self, usage};
use tollgate_e2e::stage::Stage;
use tollgate_provider::{AWS_KEY_ID, AWS_SECRET, Exchange, Outcome, Usage};
use tollgate_world::Program;

const BEDROCK: &str = "bedrock-runtime.us-east-1.amazonaws.com";
const VERTEX: &str = "us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/publishers";
const CLAUDE: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1%3A0";
/// Its own cloud, which is not looked into unless asked for.
const OLLAMA: &str = "providers:\n  - name: ollama\n    dialect: ollama\n    hosts: [ollama.com]\n";

/// One call: where to, what is sent, and by which names the agent should know it.
struct Call {
    url: String,
    body: Value,
    provider: &'static str,
    operation: &'static str,
}

fn call(provider: &'static str, operation: &'static str, url: impl Into<String>, body: Value) -> Call {
    Call { url: format!("https://{}", url.into()), body, provider, operation }
}

impl Call {
    fn program(&self, stage: &Stage, arguments: &[&str], faults: &str) -> Program {
        let program = stage.world.client_command("curl").args(["--silent", "--show-error", "--no-buffer"]);
        let program = program.args(["-H", "content-type: application/json"]).args(arguments);
        // An empty header would not be sent, and signed all the same.
        let faults =
            if faults.is_empty() { Vec::new() } else { vec!["-H".to_owned(), format!("x-provider-fault: {faults}")] };
        program.args(faults).args(["--data-binary", &self.body.to_string(), &self.url])
    }
}

const BEARER: [&str; 2] = ["-H", "authorization: Bearer k"];

/// Calls of every API of these providers, whole and streamed.
fn every_call() -> Vec<Call> {
    let ask = json!([{"role": "user", "content": "Hello"}]);
    let parts = json!([{"role": "user", "content": [{"text": "Hello"}]}]);
    let mut calls = Vec::new();
    for action in ["converse", "converse-stream"] {
        let body = json!({"messages": parts});
        calls.push(call("aws.bedrock", "chat", format!("{BEDROCK}/model/{CLAUDE}/{action}"), body));
    }
    for action in ["invoke", "invoke-with-response-stream"] {
        let prompt = json!({"prompt": "Hello", "inputText": "Hello", "message": "Hello"});
        for (model, body) in [
            (CLAUDE, json!({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 99, "messages": ask})),
            ("amazon.nova-pro-v1%3A0", json!({"messages": parts})),
            ("meta.llama3-3-70b-instruct-v1%3A0", prompt.clone()),
            ("amazon.titan-text-express-v1", prompt.clone()),
            ("openai.gpt-oss-120b-1%3A0", json!({"messages": ask})),
            ("mistral.mistral-7b-instruct-v0%3A2", prompt.clone()),
            ("cohere.command-r-v1%3A0", prompt.clone()),
        ] {
            calls.push(call("aws.bedrock", "chat", format!("{BEDROCK}/model/{model}/{action}"), body));
        }
    }
    let titan = format!("{BEDROCK}/model/amazon.titan-embed-text-v2%3A0/invoke");
    calls.push(call("aws.bedrock", "embeddings", titan, json!({"inputText": "Hello"})));
    for verb in ["generateContent", "streamGenerateContent", "streamGenerateContent?alt=sse"] {
        let body = json!({"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]});
        let url = format!("{VERTEX}/google/models/gemini-2.5-pro:{verb}");
        calls.push(call("gcp.vertex_ai", "generate_content", url, body));
    }
    for (verb, stream) in [("rawPredict", false), ("streamRawPredict", true)] {
        let claude =
            json!({"anthropic_version": "vertex-2023-10-16", "max_tokens": 99, "messages": ask, "stream": stream});
        let url = format!("{VERTEX}/anthropic/models/claude-sonnet-4-5@20250929:{verb}");
        calls.push(call("gcp.vertex_ai", "chat", url, claude));
    }
    for (provider, url) in [
        (
            "azure.ai.openai",
            "stand-in.openai.azure.com/openai/deployments/gpt-4o-mini/chat/completions?api-version=2024-10-21",
        ),
        ("mistral_ai", "api.mistral.ai/v1/chat/completions"),
        ("deepseek", "api.deepseek.com/chat/completions"),
        ("groq", "api.groq.com/openai/v1/chat/completions"),
    ] {
        for stream in [None, Some(json!({"include_usage": true}))] {
            let mut body = json!({"model": "gpt-4o-mini", "messages": ask});
            calls.push(call(provider, "chat", url, body.clone()));
            body["stream"] = true.into();
            if let Some(options) = stream {
                body["stream_options"] = options;
            }
            calls.push(call(provider, "chat", url, body));
        }
    }
    for stream in [false, true] {
        let body = json!({"model": "command-a-03-2025", "messages": ask, "stream": stream});
        calls.push(call("cohere", "chat", "api.cohere.com/v2/chat", body));
        let body = json!({"model": "llama3.2", "messages": ask, "stream": stream});
        calls.push(call("ollama", "chat", "ollama.com/api/chat", body));
        let body = json!({"model": "llama3.2", "prompt": "Hello", "stream": stream});
        calls.push(call("ollama", "text_completion", "ollama.com/api/generate", body));
    }
    let texts = json!({"model": "embed-v4.0", "texts": ["Hello", "you"]});
    calls.push(call("cohere", "embeddings", "api.cohere.com/v2/embed", texts));
    let search = json!({"model": "rerank-v3.5", "query": "Hello", "documents": ["a", "b"]});
    calls.push(call("cohere", "rerank", "api.cohere.com/v2/rerank", search));
    calls.push(call("ollama", "embeddings", "ollama.com/api/embed", json!({"model": "e", "input": ["Hello"]})));
    calls
}

#[test]
fn what_each_api_tells_is_counted_to_the_token() -> Result<()> {
    let stage = Stage::new(OLLAMA)?;
    let calls = every_call();
    for (at, call) in calls.iter().enumerate() {
        // Both protocols, and events that arrive in pieces.
        let version = if at % 2 == 0 { "--http1.1" } else { "--http2" };
        let faults = if at % 3 == 0 { "split=23" } else { "" };
        let output = call.program(&stage, &[&BEARER[..], &[version, "--fail-with-body"]].concat(), faults).run()?;
        assert!(output.success()?.stdout.len() > 100, "{}", call.url);
    }
    let (lines, exchanges) = (logged::calls(&stage.agent, calls.len())?, stage.settled()?);
    assert_eq!(exchanges.len(), calls.len());
    for ((call, line), exchange) in calls.iter().zip(&lines).zip(&exchanges) {
        let about = format!("{}\n{line:#}\n{exchange:#?}", call.url);
        assert!(exchange.usage.is_some(), "{about}");
        assert_eq!((usage(line), &line["usage_source"]), (exchange.usage, &"provider".into()), "{about}");
        assert_eq!((&line["provider"], &line["operation"]), (&call.provider.into(), &call.operation.into()), "{about}");
        assert_eq!(line["request_model"].as_str(), exchange.model.as_deref(), "{about}");
        assert_eq!(line["response_model"].as_str(), exchange.response_model.as_deref(), "{about}");
        assert_eq!(line["response_bytes"], exchange.response_bytes, "{about}");
        assert_eq!((&line["outcome"], exchange.outcome), (&"completed".into(), Outcome::Completed), "{about}");
    }
    Ok(())
}

/// curl signs as well, with code of its own. What a signature covers, the body by its digest among it, must arrive as it left.
#[test]
fn what_is_signed_for_aws_arrives_unchanged() -> Result<()> {
    let stage = Stage::new("")?;
    let signer = ["--aws-sigv4", "aws:amz:us-east-1:bedrock", "--user", &format!("{AWS_KEY_ID}:{AWS_SECRET}")];
    let parts = json!([{"role": "user", "content": [{"text": "naïve 漢字"}]}]);
    let mut sent = Vec::new();
    for action in ["converse", "converse-stream", "invoke", "invoke-with-response-stream"] {
        for version in ["--http1.1", "--http2"] {
            // Spaces, an option that is spliced elsewhere, and a key in an order of its own: nothing of it may be put right.
            let body = json!({"stream_options": {}, "stream": true, "messages": parts, "prompt": version});
            let call = call("aws.bedrock", "chat", format!("{BEDROCK}/model/amazon.nova-lite/{action}"), body);
            let arguments = [&signer[..], &[version, "--fail-with-body"]].concat();
            call.program(&stage, &arguments, "").run()?.success()?;
            sent.push(tollgate_provider::sha256(call.body.to_string().as_bytes()));
        }
    }
    let exchanges = stage.settled()?;
    let arrived: Vec<_> = exchanges.iter().map(|it| it.request_sha256.clone().unwrap_or_default()).collect();
    assert_eq!(arrived, sent);
    for exchange in &exchanges {
        assert_eq!((exchange.signed, exchange.status), (Some(true), 200), "{exchange:#?}");
    }
    Ok(())
}

#[test]
fn a_damaged_or_broken_event_stream_is_counted_as_what_it_is() -> Result<()> {
    let stage = Stage::new("")?;
    let body = json!({"messages": [{"role": "user", "content": [{"text": "Hello"}]}]});
    let converse = call("aws.bedrock", "chat", format!("{BEDROCK}/model/{CLAUDE}/converse-stream"), body);
    let body = json!({"max_tokens": 99, "messages": [{"role": "user", "content": "Hello"}]});
    let invoke = format!("{BEDROCK}/model/{CLAUDE}/invoke-with-response-stream");
    let invoke = call("aws.bedrock", "chat", invoke, body);
    let made = [
        (&converse, "damage=5", Value::Null),
        (&converse, "error=5", "rate_limited".into()),
        (&invoke, "error=5", "server_error".into()),
        (&invoke, "damage=5", Value::Null),
        // What curl makes of it is its own affair: it passes the bytes on.
        (&converse, "429,retry-after=1", "rate_limited".into()),
    ];
    for (call, faults, ..) in &made {
        let output = call.program(&stage, &BEARER, faults).run()?.success()?;
        assert!(!output.stdout.is_empty());
    }
    let (lines, exchanges) = (logged::calls(&stage.agent, made.len())?, stage.settled()?);
    for (((call, faults, error), line), exchange) in made.iter().zip(&lines).zip(&exchanges) {
        let about = format!("{faults}\n{line:#}\n{exchange:#?}");
        assert_eq!(line["error_type"], *error, "{about}");
        assert_ne!(line["usage_source"], "provider", "{about}");
        assert_eq!(line["response_bytes"], exchange.response_bytes, "{about}");
        if call.url == invoke.url {
            assert_input_is_known(line, exchange, &about);
        }
    }
    Ok(())
}

/// Claude tells at the beginning what was read, whatever becomes of the rest.
fn assert_input_is_known(line: &Value, exchange: &Exchange, about: &str) {
    let (counted, told) = (usage(line), exchange.usage);
    let input = |usage: Option<Usage>| usage.map(|usage| (usage.input, usage.cache_read, usage.cache_write));
    assert_eq!(input(counted), input(told), "{about}");
}
