use std::collections::HashSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::thread;
use std::time::Duration;

use rustls::client::{
    ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::{ClientConfig, HandshakeKind, NamedGroup, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use super::*;
use crate::testing::{HOST, authority, handshake, patterns, trusting};

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn x509(der: &[u8]) -> X509Certificate<'_> {
    X509Certificate::from_der(der).unwrap().1
}

/// The chain that a client of `host` gets.
async fn chain(authority: &Authority, host: &str) -> Vec<CertificateDer<'static>> {
    let (server, client) = handshake(authority.server_config(host).unwrap(), trusting(authority, &[]), host).await;
    server.unwrap();
    client.unwrap().get_ref().1.peer_certificates().unwrap().to_vec()
}

// === Keeping ===

#[test]
fn a_new_ca_is_private_and_survives_a_restart() {
    let dir = dir();
    let path = dir.path().join("state/ca");
    let made = Authority::create(&path, &patterns(&[HOST])).unwrap();

    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join(Authority::FILE)), 0o600);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing else is left there");
    // Only the CA's own directory is closed: its parent may hold files for others.
    assert_ne!(mode(path.parent().unwrap()), 0o700);

    let loaded = Authority::load(&path).unwrap();
    assert_eq!(loaded.fingerprint(), made.fingerprint());
    assert_eq!(loaded.certificate_pem(), made.certificate_pem());
    assert_eq!(loaded.subtrees(), made.subtrees());
    assert_eq!(loaded.not_after(), made.not_after());
    assert!(loaded.not_after() > SystemTime::now() + Duration::from_hours(9 * 365 * 24));
}

#[tokio::test]
async fn a_client_that_trusts_the_ca_goes_on_after_a_restart() {
    let dir = dir();
    let before = Authority::create(&dir.path().join("ca"), &patterns(&[HOST])).unwrap();
    let client = trusting(&before, &[]);
    for authority in [&before, &Authority::load(&dir.path().join("ca")).unwrap()] {
        let (server, connected) = handshake(authority.server_config(HOST).unwrap(), Arc::clone(&client), HOST).await;
        server.unwrap();
        connected.unwrap();
    }
}

#[test]
fn a_ca_is_never_overwritten() {
    let dir = dir();
    let first = Authority::create(dir.path(), &patterns(&[HOST])).unwrap();
    let error = Authority::create(dir.path(), &patterns(&[HOST])).unwrap_err();
    assert!(matches!(error, AuthorityError::AlreadyExists { .. }), "{error}");
    assert_eq!(Authority::load(dir.path()).unwrap().fingerprint(), first.fingerprint());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn processes_that_start_together_agree_on_one_ca() {
    let dir = dir();
    let path = dir.path().join("ca");
    let fingerprints: HashSet<_> = thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| Authority::load_or_create(&path, &patterns(&[HOST])).unwrap().fingerprint().to_owned())
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    assert_eq!(fingerprints.len(), 1);
}

