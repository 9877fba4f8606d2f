//! What `doctor` finds here, as root and as nobody.

use std::{os::unix::process::CommandExt as _, process::Command};

use tollgate_kernel::{Kernel, Options, probe};

#[test]
fn this_machine_has_all_that_is_needed() {
    for finding in probe::run() {
        println!("{:>20}: {:?}", finding.name, finding.outcome);
        assert!(finding.outcome.is_ok(), "{finding:?}");
    }
}

/// Not a test of its own: what [`without_privileges_every_problem_has_a_remedy`] runs as another user.
#[test]
#[ignore = "started by another test"]
fn as_nobody() {
    let findings = probe::run();
    let problems: Vec<_> =
        findings.iter().filter_map(|finding| Some((finding.name, finding.outcome.as_ref().err()?))).collect();
    let names: Vec<_> = problems.iter().map(|(name, _)| *name).collect();
    for name in ["capabilities", "eBPF program types", "programs"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(problems.iter().all(|(_, problem)| !problem.what.is_empty() && !problem.remedy.is_empty()), "{problems:?}");
    let error = Kernel::load(&Options::default()).expect_err("no privileges").to_string();
    assert_eq!(error, "this process may not load eBPF programs: run it as root, or with CAP_BPF and CAP_NET_ADMIN");
}

#[test]
fn without_privileges_every_problem_has_a_remedy() {
    let program = std::env::current_exe().expect("this program");
    // Another user may not be let into the folder that it was built in.
    let folder = tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755)).tempdir();
    let copy = folder.as_ref().expect("a folder").path().join("probe");
    std::fs::copy(program, &copy).expect("a copy");
    let mut command = Command::new(copy);
    command.args(["--exact", "probe::as_nobody", "--ignored"]).current_dir("/").uid(65534).gid(65534);
    let done = command.output().expect("this program again");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}
