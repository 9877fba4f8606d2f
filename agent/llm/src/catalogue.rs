//! The providers whose traffic is intercepted: their names, hosts and dialects, as data.

mod builtin;
mod regions;

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
    /// The ports on which it is spoken to without TLS, beside those where it has it.
    pub http_ports: Vec<u16>,
    /// Which of the hosts have a region where their `*` is.
    regional: Vec<Pattern>,
    /// Whether its hosts are looked up before a program asks for them.
    is_sought: bool,
}

impl Provider {
    /// A user's. What is known of its hosts holds for it as well: where their models are, whether their streams tell
    /// their usage, and, unless `dialect` says so, what they speak. All else is taken to be like OpenAI.
    pub fn new(name: impl Into<Arc<str>>, hosts: Vec<Pattern>, dialect: Option<Dialect>) -> Self {
        let known = builtin::PROVIDERS.iter().chain(builtin::SHARED).map(Self::builtin);
        // `eu.api.openai.com` is one of OpenAI's, as `*.api.openai.com` is, `*.openai.com` is not.
        let is_of = |host: &Pattern, other: &Pattern| host == other || host.is_exact() && other.matches(host.as_str());
        let is_known = |host: &Pattern, known: &Self| known.hosts.iter().any(|other| is_of(host, other));
        let known = known.filter(|_| !hosts.is_empty()).find(|known| hosts.iter().all(|host| is_known(host, known)));
        let known = known.unwrap_or_else(|| Self {
            name: Arc::from(""),
            hosts: Vec::new(),
            dialect: Dialect::OpenAi,
            stream_usage: StreamUsage::OnRequest,
            paths: &[],
            http_ports: Vec::new(),
            regional: Vec::new(),
            is_sought: true,
        });
        Self { name: name.into(), hosts, dialect: dialect.unwrap_or(known.dialect), is_sought: true, ..known }
    }

    /// The same, spoken to without TLS on these ports.
    #[must_use]
    pub fn with_http_ports(self, http_ports: Vec<u16>) -> Self {
        Self { http_ports, ..self }
    }

    fn builtin(entry: &builtin::Entry) -> Self {
        let pattern = |host: &&str| host.replace("{region}", "*").parse().expect("built-in hosts are tested patterns");
        Self {
            name: Arc::from(entry.name),
            hosts: entry.hosts.iter().map(pattern).collect(),
            dialect: entry.dialect,
            stream_usage: entry.stream_usage,
            paths: entry.paths,
            http_ports: Vec::new(),
            is_sought: builtin::SOUGHT.contains(&entry.name),
            regional: entry.hosts.iter().filter(|host| host.contains("{region}")).map(pattern).collect(),
        }
    }

    /// The region that a host's name says it is in: `europe-west4` of `europe-west4-aiplatform.googleapis.com`.
    pub fn region<'host>(&self, host: &'host str) -> Option<&'host str> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let pattern = self.regional.iter().find(|pattern| pattern.matches(host))?.as_str();
        let (head, tail) = pattern.split_once('*')?;
        host.get(head.len()..host.len().checked_sub(tail.len())?).filter(|region| !region.contains('.'))
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
    /// They must not be asked: a request with `stream_options` is refused, or any change breaks its signature.
    Refused,
}

/// All providers that are known, built in or added by the user.
#[derive(Debug, Clone)]
pub struct Catalogue {
    providers: Vec<Arc<Provider>>,
}

