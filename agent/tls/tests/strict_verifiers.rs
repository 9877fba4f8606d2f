//! Clients that nobody here wrote, each with its strictest verification, against our certificates: they take the ones for hosts
//! that the CA may sign for, refuse any other that the CA's key was abused for, and when they do not trust the CA, how they say so
//! is recognised. They come to trust it by the files and variables of `trust::install` alone.
//!
//! A runtime that is not installed is skipped with a notice, or fails the test where `CI` is set.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tollgate_tls::trust::{self, Environment, Trust};
use tollgate_tls::{Authority, Refusal, Roots, client_config, closed_after_certificate};

/// Exact, below a wildcard, and matching a wildcard in the middle.
const PERMITTED: [&str; 3] = ["api.openai.com", "me.openai.azure.com", "bedrock-runtime.eu-west-1.amazonaws.com"];
const PATTERNS: [&str; 3] = ["api.openai.com", "*.openai.azure.com", "bedrock-runtime.*.amazonaws.com"];
/// Unrelated, the parent of a permitted one, and one that only ends like it.
const FORBIDDEN: [&str; 3] = ["www.example.org", "openai.com", "evilapi.openai.com.example.net"];
const BODY: &str = "the body from the stand-in";

// === The tests ===

#[test]
fn openssl_takes_our_hosts_and_no_other() {
    check("openssl", find("openssl"), |openssl, host, port| {
        let mut command = Command::new(openssl);
        command
            .args(["s_client", "-quiet", "-ign_eof", "-x509_strict", "-verify_return_error", "-purpose", "sslserver"])
            .args(["-connect", &format!("127.0.0.1:{port}"), "-servername", host, "-verify_hostname", host]);
        command
    });
}

#[test]
fn curl_takes_our_hosts_and_no_other() {
    check("curl", find("curl"), |curl, host, port| {
        let mut command = Command::new(curl);
        command
            .args(["-sS", "--http1.1", "--noproxy", "*", "--resolve", &format!("{host}:{port}:127.0.0.1")])
            .arg(format!("https://{host}:{port}/"));
        command
    });
}

/// For GnuTLS. It reads no variable, so wget gets the file that curl gets, as an option. It cannot be told where a host is, but it
/// can be told of a proxy.
#[test]
fn wget_takes_our_hosts_and_no_other() {
    const SCRIPT: &str =
        r#"exec "$0" -nv -O - --tries 1 --no-config ${CURL_CA_BUNDLE:+--ca-certificate "$CURL_CA_BUNDLE"} "$@""#;
    check("wget", find("wget"), |wget, host, port| {
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT])
            .arg(wget)
            .args(["-e", &format!("https_proxy=http://127.0.0.1:{port}")])
            .arg(format!("https://{host}/"));
        command
    });
}

#[test]
fn python_takes_our_hosts_and_no_other() {
    check("python3", find("python3"), python);
}

/// The first Python that is strict by default.
#[test]
fn python_3_13_takes_our_hosts_and_no_other() {
    check("python3.13", find("python3.13").or_else(pyenv_3_13), python);
}

#[test]
fn node_takes_our_hosts_and_no_other() {
    check("node", find("node"), |node, host, port| {
        let mut command = Command::new(node);
        command.args(["-e", NODE, host, &port.to_string()]);
        command
    });
}

#[test]
fn java_takes_our_hosts_and_no_other() {
    let source = work_dir().join("Get.java");
    fs::write(&source, JAVA).unwrap();
    check("java", find("java"), |java, host, port| {
        let mut command = Command::new(java);
        command.arg(&source).args([host, &port.to_string()]);
        command
    });
}

#[test]
fn go_takes_our_hosts_and_no_other() {
    let program = find("go").map(|go| {
        let (source, program) = (work_dir().join("get.go"), work_dir().join("get"));
        fs::write(&source, GO).unwrap();
        let output = clean(&mut Command::new(go))
            .env("GO111MODULE", "off")
            .env("GOCACHE", work_dir().join("go"))
            .arg("build")
            .arg("-o")
            .args([&program, &source])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
        program
    });
    check("go", program, |program, host, port| {
        let mut command = Command::new(program);
        command.args([host, &port.to_string()]);
        command
    });
}

