use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1;
use parking_lot::{Mutex, RwLock};
use tollgate_workload::{Pod, Pods};

/// On pods that the kubelet read from a file: the id that its own control group has, where the API server's is another.
const CONFIG_HASH: &str = "kubernetes.io/config.hash";

/// Pods that are kept in mind; a node runs a hundred, some several hundred.
const MOST: usize = 8192;

/// Labels of one pod that are kept: as many as a condition sees.
const LABELS: usize = 256;

type Known = HashMap<Arc<str>, Arc<Pod>>;

/// The pods of this node, by the id that is in their control groups' paths.
#[derive(Debug, Default)]
pub struct PodIndex {
    known: RwLock<Known>,
    /// A list that is being read.
    listing: Mutex<Option<Known>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_complete: bool,
    failures: u64,
    trouble: Option<String>,
}

/// How following the pods goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// Ids that are known.
    pub pods: usize,
    /// Whether they were all listed at least once.
    pub is_complete: bool,
    /// How often the watch failed.
    pub failures: u64,
    /// Why it fails now, if so.
    pub trouble: Option<String>,
}

impl PodIndex {
    /// How it is.
    pub fn figures(&self) -> Figures {
        let pods = self.known.read().len();
        let State { is_complete, failures, ref trouble } = *self.state.lock();
        Figures { pods, is_complete, failures, trouble: trouble.clone() }
    }

    /// A whole list follows.
    pub(crate) fn begin(&self) {
        *self.listing.lock() = Some(Known::new());
    }

    pub(crate) fn listed(&self, pod: &v1::Pod) {
        if let Some(listing) = &mut *self.listing.lock() {
            insert(listing, pod);
        }
    }

    /// The list is complete, and what is not on it is no more.
    pub(crate) fn complete(&self) -> usize {
        if let Some(listing) = self.listing.lock().take() {
            let mut known = self.known.write();
            // What has not changed stays the same value, so that callers that hold it stay as they are.
            let listing = listing.into_iter().map(|(id, pod)| match known.remove(&id) {
                Some(old) if old == pod => (id, old),
                _ => (id, pod),
            });
            *known = listing.collect();
        }
        self.works();
        self.state.lock().is_complete = true;
        self.known.read().len()
    }

    pub(crate) fn apply(&self, pod: &v1::Pod) {
        insert(&mut self.known.write(), pod);
        self.works();
    }

    pub(crate) fn delete(&self, pod: &v1::Pod) {
        let mut known = self.known.write();
        for id in ids(pod) {
            known.remove(id);
        }
        drop(known);
        self.works();
    }

    /// Gives whether this is the first failure in a row.
    pub(crate) fn failed(&self, why: String) -> bool {
        let mut state = self.state.lock();
        state.failures += 1;
        state.trouble.replace(why).is_none()
    }

    fn works(&self) {
        if self.state.lock().trouble.take().is_some() {
            tracing::info!("the API server tells again which pods run here");
        }
    }
}

impl Pods for PodIndex {
    fn pod(&self, uid: &str) -> Option<Arc<Pod>> {
        self.known.read().get(uid).cloned()
    }
}

fn ids(pod: &v1::Pod) -> impl Iterator<Item = &str> {
    let hash = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(CONFIG_HASH));
    // Whoever makes a pod may annotate it: with the uid of another, it would give that its own name.
    let hash = hash.filter(|hash| hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()));
    pod.metadata.uid.iter().chain(hash).map(String::as_str)
}

fn insert(known: &mut Known, pod: &v1::Pod) {
    for id in ids(pod) {
        let new = read(id, pod);
        let is_same = known.get(id).is_some_and(|old| **old == new);
        if !is_same && (known.len() < MOST || known.contains_key(id)) {
            known.insert(Arc::clone(&new.uid), Arc::new(new));
        }
    }
}

fn read(id: &str, pod: &v1::Pod) -> Pod {
    let metadata = &pod.metadata;
    let labels = metadata.labels.iter().flatten().take(LABELS);
    let shared = |text: &Option<String>| text.as_deref().map(Arc::from);
    Pod {
        uid: id.into(),
        name: shared(&metadata.name),
        namespace: shared(&metadata.namespace),
        service_account: pod.spec.as_ref().and_then(|spec| shared(&spec.service_account_name)),
        labels: labels.map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect(),
    }
}
