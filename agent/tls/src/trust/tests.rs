use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use rustls_pki_types::CertificateDer;
use tempfile::TempDir;

use super::*;
use crate::Authority;
use crate::testing::{HOST, authority};

/// A directory for the files, and the certificates that play a part.
struct Stage {
    dir: TempDir,
    ours: Authority,
    system: Authority,
    theirs: Authority,
    others: Authority,
    environment: Environment,
}

impl Stage {
    fn new() -> Self {
        let [ours, system, theirs, others] = [(); 4].map(|()| authority(&[HOST]));
        Self { dir: tempfile::tempdir().unwrap(), ours, system, theirs, others, environment: Environment::new() }
    }

    /// A file of the user's.
    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn set(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.insert(name.into(), value.as_ref().to_owned());
        self
    }

    /// Sets a variable to a file with this certificate.
    fn set_to_file(self, name: &str, pick: fn(&Self) -> &Authority) -> Self {
        let path = self.file(&format!("user/{name}.pem"), pick(&self).certificate_pem());
        self.set(name, path)
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("trust")
    }

    fn install(&self) -> Trust {
        let system = Bundle::of([self.system.certificate_der().clone()]);
        install_with(&self.target(), self.ours.certificate_pem(), &self.environment, &system).unwrap()
    }
}

/// The certificates that a variable's file holds.
fn holds(trust: &Trust, name: &str) -> HashSet<CertificateDer<'static>> {
    let path = trust.variables.get(OsStr::new(name)).unwrap_or_else(|| panic!("{name} is not set"));
    in_file(Path::new(path))
}

fn in_file(path: &Path) -> HashSet<CertificateDer<'static>> {
    let all: Vec<_> = CertificateDer::pem_slice_iter(&fs::read(path).unwrap()).map(Result::unwrap).collect();
    let set: HashSet<_> = all.iter().cloned().collect();
    assert_eq!(set.len(), all.len(), "{} has duplicates", path.display());
    set
}

fn set<const N: usize>(authorities: [&Authority; N]) -> HashSet<CertificateDer<'static>> {
    authorities.into_iter().map(|authority| authority.certificate_der().clone()).collect()
}

const ALWAYS: [&str; 7] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "HTTPLIB2_CA_CERTS",
    "CODEX_CA_CERTIFICATE",
];

#[test]
fn variables_that_replace_get_the_system_too_and_those_that_add_get_ours_alone() {
    let stage = Stage::new();
    let trust = stage.install();
    for name in ALWAYS {
        assert_eq!(holds(&trust, name), set([&stage.system, &stage.ours]), "{name}");
    }
    for name in ["NODE_EXTRA_CA_CERTS", "DENO_CERT"] {
        assert_eq!(holds(&trust, name), set([&stage.ours]), "{name}");
    }
    assert_eq!(trust.variables.len(), ALWAYS.len() + 3, "and Java: {:?}", trust.variables.keys());
    assert_eq!(trust.notes, [] as [String; 0]);
    assert_eq!(in_file(&trust.certificate), set([&stage.ours]));
    assert_eq!(in_file(&trust.bundle), set([&stage.system, &stage.ours]));
}