#[tokio::test]
async fn rustls_takes_our_hosts_and_no_other() {
    let stage = Stage::new();
    let config = client_config(&Roots::only([stage.authority.certificate_der().clone()]).unwrap(), &[b"http/1.1"]);
    for (host, server, accepted) in stage.cases() {
        let (listener, address) = listen().await;
        let connect = async {
            let stream = TcpStream::connect(address).await?;
            TlsConnector::from(Arc::clone(&config)).connect(host.try_into().unwrap(), stream).await
        };
        let (_, connected) = tokio::join!(serve(&listener, server), async {
            match connect.await {
                Ok(mut stream) => stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await,
                Err(error) => Err(error),
            }
        });
        assert_eq!(connected.is_ok(), accepted, "{host}: {connected:?}");
    }
}

/// Beyond hosts: the CA's key is worth nothing for addresses, for clients' certificates, and for further CAs.
#[test]
fn openssl_takes_nothing_but_servers_from_a_stolen_key() {
    let Some(openssl) = available("openssl", find("openssl")) else { return };
    let stage = Stage::new();
    let host = PERMITTED[0];
    let verify = |certificates: &[&rcgen::Certificate], options: &[&str]| {
        let file = |name: &str, text: &str| {
            let path = stage.ca.join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let mut between = stage.file();
        between.extend(certificates[1..].iter().map(|certificate| certificate.pem()));
        let output = clean(&mut Command::new(&openssl))
            .args(["verify", "-x509_strict", "-CAfile"])
            .arg(&stage.trust.certificate)
            .arg("-untrusted")
            .arg(file("between.pem", &between))
            .args(options)
            .arg(file("leaf.pem", &certificates[0].pem()))
            .output()
            .unwrap();
        (output.status.success(), text(&output))
    };
    let key = KeyPair::generate().unwrap();
    let issuing = stage.issuing().into_iter().find(|certificate| names(certificate, host)).unwrap();
    let sign = |params: &CertificateParams| params.signed_by(&key, &stage.issuer(&issuing)).unwrap();
    let usual = ["-purpose", "sslserver", "-verify_hostname", host];

    let (taken, output) = verify(&[&sign(&like_ours(host))], &usual);
    assert!(taken, "the control: {output}");

    let address = "192.0.2.1";
    let (taken, output) = verify(&[&sign(&like_ours(address))], &["-purpose", "sslserver", "-verify_ip", address]);
    assert!(!taken && output.contains("excluded subtree"), "{output}");

    let mut client = like_ours(host);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let (taken, output) = verify(&[&sign(&client)], &["-purpose", "sslclient"]);
    assert!(!taken && output.contains("purpose"), "{output}");

    let mut below = like_ours(host);
    below.distinguished_name.push(rcgen::DnType::CommonName, "a further CA");
    below.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    below.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let below =
        rcgen::CertifiedIssuer::signed_by(below, KeyPair::generate().unwrap(), &stage.issuer(&issuing)).unwrap();
    let leaf = like_ours(host).signed_by(&key, &below).unwrap();
    let (taken, output) = verify(&[&leaf, below.as_ref()], &usual);
    assert!(!taken && output.contains("path length"), "{output}");
}

// === What each test does ===

/// Has a client ask for every host, first trusting the CA and then not.
fn check(name: &str, program: Option<PathBuf>, command: impl Fn(&Path, &str, u16) -> Command) {
    let Some(program) = available(name, program) else { return };
    let stage = Stage::new();
    for (host, server, accepted) in stage.cases() {
        let (output, _) = run(server, &stage.trust.variables, |port| command(&program, host, port));
        let answered = output.status.success() && text(&output).contains(BODY);
        assert_eq!(answered, accepted, "{name}, {host}: {}", text(&output));
    }
    // The same host without our variables.
    let host = PERMITTED[0];
    let config = stage.authority.server_config(host).unwrap();
    let (output, served) = run(config, &Environment::new(), |port| command(&program, host, port));
    assert!(!text(&output).contains(BODY), "{name} trusts a CA that it was not told of: {}", text(&output));
    let Served::Refused(refusal) = served else { panic!("{name}: not recognised as a refusal: {served:?}") };
    println!("{name} refuses by {refusal}");
}

/// Says loudly that a test is skipped for want of a program, or fails it where `CI` is set.
fn available(name: &str, program: Option<PathBuf>) -> Option<PathBuf> {
    if program.is_none() {
        assert!(env::var_os("CI").is_none(), "{name} is not installed, and CI must not skip it");
        // Past the test harness's capture: a skipped test must not look like a passed one.
        let notice = format!("\n*** SKIPPED: {name} is not installed; nothing is known of its verification ***\n\n");
        drop(io::Write::write_all(&mut io::stderr(), notice.as_bytes()));
    }
    program
}

/// A CA, the files for its clients, and what servers of its hosts and of others present.
struct Stage {
    authority: Authority,
    trust: Trust,
    ca: PathBuf,
    _dir: TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let patterns: Vec<_> = PATTERNS.iter().map(|pattern| pattern.parse().unwrap()).collect();
        let ca = dir.path().join("ca");
        let authority = Authority::create(&ca, &patterns).unwrap();
        let trust =
            trust::install(&dir.path().join("trust files"), authority.certificate_pem(), &Environment::new()).unwrap();
        Self { authority, trust, ca, _dir: dir }
    }

    /// Host, what its server presents, and whether a client is to take it.
    fn cases(&self) -> Vec<(&'static str, Arc<ServerConfig>, bool)> {
        let mut cases: Vec<_> =
            PERMITTED.into_iter().map(|host| (host, self.authority.server_config(host).unwrap(), true)).collect();
        // The control: what the thief makes is refused for its name alone.
        let issuing = self.issuing();
        let [own, other] = [true, false]
            .map(|own| issuing.iter().find(|certificate| names(certificate, PERMITTED[0]) == own).unwrap());
        cases.push((PERMITTED[0], self.stolen(PERMITTED[0], own), true));
        cases.push((PERMITTED[0], self.stolen(PERMITTED[0], other), false));
        assert_eq!(issuing.len(), FORBIDDEN.len(), "each is abused once");
        cases.extend(FORBIDDEN.into_iter().zip(&issuing).map(|(host, with)| (host, self.stolen(host, with), false)));
        cases
    }

    /// The CA's file, as its thief has it.
    fn file(&self) -> String {
        fs::read_to_string(self.ca.join(Authority::FILE)).unwrap()
    }

    /// The issuing CA's certificates.
    fn issuing(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.file().as_bytes()).skip(1).collect::<Result<_, _>>().unwrap()
    }

    /// What signs with the CA's key, as one of its certificates says.
    fn issuer(&self, issuing: &CertificateDer<'_>) -> Issuer<'static, KeyPair> {
        let key = PrivateKeyDer::from_pem_slice(self.file().as_bytes()).unwrap();
        Issuer::from_ca_cert_der(issuing, KeyPair::try_from(&key).unwrap()).unwrap()
    }

    /// What a thief of the CA's key presents for any host, with any of its certificates.
    fn stolen(&self, host: &str, issuing: &CertificateDer<'static>) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let leaf = like_ours(host).signed_by(&key, &self.issuer(issuing)).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.into(), issuing.clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap();
        Arc::new(config)
    }
}

