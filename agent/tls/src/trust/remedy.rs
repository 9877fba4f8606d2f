//! What to do about a client that does not trust the CA, said for its runtime.

/// How a runtime comes to trust the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The runtime, as people call it; `None` where the program tells us nothing.
    pub runtime: Option<&'static str>,
    /// What to do, as one sentence that starts in lower case and has no full stop.
    pub advice: &'static str,
}

const NODE: Remedy = Remedy {
    runtime: Some("Node.js"),
    advice: "Node has its own roots: start it with NODE_EXTRA_CA_CERTS set to the CA's file",
};
const BUN: Remedy = Remedy {
    runtime: Some("Bun"),
    advice: "Bun has its own roots: start it with NODE_EXTRA_CA_CERTS set to the CA's file",
};
const DENO: Remedy =
    Remedy { runtime: Some("Deno"), advice: "Deno has its own roots: start it with DENO_CERT set to the CA's file" };
const PYTHON: Remedy = Remedy {
    runtime: Some("Python"),
    advice: "start it with SSL_CERT_FILE and REQUESTS_CA_BUNDLE set to the bundle, since certifi does not read the system's store",
};
const JAVA: Remedy = Remedy {
    runtime: Some("Java"),
    advice: "Java has its own trust store: import the CA with keytool, or start it with \
             JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore set to the trust store",
};
const GO: Remedy = Remedy {
    runtime: Some("Go"),
    advice: "start it with SSL_CERT_FILE set to the bundle, or add the CA to the system's store",
};
const CURL: Remedy = Remedy {
    runtime: Some("curl"),
    advice: "start it with CURL_CA_BUNDLE set to the bundle, or add the CA to the system's store",
};
const GIT: Remedy = Remedy {
    runtime: Some("git"),
    advice: "start it with GIT_SSL_CAINFO set to the bundle, or add the CA to the system's store",
};
const DOTNET: Remedy = Remedy {
    runtime: Some(".NET"),
    advice: "start it with SSL_CERT_FILE set to the bundle, or add the CA to the system's store",
};
const OPENSSL: Remedy = Remedy {
    runtime: Some("OpenSSL"),
    advice: "start it with SSL_CERT_FILE set to the bundle, or add the CA to the system's store",
};
const CODEX: Remedy = Remedy {
    runtime: Some("codex"),
    advice: "start it with CODEX_CA_CERTIFICATE and SSL_CERT_FILE set to the bundle, or add the CA to the system's store",
};
const BROWSER: Remedy = Remedy {
    runtime: Some("a browser"),
    advice: "import the CA as an authority in the browser's settings or its NSS database (certutil)",
};
const GENERIC: Remedy = Remedy {
    runtime: None,
    advice: "start it with SSL_CERT_FILE set to the bundle, or add the CA to the system's store; a program with built-in or \
             pinned roots cannot be convinced and stays tunnelled",
};

/// Names of programs, in lower case and without a version at the end, and the runtime they stand for.
const PROGRAMS: [(&[&str], Remedy); 12] = [
    (&["node", "nodejs", "npm", "npx", "yarn", "pnpm", "gemini", "tsx", "ts-node", "next-server"], NODE),
    (&["bun", "bunx", "claude"], BUN),
    (&["deno"], DENO),
    (
        &["python", "pypy", "ipython", "uvicorn", "gunicorn", "celery", "uv", "pip", "jupyter", "streamlit", "aider"],
        PYTHON,
    ),
    (&["java", "javaw", "kotlin", "scala", "gradle", "mvn"], JAVA),
    (&["go", "ollama"], GO),
    (&["curl"], CURL),
    (&["git", "git-remote-https"], GIT),
    (&["dotnet", "pwsh"], DOTNET),
    (&["openssl", "wget", "ruby", "irb", "perl", "php", "php-fpm"], OPENSSL),
    (&["codex"], CODEX),
    (&["chrome", "chromium", "google-chrome", "firefox", "msedge", "brave"], BROWSER),
];

/// What to tell the operator when `program` (the file name of an executable, or the name the kernel has for a process) refuses our
/// certificate.
pub fn remedy(program: &str) -> Remedy {
    let name = program.rsplit('/').next().unwrap_or(program).to_ascii_lowercase();
    let unversioned = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '_'));
    PROGRAMS
        .iter()
        .find(|(names, _)| names.contains(&name.as_str()) || names.contains(&unversioned))
        .map_or(GENERIC, |(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_runtime_gets_the_variable_that_it_reads() {
        for (program, wanted) in [
            ("node", "NODE_EXTRA_CA_CERTS"),
            ("/usr/bin/node-20", "NODE_EXTRA_CA_CERTS"),
            ("claude", "NODE_EXTRA_CA_CERTS"),
            ("deno", "DENO_CERT"),
            ("python3.13", "SSL_CERT_FILE"),
            ("Python", "REQUESTS_CA_BUNDLE"),
            ("java", "trustStore"),
            ("curl", "CURL_CA_BUNDLE"),
            ("codex", "CODEX_CA_CERTIFICATE"),
            ("some-static-binary", "tunnelled"),
            ("", "SSL_CERT_FILE"),
        ] {
            assert!(remedy(program).advice.contains(wanted), "{program}: {:?}", remedy(program));
        }
        assert_eq!(remedy("my-agent").runtime, None);
        assert_eq!(remedy("php8.2").runtime, Some("OpenSSL"));
    }
}
