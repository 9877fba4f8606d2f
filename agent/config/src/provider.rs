use std::num::NonZeroU16;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_ebpf::name::Pattern;
use tollgate_llm::{Dialect, Provider};

use crate::check::Checks;
use crate::document::Path;
use crate::value::{Leaf, ProviderName};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawProvider {
    /// What it is called in metrics, logs and reports.
    name: Leaf<ProviderName>,
    /// Host names that it answers at: exact, or with one `*`. `*.example.com` stands for one or more
    /// labels before the rest, `*-llm.example.com` for one label with that ending, and
    /// `llm.*.example.com` for exactly one label.
    hosts: Vec<Leaf<Pattern>>,
    /// The API that it speaks, if its hosts are not known to the agent. `openai` when nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RawDialect")]
    dialect: Option<RawDialect>,
    /// Ports on which its hosts are spoken to without TLS, `http://`: 11434 for Ollama, 8000 for vLLM. Hosts on this
    /// machine's loopback interface, such as `localhost`, are never intercepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    http_ports: Vec<Leaf<NonZeroU16>>,
}

/// An API that requests and answers are read by.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawDialect {
    /// OpenAI's, as most servers speak it.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Google's `generateContent`, also of Vertex.
    Gemini,
    /// Mistral's: OpenAI's with errors of its own.
    Mistral,
    /// Cohere's.
    Cohere,
    /// Amazon Bedrock's.
    Bedrock,
    /// Ollama's own.
    Ollama,
}

impl From<RawDialect> for Dialect {
    fn from(dialect: RawDialect) -> Self {
        match dialect {
            RawDialect::OpenAi => Self::OpenAi,
            RawDialect::Anthropic => Self::Anthropic,
            RawDialect::Gemini => Self::Gemini,
            RawDialect::Mistral => Self::Mistral,
            RawDialect::Cohere => Self::Cohere,
            RawDialect::Bedrock => Self::Bedrock,
            RawDialect::Ollama => Self::Ollama,
        }
    }
}

pub(crate) fn check(raw: Vec<RawProvider>, checks: &mut Checks<'_>) -> Vec<Provider> {
    let mut providers: Vec<Provider> = Vec::new();
    for (index, provider) in raw.into_iter().enumerate() {
        let here = Path::default().key("providers").index(index);
        if provider.hosts.is_empty() {
            checks.report(&here.clone().key("hosts"), "the provider has no hosts", "name at least one");
        }
        if providers.iter().any(|other| *other.name == provider.name.0.0) {
            let message = format!("`{}` is defined twice", provider.name.0.0);
            checks.report(&here.clone().key("name"), message, "put all its hosts into one list");
        }
        let hosts: Vec<Pattern> = provider.hosts.into_iter().map(|host| host.0).collect();
        for (number, host) in hosts.iter().enumerate() {
            if providers.iter().any(|other| other.hosts.contains(host)) || hosts[..number].contains(host) {
                let message = format!("`{host}` is already listed above");
                checks.report(&here.clone().key("hosts").index(number), message, "keep it in one place");
            }
        }
        let http_ports = provider.http_ports.into_iter().map(|port| port.0.get()).collect();
        let known = Provider::new(provider.name.0.0, hosts, provider.dialect.map(Dialect::from));
        providers.push(known.with_http_ports(http_ports));
    }
    providers
}
