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
fn paths_that_a_lenient_server_takes_for_a_call_are_ambiguous_and_others_are_not() {
    let is = |host: &str, method: &Method, path: &str| {
        is_ambiguous(Catalogue::builtin().find(host).expect("a built-in host"), method, path)
    };
    let deep = format!("/{}v1/chat/completions", "./".repeat(30));
    for path in [
        "/v1/../v1/chat/completions",
        "/v1/%2e%2e/chat/completions",
        "/v1/x%zz/%2E%2e//chat%2fcompletions",
        "/v1/chat%252Fcompletions",
        "/v1\\chat\\completions",
        "/v1/chat;a=b/completions;c",
        "/v1/./Chat/completions",
        "/v1beta/models/a%2F..%2Fgemini-3-pro:generateContent",
        &deep,
    ] {
        let host = if path.contains("models") { GEMINI } else { OPENAI };
        assert!(is(host, &Method::POST, path), "{path}");
        assert!(!is(host, &Method::DELETE, path), "{path}");
    }
    for path in ["/v1/chat/completions", "/v1/files/a%2Fb", "/v1/../models", "/x;y", "/", "", "*", "/v1/%zz"] {
        assert!(!is(OPENAI, &Method::POST, path), "{path}");
    }
    for query in
        ["model=a&model=b", "deployment=a&model=b", "%6dodel=a", "Model=a", "x&model=a&model=", "a;model=b&model=c"]
    {
        assert!(is(OPENAI, &Method::GET, &format!("/v1/realtime?{query}")), "{query}");
    }
    for query in ["model=a", "model=a&model=a", "x=model&deployment=b", "", "models=a&model=b"] {
        assert!(!is(OPENAI, &Method::GET, &format!("/v1/realtime?{query}")), "{query}");
    }
    assert!(is(OPENAI, &Method::GET, "/v1/x/../realtime?model=a"));
    assert!(!is(OPENAI, &Method::POST, "/v1/chat/completions?model=a&model=b"), "nobody reads it there");
}

