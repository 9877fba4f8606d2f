//! The vendors' SDKs for Python, each with the interpreters that are installed.

use anyhow::Result;
use tollgate_clients::{Trial, Trust, first_python, other_pythons, python, source};

/// Which folder an SDK is in, its script, and what is special about it.
struct Sdk(&'static str, &'static str, fn(Trial) -> Trial);

const OPENAI: Sdk = Sdk("", "openai_sdk.py", |trial| trial);
/// The last that has its roots from certifi and not from the system.
const OPENAI_2: Sdk = Sdk("-openai2", "openai_sdk.py", |trial| trial);
const ANTHROPIC: Sdk = Sdk("", "anthropic_sdk.py", |trial| trial);
const GOOGLE: Sdk = Sdk("", "google_genai_sdk.py", |trial| trial.never_retries().without_peers().without_issuers());
/// A WebSocket's key is drawn anew each time, and nobody opens one twice by himself.
const OPENAI_WEBSOCKET: Sdk =
    Sdk("", "openai_websocket.py", |trial| trial.never_retries().own_headers(&["sec-websocket-key"]));
const WEBSOCKETS: Sdk =
    Sdk("", "websockets_client.py", |trial| trial.never_retries().own_headers(&["sec-websocket-key"]));

fn try_with(version: &str, Sdk(suffix, script, special): Sdk) -> Result<()> {
    let Some(python) = python(version, suffix)? else { return Ok(()) };
    let trial = Trial::new(python)?.env("PYTHONDONTWRITEBYTECODE", "1").arg(source("python").join(script));
    // Both ways to trust, where there are two Pythons; the strict checks of 3.13 for what is in the system's store.
    let by_store = version == "3.13" && suffix.is_empty();
    special(trial.trusting(if by_store { Trust::System } else { Trust::Variables })).run()
}

#[test]
fn openai_on_python_3_11() -> Result<()> {
    try_with("3.11", OPENAI)
}

#[test]
fn openai_on_python_3_13() -> Result<()> {
    try_with("3.13", OPENAI)
}

#[test]
fn openai_2_on_python_3_11() -> Result<()> {
    try_with("3.11", OPENAI_2)
}

#[test]
fn openai_2_on_python_3_13() -> Result<()> {
    try_with("3.13", OPENAI_2)
}

#[test]
fn anthropic_on_python_3_11() -> Result<()> {
    try_with("3.11", ANTHROPIC)
}

#[test]
fn anthropic_on_python_3_13() -> Result<()> {
    try_with("3.13", ANTHROPIC)
}

#[test]
fn google_genai_on_python_3_11() -> Result<()> {
    try_with("3.11", GOOGLE)
}

#[test]
fn google_genai_on_python_3_13() -> Result<()> {
    try_with("3.13", GOOGLE)
}

/// The SDKs of providers with dialects of their own.
fn try_cloud(script: &str) -> Result<Trial> {
    let trial = Trial::new(first_python("-clouds")?)?;
    Ok(trial.env("PYTHONDONTWRITEBYTECODE", "1").arg(source("python").join(script)))
}

/// What Amazon's SDK signs anew for each request, with the time and a number of its own; the rest is the same in each run. The stand-in
/// computes the signature from what arrives, and refuses what does not have it.
const SIGNED_ANEW: &[&str] = &["authorization", "x-amz-date", "amz-sdk-invocation-id", "amz-sdk-request"];

#[test]
fn boto3_for_bedrock() -> Result<()> {
    // It says in a header what it can do, in the order of a set.
    let trial = try_cloud("bedrock_sdk.py")?.env("PYTHONHASHSEED", "0");
    trial.own_headers(SIGNED_ANEW).signs().calls(17).run()
}

#[test]
fn cohere() -> Result<()> {
    try_cloud("cohere_sdk.py")?.calls(5).run()
}

#[test]
fn mistralai() -> Result<()> {
    try_cloud("mistral_sdk.py")?.calls(6).never_retries().run()
}

/// Its own cloud stands in for a server with TLS; it is a web site as well, and not looked into unless asked for.
#[test]
fn ollama() -> Result<()> {
    let trial = try_cloud("ollama_sdk.py")?.env("OLLAMA_HOST", "https://ollama.com").calls(6).never_retries();
    trial.config("providers:\n  - name: ollama\n    dialect: ollama\n    hosts: [ollama.com]\n").run()
}

#[test]
fn openai_on_websockets_on_python_3_11() -> Result<()> {
    try_with("3.11", OPENAI_WEBSOCKET)
}

#[test]
fn openai_on_websockets_on_python_3_13() -> Result<()> {
    try_with("3.13", OPENAI_WEBSOCKET)
}

#[test]
fn websockets_on_python_3_11() -> Result<()> {
    try_with("3.11", WEBSOCKETS)
}

#[test]
fn websockets_on_python_3_13() -> Result<()> {
    try_with("3.13", WEBSOCKETS)
}

#[test]
fn all_on_another_python_where_there_is_no_other() -> Result<()> {
    for version in other_pythons(&["3.11", "3.13"])? {
        for sdk in [OPENAI, OPENAI_2, ANTHROPIC, GOOGLE, OPENAI_WEBSOCKET, WEBSOCKETS] {
            try_with(&version, sdk)?;
        }
    }
    Ok(())
}
