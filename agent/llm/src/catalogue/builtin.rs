//! The built-in providers, from their API references: platform.openai.com/docs (with the regional hosts of its data
//! residency page), platform.claude.com/docs, ai.google.dev/api. As of 2026-11-22.

use super::Dialect;

/// Name, dialect, hosts.
pub(super) const PROVIDERS: &[(&str, Dialect, &[&str])] = &[
    ("openai", Dialect::OpenAi, &["api.openai.com", "*.api.openai.com"]),
    ("anthropic", Dialect::Anthropic, &["api.anthropic.com"]),
    ("gcp.gemini", Dialect::Gemini, &["generativelanguage.googleapis.com"]),
];
