//! Which pods run on this node, where Kubernetes is asked.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;
use tollgate_config::{Config, KubernetesApi};
use tollgate_kubernetes::{PodIndex, Server, Settings, follow};
use tollgate_workload::Workloads;

/// How long the start waits for the pods to be listed. After that, calls are of pods without names until they are.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether they are.
const LOOK: Duration = Duration::from_millis(20);

/// Begins to follow the pods, and gives `workloads` their names. A kubeconfig or service account that cannot be used is an error; an
/// API server that does not answer is none.
pub(crate) async fn follow_pods(config: &Config, workloads: &Workloads, tasks: &mut JoinSet<()>) -> anyhow::Result<()> {
    let server = match &config.kubernetes.api {
        KubernetesApi::Off => return Ok(()),
        KubernetesApi::InCluster => Server::InCluster,
        KubernetesApi::File(path) => Server::File(path.clone()),
    };
    let node = match &config.kubernetes.node {
        Some(node) => node.clone(),
        None => node_name()?,
    };
    let index = Arc::new(PodIndex::default());
    workloads.name_pods(Arc::<PodIndex>::clone(&index));
    let mut following = Box::pin(follow(Settings { server, node }, Arc::clone(&index)));
    let listed = async {
        while !index.figures().is_complete {
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        ended = &mut following => ended?,
        () = listed => {}
        () = tokio::time::sleep(PATIENCE) => {
            tracing::warn!("the API server has not told which pods run here; until it does they have no names");
        }
    }
    tasks.spawn(async move {
        if let Err(error) = following.await {
            tracing::error!(%error, "the pods of this node are not followed any more");
        }
    });
    Ok(())
}

/// As the chart sets it, or as kubelets take it from the host.
fn node_name() -> anyhow::Result<String> {
    if let Some(name) = std::env::var("NODE_NAME").ok().filter(|name| !name.is_empty()) {
        return Ok(name);
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
    Ok(host.context("the host's name cannot be read; set `kubernetes.node`")?.trim().to_ascii_lowercase())
}