#[test]
fn a_missing_ca_is_said_to_be_missing() {
    let error = Authority::load(&dir().path().join("none")).unwrap_err();
    assert!(matches!(error, AuthorityError::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("ca init"), "{error}");
}

#[test]
fn a_ca_that_others_could_use_or_replace_is_refused() {
    let dir = dir();
    let path = dir.path().join("ca");
    Authority::create(&path, &patterns(&[HOST])).unwrap();
    let file = path.join(Authority::FILE);
    for (target, wrong, right) in
        [(&file, 0o640, 0o600), (&file, 0o604, 0o600), (&path, 0o770, 0o700), (&path, 0o702, 0o700)]
    {
        fs::set_permissions(target, Permissions::from_mode(wrong)).unwrap();
        for error in
            [Authority::load(&path).unwrap_err(), Authority::load_or_create(&path, &patterns(&[HOST])).unwrap_err()]
        {
            assert!(matches!(error, AuthorityError::Unprotected { .. }), "{error}");
            assert!(error.to_string().contains("chmod"), "{error}");
        }
        fs::set_permissions(target, Permissions::from_mode(right)).unwrap();
    }
    Authority::load(&path).unwrap();
}

#[test]
fn no_ca_is_made_where_others_could_replace_it() {
    let dir = dir();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    let error = Authority::create(dir.path(), &patterns(&[HOST])).unwrap_err();
    assert!(matches!(error, AuthorityError::Unprotected { .. }), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_damaged_ca_is_an_error_at_every_length() {
    let dir = dir();
    Authority::create(dir.path(), &patterns(&[HOST])).unwrap();
    let file = dir.path().join(Authority::FILE);
    let whole = fs::read(&file).unwrap();
    // The last bytes are a line break, without which it is still whole.
    for length in (0..whole.len() - 2).step_by(7) {
        fs::write(&file, &whole[..length]).unwrap();
        let error = Authority::load(dir.path()).unwrap_err();
        assert!(matches!(error, AuthorityError::Malformed { .. }), "at {length}: {error}");
    }
    fs::write(&file, [0xff; 100]).unwrap();
    assert!(Authority::load(dir.path()).is_err());
}

/// The parts of a CA, to be changed before it is stored and loaded.
struct Parts {
    root: rcgen::CertificateParams,
    issuing: rcgen::CertificateParams,
}

fn load_with(change: impl FnOnce(&mut Parts)) -> Result<Authority, AuthorityError> {
    let (subtrees, now) = ([HOST.to_owned()], SystemTime::now());
    let mut parts = Parts {
        root: certificates::root(&subtrees, "test", now),
        issuing: certificates::issuing(HOST, "test", 0, now),
    };
    change(&mut parts);
    let root = rcgen::CertifiedIssuer::self_signed(parts.root, generate_key().unwrap()).unwrap();
    let key = generate_key().unwrap();
    let issuing = parts.issuing.signed_by(&key, &root).unwrap();
    load_text(&[root.pem(), issuing.pem(), key.serialize_pem()].concat())
}

fn load_text(text: &str) -> Result<Authority, AuthorityError> {
    let dir = dir();
    let file = dir.path().join(Authority::FILE);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    Authority::load(dir.path())
}

fn text_of_a_new_ca() -> String {
    let dir = dir();
    Authority::create(dir.path(), &patterns(&[HOST])).unwrap();
    fs::read_to_string(dir.path().join(Authority::FILE)).unwrap()
}

#[test]
fn parts_of_different_cas_are_noticed() {
    let split = |text: String| -> Vec<String> { text.split_inclusive("-----\n").map(str::to_owned).collect() };
    // Each part is a line BEGIN, the content, and a line END.
    let (one, other) = (split(text_of_a_new_ca()), split(text_of_a_new_ca()));
    assert_eq!(one.len(), 6, "two certificates and a key");
    load_text(&one.concat()).unwrap();
    for (part, what) in
        [(0..2, "not accepted by clients"), (2..4, "private key is not that of"), (4..6, "private key is not that of")]
    {
        let mut mixed = one.clone();
        mixed.splice(part.clone(), other[part].iter().cloned());
        let error = load_text(&mixed.concat()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn a_ca_that_could_sign_for_any_host_is_refused() {
    load_with(|_| ()).unwrap();
    let error = load_with(|parts| parts.issuing.name_constraints = None).unwrap_err();
    assert!(error.to_string().contains("any host"), "{error}");
    let error =
        load_with(|parts| parts.issuing.name_constraints.as_mut().unwrap().permitted_subtrees.clear()).unwrap_err();
    assert!(error.to_string().contains("any host"), "{error}");
}

#[test]
fn a_ca_that_clients_would_not_accept_is_refused() {
    let changes: [fn(&mut Parts); 4] = [
        |parts| parts.issuing.is_ca = rcgen::IsCa::ExplicitNoCa,
        |parts| parts.issuing.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth],
        |parts| parts.issuing.not_before = (SystemTime::now() + Duration::from_hours(1)).into(),
        |parts| {
            parts.root.name_constraints.as_mut().unwrap().permitted_subtrees =
                vec![rcgen::GeneralSubtree::DnsName("example.org".to_owned())];
        },
    ];
    for change in changes {
        let error = load_with(change).unwrap_err();
        assert!(error.to_string().contains("not accepted by clients"), "{error}");
    }
}

#[test]
fn a_ca_with_one_issuing_certificate_for_all_its_hosts_is_still_used() {
    let names = ["api.anthropic.com", HOST];
    let several = || names.map(|name| rcgen::GeneralSubtree::DnsName(name.to_owned())).to_vec();
    let authority = load_with(|parts| {
        parts.root.name_constraints.as_mut().unwrap().permitted_subtrees = several();
        parts.issuing.name_constraints.as_mut().unwrap().permitted_subtrees = several();
    })
    .unwrap();
    assert_eq!(authority.subtrees(), names);
    for name in names {
        authority.server_config(name).unwrap();
    }
}

#[test]
fn a_host_whose_issuing_certificate_is_not_of_this_ca_gets_no_certificate() {
    let (subtrees, now) = (["api.anthropic.com".to_owned(), HOST.to_owned()], SystemTime::now());
    let root = || {
        let params = certificates::root(&subtrees, "test", now);
        rcgen::CertifiedIssuer::self_signed(params, generate_key().unwrap()).unwrap()
    };
    let (root, other, key) = (root(), root(), generate_key().unwrap());
    let good = certificates::issuing(&subtrees[0], "test", 0, now).signed_by(&key, &root).unwrap();
    let bad = certificates::issuing(&subtrees[1], "test", 1, now).signed_by(&key, &other).unwrap();
    let authority = load_text(&[root.pem(), good.pem(), bad.pem(), key.serialize_pem()].concat()).unwrap();
    authority.server_config(&subtrees[0]).unwrap();
    let error = authority.server_config(&subtrees[1]).unwrap_err();
    assert!(matches!(error, MintError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("ca init"), "{error}");
}

#[test]
fn an_expired_ca_is_refused_with_what_to_do() {
    let error =
        load_with(|parts| parts.issuing.not_after = (SystemTime::now() - Duration::from_secs(1)).into()).unwrap_err();
    assert!(matches!(error, AuthorityError::Expired { .. }), "{error}");
    assert!(error.to_string().contains("ca init"), "{error}");
}

#[test]
fn the_key_is_not_in_the_debug_output() {
    let authority = authority(&[HOST]);
    let text = format!("{authority:?}");
    assert!(text.contains(authority.fingerprint()));
    assert!(!text.to_lowercase().contains("key"), "{text}");
}

// === Names ===

#[test]
fn the_ca_is_limited_to_the_hosts_of_its_patterns() {
    let authority = authority(&[
        "api.openai.com",
        "*.openai.azure.com",
        "*-aiplatform.googleapis.com",
        "bedrock-runtime.*.amazonaws.com",
        "eu.api.openai.com",
    ]);
    assert_eq!(authority.subtrees(), ["amazonaws.com", "api.openai.com", "googleapis.com", "openai.azure.com"]);
    for host in [
        "api.openai.com",
        "API.OpenAI.com.",
        "eu.api.openai.com",
        "me.openai.azure.com",
        "us-east1-aiplatform.googleapis.com",
        "bedrock-runtime.eu-west-1.amazonaws.com",
    ] {
        assert!(authority.permits(host), "{host}");
        authority.server_config(host).unwrap();
    }
    for host in
        ["openai.com", "evilapi.openai.com", "example.com", "com", "evilopenai.azure.com", "api.openai.com.evil.com"]
    {
        assert!(!authority.permits(host), "{host}");
        let error = authority.server_config(host).unwrap_err();
        assert!(matches!(error, MintError::NotPermitted { .. }), "{host}: {error}");
        assert!(error.to_string().contains("ca init"), "{error}");
    }
}

#[test]
fn what_is_no_host_name_gets_no_certificate() {
    let authority = authority(&[HOST]);
    let long = format!("{}.{HOST}", "a.".repeat(130));
    for host in [
        "",
        ".",
        "*.api.openai.com",
        "127.0.0.1",
        "::1",
        "a b.api.openai.com",
        "x\0.api.openai.com",
        "ü.api.openai.com",
        &long,
    ] {
        assert!(matches!(authority.server_config(host), Err(MintError::NotAHost)), "{host:?}");
        assert!(!authority.permits(host), "{host:?}");
    }
}

#[test]
fn hosts_configured_after_the_ca_was_made_are_found() {
    let dir = dir();
    Authority::create(dir.path(), &patterns(&[HOST])).unwrap();
    let wanted = patterns(&[HOST, "eu.api.openai.com", "api.anthropic.com", "*.openai.azure.com"]);
    let authority = Authority::load_or_create(dir.path(), &wanted).unwrap();
    let uncovered: Vec<_> = authority.uncovered(&wanted).iter().map(ToString::to_string).collect();
    assert_eq!(uncovered, ["api.anthropic.com", "*.openai.azure.com"]);
    authority.server_config(HOST).unwrap();
}

#[test]
fn a_ca_for_nothing_is_not_made() {
    let error = Authority::ephemeral(&[]).unwrap_err();
    assert!(matches!(error, AuthorityError::NoNames), "{error}");
}

// === Certificates ===

#[tokio::test]
async fn the_ca_says_what_strict_verifiers_ask_for() {
    let authority = authority(&[HOST, "*.openai.azure.com"]);
    let chain = chain(&authority, HOST).await;
    let (root, issuing) = (x509(authority.certificate_der()), x509(&chain[1]));
    for (ca, below) in [(&root, 1), (&issuing, 0)] {
        let constraints = ca.basic_constraints().unwrap().unwrap();
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(below));
        let usage = ca.key_usage().unwrap().unwrap();
        assert!(usage.critical);
        assert_eq!(usage.value.flags, 1 << 5 | 1 << 6, "keyCertSign and cRLSign alone");
        assert!(ca.name_constraints().unwrap().unwrap().critical);
        assert!(subject_key(ca).is_some());
    }
    assert_eq!(authority_key(&issuing), subject_key(&root));
    assert_eq!(issuing.issuer(), root.subject());
    assert_ne!(issuing.subject(), root.subject());
    for certificate in [&root, &issuing] {
        let name = certificate.subject().iter_common_name().next().unwrap().as_str().unwrap();
        assert!(name.len() <= 64, "{name}");
    }
}

/// Hundreds of names would be sent with each full handshake otherwise, and compared.
#[tokio::test]
async fn the_issuing_certificate_that_a_client_gets_is_for_the_subtree_of_its_host_alone() {
    let authority = authority(&[HOST, "*.openai.azure.com", "api.anthropic.com"]);
    let mut names = HashSet::new();
    for (host, subtree) in [(HOST, HOST), ("me.openai.azure.com", "openai.azure.com")] {
        let chain = chain(&authority, host).await;
        let issuing = x509(&chain[1]);
        let constraints = issuing.name_constraints().unwrap().unwrap().value;
        let permitted: Vec<_> =
            constraints.permitted_subtrees.iter().flatten().map(|permitted| format!("{:?}", permitted.base)).collect();
        assert_eq!(permitted, [format!("DNSName({subtree:?})")]);
        assert_eq!(x509(&chain[0]).issuer(), issuing.subject());
        assert!(names.insert(issuing.subject().to_string()), "a name of its own");
    }
}

fn subject_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

fn authority_key(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
        _ => None,
    })
}

#[test]
fn the_roots_key_is_not_kept() {
    let text = text_of_a_new_ca();
    assert_eq!(text.matches("PRIVATE KEY-----").count(), 2, "one key, begin and end");
    let key = KeyPair::from_pem(&text[text.find("-----BEGIN PRIVATE").unwrap()..]).unwrap();
    let root = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
    assert_ne!(x509(&root).public_key().subject_public_key.data.as_ref(), key.public_key_raw());
}

#[tokio::test]
async fn a_leaf_says_what_strict_verifiers_ask_for() {
    let authority = authority(&[HOST]);
    let chain = chain(&authority, HOST).await;
    assert_eq!(chain.len(), 2, "the issuing CA is sent along");

    let (leaf, ca) = (x509(&chain[0]), x509(&chain[1]));
    assert_eq!(leaf.subject().iter().count(), 0);
    let names = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(names.critical, "as the subject is empty");
    assert_eq!(format!("{:?}", names.value.general_names), format!("[DNSName({HOST:?})]"));
    let usage = leaf.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.flags == 1, "digitalSignature alone");
    let extended = leaf.extended_key_usage().unwrap().unwrap();
    assert!(extended.value.server_auth && !extended.value.client_auth && !extended.value.any);
    assert!(!leaf.is_ca());

    assert!(authority_key(&leaf).is_some());
    assert_eq!(authority_key(&leaf), subject_key(&ca));

    let now = i64::try_from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let (from, to) = (leaf.validity().not_before.timestamp(), leaf.validity().not_after.timestamp());
    assert!((now - 3700..=now - 3500).contains(&from), "an hour ago");
    assert!((24 * 3600..=72 * 3600).contains(&(to - now)), "for one to three days");
}

#[tokio::test]
async fn no_two_certificates_have_the_same_serial_number() {
    let authority = authority(&["openai.com"]);
    let mut serials = HashSet::new();
    for number in 0..20 {
        let chain = chain(&authority, &format!("h{number}.openai.com")).await;
        let leaf = x509(&chain[0]);
        let serial = leaf.raw_serial();
        assert!(serial[0] & 0x80 == 0 && serial[0] != 0 && serial.len() <= 20, "positive and minimal: {serial:?}");
        assert!(serials.insert(serial.to_vec()));
    }
    assert!(serials.insert(x509(authority.certificate_der()).raw_serial().to_vec()));
}

#[test]
fn a_leaf_does_not_outlive_its_ca() {
    let now = SystemTime::now();
    let params = certificates::leaf(HOST, now, now + Duration::from_hours(2)).unwrap();
    assert_eq!(SystemTime::from(params.not_after), now + Duration::from_hours(2));
}

// === Caching ===

#[test]
fn a_leaf_is_minted_once_and_again_well_before_it_expires() {
    let authority = authority(&[HOST]);
    let now = SystemTime::now();
    let first = authority.server_config_at(HOST, now).unwrap();
    for (host, later) in [(HOST, 0), ("API.openai.COM.", 1), (HOST, 23)] {
        let again = authority.server_config_at(host, now + Duration::from_hours(later)).unwrap();
        assert!(Arc::ptr_eq(&first, &again), "after {later} hours");
    }
    let second = authority.server_config_at(HOST, now + Duration::from_hours(25)).unwrap();
    assert!(!Arc::ptr_eq(&first, &second));
    // The clock was set back by half a day: a leaf from the future is no good.
    let third = authority.server_config_at(HOST, now - Duration::from_hours(12)).unwrap();
    assert!(!Arc::ptr_eq(&second, &third));
}

#[test]
fn a_ca_that_expires_while_running_mints_no_more() {
    let authority = authority(&[HOST]);
    let error = authority.server_config_at(HOST, authority.not_after()).unwrap_err();
    assert!(matches!(error, MintError::AuthorityExpired), "{error}");
}

#[test]
fn clients_cannot_fill_the_memory_with_names() {
    let authority = authority(&["openai.com"]);
    for number in 0..LEAVES * 2 {
        authority.server_config(&format!("h{number}.openai.com")).unwrap();
        assert!(authority.server_config(&format!("h{number}.example.com")).is_err());
    }
    assert!(authority.leaves.len() <= LEAVES, "{}", authority.leaves.len());
}

#[test]
fn many_threads_mint_at_once() {
    let authority = authority(&["openai.com"]);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for number in 0..50 {
                    authority.server_config(&format!("h{number}.openai.com")).unwrap();
                }
            });
        }
    });
    assert_eq!(authority.leaves.len(), 50);
}

