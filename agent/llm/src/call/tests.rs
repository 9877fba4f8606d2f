use super::*;
use crate::catalogue::Catalogue;

fn call(host: &str, method: &Method, path: &str) -> Call {
    identify(Catalogue::builtin().find(host).expect("a built-in host"), method, path)
}

fn post(host: &str, path: &str) -> (Operation, Api, Option<String>, Option<bool>) {
    let call = call(host, &Method::POST, path);
    (call.operation, call.api, call.model_in_path.map(|m| m.to_string()), call.stream_in_path)
}

const OPENAI: &str = "api.openai.com";
const ANTHROPIC: &str = "api.anthropic.com";
const GEMINI: &str = "generativelanguage.googleapis.com";

#[test]
fn openai_endpoints_are_told_apart() {
    use Operation::{
        Batch, Chat, CountTokens, Embeddings, File, FineTuning, Image, Moderation, Other, Speech, TextCompletion,
        Transcription,
    };
    for (path, operation, api) in [
        ("/v1/chat/completions", Chat, Api::ChatCompletions),
        ("/v1/chat/completions?x=/v1/embeddings", Chat, Api::ChatCompletions),
        ("//v1//chat/completions/", Chat, Api::ChatCompletions),
        ("/v1/completions", TextCompletion, Api::Completions),
        ("/v1/responses", Chat, Api::Responses),
        ("/v1/responses/compact", Chat, Api::Responses),
        ("/v1/responses/input_tokens", CountTokens, Api::CountTokens),
        ("/v1/responses/resp_1/cancel", Other, Api::Unknown),
        ("/v1/embeddings", Embeddings, Api::Embeddings),
        ("/v1/chat/completions/chatcmpl_1", Other, Api::Unknown),
        ("/v1/threads/thread_1/messages", Other, Api::Unknown),
        ("/v1/images/generations", Image, Api::Images),
        ("/v1/images/edits", Image, Api::Images),
        ("/v1/images/variations", Image, Api::Images),
        ("/v1/audio/speech", Speech, Api::Speech),
        ("/v1/audio/transcriptions", Transcription, Api::Transcription),
        ("/v1/audio/translations", Transcription, Api::Transcription),
        ("/v1/moderations", Moderation, Api::Moderations),
        ("/v1/batches", Batch, Api::Unknown),
        ("/v1/batches/batch_1/cancel", Other, Api::Unknown),
        ("/v1/files", File, Api::Unknown),
        ("/v1/fine_tuning/jobs", FineTuning, Api::Unknown),
        ("/v1/realtime/client_secrets", Other, Api::Unknown),
        ("/completions", Other, Api::Unknown),
        ("/", Other, Api::Unknown),
        ("", Other, Api::Unknown),
        ("*", Other, Api::Unknown),
    ] {
        assert_eq!(post(OPENAI, path), (operation, api, None, None), "{path}");
    }
}

#[test]
fn only_post_generates() {
    for path in ["/v1/responses/resp_1", "/v1/chat/completions", "/v1/models", "/v1/batches", "/v1/files/f/content"] {
        assert_eq!(call(OPENAI, &Method::GET, path).api, Api::Unknown, "{path}");
    }
    for method in [Method::DELETE, Method::HEAD, Method::OPTIONS, Method::PUT] {
        assert_eq!(call(OPENAI, &method, "/v1/responses").api, Api::Unknown, "{method}");
    }
    assert_eq!(call(ANTHROPIC, &Method::OPTIONS, "/v1/messages").api, Api::Unknown);
}

#[test]
fn anthropic_endpoints_are_told_apart() {
    assert_eq!(post(ANTHROPIC, "/v1/messages?beta=true"), (Operation::Chat, Api::Messages, None, None));
    assert_eq!(
        post(ANTHROPIC, "/v1/messages/count_tokens"),
        (Operation::CountTokens, Api::CountTokens, None, None),
        "counting is not charged"
    );
    assert_eq!(post(ANTHROPIC, "/v1/messages/batches").1, Api::Unknown);
    assert_eq!(call(ANTHROPIC, &Method::POST, "/v1/complete").dialect, Dialect::Anthropic);
}

