//! `tollgate audit verify` as a person or a script meets it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tollgate_audit::{Audit, CURRENT, Entry, Settings, What};

fn verify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate")).args(["audit", "verify"]).args(arguments).output().expect("it starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// An audit with some lines.
fn written(directory: &Path) {
    let audit = Audit::start(Settings { directory: directory.into(), max_size: 1 << 20, keep: 10 }).expect("a thread");
    for name in ["one", "two", "three"] {
        audit.note(Entry { name: Some(name.into()), ..Entry::new(What::Refused) });
    }
    audit.close();
}

#[test]
fn what_is_as_it_was_written_is_told_with_its_end_and_what_is_not_with_file_and_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = folder.path().join("audit");
    written(&directory);
    let path = directory.to_str().expect("a path");
    let good = verify(&[path]);
    assert!(good.status.success() && good.stderr.is_empty(), "{good:?}");
    let told = text(&good.stdout);
    assert!(told.starts_with("3 lines in 1 file: each goes with the one before\nthe last is line 3:"), "{told}");

    let noted = told.rsplit(' ').next().expect("a line and its hash").trim();
    assert!(verify(&[path, "--noted", noted]).status.success());
    let other = format!("2:{}", noted.split_once(':').expect("a hash").1);
    let missed = verify(&[path, "--noted", &other]);
    assert_eq!(missed.status.code(), Some(65), "{missed:?}");
    assert!(text(&missed.stderr).contains("line 2 is not there as it was noted"), "{missed:?}");
    assert_eq!(verify(&[path, "--noted", "x"]).status.code(), Some(64));

    let file = directory.join(CURRENT);
    let changed = fs::read_to_string(&file).expect("lines").replace("two", "six");
    fs::write(&file, changed).expect("written");
    let bad = verify(&[path]);
    assert_eq!(bad.status.code(), Some(65), "{bad:?}");
    assert!(text(&bad.stderr).contains("audit.jsonl:3: this line or the one above it was changed"), "{bad:?}");
    assert!(text(&bad.stdout).contains("read up to what is wrong"), "{bad:?}");
}

#[test]
fn where_there_is_none_it_says_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("tollgate.yaml");
    fs::write(&config, format!("audit: {{ directory: {} }}\n", folder.path().join("none").display())).expect("written");
    let none = verify(&["--config", config.to_str().expect("a path")]);
    assert_eq!(none.status.code(), Some(66), "{none:?}");
    assert!(text(&none.stderr).contains("`tollgate run` begins one"), "{none:?}");
    fs::write(&config, "audit: { directory: off }\n").expect("written");
    let off = verify(&["--config", config.to_str().expect("a path")]);
    assert_eq!(off.status.code(), Some(66), "{off:?}");
    assert!(text(&off.stderr).contains("audit.directory is off"), "{off:?}");
}
