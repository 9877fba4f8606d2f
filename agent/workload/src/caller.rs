use std::path::PathBuf;
use std::sync::Arc;

/// The process at the client end of a connection, as it was when it connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// File name of the executable, or the thread name that the kernel recorded (`comm`, at most 15
    /// bytes) when the process has gone. For scripts it is the interpreter: `python3.13`, `node`.
    /// Control characters are replaced, because programs choose their own names.
    pub program: Arc<str>,
    /// Path of the executable as its own mount namespace sees it; `None` when the process has gone.
    pub executable: Option<PathBuf>,
    /// Login name, or the number where there is none or where the process lives in a container,
    /// whose user table is not the host's.
    pub user: Arc<str>,
    /// User id in the initial user namespace.
    pub uid: u32,
    /// Process id (thread group) in the initial PID namespace.
    pub pid: u32,
    /// Path in the cgroup v2 hierarchy, such as `/system.slice/app.service`; `None` where it cannot
    /// be told for certain.
    pub cgroup: Option<Arc<str>>,
    /// systemd's unit that the process runs in, for the eye: the user's own where there is one, else the system's. `app.service`,
    /// `session-3.scope`.
    pub unit: Option<Arc<str>>,
    /// The unit that the system's own manager made, whose name only root could choose. Below `user@UID.service` users name units
    /// as they like.
    pub system_unit: Option<Arc<str>>,
    /// Id of the container that the process runs in, 64 hexadecimal digits; the outer one's, of one in another.
    pub container: Option<Arc<str>>,
    /// The Kubernetes pod that the process runs in.
    pub pod: Option<Arc<Pod>>,
}

/// A Kubernetes pod. Its id is from the control group's path; the rest is what the API server said, if it was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// `metadata.name`.
    pub name: Option<Arc<str>>,
    /// `metadata.namespace`.
    pub namespace: Option<Arc<str>>,
    /// `spec.serviceAccountName`.
    pub service_account: Option<Arc<str>>,
    /// `metadata.labels`, in the order of their keys.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
}

/// Makes text that a program chose fit for one line of a log or a metric's label.
pub(crate) fn printable(text: &str) -> Arc<str> {
    if text.chars().any(char::is_control) {
        text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect::<String>().into()
    } else {
        text.into()
    }
}