#[test]
fn gemini_says_model_and_stream_in_the_path() {
    let model = |m: &str| Some(m.to_owned());
    for (path, expected) in [
        (
            "/v1beta/models/gemini-2.5-flash:generateContent",
            (Operation::GenerateContent, Api::GenerateContent, model("gemini-2.5-flash"), Some(false)),
        ),
        (
            "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
            (Operation::GenerateContent, Api::GenerateContent, model("gemini-2.5-flash"), Some(true)),
        ),
        (
            "/v1/models/gemini-2.5-pro%3AstreamGenerateContent?key=k",
            (Operation::GenerateContent, Api::GenerateContent, model("gemini-2.5-pro"), Some(true)),
        ),
        (
            "/v1beta/tunedModels/my-model:generateContent",
            (Operation::GenerateContent, Api::GenerateContent, model("my-model"), Some(false)),
        ),
        (
            "/v1beta/models/gemini-embedding-001:batchEmbedContents",
            (Operation::Embeddings, Api::EmbedContent, model("gemini-embedding-001"), Some(false)),
        ),
        (
            "/v1beta/models/gemini-2.5-flash:countTokens",
            (Operation::CountTokens, Api::CountTokens, model("gemini-2.5-flash"), Some(false)),
        ),
        (
            "/v1beta/models/gemini-2.5-flash:batchGenerateContent",
            (Operation::Batch, Api::Unknown, model("gemini-2.5-flash"), Some(false)),
        ),
        ("/v1beta/models", (Operation::Other, Api::Unknown, None, None)),
        ("/upload/v1beta/files", (Operation::File, Api::Unknown, None, None)),
    ] {
        assert_eq!(post(GEMINI, path), expected, "{path}");
    }
}

#[test]
fn a_provider_may_serve_anothers_dialect() {
    let call = call(GEMINI, &Method::POST, "/v1beta/openai/chat/completions");
    assert_eq!((call.api, call.dialect), (Api::ChatCompletions, Dialect::OpenAi));
}

#[test]
fn paths_that_can_be_read_two_ways_are_other() {
    for path in [
        "/v1/../v1/chat/completions",
        "/v1/%2e%2e/chat/completions",
        "/v1/./chat/completions",
        "/v1/chat%2Fcompletions",
        "/v1beta/models/..%2F..%2Fv1%2Fmodels%2Fx:generateContent",
        "/v1beta/models/a%5cb:generateContent",
        "/v1beta/models/a%252fb:generateContent",
        "/v1beta/models/a%00:generateContent",
        "/v1beta/models/a%ff:generateContent",
        "/v1beta/models/a%2:generateContent",
        "/v1beta/models/:generateContent",
        "/v1beta/models/a%20b:generateContent",
        "http://api.openai.com/v1/chat/completions",
    ] {
        assert_eq!(post(GEMINI, path), (Operation::Other, Api::Unknown, None, None), "{path}");
    }
    let long = format!("/v1beta/models/{}:generateContent", "m".repeat(300));
    assert_eq!(post(GEMINI, &long).1, Api::Unknown);
    let deep = format!("/{}/chat/completions", "a/".repeat(100));
    assert_eq!(post(OPENAI, &deep).1, Api::Unknown);
}

#[test]
fn azure_deployments_name_the_model() {
    assert_eq!(
        post(OPENAI, "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        (Operation::Chat, Api::ChatCompletions, Some("gpt-4o".into()), None)
    );
}

proptest::proptest! {
    #[test]
    fn no_path_panics(path in "(/|%|\\PC|[a-z%./:]){0,40}") {
        for host in [OPENAI, ANTHROPIC, GEMINI] {
            let _ = call(host, &Method::POST, &path);
        }
    }
}

#[test]
fn websockets_are_known_by_get_and_connect() {
    let model = |m: &str| Some(Arc::from(m));
    for (path, operation, api, name) in [
        ("/v1/realtime?model=gpt-realtime", Operation::Realtime, Api::Realtime, model("gpt-realtime")),
        ("/v1/realtime?x=1&model=gpt%2Drealtime&model=b", Operation::Realtime, Api::Realtime, model("gpt-realtime")),
        (
            "/openai/realtime?api-version=2025-04-01-preview&deployment=mine",
            Operation::Realtime,
            Api::Realtime,
            model("mine"),
        ),
        ("/v1/realtime?intent=transcription", Operation::Realtime, Api::Realtime, None),
        ("/v1/realtime?model=", Operation::Realtime, Api::Realtime, None),
        ("/v1/realtime?model=%zz", Operation::Realtime, Api::Realtime, None),
        ("/v1/responses", Operation::Chat, Api::Responses, None),
        ("/backend-api/codex/responses?model=no", Operation::Chat, Api::Responses, None),
    ] {
        for method in [Method::GET, Method::CONNECT] {
            let found = call(OPENAI, &method, path);
            assert_eq!((found.operation, found.api, found.model_in_path), (operation, api, name.clone()), "{path}");
            assert!(found.is_websocket);
        }
        assert!(!call(OPENAI, &Method::POST, path).is_websocket);
    }
    assert_eq!(post(OPENAI, "/v1/realtime?model=gpt-realtime").1, Api::Unknown);
}
