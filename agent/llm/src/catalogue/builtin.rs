//! The providers that are known: facts from their API references, as of 2026-11-23.
//!
//! Hosts were gathered from the providers' own documentation and compared with what LiteLLM 1.103 and Portkey 1.15
//! address. Names are OpenTelemetry's (`gen_ai.provider.name`, semantic conventions 1.41) where it has one. Streams are
//! said to tell their usage unasked only where the reference shows it; in doubt they are asked.

use super::{
    Dialect::{self, Anthropic, Bedrock, Cohere, Gemini, Mistral, Ollama, OpenAi},
    StreamUsage::{self, OnRequest, Refused, Unasked},
};

/// One row.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) dialect: Dialect,
    pub(super) stream_usage: StreamUsage,
    /// `{region}` stands for a `*` that matches the region.
    pub(super) hosts: &'static [&'static str],
    /// As in [`Provider::paths`](super::Provider::paths).
    pub(super) paths: &'static [&'static str],
}

const fn row(name: &'static str, dialect: Dialect, stream_usage: StreamUsage, hosts: &'static [&'static str]) -> Entry {
    Entry { name, dialect, stream_usage, hosts, paths: &[] }
}

/// Hosts that serve models and little else: intercepted unless told otherwise.
#[rustfmt::skip]
pub(super) const PROVIDERS: &[Entry] = &[
    // Model makers.
    row("openai", OpenAi, OnRequest, &["api.openai.com", "{region}.api.openai.com"]),
    row("anthropic", Anthropic, OnRequest, &["api.anthropic.com"]),
    row("gcp.gemini", Gemini, OnRequest, &["generativelanguage.googleapis.com"]),
    row("mistral_ai", Mistral, Unasked, &["api.mistral.ai", "codestral.mistral.ai"]),
    row("cohere", Cohere, OnRequest, &["api.cohere.com", "api.cohere.ai"]),
    row("deepseek", OpenAi, Unasked, &["api.deepseek.com"]),
    row("x_ai", OpenAi, OnRequest, &["api.x.ai", "{region}.api.x.ai"]),
    row("perplexity", OpenAi, Unasked, &["api.perplexity.ai"]),
    row("moonshot", OpenAi, OnRequest, &["api.moonshot.ai", "api.moonshot.cn"]),
    row("zai", OpenAi, OnRequest, &["api.z.ai", "open.bigmodel.cn"]),
    row("alibaba", OpenAi, OnRequest, &["dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"]),
    row("minimax", OpenAi, OnRequest, &["api.minimax.io", "api.minimaxi.com", "api.minimax.chat"]),
    row("volcengine", OpenAi, OnRequest, &["ark.{region}.volces.com", "ark.{region}.bytepluses.com"]),
    row("tencent", OpenAi, OnRequest, &["api.hunyuan.cloud.tencent.com"]),
    row("baichuan", OpenAi, OnRequest, &["api.baichuan-ai.com"]),
    row("stepfun", OpenAi, OnRequest, &["api.stepfun.com", "api.stepfun.ai"]),
    row("01ai", OpenAi, OnRequest, &["api.lingyiwanwu.com"]),
    row("ai21", OpenAi, OnRequest, &["api.ai21.com"]),
    row("meta", OpenAi, OnRequest, &["api.llama.com"]),
    row("upstage", OpenAi, OnRequest, &["api.upstage.ai"]),
    row("reka", OpenAi, OnRequest, &["api.reka.ai"]),
    row("writer", OpenAi, OnRequest, &["api.writer.com"]),
    row("voyage", OpenAi, OnRequest, &["api.voyageai.com"]),
    row("jina", OpenAi, OnRequest, &["api.jina.ai"]),

    // Clouds. A body for Bedrock is signed and must not be changed.
    row("aws.bedrock", Bedrock, Refused, &[
        "bedrock-runtime.{region}.amazonaws.com", "bedrock-runtime-fips.{region}.amazonaws.com",
        "bedrock-agent-runtime.{region}.amazonaws.com", "bedrock-mantle.{region}.api.aws",
    ]),
    row("azure.ai.openai", OpenAi, OnRequest, &["*.openai.azure.com", "*.cognitiveservices.azure.com"]),
    row("azure.ai.inference", OpenAi, OnRequest, &[
        "*.services.ai.azure.com", "*.models.ai.azure.com", "models.inference.ai.azure.com",
    ]),
    row("gcp.vertex_ai", Gemini, OnRequest, &[
        "aiplatform.googleapis.com", "{region}-aiplatform.googleapis.com", "aiplatform.{region}.rep.googleapis.com",
    ]),
    row("ibm.watsonx.ai", OpenAi, OnRequest, &["{region}.ml.cloud.ibm.com"]),
    row("oracle", OpenAi, OnRequest, &["inference.generativeai.{region}.oci.oraclecloud.com"]),

    // Those who serve others' models.
    row("groq", OpenAi, Unasked, &["api.groq.com"]),
    row("together", OpenAi, Unasked, &["api.together.xyz", "api.together.ai"]),
    row("fireworks", OpenAi, Unasked, &["api.fireworks.ai"]),
    row("cerebras", OpenAi, Unasked, &["api.cerebras.ai"]),
    row("deepinfra", OpenAi, OnRequest, &["api.deepinfra.com"]),
    row("sambanova", OpenAi, OnRequest, &["api.sambanova.ai"]),
    row("novita", OpenAi, OnRequest, &["api.novita.ai"]),
    row("siliconflow", OpenAi, Unasked, &["api.siliconflow.com", "api.siliconflow.cn"]),
    row("huggingface", OpenAi, OnRequest, &[
        "router.huggingface.co", "api-inference.huggingface.co", "*.endpoints.huggingface.cloud",
    ]),
    row("nvidia", OpenAi, OnRequest, &["integrate.api.nvidia.com"]),
    row("replicate", OpenAi, OnRequest, &["api.replicate.com"]),
    row("hyperbolic", OpenAi, OnRequest, &["api.hyperbolic.xyz"]),
    row("nebius", OpenAi, OnRequest, &["api.studio.nebius.ai", "api.studio.nebius.com", "api.tokenfactory.nebius.com"]),
    row("baseten", OpenAi, OnRequest, &["inference.baseten.co", "*.api.baseten.co"]),
    row("lambda", OpenAi, OnRequest, &["api.lambda.ai"]),
    row("venice", OpenAi, OnRequest, &["api.venice.ai"]),
    row("poe", OpenAi, OnRequest, &["api.poe.com"]),
    row("digitalocean", OpenAi, OnRequest, &["inference.do-ai.run"]),
    row("featherless", OpenAi, OnRequest, &["api.featherless.ai"]),
    row("friendli", OpenAi, OnRequest, &["api.friendli.ai"]),
    row("inference.net", OpenAi, OnRequest, &["api.inference.net"]),
    row("github.copilot", OpenAi, OnRequest, &["api.githubcopilot.com", "*.githubcopilot.com"]),
    row("github.models", OpenAi, OnRequest, &["models.github.ai"]),

    // Gateways. OpenRouter's website is at the same name; that its pages pass through does them no harm.
    Entry { paths: &["api"], ..row("openrouter", OpenAi, OnRequest, &["openrouter.ai"]) },
    row("cloudflare.gateway", OpenAi, OnRequest, &["gateway.ai.cloudflare.com"]),
    row("vercel", OpenAi, OnRequest, &["ai-gateway.vercel.sh"]),
    row("portkey", OpenAi, OnRequest, &["api.portkey.ai"]),

    // Sound and pictures.
    row("elevenlabs", OpenAi, OnRequest, &["api.elevenlabs.io", "api.{region}.residency.elevenlabs.io"]),
    row("deepgram", OpenAi, OnRequest, &["api.deepgram.com"]),
    row("assemblyai", OpenAi, OnRequest, &["api.assemblyai.com", "api.eu.assemblyai.com"]),
    row("stability", OpenAi, OnRequest, &["api.stability.ai"]),
    row("recraft", OpenAi, OnRequest, &["external.api.recraft.ai"]),
];

/// Whose hosts are looked up in advance: what a program may well have asked for before the agent began.
pub(super) const SOUGHT: &[&str] = &["openai", "anthropic", "gcp.gemini", "gcp.vertex_ai", "mistral_ai", "openrouter"];

/// Hosts that serve models among much else: people's browsers, data warehouses, whole clouds. They are intercepted only
/// where the configuration names them, and then only the calls under these paths are taken for calls of models.
#[rustfmt::skip]
pub(super) const SHARED: &[Entry] = &[
    // Codex with a ChatGPT login. Anything else there is a browser's, which its guards know by its TLS.
    Entry { paths: &["backend-api/codex"], ..row("openai", OpenAi, Refused, &["chatgpt.com"]) },
    Entry { paths: &["serving-endpoints"], ..row("databricks", OpenAi, Refused, &[
        "*.cloud.databricks.com", "*.azuredatabricks.net", "*.gcp.databricks.com",
    ]) },
    Entry { paths: &["api/v2/cortex"], ..row("snowflake", OpenAi, Unasked, &["*.snowflakecomputing.com"]) },
    Entry { paths: &["client/v4/accounts/*/ai"], ..row("cloudflare", OpenAi, OnRequest, &["api.cloudflare.com"]) },
    Entry { paths: &["endpoints"], ..row("aws.sagemaker", OpenAi, Refused, &["runtime.sagemaker.{region}.amazonaws.com"]) },
    Entry { paths: &["api", "v1"], ..row("ollama", Ollama, OnRequest, &["ollama.com"]) },
];