// === Serving ===

#[tokio::test]
async fn each_side_gets_the_protocol_it_prefers() {
    let authority = authority(&[HOST]);
    for (offered, chosen) in
        [(&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])), (&[b"http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let (server, client) =
            handshake(authority.server_config(HOST).unwrap(), trusting(&authority, offered), HOST).await;
        assert_eq!(server.unwrap().get_ref().1.alpn_protocol(), chosen);
        assert_eq!(client.unwrap().get_ref().1.alpn_protocol(), chosen);
    }
}

fn client_of(authority: &Authority, version: &'static SupportedProtocolVersion) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(Roots::only([authority.certificate_der().clone()]).unwrap().store())
        .with_no_client_auth()
}

async fn handshake_kind(authority: &Authority, client: &Arc<ClientConfig>, host: &str) -> HandshakeKind {
    let (server, connected) = handshake(authority.server_config(host).unwrap(), Arc::clone(client), host).await;
    let (mut server, mut connected) = (server.unwrap(), connected.unwrap());
    // TLS 1.3 tickets come after the handshake, with the first read.
    server.write_all(b"x").await.unwrap();
    server.flush().await.unwrap();
    assert_eq!(connected.read_u8().await.unwrap(), b'x');
    connected.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn sessions_are_resumed_in_both_versions() {
    let authority = authority(&[HOST]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = Arc::new(client_of(&authority, version));
        let mut kinds = Vec::new();
        for _ in 0..3 {
            kinds.push(handshake_kind(&authority, &client, HOST).await);
        }
        let name = format!("{:?}", version.version);
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed], "{name}");
    }
}

/// A client's session store that offers any host's session to every host.
#[derive(Debug)]
struct Mixed(ClientSessionMemoryCache);

impl ClientSessionStore for Mixed {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(any_host(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&any_host())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(any_host(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&any_host())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&any_host());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(any_host(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&any_host())
    }
}

fn any_host() -> ServerName<'static> {
    HOST.try_into().unwrap()
}

#[tokio::test]
async fn a_session_of_one_host_is_not_resumed_for_another() {
    let authority = authority(&["openai.com"]);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = client_of(&authority, version);
        client.resumption = Resumption::store(Arc::new(Mixed(ClientSessionMemoryCache::new(8))));
        let client = Arc::new(client);
        let mut kinds = Vec::new();
        for host in ["a.openai.com", "a.openai.com", "b.openai.com"] {
            kinds.push(handshake_kind(&authority, &client, host).await);
        }
        let name = format!("{:?}", version.version);
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Full], "{name}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_ca_gets_no_connection() {
    let (ours, other) = (authority(&[HOST]), authority(&[HOST]));
    let (server, client) = handshake(ours.server_config(HOST).unwrap(), trusting(&other, &[]), HOST).await;
    assert!(server.is_err());
    assert!(client.is_err());
}