/// Whether the name stands in a certificate.
fn names(certificate: &CertificateDer<'_>, name: &str) -> bool {
    certificate.windows(name.len()).any(|window| window == name.as_bytes())
}

/// A certificate for any host or address, in all else like ours.
fn like_ours(host: &str) -> CertificateParams {
    let mut params = CertificateParams::new([host.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let now = SystemTime::now();
    params.not_before = (now - Duration::from_hours(1)).into();
    params.not_after = (now + Duration::from_hours(24)).into();
    params
}

// === The server ===

/// What became of a connection.
#[derive(Debug)]
enum Served {
    Answered,
    Refused(Refusal),
    #[expect(dead_code, reason = "read by a failing test's message")]
    Failed(String),
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers the first request of one connection.
async fn serve(listener: &TcpListener, config: Arc<ServerConfig>) -> Served {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut first = [0];
    stream.peek(&mut first).await.unwrap();
    if first == *b"C" {
        be_proxy(&mut stream).await;
    }
    let mut stream = match TlsAcceptor::from(config).accept(stream).await {
        Ok(stream) => stream,
        Err(error) => return ended(Some(&error)),
    };
    let mut request = [0; 4096];
    match stream.read(&mut request).await {
        Ok(0) => return ended(None),
        Err(error) => return ended(Some(&error)),
        Ok(_) => {}
    }
    let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len());
    match stream.write_all(answer.as_bytes()).await {
        Ok(()) => {
            // The client has what it wanted, and may be gone.
            drop(stream.shutdown().await);
            Served::Answered
        }
        Err(error) => Served::Failed(error.to_string()),
    }
}

/// Answers a CONNECT, whatever it is for.
async fn be_proxy(stream: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
}

fn ended(error: Option<&io::Error>) -> Served {
    closed_after_certificate(error, 0).map_or_else(|| Served::Failed(format!("{error:?}")), Served::Refused)
}

// === The clients ===

/// Runs a client against a server, with these variables and little else in its environment.
fn run(config: Arc<ServerConfig>, variables: &Environment, command: impl FnOnce(u16) -> Command) -> (Output, Served) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (listener, address) = runtime.block_on(listen());
    let server = runtime.spawn(async move { serve(&listener, config).await });
    let mut command = command(address.port());
    let mut child = clean(&mut command)
        .envs(variables)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // For openssl, which sends what it is given.
    let mut stdin = child.stdin.take().unwrap();
    drop(io::Write::write_all(&mut stdin, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"));
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    // A client that never came would otherwise be waited for.
    let served = runtime.block_on(async { tokio::time::timeout(Duration::from_mins(1), server).await });
    (output, served.map_or_else(|_elapsed| Served::Failed("nobody came".to_owned()), Result::unwrap))
}

/// Without what this machine may say about trust and proxies.
fn clean(command: &mut Command) -> &mut Command {
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default()).env("HOME", work_dir())
}

fn text(output: &Output) -> String {
    format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn work_dir() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|dir| dir.join(program)).find(|path| works(path))
}

fn pyenv_3_13() -> Option<PathBuf> {
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".pyenv")))?;
    let versions = fs::read_dir(root.join("versions")).ok()?;
    versions
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("3.13"))
        .map(|entry| entry.path().join("bin/python3.13"))
        .find(|path| works(path))
}

