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
