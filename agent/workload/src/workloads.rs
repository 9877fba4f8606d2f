use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use parking_lot::RwLock;
use quick_cache::sync::Cache;

use crate::caller::{Caller, Pod, printable};
use crate::cgroup::{Check, Hierarchy};
use crate::place;
use crate::process::{self, Process};
use crate::users::Users;

/// Processes remembered at once. An entry is a few hundred bytes.
const PROCESSES: usize = 16_384;
/// Control groups remembered at once.
const GROUPS: usize = 4_096;

/// Tells who owns a connection, and remembers it while the process lives.
///
/// Safe to share between threads. Each look-up reads two small files of `/proc`; the first for a process reads five.
pub struct Workloads {
    proc: PathBuf,
    hierarchy: Option<Hierarchy>,
    users: RwLock<Arc<Users>>,
    known: Cache<Key, Arc<Known>>,
    /// By id, for processes that have gone.
    groups: Cache<u64, Group>,
    /// Ids of groups that have gone too.
    gone: Cache<u64, ()>,
    pods: OnceLock<Arc<dyn Pods>>,
}

/// Tells what Kubernetes knows of the pods on this node.
pub trait Pods: Send + Sync + 'static {
    /// The pod with this `metadata.uid`, if it is known by now. Called on the request path, so it must not wait.
    fn pod(&self, uid: &str) -> Option<Arc<Pod>>;
}

/// Names one process for good: ids are used again, ids with start times are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    tgid: u32,
    start_time: u64,
}

/// What was found, and what it hangs on: a process may execute another program, change user, or be moved.
struct Known {
    executable: PathBuf,
    uid: u32,
    cgroup_id: u64,
    caller: Arc<Caller>,
}

/// A control group whose path is certain.
#[derive(Clone)]
struct Group {
    path: Arc<str>,
    unit: Option<Arc<str>>,
    system_unit: Option<Arc<str>>,
    container: Option<Arc<str>>,
    pod: Option<Arc<Pod>>,
    /// Its processes use the host's user table.
    host_users: bool,
}

impl Group {
    fn new(path: Arc<str>, host_users: bool) -> Self {
        let system_unit: Option<Arc<str>> = place::system_unit(&path).map(Arc::from);
        let unit = place::user_unit(&path).map(Arc::from).or_else(|| system_unit.clone());
        let container = place::container(&path).map(Arc::from);
        let pod = place::pod(&path).map(|uid| Arc::new(Pod { uid: uid.into(), ..Pod::default() }));
        Self { path, unit, system_unit, container, pod, host_users }
    }
}

impl Workloads {
    /// Reads the user table, so it may block: call it at start.
    pub fn new() -> Self {
        Self::at(Path::new("/proc"))
    }

    fn at(proc: &Path) -> Self {
        let mountinfo = fs::read(proc.join("self/mountinfo")).unwrap_or_default();
        let workloads = Self {
            proc: proc.into(),
            hierarchy: Hierarchy::find(&String::from_utf8_lossy(&mountinfo)),
            users: RwLock::default(),
            known: Cache::new(PROCESSES),
            groups: Cache::new(GROUPS),
            gone: Cache::new(GROUPS),
            pods: OnceLock::new(),
        };
        workloads.reload_users();
        workloads
    }

    /// Has pods named from now on. The first to be given stays.
    pub fn name_pods(&self, pods: Arc<dyn Pods>) {
        self.pods.get_or_init(|| pods);
    }

    /// Reads the user table again, from the root of process 1 so that an agent in a container knows
    /// the host's users. May block on the disk: call it from a timer, not from a request. A new user
    /// is shown by number until then. Processes already identified keep the name they were given.
    pub fn reload_users(&self) {
        let table =
            ["1/root/etc/passwd", "self/root/etc/passwd"].iter().find_map(|path| fs::read(self.proc.join(path)).ok());
        if let Some(table) = table {
            *self.users.write() = Arc::new(Users::parse(&table));
        }
    }

    /// Who the connection belongs to. The arguments are what the kernel recorded at connect: thread
    /// group id, real user id, name of the thread, and id of the cgroup v2 group (0: not known).
    ///
    /// It never fails: of a process that has gone, or whose id now belongs to another user's
    /// process, what the kernel recorded is told, and what is known of its control group. Such
    /// answers are not remembered.
    pub fn identify(&self, tgid: u32, uid: u32, comm: &str, cgroup_id: u64) -> Arc<Caller> {
        self.find(tgid, uid, cgroup_id).unwrap_or_else(|| {
            let group = self.group(cgroup_id);
            Arc::new(Caller {
                program: if comm.is_empty() { "unknown".into() } else { printable(comm) },
                executable: None,
                user: self.user(uid, group.as_ref().is_some_and(|group| group.host_users)),
                uid,
                pid: tgid,
                unit: group.as_ref().and_then(|group| group.unit.clone()),
                system_unit: group.as_ref().and_then(|group| group.system_unit.clone()),
                container: group.as_ref().and_then(|group| group.container.clone()),
                pod: group.as_ref().and_then(|group| group.pod.as_ref()).map(|pod| self.pod(pod)),
                cgroup: group.map(|group| group.path),
            })
        })
    }

