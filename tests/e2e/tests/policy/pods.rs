//! Pods by name: the id is in the control group, the rest is what the API server tells.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tollgate_e2e::logged::calls;
use tollgate_e2e::{answer, post};
use tollgate_world::{Program, World};

const SEARCH: &str = "11111111-1111-4111-8111-111111111111";
const BATCH: &str = "22222222-2222-4222-8222-222222222222";

fn list() -> String {
    let pod = |uid: &str, name: &str, namespace: &str, app: &str| {
        json!({
            "metadata": {"name": name, "namespace": namespace, "uid": uid, "labels": {"app": app}},
            "spec": {"serviceAccountName": "default", "containers": []}
        })
    };
    let items = [pod(SEARCH, "search-0", "prod", "search"), pod(BATCH, "batch-7", "jobs", "batch")];
    json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": items}).to_string()
}

/// Answers a list with the pods, and a watch with nothing yet.
async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let is_watch = String::from_utf8_lossy(&head).contains("watch=true");
        head.clear();
        if is_watch {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            return std::future::pending().await;
        }
        let body = list();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// An API server on the client host, as long as the world is there.
fn api_server(world: &World) -> SocketAddr {
    world.in_client(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        address
    })
}

#[test]
fn a_rule_about_a_namespace_holds_for_the_pods_that_the_api_server_puts_there() -> Result<()> {
    let world = World::new()?;
    let kubeconfig = world.directory().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": format!("http://{}", api_server(&world))}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}]
    });
    std::fs::write(&kubeconfig, config.to_string())?;
    let agent = world.agent(&format!(
        "
kubernetes: {{ api: {}, node: node-1 }}
teams:
  - {{ name: search, match: {{ namespace: prod, labels: {{ app: search }} }} }}
policy:
  default: deny
  rules:
    - {{ name: production, match: {{ team: search }} }}
",
        kubeconfig.display()
    ))?;
    let body = r#"{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}"#;
    let call = |program: Program| -> Result<u16> {
        let header = ["--header", "content-type: application/json", "--header", "authorization: Bearer k"];
        let program = program.args(["--silent", "--write-out", "\n%{http_code}"]).args(header);
        Ok(answer(program.args(["--data-binary", body, tollgate_e2e::CHAT]).envs(agent.trust_variables()?).run()?)?.1)
    };
    let pod = |uid: &str| world.workload(&format!("kubepods/burstable/pod{uid}"));
    assert_eq!(call(world.command_in(&pod(SEARCH)?, "curl"))?, 200);
    assert_eq!(call(world.command_in(&pod(BATCH)?, "curl"))?, 403);
    assert_eq!(answer(post(&world, tollgate_e2e::CHAT, body).envs(agent.trust_variables()?).run()?)?.1, 403, "no pod");
    let lines = calls(&agent, 3)?;
    assert_eq!((&lines[0]["team"], &lines[0]["pod"]), (&"search".into(), &"search-0".into()), "{:#}", lines[0]);
    assert_eq!(lines[1]["namespace"], "jobs", "{:#}", lines[1]);
    Ok(())
}
