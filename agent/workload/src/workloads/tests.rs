//! Real processes where the behaviour is the kernel's, a made-up `/proc` where a race must be staged.

use std::os::unix::fs::{MetadataExt as _, symlink};
use std::process::{Child, Command, Stdio};

use super::*;

/// A process that waits until it is dropped.
struct Running(Child);

impl Running {
    fn start(program: impl AsRef<Path>) -> Self {
        let child = loop {
            match Command::new(program.as_ref()).stdin(Stdio::piped()).stdout(Stdio::null()).spawn() {
                // Another test's fork still holds the file that was just written.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                child => break child.unwrap(),
            }
        };
        let running = Self(child);
        // Until execve the child is still a copy of this test.
        let own = fs::read_link("/proc/self/exe").unwrap();
        while fs::read_link(format!("/proc/{}/exe", running.0.id())).is_ok_and(|exe| exe == own) {
            std::thread::yield_now();
        }
        running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn own_uid() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}

#[test]
fn a_running_process_is_known_by_its_executable_and_user() {
    let cat = Running::start("cat");
    let workloads = Workloads::new();
    let caller = workloads.identify(cat.0.id(), own_uid(), "recorded", 0);

    let executable = fs::read_link(format!("/proc/{}/exe", cat.0.id())).unwrap();
    assert_eq!(caller.program.as_ref(), executable.file_name().unwrap().to_str().unwrap());
    assert_eq!(caller.executable.as_deref(), Some(executable.as_path()));
    assert_eq!((caller.pid, caller.uid), (cat.0.id(), own_uid()));
    let name = Command::new("id").arg("-un").output().unwrap().stdout;
    let host = fs::read_link("/proc/1/ns/user").ok() == fs::read_link("/proc/self/ns/user").ok()
        && fs::read_link("/proc/1/ns/pid").ok() == fs::read_link("/proc/self/ns/pid").ok();
    if host {
        assert_eq!(caller.user.as_ref(), String::from_utf8(name).unwrap().trim());
    } else {
        assert_eq!(caller.user.as_ref(), own_uid().to_string());
    }
}

#[test]
fn the_cgroup_is_told_when_the_kernels_id_agrees_and_kept_for_processes_that_have_gone() {
    let workloads = Workloads::new();
    let Some(path) = Process::new(Path::new("/proc"), std::process::id()).cgroup().ok() else { return };
    let Some(hierarchy) = &workloads.hierarchy else { return };
    let id = fs::metadata(hierarchy.folder(&path).unwrap()).unwrap().ino();

    let cat = Running::start("cat");
    let pid = cat.0.id();
    assert_eq!(workloads.identify(pid, own_uid(), "cat", id).cgroup.as_deref(), Some(path.as_str()));
    assert_eq!(workloads.identify(pid, own_uid(), "cat", id + 1).cgroup, None, "the process has moved");
    drop(cat);
    let gone = workloads.identify(pid, own_uid(), "cat", id);
    assert_eq!((gone.executable.as_deref(), gone.cgroup.as_deref()), (None, Some(path.as_str())));
}

#[test]
fn a_process_is_looked_at_once_and_shared() {
    let cat = Running::start("cat");
    let workloads = Workloads::new();
    let first = workloads.identify(cat.0.id(), own_uid(), "cat", 0);
    let second = workloads.identify(cat.0.id(), own_uid(), "other-thread", 0);
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn a_removed_executable_keeps_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("my-agent");
    fs::copy("/bin/cat", &program).unwrap();
    let running = Running::start(&program);
    fs::remove_file(&program).unwrap();
    let caller = Workloads::new().identify(running.0.id(), own_uid(), "my-agent", 0);
    assert_eq!(caller.program.as_ref(), "my-agent");
    assert_eq!(caller.executable.as_deref(), Some(program.as_path()));
}

#[test]
fn a_process_that_has_gone_is_told_by_what_the_kernel_recorded_and_not_remembered() {
    let cat = Running::start("cat");
    let pid = cat.0.id();
    drop(cat);
    let workloads = Workloads::new();
    let caller = workloads.identify(pid, 4_000_123, "short\nlived", 0);
    assert_eq!(caller.program.as_ref(), "short\u{fffd}lived");
    assert_eq!((caller.executable.as_deref(), caller.user.as_ref()), (None, "4000123"));
    assert_eq!(workloads.known.len(), 0);
    assert_eq!(workloads.identify(pid, 0, "", 0).program.as_ref(), "unknown");
}

#[test]
fn a_process_of_another_user_is_not_taken_for_the_caller() {
    let cat = Running::start("cat");
    let workloads = Workloads::new();
    let caller = workloads.identify(cat.0.id(), own_uid() + 1, "recorded", 0);
    assert_eq!((caller.program.as_ref(), caller.executable.as_deref()), ("recorded", None));
    assert_eq!(workloads.known.len(), 0);
}

/// A `/proc` with process 1 and process 7 in it.
struct Staged(tempfile::TempDir);

impl Staged {
    fn new() -> Self {
        let staged = Self(tempfile::tempdir().unwrap());
        staged.process(1, 5, "/sbin/init", 0, "pid:[1]");
        let etc = staged.0.path().join("1/root/etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("passwd"), "root:x:0:0:::\nalice:x:1000:1000:::\n").unwrap();
        staged
    }

    fn process(&self, pid: u32, start_time: u64, executable: &str, uid: u32, namespace: &str) {
        let folder = self.0.path().join(pid.to_string());
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(folder.join("ns")).unwrap();
        fs::write(folder.join("stat"), format!("{pid} (x) S{} {start_time} 0", " 0".repeat(18))).unwrap();
        fs::write(folder.join("status"), format!("Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")).unwrap();
        fs::write(folder.join("cgroup"), "1:memory:/legacy\n0::/app.slice\n").unwrap();
        symlink(executable, folder.join("exe")).unwrap();
        symlink("user:[1]", folder.join("ns/user")).unwrap();
        symlink(namespace, folder.join("ns/pid")).unwrap();
    }
}

#[test]
fn a_process_id_used_again_is_another_process() {
    let staged = Staged::new();
    staged.process(7, 100, "/usr/bin/python3.13", 1000, "pid:[1]");
    let workloads = Workloads::at(staged.0.path());
    let first = workloads.identify(7, 1000, "python3", 0);
    assert_eq!((first.program.as_ref(), first.user.as_ref()), ("python3.13", "alice"));
    assert_eq!(first.cgroup.as_deref(), Some("/app.slice"));

    staged.process(7, 200, "/usr/bin/node", 1000, "pid:[1]");
    assert_eq!(workloads.identify(7, 1000, "node", 0).program.as_ref(), "node");
}

#[test]
fn a_process_that_executes_another_program_is_known_by_the_new_one() {
    let staged = Staged::new();
    staged.process(7, 100, "/bin/sh", 1000, "pid:[1]");
    let workloads = Workloads::at(staged.0.path());
    assert_eq!(workloads.identify(7, 1000, "sh", 0).program.as_ref(), "sh");
    staged.process(7, 100, "/opt/claude (deleted)", 1000, "pid:[1]");
    assert_eq!(workloads.identify(7, 1000, "sh", 0).program.as_ref(), "claude");
}

#[test]
fn a_containers_user_is_shown_by_number() {
    let staged = Staged::new();
    staged.process(7, 100, "/app", 1000, "pid:[99]");
    assert_eq!(Workloads::at(staged.0.path()).identify(7, 1000, "app", 0).user.as_ref(), "1000");
}

#[test]
fn a_new_user_is_named_after_the_table_is_read_again() {
    let staged = Staged::new();
    staged.process(7, 100, "/app", 1001, "pid:[1]");
    let workloads = Workloads::at(staged.0.path());
    assert_eq!(workloads.identify(7, 1001, "app", 0).user.as_ref(), "1001");
    fs::write(staged.0.path().join("1/root/etc/passwd"), "bob:x:1001:1:::\n").unwrap();
    workloads.reload_users();
    staged.process(8, 100, "/app", 1001, "pid:[1]");
    assert_eq!(workloads.identify(8, 1001, "app", 0).user.as_ref(), "bob");
}

#[test]
fn memory_stays_bounded_whatever_number_of_processes_call() {
    let staged = Staged::new();
    let workloads = Workloads { known: Cache::new(64), ..Workloads::at(staged.0.path()) };
    for start_time in 0..1_000 {
        staged.process(7, start_time, "/app", 1000, "pid:[1]");
        workloads.identify(7, 1000, "app", 0);
    }
    assert!(workloads.known.len() <= 64, "{}", workloads.known.len());
}

/// A control group tree of its own, which `staged` has mounted.
fn hierarchy(staged: &Staged, groups: &[&str]) -> tempfile::TempDir {
    let tree = tempfile::tempdir().unwrap();
    for group in groups {
        fs::create_dir_all(tree.path().join(group.trim_start_matches('/'))).unwrap();
    }
    let folder = staged.0.path().join("self");
    fs::create_dir_all(&folder).unwrap();
    let mount = format!("30 1 0:26 / {} rw - cgroup2 cgroup2 rw\n", tree.path().display());
    fs::write(folder.join("mountinfo"), mount).unwrap();
    tree
}

fn inode(tree: &tempfile::TempDir, group: &str) -> u64 {
    fs::metadata(tree.path().join(group.trim_start_matches('/'))).unwrap().ino()
}

const POD: &str = "12345678-1234-1234-1234-123456789abc";

#[test]
fn a_process_that_has_gone_is_known_by_its_group_though_none_of_it_was_seen() {
    let staged = Staged::new();
    let group = "/system.slice/backup.service";
    let tree =
        hierarchy(&staged, &[group, "/user.slice/user-1000.slice/session-3.scope", "/system.slice/other.service"]);
    let workloads = Workloads::at(staged.0.path());
    let id = inode(&tree, group);
    let caller = workloads.identify(4_000_000, 1000, "curl", id);
    assert_eq!((caller.program.as_ref(), caller.cgroup.as_deref()), ("curl", Some(group)));
    assert_eq!(
        (caller.unit.as_deref(), caller.system_unit.as_deref()),
        (Some("backup.service"), Some("backup.service"))
    );

    fs::remove_dir(tree.path().join(&group[1..])).unwrap();
    assert_eq!(workloads.identify(4_000_001, 1000, "curl", id).cgroup.as_deref(), Some(group), "it is remembered");
    assert_eq!(workloads.identify(4_000_001, 1000, "curl", u64::MAX).cgroup, None);
    assert!(workloads.gone.get(&u64::MAX).is_some(), "a group that is not there is looked for once");
}

#[test]
fn nobody_leaves_its_unit_by_moving_on_after_it_connected() {
    let staged = Staged::new();
    let manager = "/user.slice/user-1000.slice/user@1000.service";
    let (left, now) = (format!("{manager}/a.scope"), format!("{manager}/b.scope"));
    let tree = hierarchy(&staged, &[&left, &now]);
    staged.process(7, 100, "/app", 1000, "pid:[99]");
    fs::write(staged.0.path().join("7/cgroup"), format!("0::{now}\n")).unwrap();
    let id = inode(&tree, &left);
    let caller = Workloads::at(staged.0.path()).identify(7, 1000, "app", id);
    assert_eq!((caller.cgroup.as_deref(), caller.unit.as_deref()), (Some(&*left), Some("a.scope")));
    assert_eq!(caller.system_unit.as_deref(), Some("user@1000.service"));
    // Nor by removing the group that it connected from.
    fs::remove_dir(tree.path().join(&left[1..])).unwrap();
    let caller = Workloads::at(staged.0.path()).identify(7, 1000, "app", id);
    assert_eq!((caller.cgroup.as_deref(), caller.system_unit.as_deref()), (None, Some("user@1000.service")));
}

#[test]
fn a_users_own_unit_is_shown_and_the_systems_is_what_counts() {
    let staged = Staged::new();
    let group = "/user.slice/user-1000.slice/user@1000.service/app.slice/billing.service";
    let tree = hierarchy(&staged, &[group]);
    let caller = Workloads::at(staged.0.path()).identify(4_000_000, 1000, "curl", inode(&tree, group));
    assert_eq!(caller.unit.as_deref(), Some("billing.service"));
    assert_eq!(caller.system_unit.as_deref(), Some("user@1000.service"));
}

#[derive(Default)]
struct Told(parking_lot::Mutex<Option<Arc<Pod>>>);

impl Pods for Told {
    fn pod(&self, uid: &str) -> Option<Arc<Pod>> {
        self.0.lock().clone().filter(|pod| pod.uid.as_ref() == uid)
    }
}

#[test]
fn a_pod_is_known_by_its_uid_at_once_and_by_name_when_the_api_server_tells() {
    let staged = Staged::new();
    let group = format!("/kubepods/burstable/pod{POD}");
    let tree = hierarchy(&staged, &[&group]);
    staged.process(7, 100, "/app", 1000, "pid:[99]");
    fs::write(staged.0.path().join("7/cgroup"), format!("0::{group}\n")).unwrap();
    let id = inode(&tree, &group);
    let workloads = Workloads::at(staged.0.path());
    let uid = |caller: &Caller| caller.pod.as_ref().map(|pod| (pod.uid.to_string(), pod.name.is_some()));
    assert_eq!(uid(&workloads.identify(7, 1000, "app", id)), Some((POD.into(), false)));

    let told = Arc::new(Told::default());
    workloads.name_pods(Arc::<Told>::clone(&told));
    assert_eq!(uid(&workloads.identify(7, 1000, "app", id)), Some((POD.into(), false)));
    let named = |label: &str| {
        let labels = vec![("app".into(), label.into())];
        Arc::new(Pod { uid: POD.into(), name: Some("search-0".into()), labels, ..Pod::default() })
    };
    *told.0.lock() = Some(named("search"));
    let first = workloads.identify(7, 1000, "app", id);
    assert_eq!(uid(&first), Some((POD.into(), true)));
    assert!(Arc::ptr_eq(&first, &workloads.identify(7, 1000, "app", id)), "it is shared until something changes");
    *told.0.lock() = Some(named("ads"));
    assert_eq!(workloads.identify(7, 1000, "app", id).pod.as_ref().unwrap().labels[0].1.as_ref(), "ads");
    assert_eq!(
        uid(&workloads.identify(4_000_000, 1000, "curl", id)),
        Some((POD.into(), true)),
        "also of one that has gone"
    );
}