#[test]
fn a_path_in_another_case_is_the_same_call() {
    assert_eq!(post(OPENAI, "/v1/Chat/Completions").1, Api::ChatCompletions);
    assert_eq!(post(OPENAI, "/openai/deployments/GPT-4o/chat/COMPLETIONS").2, Some("gpt-4o".into()));
    assert_eq!(call(OPENAI, &Method::GET, "/v1/Realtime?model=M").model_in_path.as_deref(), Some("M"));
    assert_eq!(post(GEMINI, "/v1beta/models/M:generateContent").2, Some("M".into()));
    assert_eq!(post(OPENAI, "/v1/Files/X").1, Api::Unknown);
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
            let _ = is_ambiguous(Catalogue::builtin().find(host).expect("a built-in host"), &Method::GET, &path);
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

const VERTEX: &str = "us-central1-aiplatform.googleapis.com";
const BEDROCK: &str = "bedrock-runtime.us-east-1.amazonaws.com";

#[test]
fn vertex_is_read_by_whose_model_it_is() {
    use Operation::{Batch, Chat, CountTokens, Embeddings, GenerateContent, Image, Ocr, Other};
    let google = "/v1/projects/p/locations/us-central1/publishers/google/models";
    let partner = "/v1/projects/p/locations/global/publishers";
    let endpoints = "/v1beta1/projects/p/locations/l/endpoints";
    for (path, operation, api, model, stream) in [
        (
            format!("{google}/gemini-3-pro:generateContent"),
            GenerateContent,
            Api::GenerateContent,
            "gemini-3-pro",
            false,
        ),
        (
            format!("{google}/gemini-3-pro:streamGenerateContent?alt=sse"),
            GenerateContent,
            Api::GenerateContent,
            "gemini-3-pro",
            true,
        ),
        (
            "/v1/publishers/google/models/gemini-3-pro:generateContent?key=k".to_owned(),
            GenerateContent,
            Api::GenerateContent,
            "gemini-3-pro",
            false,
        ),
        (format!("{google}/gemini-3-pro:countTokens"), CountTokens, Api::CountTokens, "gemini-3-pro", false),
        (format!("{google}/text-embedding-005:predict"), Embeddings, Api::Predict, "text-embedding-005", false),
        (format!("{google}/imagen-4.0-generate-001:predict"), Image, Api::Predict, "imagen-4.0-generate-001", false),
        (
            format!("{google}/gemini-embedding-001:embedContent"),
            Embeddings,
            Api::EmbedContent,
            "gemini-embedding-001",
            false,
        ),
        (
            format!("{partner}/anthropic/models/claude-opus-4-8@20260101:rawPredict"),
            Chat,
            Api::Messages,
            "claude-opus-4-8@20260101",
            false,
        ),
        (
            format!("{partner}/anthropic/models/claude-opus-4-8:streamRawPredict"),
            Chat,
            Api::Messages,
            "claude-opus-4-8",
            true,
        ),
        (
            format!("{partner}/mistralai/models/mistral-medium-3:streamRawPredict"),
            Chat,
            Api::ChatCompletions,
            "mistral-medium-3",
            true,
        ),
        (format!("{partner}/mistralai/models/mistral-ocr-2505:rawPredict"), Ocr, Api::Ocr, "mistral-ocr-2505", false),
        (
            format!("{partner}/meta/models/llama-4-maverick:rawPredict"),
            Chat,
            Api::ChatCompletions,
            "llama-4-maverick",
            false,
        ),
        (format!("{endpoints}/12345:generateContent"), GenerateContent, Api::GenerateContent, "12345", false),
        ("/v1beta/models/gemini-3-pro:batchGenerateContent".to_owned(), Batch, Api::Unknown, "gemini-3-pro", false),
    ] {
        assert_eq!(post(VERTEX, &path), (operation, api, Some(model.to_owned()), Some(stream)), "{path}");
    }
    for (path, operation, api) in [
        (format!("{partner}/anthropic/models/count-tokens:rawPredict"), CountTokens, Api::CountTokens),
        // A publisher whose bodies are not known, and what a private endpoint predicts.
        (format!("{partner}/acme/models/x:rawPredict"), Other, Api::Unknown),
        (format!("{endpoints}/12345:predict"), Other, Api::Unknown),
        (format!("{endpoints}/12345:rawPredict"), Other, Api::Unknown),
        (format!("{endpoints}/openapi/chat/completions"), Chat, Api::ChatCompletions),
    ] {
        assert_eq!(post(VERTEX, &path), (operation, api, None, None), "{path}");
    }
    let claude = call(VERTEX, &Method::POST, &format!("{partner}/anthropic/models/claude-opus-4-8:rawPredict"));
    assert_eq!(claude.dialect, Dialect::Anthropic, "its SDK expects Anthropic's errors");
}

#[test]
fn bedrock_names_the_model_in_the_path_also_as_an_arn() {
    use Operation::{Chat, CountTokens, Embeddings, Image, Other, Rerank};
    let sonnet = "anthropic.claude-sonnet-4-20250514-v1:0";
    let arn = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3A";
    for (path, operation, api, model, stream) in [
        ("/model/anthropic.claude-sonnet-4-20250514-v1%3A0/invoke", Chat, Api::BedrockInvoke, sonnet, false),
        (
            "/model/anthropic.claude-sonnet-4-20250514-v1:0/invoke-with-response-stream",
            Chat,
            Api::BedrockInvokeStream,
            sonnet,
            true,
        ),
        ("/model/anthropic.claude-sonnet-4-20250514-v1%3A0/converse", Chat, Api::BedrockConverse, sonnet, false),
        (
            "/model/anthropic.claude-sonnet-4-20250514-v1%3A0/converse-stream",
            Chat,
            Api::BedrockConverseStream,
            sonnet,
            true,
        ),
        ("/model/anthropic.claude-sonnet-4-20250514-v1%3A0/count-tokens", CountTokens, Api::CountTokens, sonnet, false),
        (
            "/model/amazon.titan-embed-text-v2%3A0/invoke",
            Embeddings,
            Api::BedrockInvoke,
            "amazon.titan-embed-text-v2:0",
            false,
        ),
        ("/model/cohere.rerank-v3-5%3A0/invoke", Rerank, Api::BedrockInvoke, "cohere.rerank-v3-5:0", false),
        ("/model/amazon.nova-canvas-v1%3A0/invoke", Image, Api::BedrockInvoke, "amazon.nova-canvas-v1:0", false),
        (
            &format!("/model/{arn}inference-profile%2Fus.{sonnet}/converse"),
            Chat,
            Api::BedrockConverse,
            &format!("us.{sonnet}"),
            false,
        ),
        (&format!("/model/{arn}inference-profile/us.x/converse"), Other, Api::Unknown, "", false),
        (
            &format!("/model/{arn}application-inference-profile%2Fa1b2/converse"),
            Chat,
            Api::BedrockConverse,
            "application-inference-profile/a1b2",
            false,
        ),
        (
            "/model/arn:aws:bedrock:us-east-1::foundation-model%2Fmeta.llama3/invoke",
            Chat,
            Api::BedrockInvoke,
            "meta.llama3",
            false,
        ),
    ] {
        let model = (!model.is_empty()).then(|| model.to_owned());
        let stream = model.is_some().then_some(stream);
        assert_eq!(post(BEDROCK, path), (operation, api, model, stream), "{path}");
    }
    for odd in [
        "/model/../converse",
        "/model/a%2Fb/converse",
        "/model/arn:x%2F..%2Fy/converse",
        "/model/arn:x%2F%2Fy/converse",
        "/model/arn:x%5Cy/converse",
        "/model//converse",
        "/guardrail/g/version/1/apply",
        "/async-invoke",
    ] {
        assert_eq!(post(BEDROCK, odd).1, Api::Unknown, "{odd}");
    }
    // Bedrock serves OpenAI's and Anthropic's APIs too.
    assert_eq!(post(BEDROCK, "/openai/v1/chat/completions").1, Api::ChatCompletions);
    assert_eq!(post("bedrock-mantle.us-east-1.api.aws", "/v1/responses").1, Api::Responses);
}

#[test]
fn cohere_and_rerankers_are_told_apart_from_other_chats() {
    for (host, path, operation, api, dialect) in [
        ("api.cohere.com", "/v2/chat", Operation::Chat, Api::CohereChat, Dialect::Cohere),
        ("api.cohere.ai", "/v1/chat", Operation::Chat, Api::CohereChat, Dialect::Cohere),
        ("api.cohere.com", "/v2/embed", Operation::Embeddings, Api::CohereEmbed, Dialect::Cohere),
        ("api.cohere.com", "/v2/rerank", Operation::Rerank, Api::Rerank, Dialect::Cohere),
        ("api.cohere.ai", "/compatibility/v1/chat/completions", Operation::Chat, Api::ChatCompletions, Dialect::OpenAi),
        ("gateway.ai.cloudflare.com", "/v1/a/g/cohere/v2/chat", Operation::Chat, Api::CohereChat, Dialect::Cohere),
        ("me.services.ai.azure.com", "/providers/cohere/v2/rerank", Operation::Rerank, Api::Rerank, Dialect::Cohere),
        ("api.jina.ai", "/v1/rerank", Operation::Rerank, Api::Rerank, Dialect::OpenAi),
        ("api.voyageai.com", "/v1/rerank", Operation::Rerank, Api::Rerank, Dialect::OpenAi),
        ("api.voyageai.com", "/v1/multimodalembeddings", Operation::Embeddings, Api::Embeddings, Dialect::OpenAi),
        (OPENAI, "/v1/chat", Operation::Other, Api::Unknown, Dialect::OpenAi),
    ] {
        let call = call(host, &Method::POST, path);
        assert_eq!((call.operation, call.api, call.dialect), (operation, api, dialect), "{host}{path}");
    }
}

#[test]
fn mistral_and_those_like_openai_keep_their_own_places() {
    use Operation::{Batch, Chat, Embeddings, Image, Ocr, Other, TextCompletion, Transcription};
    for (host, path, operation, api) in [
        ("api.mistral.ai", "/v1/chat/completions", Chat, Api::ChatCompletions),
        ("codestral.mistral.ai", "/v1/fim/completions", TextCompletion, Api::Completions),
        ("api.mistral.ai", "/v1/agents/completions", Chat, Api::ChatCompletions),
        ("api.mistral.ai", "/v1/conversations", Chat, Api::Conversations),
        ("api.mistral.ai", "/v1/conversations/conv_1", Chat, Api::Conversations),
        ("api.mistral.ai", "/v1/ocr", Ocr, Api::Ocr),
        ("api.mistral.ai", "/v1/batch/jobs", Batch, Api::Unknown),
        (OPENAI, "/v1/conversations", Other, Api::Unknown),
        ("api.deepseek.com", "/chat/completions", Chat, Api::ChatCompletions),
        ("api.deepseek.com", "/beta/completions", TextCompletion, Api::Completions),
        ("api.deepseek.com", "/anthropic/v1/messages", Chat, Api::Messages),
        ("api.groq.com", "/openai/v1/chat/completions", Chat, Api::ChatCompletions),
        ("api.groq.com", "/openai/v1/audio/transcriptions", Transcription, Api::Transcription),
        ("api.x.ai", "/v1/responses", Chat, Api::Responses),
        ("api.perplexity.ai", "/chat/completions", Chat, Api::ChatCompletions),
        ("openrouter.ai", "/api/v1/chat/completions", Chat, Api::ChatCompletions),
        ("openrouter.ai", "/chat/completions", Other, Api::Unknown),
        ("api.fireworks.ai", "/inference/v1/completions", TextCompletion, Api::Completions),
        ("api.together.xyz", "/v1/images/generations", Image, Api::Images),
        ("api.githubcopilot.com", "/chat/completions", Chat, Api::ChatCompletions),
        ("api.githubcopilot.com", "/embeddings", Embeddings, Api::Embeddings),
        (
            "me.services.ai.azure.com",
            "/models/chat/completions?api-version=2024-05-01-preview",
            Chat,
            Api::ChatCompletions,
        ),
        ("me.services.ai.azure.com", "/anthropic/v1/messages", Chat, Api::Messages),
        ("us-south.ml.cloud.ibm.com", "/ml/v1/text/chat_stream?version=2026-01-01", Chat, Api::ChatCompletions),
        ("gateway.ai.cloudflare.com", "/v1/a/g/anthropic/v1/messages", Chat, Api::Messages),
    ] {
        assert_eq!(post(host, path), (operation, api, None, None), "{host}{path}");
    }
    assert_eq!(call("api.mistral.ai", &Method::POST, "/v1/chat/completions").dialect, Dialect::Mistral);
    let azure = "/openai/deployments/mine/images/generations?api-version=1";
    assert_eq!(post("me.openai.azure.com", azure), (Image, Api::Images, Some("mine".into()), None));
    assert_eq!(
        post("gateway.ai.cloudflare.com", "/v1/a/g/workers-ai/@cf/meta/llama-3.1-8b-instruct"),
        (Chat, Api::ChatCompletions, Some("@cf/meta/llama-3.1-8b-instruct".into()), None)
    );
}

/// As a user adds a provider.
fn own(host: &str, dialect: Option<Dialect>, path: &str) -> (Operation, Api, Option<String>) {
    let provider = Provider::new("own", vec![host.parse().unwrap()], dialect);
    let call = identify(&provider, &Method::POST, path);
    (call.operation, call.api, call.model_in_path.map(|model| model.to_string()))
}

#[test]
fn hosts_of_much_else_count_only_where_their_models_are() {
    use Operation::{Chat, Other};
    let chat = |model: Option<&str>| (Chat, Api::ChatCompletions, model.map(str::to_owned));
    let other = (Other, Api::Unknown, None);
    for (host, path, expected) in [
        ("chatgpt.com", "/backend-api/codex/responses", (Chat, Api::Responses, None)),
        ("chatgpt.com", "/backend-api/other/responses", other.clone()),
        ("chatgpt.com", "/backend-api/files", other.clone()),
        ("me.cloud.databricks.com", "/serving-endpoints/dbrx/invocations", chat(Some("dbrx"))),
        ("me.cloud.databricks.com", "/serving-endpoints/chat/completions", chat(None)),
        ("me.cloud.databricks.com", "/api/2.0/sql/chat/completions", other.clone()),
        ("me.snowflakecomputing.com", "/api/v2/cortex/inference:complete", chat(None)),
        ("me.snowflakecomputing.com", "/api/v2/cortex/v1/messages", (Chat, Api::Messages, None)),
        ("me.snowflakecomputing.com", "/queries/v1/messages", other.clone()),
        ("api.cloudflare.com", "/client/v4/accounts/a/ai/run/@cf/meta/llama-3", chat(Some("@cf/meta/llama-3"))),
        ("api.cloudflare.com", "/client/v4/accounts/a/ai/v1/chat/completions", chat(None)),
        ("api.cloudflare.com", "/client/v4/accounts/a/workers/v1/chat/completions", other.clone()),
        ("runtime.sagemaker.us-east-1.amazonaws.com", "/endpoints/mine/invocations", other),
    ] {
        assert_eq!(own(host, None, path), expected, "{host}{path}");
    }
}

#[test]
fn a_private_server_speaks_what_its_owner_says() {
    use Operation::{Chat, Embeddings, Other, TextCompletion};
    let ollama = |path| own("ollama.internal", Some(Dialect::Ollama), path);
    assert_eq!(ollama("/api/chat"), (Chat, Api::Ollama, None));
    assert_eq!(ollama("/api/generate"), (TextCompletion, Api::Ollama, None));
    assert_eq!(ollama("/api/embed"), (Embeddings, Api::Ollama, None));
    assert_eq!(ollama("/v1/chat/completions"), (Chat, Api::ChatCompletions, None));
    assert_eq!(ollama("/api/pull"), (Other, Api::Unknown, None));
    assert_eq!(own("vllm.internal", None, "/v1/chat/completions"), (Chat, Api::ChatCompletions, None));
    assert_eq!(own("vllm.internal", None, "/api/chat"), (Other, Api::Unknown, None));
}
