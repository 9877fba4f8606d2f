//! Cgroups of one's own come and go without a trace.

use std::{process::Command, thread, time::Duration};

use tollgate_kernel::cgroup::{Scope, own, root};

use crate::lab::{enter, unique};

fn cgroup_of(pid: u32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("a process");
    text.lines().find_map(|line| line.strip_prefix("0::")).expect("cgroup v2").to_owned()
}

#[test]
fn a_process_is_moved_in_and_the_scope_is_removed_while_it_ends() {
    let scope = Scope::create(&root().expect("a root"), &unique()).expect("a scope");
    let path = scope.path().to_owned();
    let mut child = Command::new("sleep").arg("0.3").spawn().expect("sleep");
    scope.add(child.id()).expect("moved");
    assert!(path.ends_with(cgroup_of(child.id()).trim_start_matches('/')));
    assert_eq!(scope.id(), tollgate_kernel::cgroup::id(&path).expect("an id"));
    let reaper = thread::spawn(move || child.wait());
    drop(scope);
    assert!(!path.exists());
    assert!(reaper.join().expect("no panic").expect("reaped").success());
}

#[test]
fn what_stays_is_moved_to_the_parent_with_its_own_cgroups() {
    let parent = Scope::create(&root().expect("a root"), &unique()).expect("a scope");
    let scope = Scope::create(parent.path(), "job").expect("a child");
    let inner = Scope::create(scope.path(), "inner").expect("a grandchild");
    let mut command = Command::new("sleep");
    enter(command.arg("600"), &inner);
    let mut child = command.spawn().expect("sleep");
    assert!(cgroup_of(child.id()).ends_with("/job/inner"));
    std::mem::forget(inner);
    drop(scope);
    assert!(parent.path().ends_with(cgroup_of(child.id()).trim_start_matches('/')));
    assert!(!parent.path().join("job").exists());
    child.kill().expect("killed");
    child.wait().expect("reaped");
}

#[test]
fn a_name_that_exists_is_an_error_that_names_it() {
    let name = unique();
    let _first = Scope::create(&root().expect("a root"), &name).expect("a scope");
    let error = Scope::create(&root().expect("a root"), &name).expect_err("it exists").to_string();
    assert!(error.contains(&name), "{error}");
    assert!(own().expect("an own cgroup").starts_with(root().expect("a root")));
    thread::sleep(Duration::ZERO);
}
