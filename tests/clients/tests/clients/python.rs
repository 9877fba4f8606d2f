//! The vendors' SDKs for Python, each with the interpreters that are installed.

use anyhow::Result;
use tollgate_clients::{Trial, Trust, other_pythons, python, source};

/// Which folder an SDK is in, its script, and what is special about it.
struct Sdk(&'static str, &'static str, fn(Trial) -> Trial);

const OPENAI: Sdk = Sdk("", "openai_sdk.py", |trial| trial);
/// The last that has its roots from certifi and not from the system.
const OPENAI_2: Sdk = Sdk("-openai2", "openai_sdk.py", |trial| trial);
const ANTHROPIC: Sdk = Sdk("", "anthropic_sdk.py", |trial| trial);
const GOOGLE: Sdk = Sdk("", "google_genai_sdk.py", |trial| trial.never_retries().without_peers().without_issuers());

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

#[test]
fn all_on_another_python_where_there_is_no_other() -> Result<()> {
    for version in other_pythons(&["3.11", "3.13"])? {
        for sdk in [OPENAI, OPENAI_2, ANTHROPIC, GOOGLE] {
            try_with(&version, sdk)?;
        }
    }
    Ok(())
}
