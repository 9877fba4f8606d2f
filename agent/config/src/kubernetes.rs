use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{Leaf, Value};

/// Where pods' names, namespaces, labels and service accounts are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubernetes {
    /// How the API server is reached.
    pub api: KubernetesApi,
    /// `spec.nodeName` of this node's pods; `None` for what the environment says.
    pub node: Option<String>,
}

/// How the API server is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KubernetesApi {
    /// It is not asked.
    #[default]
    Off,
    /// As a pod reaches it, by its service account.
    InCluster,
    /// By a kubeconfig file.
    File(PathBuf),
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawKubernetes {
    /// How the API server is asked which pods run on this node: `in-cluster` by the agent's own service account, or the path of a
    /// kubeconfig file. It needs `list` and `watch` on `pods`. With `off`, pods have an id and no name, namespace, labels or service
    /// account.
    api: Leaf<KubernetesApi>,
    /// The node's name in Kubernetes. When absent, what the environment's `NODE_NAME` says, or else the host's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<NodeName>")]
    node: Option<Leaf<NodeName>>,
}

impl Value for KubernetesApi {
    const NAME: &str = "`off`, `in-cluster` or an absolute path";
    const EXAMPLE: &str = "in-cluster";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "in-cluster" => Ok(Self::InCluster),
            path => PathBuf::read(path).map(Self::File),
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Off => "off".into(),
            Self::InCluster => "in-cluster".into(),
            Self::File(path) => path.write(),
        }
    }
}

/// The name of a node (RFC 1123).
#[derive(Debug, Clone, PartialEq, Eq)]
struct NodeName(String);

impl Value for NodeName {
    const NAME: &str = "a node's name";
    const EXAMPLE: &str = "worker-1";

    fn read(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if text.is_empty() || text.len() > 253 || !text.bytes().all(allowed) {
            return Err("use 1 to 253 small letters, digits, `.` and `-`".into());
        }
        Ok(Self(text.into()))
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

impl From<RawKubernetes> for Kubernetes {
    fn from(raw: RawKubernetes) -> Self {
        Self { api: raw.api.0, node: raw.node.map(|node| node.0.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;
    use crate::value::tests::reads;

    #[test]
    fn the_api_server_is_not_asked_unless_told() {
        let section = |text: &str| Config::parse("test", text).unwrap().kubernetes;
        assert_eq!(section(""), Kubernetes { api: KubernetesApi::Off, node: None });
        let told = section("kubernetes: { api: in-cluster, node: worker-1.example }");
        assert_eq!(told, Kubernetes { api: KubernetesApi::InCluster, node: Some("worker-1.example".into()) });
        let file = KubernetesApi::File("/etc/kubernetes/kubelet.conf".into());
        reads(&[("/etc/kubernetes/kubelet.conf", file), ("off", KubernetesApi::Off)], &["", "on", "kubelet.conf"]);
        reads::<NodeName>(&[("a.b-1", NodeName("a.b-1".into()))], &["", "Worker", "a,spec.x=1", &"a".repeat(254)]);
    }
}
