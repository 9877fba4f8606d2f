//! The stand-in providers, reached by programs that know nothing of the world. Needs root.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail by panicking, like the test")]

use std::env;
use std::process::Command;

use tollgate_world::{CLIENT, OPENAI, OTHER, Output, World};

fn curl(world: &World, arguments: &[&str]) -> Output {
    world.client_command("curl").args(["--silent", "--show-error", "--max-time", "60"]).args(arguments).run().unwrap()
}

#[test]
fn curl_trusts_the_providers_over_both_families() {
    let world = World::new().unwrap();
    let hosts = ["api.openai.com", "api.anthropic.com", "generativelanguage.googleapis.com", "other.example"];
    for (family, version) in [("-4", "--http1.1"), ("-6", "--http2")] {
        for host in hosts {
            let url = format!("https://{host}/");
            let code = curl(&world, &[family, version, "-o", "/dev/null", "-w", "%{ssl_verify_result}", &url]);
            assert_eq!(code.success().unwrap().text(), "0");
        }
    }
    let seen = world.provider().truth().exchanges();
    let peers: Vec<_> = seen.iter().map(|exchange| exchange.peer.ip()).collect();
    let expected: Vec<_> = CLIENT.both().into_iter().flat_map(|own| [own; 4]).collect();
    assert_eq!(peers, expected);
    let snis: Vec<_> = seen.iter().map(|exchange| exchange.sni.clone().unwrap()).collect();
    assert_eq!(snis, [hosts, hosts].concat());
    assert_eq!(seen[0].local, (OPENAI.v4, 443).into());
    assert_eq!(seen[7].local, (OTHER.v6, 443).into());
    assert_eq!((seen[0].version.as_str(), seen[4].version.as_str()), ("HTTP/1.1", "HTTP/2.0"));
}

#[test]
fn a_site_that_shares_a_providers_address_has_its_own_certificate() {
    let world = World::new().unwrap();
    let output = curl(&world, &["-v", "-o", "/dev/null", "https://other-site.example/"]).success().unwrap();
    assert!(output.errors().contains("subject: CN=other-site.example"), "{output}");
    assert!(output.errors().contains(&OPENAI.v4.to_string()) || output.errors().contains(&OPENAI.v6.to_string()));
}

#[test]
fn the_public_roots_are_not_trusted_and_the_worlds_root_is_trusted_nowhere_else() {
    let (one, two) = (World::new().unwrap(), World::new().unwrap());
    let foreign = one.root_file();
    let refused = curl(&two, &["--cacert", foreign.to_str().unwrap(), "https://api.openai.com/"]);
    // 60: the peer's certificate cannot be verified.
    assert_eq!(refused.status.code(), Some(60), "{refused}");
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let outside = std::fs::read_to_string(bundle).unwrap();
    let inside = two.client_command("cat").arg(bundle).run().unwrap().success().unwrap().text();
    assert_eq!(inside, two.root_pem());
    assert!(!outside.contains(&inside));
}

#[test]
fn python_trusts_the_providers_by_the_system_store() {
    let world = World::new().unwrap();
    let script = "import urllib.request as r; print(r.urlopen('https://other.example/', timeout=60).status)";
    let output = world.client_command("python3").args(["-c", script]).run().unwrap();
    assert_eq!(output.success().unwrap().text(), "200\n");
}

#[test]
#[ignore = "needs a JDK, which only the clients' suite installs"]
fn java_trusts_the_providers_once_its_store_is_made() {
    let world = World::new().unwrap();
    let source = world.directory().join("Get.java");
    let body = r#"
        import java.net.*;
        public class Get {
            public static void main(String[] arguments) throws Exception {
                var connection = (HttpURLConnection) new URL("https://other.example/").openConnection();
                System.out.println(connection.getResponseCode());
            }
        }"#;
    std::fs::write(&source, body).unwrap();
    let get = || world.client_command("java").arg(&source).run().unwrap();
    assert!(get().errors().contains("SSLException"), "it must not trust the machine's roots");
    // Twice, as after `trust`.
    world.trust_in_java().unwrap();
    world.trust_in_java().unwrap();
    assert_eq!(get().success().unwrap().text(), "200\n");
}

#[test]
fn another_site_echoes() {
    let world = World::new().unwrap();
    let script = "import socket; s = socket.create_connection(('other.example', 7), 60); s.sendall(b'hello'); \
                  s.shutdown(socket.SHUT_WR); print(s.makefile().read())";
    let output = world.client_command("python3").args(["-c", script]).run().unwrap();
    assert_eq!(output.success().unwrap().text(), "hello\n");
}

#[test]
fn one_more_provider_serves_at_one_more_address() {
    let world = World::new().unwrap();
    world.add_address("203.0.113.99".parse().unwrap()).unwrap();
    let address = "203.0.113.99:443".parse().unwrap();
    let more = world.another_provider(&[address], |provider| provider.alpn(&["http/1.1"])).unwrap();
    world.dns().set("api.openai.com", &[address.ip()], 60);
    curl(&world, &["-o", "/dev/null", "https://api.openai.com/v1/models"]).success().unwrap();
    assert_eq!(more.truth().exchanges().len(), 1);
    assert!(world.provider().truth().exchanges().is_empty());
}

#[test]
fn a_missing_agent_is_a_sentence_that_names_the_remedy() {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "helper_agent", "--ignored", "--nocapture"])
        .env("TOLLGATE_BIN", "/nonexistent/tollgate")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("/nonexistent/tollgate does not exist; run `cargo xtask build`"), "{text}");
}

/// Run by the test above in a process of its own, because the environment belongs to the process.
#[test]
#[ignore = "a helper that another test starts"]
fn helper_agent() {
    drop(World::new().unwrap().agent("").unwrap());
}
