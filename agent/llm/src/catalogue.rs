//! The providers whose traffic is intercepted: their names, hosts and dialects, as data.

mod builtin;

use std::sync::Arc;

use tollgate_ebpf::name::Pattern;

/// How a provider phrases requests, answers and errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI and the many servers that follow it.
    OpenAi,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini, and Vertex.
    Gemini,
    /// Mistral: OpenAI's requests and answers, errors of its own.
    Mistral,
    /// Cohere.
    Cohere,
    /// AWS's Bedrock.
    Bedrock,
    /// Ollama.
    Ollama,
}

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The value for `gen_ai.provider.name`, as OpenTelemetry lists it (`openai`, `anthropic`, `gcp.gemini`), or a name
    /// of the user's choice. Also what prices are looked up by.
    pub name: Arc<str>,
    /// The hosts it answers at.
    pub hosts: Vec<Pattern>,
    /// What its own endpoints speak; [`identify`](crate::identify) may find another dialect on a path.
    pub dialect: Dialect,
    /// Whether its streams tell their usage.
    pub stream_usage: StreamUsage,
    /// Where its endpoints are, if the hosts serve more than models: the first segments of a path, `*` for any one.
    /// Everywhere, when empty.
    pub paths: &'static [&'static str],
}

impl Provider {
    /// One that is known by nothing else, as users add it. Its streams are taken to tell their usage when asked.
    pub fn new(name: impl Into<Arc<str>>, hosts: Vec<Pattern>, dialect: Dialect) -> Self {
        Self { name: name.into(), hosts, dialect, stream_usage: StreamUsage::OnRequest, paths: &[] }
    }

    /// Whether calls of models are to be found under these segments of a path.
    pub(crate) fn serves(&self, segments: &[&str]) -> bool {
        let leads = |prefix: &&str| {
            let mut given = segments.iter();
            prefix.split('/').all(|step| given.next().is_some_and(|segment| step == "*" || step == *segment))
        };
        self.paths.is_empty() || self.paths.iter().any(leads)
    }
}

/// How a provider's streams in OpenAI's dialect tell their usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamUsage {
    /// Always, asked or not.
    Unasked,
    /// When the request has `stream_options.include_usage`.
    OnRequest,
    /// A request with `stream_options` is refused.
    Refused,
}

/// All providers that are known, built in or added by the user.
#[derive(Debug, Clone)]
pub struct Catalogue {
    providers: Vec<Arc<Provider>>,
}

impl Catalogue {
    /// The providers known without any configuration.
    pub fn builtin() -> Self {
        let providers = builtin::PROVIDERS.iter().map(|&(name, dialect, hosts)| {
            let hosts = hosts.iter().map(|host| host.parse().expect("built-in hosts are tested patterns")).collect();
            Arc::new(Provider::new(name, hosts, dialect))
        });
        Self { providers: providers.collect() }
    }

    /// Adds a provider. Its hosts win over those already there, so that a user can rename or redirect a built-in one.
    #[must_use]
    pub fn with(mut self, provider: Provider) -> Self {
        self.providers.insert(0, Arc::new(provider));
        self
    }

    /// Every provider, in the order in which they are searched.
    pub fn providers(&self) -> &[Arc<Provider>] {
        &self.providers
    }

    /// Every host pattern, each once.
    pub fn patterns(&self) -> Vec<Pattern> {
        let mut patterns: Vec<_> = self.providers.iter().flat_map(|provider| &provider.hosts).cloned().collect();
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }

    /// The provider that answers at `host`, a bare name without a port.
    pub fn find(&self, host: &str) -> Option<&Arc<Provider>> {
        self.providers.iter().find(|provider| provider.hosts.iter().any(|pattern| pattern.matches(host)))
    }
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::builtin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_hosts_find_their_provider_and_no_other() {
        let catalogue = Catalogue::builtin();
        let name = |host| catalogue.find(host).map(|provider| &*provider.name);
        assert_eq!(name("api.openai.com"), Some("openai"));
        assert_eq!(name("API.OpenAI.com."), Some("openai"));
        assert_eq!(name("eu.api.openai.com"), Some("openai"));
        assert_eq!(name("api.anthropic.com"), Some("anthropic"));
        assert_eq!(name("generativelanguage.googleapis.com"), Some("gcp.gemini"));
        for stranger in ["openai.com", "evilapi.openai.com.example", "notapi.openai.com", "storage.googleapis.com", ""]
        {
            assert_eq!(name(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn a_users_provider_is_found_and_wins_over_a_builtin_one() {
        let own = |name: &str, host: &str| Provider::new(name, vec![host.parse().unwrap()], Dialect::OpenAi);
        let catalogue =
            Catalogue::builtin().with(own("vllm", "llm.internal")).with(own("openai-eu", "eu.api.openai.com"));
        assert_eq!(&*catalogue.find("llm.internal").unwrap().name, "vllm");
        assert_eq!(&*catalogue.find("eu.api.openai.com").unwrap().name, "openai-eu");
        assert_eq!(&*catalogue.find("us.api.openai.com").unwrap().name, "openai");
        assert_eq!(catalogue.patterns().len(), Catalogue::builtin().patterns().len() + 2);
    }
}