    /// The group with this id. Of a process that has gone, nothing else tells where it ran.
    fn group(&self, id: u64) -> Option<Group> {
        if id == 0 || self.gone.get(&id).is_some() {
            return None;
        }
        self.groups.get(&id).or_else(|| {
            let Some(path) = self.hierarchy.as_ref().and_then(|hierarchy| hierarchy.search(id)) else {
                self.gone.insert(id, ());
                return None;
            };
            // Which users it has, its processes would have told: numbers must do.
            let group = Group::new(printable(&path), false);
            self.groups.insert(id, group.clone());
            Some(group)
        })
    }

    /// What is known of a pod by now: the API server may tell of it later than it makes its first call.
    fn pod(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        let told = self.pods.get().and_then(|pods| pods.pod(&pod.uid));
        told.unwrap_or_else(|| Arc::clone(pod))
    }

    /// The same caller, with its pod as it is by now.
    fn with_pod(&self, caller: &Arc<Caller>) -> Option<Arc<Caller>> {
        let (pods, pod) = (self.pods.get()?, caller.pod.as_ref()?);
        let now = pods.pod(&pod.uid).filter(|now| !Arc::ptr_eq(now, pod))?;
        Some(Arc::new(Caller { pod: Some(now), ..Caller::clone(caller) }))
    }

    fn find(&self, tgid: u32, uid: u32, cgroup_id: u64) -> Option<Arc<Caller>> {
        let process = Process::new(&self.proc, tgid);
        let key = Key { tgid, start_time: process.start_time().ok()? };
        let executable = process.executable().ok()?;
        if let Some(known) = self.known.get(&key)
            && known.executable == executable
            && known.uid == uid
            && known.cgroup_id == cgroup_id
        {
            let Some(caller) = self.with_pod(&known.caller) else { return Some(Arc::clone(&known.caller)) };
            let known = Known { executable, uid, cgroup_id, caller: Arc::clone(&caller) };
            self.known.insert(key, Arc::new(known));
            return Some(caller);
        }
        let caller = Arc::new(self.look(&process, &executable, key, uid, cgroup_id)?);
        let known = Known { executable, uid, cgroup_id, caller: Arc::clone(&caller) };
        self.known.insert(key, Arc::new(known));
        Some(caller)
    }

    fn look(&self, process: &Process, executable: &Path, key: Key, uid: u32, cgroup_id: u64) -> Option<Caller> {
        if process.uid().ok()? != uid {
            return None;
        }
        let host_users = self.shares_users_with_host(process);
        let path = process.cgroup().ok().map(|path| printable(&path));
        let check = path.as_deref().map(|path| self.check(path, cgroup_id));
        // The process may have ended between the reads, and its id been given to another.
        if process.start_time().ok()? != key.start_time {
            return None;
        }
        let here = path.map(|path| Group::new(path, host_users));
        if let (Some(group), Some(Check::Same)) = (&here, &check) {
            self.groups.insert(cgroup_id, group.clone());
        }
        let (group, cgroup) = if check == Some(Check::Other) {
            // It has moved since. Where it connected from counts; and where that group is gone, the unit, container and pod that it
            // is in now, because without the right to do so it cannot leave those: nobody becomes a stranger by moving.
            let left = self.group(cgroup_id);
            let cgroup = left.as_ref().map(|group| Arc::clone(&group.path));
            (left.or(here), cgroup)
        } else {
            let cgroup = here.as_ref().map(|group| Arc::clone(&group.path));
            (here, cgroup)
        };
        Some(Caller {
            program: process::program(executable)?,
            executable: Some(executable.into()),
            user: self.user(uid, host_users),
            uid,
            pid: key.tgid,
            unit: group.as_ref().and_then(|group| group.unit.clone()),
            system_unit: group.as_ref().and_then(|group| group.system_unit.clone()),
            container: group.as_ref().and_then(|group| group.container.clone()),
            pod: group.as_ref().and_then(|group| group.pod.as_ref()).map(|pod| self.pod(pod)),
            cgroup,
        })
    }

    fn check(&self, path: &str, cgroup_id: u64) -> Check {
        self.hierarchy.as_ref().map_or(Check::Unseen, |hierarchy| hierarchy.check(path, cgroup_id))
    }

    /// Whether the process shares the namespaces of the host's first process. A container has users
    /// of its own, and the host's name for its number would blame the wrong person.
    fn shares_users_with_host(&self, process: &Process) -> bool {
        let host = Process::new(&self.proc, 1).namespaces();
        matches!((process.namespaces(), host), (Ok(own), Ok(host)) if own == host)
    }

    fn user(&self, uid: u32, named: bool) -> Arc<str> {
        let name = if named { self.users.read().name(uid) } else { None };
        name.unwrap_or_else(|| uid.to_string().into())
    }
}

impl Default for Workloads {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Workloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workloads").field("known", &self.known.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
