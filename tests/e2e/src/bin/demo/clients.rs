//! The clients of the demonstration: a few lines of Python with nothing but its standard library, and curl.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tollgate_world::{Program, World};

/// A program as someone might have written it who never heard of Tollgate.
pub(crate) const ASK: &str = r#"import json, os, sys, urllib.request

request = urllib.request.Request(
    "https://api.openai.com/v1/chat/completions",
    json.dumps({"model": "gpt-4.1", "stream": True, "stream_options": {"include_usage": True},
                "messages": [{"role": "user", "content": sys.argv[1]}]}).encode(),
    {"authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "content-type": "application/json"})
for line in urllib.request.urlopen(request):
    if line.startswith(b"data: {"):
        for choice in json.loads(line[6:])["choices"]:
            print(choice["delta"].get("content") or "", end="", flush=True)
print()
"#;

/// The client's user: neither root nor whoever runs the demonstration.
const USER: u32 = 1000;

pub(crate) struct Clients {
    python: &'static str,
    script: PathBuf,
}

impl Clients {
    /// Puts the client's program on the client host.
    pub(crate) fn install(world: &World) -> Result<Self> {
        let script = world.directory().join("ask.py");
        std::fs::write(&script, ASK).context("the client's program cannot be written")?;
        // Debian's own, which looks for roots where Debian keeps them, before another in someone's home.
        let debian = "/usr/bin/python3";
        Ok(Self { python: if Path::new(debian).exists() { debian } else { "python3" }, script })
    }

    /// The words of the Python client's command line.
    pub(crate) fn ask_words(&self, question: &str) -> Vec<String> {
        vec![self.python.to_owned(), self.script.display().to_string(), question.to_owned()]
    }

    /// The Python client on the client host, its answer streamed to the viewer.
    pub(crate) fn ask(&self, world: &World, question: &str) -> Program {
        let words = self.ask_words(question);
        with_key(world.client_command(&words[0]).args(&words[1..]).user(USER).attached())
    }
}

/// curl on the client host.
pub(crate) fn curl(world: &World, arguments: &[&str]) -> Program {
    world.client_command("curl").args(["--silent", "--show-error", "--max-time", "30"]).args(arguments).user(USER)
}

/// The client's own key, which no one else is given, and the viewer's wish for colour.
pub(crate) fn with_key(program: Program) -> Program {
    let plain = std::env::var_os("NO_COLOR").map(|value| ("NO_COLOR", value));
    program.env("OPENAI_API_KEY", "sk-demo-not-a-real-key").envs(plain)
}