/// Version managers put shims on the PATH for versions that are not there.
fn works(program: &Path) -> bool {
    let version: OsString =
        if program.ends_with("go") || program.ends_with("openssl") { "version" } else { "--version" }.into();
    program.is_file()
        && clean(Command::new(program).arg(version).stdout(Stdio::null()).stderr(Stdio::null()))
            .status()
            .is_ok_and(|status| status.success())
}

fn python(python: &Path, host: &str, port: u16) -> Command {
    let mut command = Command::new(python);
    command.args(["-c", PYTHON, host, &port.to_string()]);
    command
}

const PYTHON: &str = r#"
import socket, ssl, sys
host, port = sys.argv[1], int(sys.argv[2])
context = ssl.create_default_context()
if sys.version_info >= (3, 13):
    assert context.verify_flags & ssl.VERIFY_X509_STRICT, "3.13 is strict by default"
context.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection(("127.0.0.1", port)) as raw:
    with context.wrap_socket(raw, server_hostname=host) as tls:
        tls.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        while data := tls.recv(4096):
            print(data.decode())
"#;

const NODE: &str = r#"
const [host, port] = process.argv.slice(1);
require("https").get({ host: "127.0.0.1", port, servername: host, headers: { host } }, (response) => {
  response.on("data", (data) => console.log(data.toString()));
}).on("error", (error) => { console.error(error); process.exitCode = 1; });
"#;

const JAVA: &str = r#"
import java.net.Socket;
import javax.net.ssl.*;

class Get {
    public static void main(String[] arguments) throws Exception {
        String host = arguments[0];
        int port = Integer.parseInt(arguments[1]);
        Socket raw = new Socket("127.0.0.1", port);
        SSLSocketFactory factory = (SSLSocketFactory) SSLSocketFactory.getDefault();
        try (SSLSocket tls = (SSLSocket) factory.createSocket(raw, host, port, true)) {
            SSLParameters parameters = tls.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            tls.setSSLParameters(parameters);
            tls.getOutputStream().write("GET / HTTP/1.1\r\nhost: x\r\n\r\n".getBytes());
            System.out.println(new String(tls.getInputStream().readAllBytes()));
        }
    }
}
"#;

const GO: &str = r#"
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"os"
)

func main() {
	connection, err := tls.Dial("tcp", "127.0.0.1:"+os.Args[2], &tls.Config{ServerName: os.Args[1]})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Fprint(connection, "GET / HTTP/1.1\r\nhost: x\r\n\r\n")
	body, err := io.ReadAll(connection)
	fmt.Println(string(body), err)
}
"#;
