//! Which variables to set, and to what, given those that the user had set.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::bundle::{self, Bundle};
use super::{Environment, Trust, TrustError};

/// OpenSSL's second source of roots, read in addition to `SSL_CERT_FILE` by OpenSSL and Go, instead of it by some others.
const CERT_DIR: &str = "SSL_CERT_DIR";
const CERT_FILE: &str = "SSL_CERT_FILE";
const JAVA_OPTIONS: &str = "JAVA_TOOL_OPTIONS";

/// A variable that names the roots a client uses instead of its own.
struct Replacing {
    name: &'static str,
    /// What its readers look at when it is not set, in their order: setting it hides those, so what they name goes into ours.
    instead_of: &'static [&'static str],
    /// Whether to set it where the user did not. Not for programs that follow another variable of this table, or that never call an
    /// intercepted host and may have their roots from a file of their own (git's `http.sslCAInfo`).
    always: bool,
}

const REPLACING: [Replacing; 12] = [
    Replacing { name: CERT_FILE, instead_of: &[], always: true },
    Replacing { name: "CURL_CA_BUNDLE", instead_of: &[CERT_FILE], always: true },
    Replacing { name: "REQUESTS_CA_BUNDLE", instead_of: &["CURL_CA_BUNDLE"], always: true },
    Replacing { name: "AWS_CA_BUNDLE", instead_of: &["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"], always: true },
    Replacing { name: "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", instead_of: &[], always: true },
    Replacing { name: "HTTPLIB2_CA_CERTS", instead_of: &[], always: true },
    Replacing { name: "CODEX_CA_CERTIFICATE", instead_of: &[CERT_FILE], always: true },
    // Nixpkgs' OpenSSL, curl and Go prefer it to SSL_CERT_FILE.
    Replacing { name: "NIX_SSL_CERT_FILE", instead_of: &[CERT_FILE], always: false },
    Replacing { name: "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", instead_of: &[], always: false },
    Replacing { name: "GIT_SSL_CAINFO", instead_of: &[], always: false },
    Replacing { name: "PIP_CERT", instead_of: &[], always: false },
    Replacing { name: "CARGO_HTTP_CAINFO", instead_of: &[], always: false },
];

/// Variables that name roots to use in addition. Node reads the one, Bun (claude-code) as well; Deno the other.
const ADDING: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// Fills in `trust.variables`, writing a bundle for each set of roots that the user chose.
pub(super) fn plan(
    trust: &mut Trust,
    dir: &Path,
    system: &Bundle,
    ours: &Bundle,
    environment: &Environment,
) -> Result<(), TrustError> {
    let with_system = system.union(ours);
    for replacing in &REPLACING {
        let value = if let Some(chosen) = chosen(replacing, environment, system, &mut trust.notes) {
            let wanted = chosen.union(ours);
            if wanted.same_as(&with_system) { trust.bundle.clone() } else { write(dir, &wanted)? }
        } else if replacing.always {
            trust.bundle.clone()
        } else {
            continue;
        };
        trust.variables.insert(replacing.name.into(), value.into());
    }
    for name in ADDING {
        let value = match paths(environment, name).first().and_then(|path| read(name, path, &mut trust.notes)) {
            Some(theirs) => write(dir, &theirs.union(ours))?,
            None => trust.certificate.clone(),
        };
        trust.variables.insert(name.into(), value.into());
    }
    java(trust, environment);
    Ok(())
}

/// The roots that the readers of a variable would use by the user's choice; `None` where the user made none.
fn chosen(
    replacing: &Replacing,
    environment: &Environment,
    system: &Bundle,
    notes: &mut Vec<String>,
) -> Option<Bundle> {
    if !replacing.always && paths(environment, replacing.name).is_empty() {
        return None;
    }
    let names = [&[replacing.name], replacing.instead_of].concat();
    for name in &names {
        if let Some(bundle) = paths(environment, name).first().and_then(|path| read(name, path, notes)) {
            return Some(bundle);
        }
    }
    // With only SSL_CERT_DIR set, OpenSSL and Go read it beside the system's bundle, while others stop looking once they have found
    // SSL_CERT_FILE.
    if names.contains(&CERT_FILE) {
        let dirs = paths(environment, CERT_DIR);
        let bundles: Vec<_> = dirs.iter().filter_map(|dir| read(CERT_DIR, dir, notes)).collect();
        if !bundles.is_empty() {
            return Some(bundles.iter().fold(system.clone(), |all, bundle| all.union(bundle)));
        }
    }
    None
}

/// The paths in a variable: only `SSL_CERT_DIR` can hold several. Empty where it is not set, or set to nothing.
fn paths(environment: &Environment, name: &str) -> Vec<PathBuf> {
    let Some(value) = environment.get(OsStr::new(name)).filter(|value| !value.is_empty()) else { return Vec::new() };
    if name == CERT_DIR {
        env::split_paths(value).filter(|path| !path.as_os_str().is_empty()).collect()
    } else {
        vec![value.into()]
    }
}

/// What a variable of the user's points at; `None`, with a note, where that cannot be read or holds no certificate.
fn read(name: &str, path: &Path, notes: &mut Vec<String>) -> Option<Bundle> {
    let problem = match Bundle::read(path) {
        Ok(bundle) if bundle.is_empty() => "it holds no PEM certificate".to_owned(),
        Ok(bundle) => return Some(bundle),
        Err(error) => error.to_string(),
    };
    let note = format!("{name} points at {}, which is passed over: {problem}", path.display());
    if !notes.contains(&note) {
        notes.push(note);
    }
    None
}

/// Writes a bundle under a name of its own.
fn write(dir: &Path, bundle: &Bundle) -> Result<PathBuf, TrustError> {
    let path = dir.join(format!("bundle-{}.pem", bundle.digest()));
    bundle::write(&path, bundle.to_pem().as_bytes())?;
    Ok(path)
}

/// Points Java at our trust store, unless the user has pointed it at theirs. `java`'s own arguments come later and win.
fn java(trust: &mut Trust, environment: &Environment) {
    let options = |name: &str| environment.get(OsStr::new(name)).cloned().unwrap_or_default();
    let theirs = options(JAVA_OPTIONS);
    let names_store = |options: &OsStr| options.to_string_lossy().contains("javax.net.ssl.trustStore");
    if names_store(&theirs) || names_store(&options("JDK_JAVA_OPTIONS")) {
        trust.notes.push(format!(
            "Java's options name a trust store already; import {} into it with keytool",
            trust.certificate.display()
        ));
        return;
    }
    let mut value = theirs;
    if !value.is_empty() {
        value.push(" ");
    }
    // The JVM splits at white space, and honours quotes around that.
    value.push("\"-Djavax.net.ssl.trustStore=");
    value.push(&trust.java);
    value.push("\" -Djavax.net.ssl.trustStoreType=PKCS12");
    trust.variables.insert(JAVA_OPTIONS.into(), value);
}
