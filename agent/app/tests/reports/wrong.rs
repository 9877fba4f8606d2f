use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use super::support::{Shelf, calls, text, tollgate};

#[track_caller]
fn refused(shelf: &Shelf, arguments: &[&str], code: i32, expected: &str) {
    let output = shelf.run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
    let told = text(&output.stderr);
    assert!(told.contains(expected), "{arguments:?}: {told}");
}

#[test]
fn what_is_not_understood_is_answered_with_what_is() {
    let shelf = Shelf::with(&calls());
    refused(&shelf, &["report", "--by", "teams"], 64, "team, cost-center, end-user, user-agent");
    refused(&shelf, &["report", "--by", "modle"], 64, "provider, model, operation");
    refused(&shelf, &["report", "--since", "soon"], 64, "write a span back from now (30m, 24h, 7d, 2w)");
    refused(&shelf, &["report", "--since", "today", "--until", "yesterday"], 64, "is not after --since");
    refused(&shelf, &["report", "--format", "focus", "--by", "user"], 64, "only --by day or --by hour");
    refused(&shelf, &["top", "--interval", "0s"], 64, "--interval");
    refused(&shelf, &["top"], 64, "top --once");
}

#[test]
fn no_ledger_and_no_calls_are_told_apart() {
    let shelf = Shelf::new();
    for command in [&["report"][..], &["tail"], &["top", "--once"]] {
        refused(&shelf, command, 66, "there is no ledger at");
        refused(&shelf, command, 66, "tollgate run");
    }
    shelf.writer().close();
    let nothing = shelf.run(&["report"]);
    assert_eq!(nothing.status.code(), Some(0), "{nothing:?}");
    assert!(nothing.stdout.is_empty() && text(&nothing.stderr).contains("no calls were made yet"), "{nothing:?}");
    assert!(text(&shelf.run(&["report", "--user", "nobody"]).stderr).contains("fewer filters"));
    assert!(shelf.told(&["report", "--format", "csv"]).starts_with("provider,model,calls"));
    assert!(shelf.told(&["report", "--format", "json"]).contains("\"rows\": []"));
    assert!(shelf.told(&["top", "--once"]).contains("nothing is in flight"));
    assert_eq!(shelf.told(&["tail"]), "");
}

#[test]
fn what_is_no_ledger_is_named() {
    let shelf = Shelf::new();
    std::fs::create_dir_all(shelf.file().parent().expect("a folder")).expect("made");
    std::fs::write(shelf.file(), "this is no database at all".repeat(100)).expect("written");
    refused(&shelf, &["report"], 1, "move it away");
}

#[test]
fn a_ledger_of_others_is_told_as_such() {
    let shelf = Shelf::with(&calls());
    let mut command = shelf.command(&["report"]);
    if nix::unistd::Uid::effective().is_root() {
        // Whoever that is, the folder is not theirs. They may run a copy of the command only.
        let copy = std::env::temp_dir().join(format!("tollgate-reports-{}", std::process::id()));
        std::fs::copy(env!("CARGO_BIN_EXE_tollgate"), &copy).expect("copied");
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).expect("permitted");
        let mut other = std::process::Command::new(&copy);
        other.arg("report").arg("--ledger").arg(shelf.file()).stdin(Stdio::null()).uid(65_534).gid(65_534);
        let output = loop {
            match other.output() {
                // Children that other tests start hold the copy open for a moment, as we did while they began.
                Err(error) if error.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                output => break output.expect("it starts"),
            }
        };
        std::fs::remove_file(copy).expect("removed");
        assert_eq!(output.status.code(), Some(77), "{output:?}");
        assert!(text(&output.stderr).contains("sudo"), "{output:?}");
        return;
    }
    std::fs::set_permissions(shelf.file(), PermissionsExt::from_mode(0o000)).expect("forbidden");
    let output = command.output().expect("it starts");
    assert_eq!(output.status.code(), Some(77), "{output:?}");
}

#[test]
fn readers_that_have_seen_enough_are_no_error() {
    let shelf = Shelf::with(&calls());
    for arguments in
        [&["report"][..], &["tail", "--json", "-n", "9"], &["report", "--format", "focus"], &["top", "--once"]]
    {
        let mut child =
            shelf.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()), "{arguments:?}");
    }
}

#[test]
fn help_teaches_by_example() {
    for (command, example) in [
        ("report", "tollgate report --by user --since month"),
        ("top", "tollgate top --once"),
        ("tail", "tollgate tail --follow"),
    ] {
        let output = tollgate(&[command, "--help"]).output().expect("it starts");
        assert!(output.status.success() && text(&output.stdout).contains(example), "{output:?}");
    }
}
