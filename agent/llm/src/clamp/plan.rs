//! By which parameter each API is asked for a smaller answer. From the references named in `response/fields`, as of 2026-11-23.

use crate::call::{Api, Call, Operation};
use crate::catalogue::Provider;

/// How many names there are for one parameter, at most.
pub(super) const NAMES: usize = 3;

/// Where the parameter is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// The names of the object it is in, the first of which is made where there is none. In the top object where empty.
    pub(super) parents: &'static [&'static str],
    /// Its names.
    pub(super) names: &'static [&'static str],
    /// The one that is added where there is none.
    pub(super) insert: &'static str,
    /// The one that must be there, whatever others are: servers that do not know the others pass over them.
    pub(super) needed: Option<&'static str>,
    /// Whether zero is as small as it seems. Elsewhere it stands for no bound.
    pub(super) takes_zero: bool,
    /// Whether a budget for thinking must be smaller.
    pub(super) thinks: bool,
}

impl Plan {
    /// `None` for what has no output tokens to be bounded.
    pub(super) fn of(call: &Call, provider: &Provider) -> Option<Self> {
        let is_openai = is_openai(provider);
        Some(match call.api {
            _ if call.operation == Operation::Embeddings => return None,
            // Its own models take no other, or any; those who follow OpenAI know the older name.
            Api::ChatCompletions => Self {
                insert: if is_openai { "max_completion_tokens" } else { "max_tokens" },
                needed: (!knows_newer(provider)).then_some("max_tokens"),
                takes_zero: is_openai,
                ..Self::top(&["max_completion_tokens", "max_tokens"])
            },
            Api::Completions => Self { takes_zero: is_openai, ..Self::top(&["max_tokens"]) },
            Api::Responses => Self { takes_zero: is_openai, ..Self::top(&["max_output_tokens"]) },
            Api::Messages => Self { takes_zero: true, thinks: true, ..Self::top(&["max_tokens"]) },
            Api::CohereChat => Self::top(&["max_tokens"]),
            Api::Conversations => Self { parents: &["completion_args"], ..Self::top(&["max_tokens"]) },
            Api::GenerateContent => Self {
                parents: &["generationConfig", "generation_config"],
                ..Self::top(&["maxOutputTokens", "max_output_tokens"])
            },
            Api::Ollama => Self { parents: &["options"], ..Self::top(&["num_predict"]) },
            Api::BedrockConverse | Api::BedrockConverseStream => {
                Self { parents: &["inferenceConfig"], ..Self::top(&["maxTokens"]) }
            }
            Api::BedrockInvoke | Api::BedrockInvokeStream => match call.operation {
                Operation::Chat => Self::invoke(call.model_in_path.as_deref().unwrap_or_default()),
                _ => return None,
            },
            _ => return None,
        })
    }

    /// For a message on a WebSocket.
    pub(super) fn of_message(api: Api, is_wrapped: bool) -> Option<Self> {
        let parents: &[&str] = if is_wrapped || api == Api::Realtime { &["response"] } else { &[] };
        let names = &["max_output_tokens", "max_response_output_tokens"];
        matches!(api, Api::Responses | Api::Realtime).then(|| Self { parents, ..Self::top(names) })
    }

    const fn top(names: &'static [&'static str]) -> Self {
        let insert = match names {
            [first, ..] => *first,
            [] => "",
        };
        Self { parents: &[], names, insert, needed: None, takes_zero: false, thinks: false }
    }

    /// By whose model it is.
    fn invoke(model: &str) -> Self {
        let is_of = |maker: &str| model.contains(maker);
        if is_of("anthropic.") {
            Self { takes_zero: true, thinks: true, ..Self::top(&["max_tokens"]) }
        } else if is_of("amazon.nova") {
            Self { parents: &["inferenceConfig"], ..Self::top(&["maxTokens", "max_new_tokens"]) }
        } else if is_of("amazon.titan") {
            Self { parents: &["textGenerationConfig"], ..Self::top(&["maxTokenCount"]) }
        } else if is_of("meta.") {
            Self::top(&["max_gen_len"])
        } else if is_of("openai.") {
            Self::top(&["max_completion_tokens", "max_tokens"])
        } else if ["mistral.", "cohere.", "deepseek.", "qwen.", "ai21."].into_iter().any(is_of) {
            Self::top(&["max_tokens"])
        } else {
            Self::top(&[])
        }
    }

    /// Whether there is a parameter that is known.
    pub(super) fn is_known(&self) -> bool {
        !self.names.is_empty()
    }

    /// The parameter's name, for people.
    pub(super) fn parameter(&self) -> &'static str {
        self.insert
    }
}

/// Whether the provider goes by `max_completion_tokens`, as its reference says; some of them refuse a request with both names.
fn knows_newer(provider: &Provider) -> bool {
    const KNOW_IT: [&str; 12] = [
        "anthropic",
        "azure.ai.inference",
        "cerebras",
        "fireworks",
        "gcp.gemini",
        "gcp.vertex_ai",
        "github.copilot",
        "github.models",
        "groq",
        "openrouter",
        "vercel",
        "x_ai",
    ];
    is_openai(provider) || KNOW_IT.contains(&&*provider.name)
}

/// OpenAI's own servers, and Azure's of its models.
fn is_openai(provider: &Provider) -> bool {
    let is_own = |host: &str| host.ends_with("api.openai.com") || host.ends_with(".openai.azure.com");
    matches!(&*provider.name, "openai" | "azure.ai.openai") || provider.hosts.iter().any(|host| is_own(host.as_str()))
}