impl Catalogue {
    /// The providers that are intercepted without any configuration.
    pub fn builtin() -> Self {
        let providers = builtin::PROVIDERS.iter().map(|entry| Arc::new(Provider::builtin(entry)));
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

    /// What an authority is to sign for, each once: every host pattern, and in place of those that would take in a whole cloud the
    /// hosts of its regions by name.
    pub fn constraints(&self) -> Vec<Pattern> {
        let named = |pattern: &Pattern| -> Vec<Pattern> {
            let Some(regions) = regions::of(pattern.as_str()) else { return vec![pattern.clone()] };
            let host =
                |region: &&str| pattern.as_str().replace('*', region).parse().expect("regions are tested labels");
            regions.iter().map(host).collect()
        };
        let mut all: Vec<_> = self.patterns().iter().flat_map(named).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The hosts to look up in advance: the exact ones of the users' own providers and of those that most programs call. From a
    /// machine that looks up all the others every minute, a security team would conclude that somebody uses them.
    pub fn sought(&self) -> impl Iterator<Item = &Pattern> {
        let sought = self.providers.iter().filter(|provider| provider.is_sought);
        sought.flat_map(|provider| &provider.hosts).filter(|host| host.is_exact())
    }

    /// The ports on which some provider is spoken to without TLS, in ascending order, each once.
    pub fn http_ports(&self) -> Vec<u16> {
        let mut ports: Vec<_> = self.providers.iter().flat_map(|provider| &provider.http_ports).copied().collect();
        ports.sort_unstable();
        ports.dedup();
        ports
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
        for (host, provider) in [
            ("bedrock-runtime.us-east-1.amazonaws.com", "aws.bedrock"),
            ("mine.openai.azure.com", "azure.ai.openai"),
            ("mine.services.ai.azure.com", "azure.ai.inference"),
            ("aiplatform.googleapis.com", "gcp.vertex_ai"),
            ("us-central1-aiplatform.googleapis.com", "gcp.vertex_ai"),
            ("aiplatform.eu.rep.googleapis.com", "gcp.vertex_ai"),
            ("api.mistral.ai", "mistral_ai"),
            ("api.x.ai", "x_ai"),
            ("openrouter.ai", "openrouter"),
            ("router.huggingface.co", "huggingface"),
            ("xyz.us-east-1.aws.endpoints.huggingface.cloud", "huggingface"),
            ("api.individual.githubcopilot.com", "github.copilot"),
        ] {
            assert_eq!(name(host), Some(provider));
        }
        // Hosts of much else beside models: browsers, data warehouses, object stores.
        for stranger in [
            "openai.com",
            "chatgpt.com",
            "evilapi.openai.com.example",
            "notapi.openai.com",
            "storage.googleapis.com",
            "s3.us-east-1.amazonaws.com",
            "bedrock-runtime.a.b.amazonaws.com",
            "me.cloud.databricks.com",
            "me.snowflakecomputing.com",
            "api.cloudflare.com",
            "github.com",
            "huggingface.co",
            "",
        ] {
            assert_eq!(name(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn an_authority_for_all_providers_has_no_cloud_in_its_reach() {
        let constraints = Catalogue::builtin().constraints();
        let reaches = |host: &str| {
            let within = |suffix: &str| host == suffix || host.ends_with(&format!(".{suffix}"));
            constraints.iter().any(|pattern| within(pattern.suffix()))
        };
        for host in [
            "bedrock-runtime.us-east-1.amazonaws.com",
            "bedrock-runtime-fips.us-gov-west-1.amazonaws.com",
            "bedrock-agent-runtime.eu-west-3.amazonaws.com",
            "bedrock-mantle.eu-north-1.api.aws",
            "us-central1-aiplatform.googleapis.com",
            "aiplatform.eu.rep.googleapis.com",
            "aiplatform.googleapis.com",
            "generativelanguage.googleapis.com",
            "inference.generativeai.us-chicago-1.oci.oraclecloud.com",
            "ark.cn-beijing.volces.com",
            "api.openai.com",
            "mine.openai.azure.com",
        ] {
            assert!(reaches(host), "{host}");
        }
        for host in [
            "s3.us-east-1.amazonaws.com",
            "sts.amazonaws.com",
            "bedrock-runtime.moon-1.amazonaws.com",
            "storage.googleapis.com",
            "us-central1-run.googleapis.com",
            "objectstorage.us-chicago-1.oraclecloud.com",
            "www.volces.com",
            "login.azure.com",
            "accounts.google.com",
        ] {
            assert!(!reaches(host), "{host}");
        }
        // Nothing shorter than a service's own name, whatever is added to the table.
        for broad in ["amazonaws.com", "api.aws", "googleapis.com", "azure.com", "oraclecloud.com", "github.com"] {
            assert!(!constraints.iter().any(|pattern| pattern.suffix() == broad), "{broad}");
        }
    }

    #[test]
    fn a_users_provider_is_found_and_wins_over_a_builtin_one() {
        let own = |name: &str, host: &str| Provider::new(name, vec![host.parse().unwrap()], None);
        let catalogue =
            Catalogue::builtin().with(own("vllm", "llm.internal")).with(own("openai-eu", "eu.api.openai.com"));
        assert_eq!(&*catalogue.find("llm.internal").unwrap().name, "vllm");
        assert_eq!(&*catalogue.find("eu.api.openai.com").unwrap().name, "openai-eu");
        assert_eq!(&*catalogue.find("us.api.openai.com").unwrap().name, "openai");
        assert_eq!(catalogue.patterns().len(), Catalogue::builtin().patterns().len() + 2);
    }

    #[test]
    fn the_table_is_sound() {
        let entries = || builtin::PROVIDERS.iter().chain(builtin::SHARED);
        let mut hosts: Vec<_> = entries().flat_map(|entry| entry.hosts).collect();
        let count = hosts.len();
        hosts.sort_unstable();
        hosts.dedup();
        assert_eq!(hosts.len(), count, "no host is there twice");
        assert!(entries().all(|entry| !entry.hosts.is_empty() && !entry.name.contains(' ')));
        assert!(builtin::SHARED.iter().all(|entry| !entry.paths.is_empty()), "what is shared says where models are");
        let patterns: Vec<Pattern> = entries().flat_map(|entry| Provider::builtin(entry).hosts).collect();
        // One wildcard label too many would take in others' hosts; so would a public suffix.
        for pattern in &patterns {
            assert!(pattern.suffix().matches('.').count() >= 1, "{pattern}");
        }
        let compiled = tollgate_ebpf::name::compile(&patterns).expect("the kernel holds them");
        assert!(compiled.len() <= 128, "the kernel's table is {} entries", compiled.len());
    }

    #[test]
    fn only_common_and_configured_hosts_are_looked_up_in_advance() {
        let own = Provider::new("own", vec!["llm.internal".parse().unwrap(), "*.b.example".parse().unwrap()], None);
        let catalogue = Catalogue::builtin().with(own);
        let sought: Vec<_> = catalogue.sought().map(Pattern::as_str).collect();
        for host in ["api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com", "llm.internal"] {
            assert!(sought.contains(&host), "{host}");
        }
        assert!(!sought.contains(&"api.deepseek.com") && sought.iter().all(|host| !host.contains('*')));
        assert!(builtin::SOUGHT.iter().all(|name| builtin::PROVIDERS.iter().any(|entry| entry.name == *name)));
    }

    #[test]
    fn the_region_is_read_off_the_host() {
        let catalogue = Catalogue::builtin();
        for (host, region) in [
            ("bedrock-runtime.us-east-1.amazonaws.com", Some("us-east-1")),
            ("bedrock-mantle.eu-west-2.api.aws.", Some("eu-west-2")),
            ("europe-west4-aiplatform.googleapis.com", Some("europe-west4")),
            ("EUROPE-west4-aiplatform.googleapis.com", Some("EUROPE-west4")),
            ("aiplatform.eu.rep.googleapis.com", Some("eu")),
            ("aiplatform.googleapis.com", None),
            ("eu.api.openai.com", Some("eu")),
            ("a.eu.api.openai.com", None),
            ("api.openai.com", None),
            ("us-south.ml.cloud.ibm.com", Some("us-south")),
            ("inference.generativeai.us-chicago-1.oci.oraclecloud.com", Some("us-chicago-1")),
            ("ark.cn-beijing.volces.com", Some("cn-beijing")),
            ("mine.openai.azure.com", None),
        ] {
            assert_eq!(catalogue.find(host).unwrap().region(host), region, "{host}");
        }
        assert_eq!(catalogue.find("api.openai.com").unwrap().region("-aiplatform.googleapis.com"), None);
    }

    #[test]
    fn a_user_who_names_a_known_host_gets_what_is_known_of_it() {
        let own = |hosts: &[&str], dialect| {
            Provider::new("own", hosts.iter().map(|host| host.parse().unwrap()).collect(), dialect)
        };
        let codex = own(&["chatgpt.com"], None);
        assert_eq!((codex.stream_usage, codex.paths), (StreamUsage::Refused, &["backend-api/codex"][..]));
        let workspace = own(&["me.cloud.databricks.com"], Some(Dialect::Anthropic));
        assert_eq!((workspace.dialect, workspace.paths), (Dialect::Anthropic, &["serving-endpoints"][..]));
        assert_eq!(own(&["api.cohere.com"], None).dialect, Dialect::Cohere);
        let sagemaker = own(&["runtime.sagemaker.*.amazonaws.com"], None);
        assert_eq!(sagemaker.region("runtime.sagemaker.eu-west-1.amazonaws.com"), Some("eu-west-1"));
        for hosts in [&["llm.internal"][..], &["llm.internal", "chatgpt.com"], &["*.databricks.com"], &[]] {
            let other = own(hosts, None);
            assert_eq!((other.dialect, other.stream_usage), (Dialect::OpenAi, StreamUsage::OnRequest));
            assert!(other.paths.is_empty() && other.region("chatgpt.com").is_none());
        }
    }
}
