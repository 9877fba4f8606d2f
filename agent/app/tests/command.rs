//! The command as a person or a script meets it: exit codes, messages, output that pipes.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

fn tollgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    tollgate(arguments).output().expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A configuration file with this text, and the directory that holds it.
fn configuration(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("tollgate.yaml");
    std::fs::write(&file, text).expect("written");
    (directory, file)
}

#[test]
fn a_wrong_command_line_exits_with_64_and_says_what_is_right() {
    let output = run(&["run", "--confg", "x"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(text(&output.stderr).contains("--config"), "{output:?}");
}

#[test]
fn a_wrong_configuration_exits_with_64_before_anything_starts_and_names_file_line_field_and_remedy() {
    let (_directory, file) = configuration("drain:\n  timeout: soon\nintercep:\n  quic: allow\n");
    let output = run(&["run", "--config", &file.to_string_lossy()]);
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    let told = text(&output.stderr);
    for expected in
        ["tollgate.yaml:2:12: drain.timeout", "such as `30s`", "tollgate.yaml:3:1", "did you mean `intercept`?"]
    {
        assert!(told.contains(expected), "{expected:?} is missing: {told}");
    }
}

#[test]
fn help_and_version_go_to_stdout_and_succeed() {
    for arguments in [&["--help"][..], &["exec", "--help"], &["--version"], &["version"]] {
        let output = run(arguments);
        assert!(output.status.success() && !output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    }
    assert!(text(&run(&["exec", "--help"]).stdout).contains("sudo tollgate exec -- claude"));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let (_directory, file) = configuration("admin:\n  listen: off\n");
    let mut child = tollgate(&["doctor", "--config", &file.to_string_lossy()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn the_authority_is_made_once_shown_and_replaced_only_by_force() {
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca");
    let (_directory, file) = configuration(&format!("ca:\n  directory: {}\n", ca.display()));
    let file = file.to_string_lossy();
    let missing = run(&["ca", "show", "--config", &file]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("tollgate ca init"), "{missing:?}");

    let made = run(&["ca", "init", "--config", &file]);
    assert!(made.status.success() && text(&made.stdout).contains("SSL_CERT_FILE="), "{made:?}");
    let again = run(&["ca", "init", "--config", &file]);
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again.stderr).contains("--force"), "{again:?}");

    let pem = || text(&run(&["ca", "show", "--pem", "--config", &file]).stdout);
    let first = pem();
    assert!(first.starts_with("-----BEGIN CERTIFICATE-----") && !first.contains("PRIVATE"), "{first}");
    let shown = text(&run(&["ca", "show", "--config", &file]).stdout);
    assert!(shown.contains("api.openai.com") && shown.contains("sha256"), "{shown}");
    assert!(run(&["ca", "init", "--force", "--config", &file]).status.success());
    assert_ne!(pem(), first);
    assert!(ca.join("ca.pem.old").exists(), "the old one is set aside");
}

#[test]
fn doctor_writes_no_colour_into_a_pipe() {
    let (_directory, file) = configuration("admin:\n  listen: off\n");
    let output = run(&["doctor", "--config", &file.to_string_lossy()]);
    let told = text(&output.stdout);
    assert!(told.contains("cgroup") && told.contains("certificate authority"), "{told}");
    assert!(!told.contains('\x1b'), "{told}");
}
