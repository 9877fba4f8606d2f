//! The four APIs, as curl calls them.

use serde_json::{Value, json};
use tollgate_world::{Program, World};

/// A way to ask a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// Google's `generateContent`.
    Gemini,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Chat, Self::Responses, Self::Messages, Self::Gemini];

    /// The provider, as metrics and logs name it.
    pub fn provider(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "openai",
            Self::Messages => "anthropic",
            Self::Gemini => "gcp.gemini",
        }
    }

    /// A model of this provider.
    pub fn model(self) -> &'static str {
        match self {
            Self::Chat | Self::Responses => "gpt-4o-mini",
            Self::Messages => "claude-sonnet-4-5",
            Self::Gemini => "gemini-2.5-flash",
        }
    }

    /// What the operation is called in metrics and logs.
    pub fn operation(self) -> &'static str {
        if self == Self::Gemini { "generate_content" } else { "chat" }
    }

    /// Where to ask. Gemini's path tells the model and whether to stream.
    pub fn url(self, model: &str, stream: bool) -> String {
        match self {
            Self::Chat => "https://api.openai.com/v1/chat/completions".to_owned(),
            Self::Responses => "https://api.openai.com/v1/responses".to_owned(),
            Self::Messages => "https://api.anthropic.com/v1/messages".to_owned(),
            Self::Gemini => {
                let verb = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
                format!("https://generativelanguage.googleapis.com/v1beta/models/{model}:{verb}")
            }
        }
    }

    /// What to send. The prompt makes equal calls different.
    pub fn body(self, model: &str, prompt: &str, stream: bool) -> Value {
        let messages = json!([{"role": "user", "content": prompt}]);
        match self {
            Self::Chat if stream => {
                json!({"model": model, "messages": messages, "stream": true, "stream_options": {"include_usage": true}})
            }
            Self::Chat => json!({"model": model, "messages": messages}),
            Self::Responses => json!({"model": model, "input": prompt, "stream": stream}),
            Self::Messages => json!({"model": model, "max_tokens": 500, "messages": messages, "stream": stream}),
            Self::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": prompt}]}]}),
        }
    }

    /// A call by curl in the client's cgroup, without buffering and with the faults asked for.
    pub fn call(self, world: &World, prompt: &str, stream: bool, faults: &str) -> Program {
        let model = self.model();
        let program = world.client_command("curl").args(["--silent", "--show-error", "--no-buffer"]).args([
            "-H",
            "content-type: application/json",
            "-H",
            "anthropic-version: 2023-06-01",
        ]);
        // Each API reads its own kind of key.
        let program = program.args(["-H", "authorization: Bearer k", "-H", "x-api-key: k", "-H", "x-goog-api-key: k"]);
        let program =
            if faults.is_empty() { program } else { program.arg("-H").arg(format!("x-provider-fault: {faults}")) };
        let body = self.body(model, prompt, stream).to_string();
        program.arg("--data-binary").arg(body).arg(self.url(model, stream))
    }
}
