//! What to do about a client that does not trust the CA, said for its runtime.

const NODE: &str = "Node has its own roots: start it with NODE_EXTRA_CA_CERTS set to the CA's file";
const BUN: &str = "Bun has its own roots: start it with NODE_EXTRA_CA_CERTS set to the CA's file";
const DENO: &str = "Deno has its own roots: start it with DENO_CERT set to the CA's file";
const PYTHON: &str =
    "Python's certifi has its own roots: start it with SSL_CERT_FILE and REQUESTS_CA_BUNDLE set to the bundle";
const JAVA: &str = "Java has its own trust store: import the CA with keytool, or start it with JAVA_TOOL_OPTIONS set to \
                    -Djavax.net.ssl.trustStore and our store";
const CODEX: &str =
    "start codex with CODEX_CA_CERTIFICATE and SSL_CERT_FILE set to the bundle, or add the CA to the system's store";
const CURL: &str = "start curl with CURL_CA_BUNDLE set to the bundle, or add the CA to the system's store";
const GIT: &str = "start git with GIT_SSL_CAINFO set to the bundle, or add the CA to the system's store";
/// Go, .NET, and what is built on OpenSSL.
const SYSTEM: &str = "start it with SSL_CERT_FILE set to the bundle, or add the CA to the system's store";
const BROWSER: &str = "import the CA as an authority in the browser's settings or its NSS database";
const GENERIC: &str = "start it with SSL_CERT_FILE set to the bundle, or add the CA to the system's store; a program with built-in or \
                       pinned roots cannot be convinced and stays tunnelled";

/// Names of programs, in lower case and without a version at the end, and what helps them.
const PROGRAMS: [(&[&str], &str); 10] = [
    (&["node", "nodejs", "npm", "npx", "yarn", "pnpm", "gemini", "tsx", "ts-node", "next-server"], NODE),
    (&["bun", "bunx", "claude"], BUN),
    (&["deno"], DENO),
    (
        &["python", "pypy", "ipython", "uvicorn", "gunicorn", "celery", "uv", "pip", "jupyter", "streamlit", "aider"],
        PYTHON,
    ),
    (&["java", "javaw", "kotlin", "scala", "gradle", "mvn"], JAVA),
    (&["curl"], CURL),
    (&["git", "git-remote-https"], GIT),
    (&["go", "ollama", "dotnet", "pwsh", "openssl", "wget", "ruby", "irb", "perl", "php", "php-fpm"], SYSTEM),
    (&["codex"], CODEX),
    (&["chrome", "chromium", "google-chrome", "firefox", "msedge", "brave"], BROWSER),
];

/// What to tell the operator when `program` (the file name of an executable, or the name the kernel has for a process) refuses our
/// certificate: a sentence without its full stop.
pub fn remedy(program: &str) -> &'static str {
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
            assert!(remedy(program).contains(wanted), "{program}: {:?}", remedy(program));
        }
        assert_eq!(remedy("php8.2"), SYSTEM);
        assert_eq!(remedy("my-agent"), GENERIC);
    }
}