#[test]
fn what_the_user_trusted_stays_trusted_and_nothing_else_is() {
    let stage = Stage::new()
        .set_to_file("SSL_CERT_FILE", |stage| &stage.theirs)
        .set_to_file("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", |stage| &stage.others)
        .set_to_file("NODE_EXTRA_CA_CERTS", |stage| &stage.theirs);
    let trust = stage.install();
    assert_eq!(holds(&trust, "SSL_CERT_FILE"), set([&stage.theirs, &stage.ours]));
    assert_eq!(holds(&trust, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"), set([&stage.others, &stage.ours]));
    assert_eq!(holds(&trust, "NODE_EXTRA_CA_CERTS"), set([&stage.theirs, &stage.ours]));
    // curl and codex would have looked at SSL_CERT_FILE; requests would not.
    assert_eq!(holds(&trust, "CURL_CA_BUNDLE"), set([&stage.theirs, &stage.ours]));
    assert_eq!(holds(&trust, "CODEX_CA_CERTIFICATE"), set([&stage.theirs, &stage.ours]));
    assert_eq!(holds(&trust, "REQUESTS_CA_BUNDLE"), set([&stage.system, &stage.ours]));
}

#[test]
fn a_variable_that_another_one_stood_in_for_gets_what_that_one_named() {
    let stage = Stage::new().set_to_file("CURL_CA_BUNDLE", |stage| &stage.theirs);
    let trust = stage.install();
    for name in ["CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"] {
        assert_eq!(holds(&trust, name), set([&stage.theirs, &stage.ours]), "{name}");
    }
    assert_eq!(holds(&trust, "SSL_CERT_FILE"), set([&stage.system, &stage.ours]));

    let stage = stage.set_to_file("REQUESTS_CA_BUNDLE", |stage| &stage.others);
    let trust = stage.install();
    assert_eq!(holds(&trust, "AWS_CA_BUNDLE"), set([&stage.others, &stage.ours]), "the nearer one counts");
}

#[test]
fn variables_of_programs_that_are_not_intercepted_are_only_followed() {
    let names =
        ["GIT_SSL_CAINFO", "PIP_CERT", "NIX_SSL_CERT_FILE", "CARGO_HTTP_CAINFO", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"];
    let mut stage = Stage::new().set_to_file("SSL_CERT_FILE", |stage| &stage.others);
    let trust = stage.install();
    for name in names {
        assert!(!trust.variables.contains_key(OsStr::new(name)), "{name}");
        stage = stage.set_to_file(name, |stage| &stage.theirs);
    }
    let trust = stage.install();
    for name in names {
        assert_eq!(holds(&trust, name), set([&stage.theirs, &stage.ours]), "{name}");
    }
}

#[test]
fn a_directory_of_certificates_counts_as_the_users_choice() {
    let stage = Stage::new();
    let first = stage.file("certs/first.pem", stage.theirs.certificate_pem());
    symlink(&first, stage.dir.path().join("certs/0123abcd.0")).unwrap();
    symlink("/nonexistent", stage.dir.path().join("certs/dangling.0")).unwrap();
    stage.file("certs/README", "no certificate");
    stage.file("more/second.pem", stage.others.certificate_pem());
    let (certs, more) = (stage.dir.path().join("certs"), stage.dir.path().join("more"));

    // Alone, it adds to the system's for OpenSSL and Go, and is all there is for others.
    let both = std::env::join_paths([&certs, &more]).unwrap();
    let stage = stage.set("SSL_CERT_DIR", both);
    let trust = stage.install();
    let all = set([&stage.system, &stage.theirs, &stage.others, &stage.ours]);
    assert_eq!(holds(&trust, "SSL_CERT_FILE"), all);
    assert_eq!(holds(&trust, "CURL_CA_BUNDLE"), all);
    assert!(!trust.variables.contains_key(OsStr::new("SSL_CERT_DIR")), "it stays as it is");

    // requests takes a directory, too.
    let stage = stage.set("REQUESTS_CA_BUNDLE", &certs);
    assert_eq!(holds(&stage.install(), "REQUESTS_CA_BUNDLE"), set([&stage.theirs, &stage.ours]));

    // With a file, the file is what readers of the file get.
    let stage = stage.set_to_file("SSL_CERT_FILE", |stage| &stage.others);
    assert_eq!(holds(&stage.install(), "SSL_CERT_FILE"), set([&stage.others, &stage.ours]));
}

#[test]
fn what_cannot_be_read_is_passed_over_with_a_note() {
    let stage = Stage::new();
    let empty = stage.file("empty.pem", "");
    let pipe = stage.dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for value in [Path::new("/nonexistent/ca.pem"), &empty, &pipe, Path::new("/dev/zero")] {
        let stage = Stage::new().set("SSL_CERT_FILE", value).set("NODE_EXTRA_CA_CERTS", value);
        let trust = stage.install();
        assert_eq!(holds(&trust, "SSL_CERT_FILE"), set([&stage.system, &stage.ours]), "{}", value.display());
        assert_eq!(holds(&trust, "NODE_EXTRA_CA_CERTS"), set([&stage.ours]));
        assert_eq!(trust.notes.len(), 2, "{:?}", trust.notes);
        assert!(trust.notes.iter().all(|note| note.contains(value.to_str().unwrap())), "{:?}", trust.notes);
    }
    let stage = Stage::new().set("SSL_CERT_FILE", "");
    let trust = stage.install();
    assert_eq!(trust.notes, [] as [String; 0], "set to nothing is not set");
}

#[test]
fn damaged_and_repeated_certificates_do_no_harm() {
    let stage = Stage::new();
    let text = format!(
        "# a comment\n{0}-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n{0}{1}\r\n{1}",
        stage.theirs.certificate_pem(),
        stage.ours.certificate_pem(),
    );
    let path = stage.file("messy.pem", &text);
    let stage = stage.set("SSL_CERT_FILE", path);
    assert_eq!(holds(&stage.install(), "SSL_CERT_FILE"), set([&stage.theirs, &stage.ours]));
}

#[test]
fn a_variable_that_names_the_systems_own_bundle_needs_no_other() {
    let stage = Stage::new().set_to_file("SSL_CERT_FILE", |stage| &stage.system);
    let trust = stage.install();
    assert_eq!(trust.variables[OsStr::new("SSL_CERT_FILE")], trust.bundle);
}

#[test]
fn files_are_readable_by_everyone_and_replaced_in_place() {
    let stage = Stage::new().set_to_file("SSL_CERT_FILE", |stage| &stage.theirs);
    let first = stage.install();
    assert_eq!(fs::metadata(stage.target()).unwrap().permissions().mode() & 0o777, 0o755);
    let names = || -> HashSet<_> { fs::read_dir(stage.target()).unwrap().map(|entry| entry.unwrap().path()).collect() };
    let before = names();
    for path in &before {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o644, "{}", path.display());
    }
    // A second time, over files that were tampered with.
    fs::set_permissions(&first.bundle, Permissions::from_mode(0o600)).unwrap();
    fs::write(&first.certificate, "tampered").unwrap();
    let second = stage.install();
    assert_eq!(first.variables, second.variables);
    assert_eq!(names(), before, "nothing is left aside");
    assert_eq!(fs::metadata(&second.bundle).unwrap().permissions().mode() & 0o777, 0o644);
    assert_eq!(in_file(&second.certificate), set([&stage.ours]));
}

#[test]
fn a_bundle_of_ours_alone_is_never_made() {
    let stage = Stage::new();
    let error = install_with(&stage.target(), stage.ours.certificate_pem(), &stage.environment, &Bundle::default());
    assert!(matches!(error, Err(TrustError::NoSystemRoots)));
    assert!(!stage.target().exists());
}

#[test]
fn this_machines_roots_are_found_whatever_its_environment_says() {
    let stage = Stage::new();
    let trust = install(&stage.target(), stage.ours.certificate_pem(), &std::env::vars_os().collect()).unwrap();
    assert!(in_file(&trust.bundle).len() > 10, "a bundle of public roots and ours");
    for name in ALWAYS {
        let held = holds(&trust, name);
        assert!(held.len() > 10 && held.contains(stage.ours.certificate_der()), "{name}");
    }
}

#[test]
fn what_is_no_certificate_is_not_installed() {
    let stage = Stage::new();
    for text in ["", "-----BEGIN CERTIFICATE-----\nAA"] {
        let error = install(&stage.target(), text, &stage.environment).unwrap_err();
        assert!(matches!(error, TrustError::Certificate { .. }), "{error}");
    }
}

#[test]
fn java_keeps_the_users_options_and_their_trust_store() {
    let java = |trust: &Trust| {
        trust.variables.get(OsStr::new("JAVA_TOOL_OPTIONS")).map(|value| value.to_str().unwrap().to_owned())
    };
    let stage = Stage::new().set("JAVA_TOOL_OPTIONS", "-Xmx1g");
    let trust = stage.install();
    let store = format!("\"-Djavax.net.ssl.trustStore={}\"", trust.java.display());
    assert_eq!(java(&trust), Some(format!("-Xmx1g {store} -Djavax.net.ssl.trustStoreType=PKCS12")));

    for name in ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"] {
        let stage = Stage::new().set(name, "-Djavax.net.ssl.trustStore=/corp.jks");
        let trust = stage.install();
        assert_eq!(java(&trust), None, "theirs stays");
        assert!(trust.notes[0].contains("keytool"), "{:?}", trust.notes);
    }
}
