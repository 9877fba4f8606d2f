//! Which pods run on this node, as the API server tells: for a pod's id its name, namespace, service account and labels.
//!
//! One watch, of this node's pods alone, is kept for the agent's life and begun anew whenever it breaks. What was known stays
//! meanwhile: an API server that is away makes nothing forgotten. Needs `list` and `watch` on `pods`. The only crate that names
//! kube.

#![forbid(unsafe_code)]

mod index;

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt as _, watcher as watch};
use kube::{Api, Client, Config};

pub use self::index::{Figures, PodIndex};

/// How long the API server may take to answer at all.
const CONNECT: Duration = Duration::from_secs(10);

/// Where the API server is, and which node this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How to reach it.
    pub server: Server,
    /// `spec.nodeName` of this node's pods.
    pub node: String,
}

/// How to reach the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Server {
    /// As a pod does: by its service account's token, which is read again as it is renewed.
    InCluster,
    /// By a kubeconfig file.
    File(PathBuf),
}

/// Why the API server cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no service account here.
    #[error(
        "this is no pod with a service account, or its token is not mounted; name a kubeconfig file in `kubernetes.api`"
    )]
    NotInCluster(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file cannot be used.
    #[error("the kubeconfig file {} cannot be used: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The certificates or the credential cannot be used.
    #[error("the API server cannot be asked with this certificate and credential: {0}")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Follows the pods of a node, for as long as the future runs. It never ends by itself.
pub async fn follow(settings: Settings, index: Arc<PodIndex>) -> Result<(), StartError> {
    let config = config(&settings.server).await?;
    let client = Client::try_from(config).map_err(|error| StartError::Client(error.into()))?;
    let pods: Api<v1::Pod> = Api::all(client);
    let mine = watcher::Config::default().fields(&format!("spec.nodeName={}", settings.node));
    let mut events = pin!(watch(pods, mine).default_backoff());
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => index.begin(),
            Ok(Event::InitApply(pod)) => index.listed(&pod),
            Ok(Event::InitDone) => {
                let count = index.complete();
                tracing::info!(node = %settings.node, pods = count, "the pods of this node are known");
            }
            Ok(Event::Apply(pod)) => index.apply(&pod),
            Ok(Event::Delete(pod)) => index.delete(&pod),
            Err(error) => {
                // One line when it begins, and one when it is over.
                if index.failed(error.to_string()) {
                    tracing::warn!(%error, "the API server does not tell which pods run here; what was known stays");
                }
            }
        }
    }
    Ok(())
}

async fn config(server: &Server) -> Result<Config, StartError> {
    let mut config = match server {
        Server::InCluster => Config::incluster().map_err(|error| StartError::NotInCluster(error.into()))?,
        Server::File(path) => {
            let failed = |source| StartError::File { path: path.clone(), source };
            let file = Kubeconfig::read_from(path).map_err(|error| failed(error.into()))?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| failed(error.into()))?
        }
    };
    config.connect_timeout = Some(CONNECT);
    Ok(config)
}
