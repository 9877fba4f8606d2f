use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use proptest::prelude::*;

use super::*;

fn verify(path: &Path) -> Result<Report, AuditError> {
    super::verify(path, None)
}

/// Waits for what is about to be; the limit is for tests that fail.
fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_mins(2), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn settings(directory: &Path) -> Settings {
    Settings { directory: directory.into(), max_size: 1 << 20, keep: 10 }
}

fn start(directory: &Path) -> Audit {
    Audit::start(settings(directory)).unwrap()
}

fn refused(name: &str) -> Entry {
    let who = Who { program: "python3".into(), user: "alice".into(), uid: 1000, pid: 42, ..Who::default() };
    Entry {
        who: Some(who),
        kind: Some("rule"),
        name: Some(name.into()),
        mode: Some("enforce"),
        ..Entry::new(What::Refused)
    }
}

/// Entries with these names, by an agent that comes and goes.
fn write(directory: &Path, names: &[&str]) {
    let audit = start(directory);
    for name in names {
        audit.note(refused(name));
    }
    audit.close();
    assert_eq!(audit.figures().dropped, 0);
}

fn lines(directory: &Path) -> Vec<String> {
    fs::read_to_string(directory.join(CURRENT)).unwrap().lines().map(str::to_owned).collect()
}

fn rewrite(directory: &Path, lines: &[String]) {
    fs::write(directory.join(CURRENT), lines.join("\n") + "\n").unwrap();
}

fn why(directory: &Path) -> Option<(u64, Why)> {
    verify(directory).unwrap().broken.map(|at| (at.line, at.why))
}

#[test]
fn what_is_noted_stands_in_the_file_in_one_chain_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("log/audit");
    write(&directory, &["a", "b"]);
    write(&directory, &["c"]);
    let lines = lines(&directory);
    assert_eq!(lines.len(), 3);
    let last: serde_json::Value = serde_json::from_str(&lines[2]).unwrap();
    assert_eq!((&last["seq"], &last["what"], &last["name"]), (&3.into(), &"refused".into(), &"c".into()));
    assert_eq!((&last["who"]["program"], &last["who"]["uid"]), (&"python3".into(), &1000.into()));
    assert!(last["time"].as_str().unwrap().ends_with('Z'), "{last}");
    assert!(last.get("model").is_none(), "what is not known is left out");
    let report = verify(&directory).unwrap();
    assert_eq!((report.files, report.lines, report.first, report.broken), (1, 3, Some(1), None));
    assert_eq!(report.last.unwrap().0, 3);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join(CURRENT))), (0o700, 0o600));
}

#[test]
fn what_is_changed_removed_or_moved_is_found_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    write(directory, &["a", "b", "c", "d"]);
    let good = lines(directory);
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = good.clone();
        change(&mut lines);
        rewrite(directory, &lines);
        why(directory)
    };
    assert_eq!(with(&|_| {}), None);
    assert_eq!(with(&|lines| lines[1] = lines[1].replace("alice", "carol")), Some((3, Why::Changed)));
    assert_eq!(with(&|lines| lines[0] = lines[0].replace("alice", "carol")), Some((2, Why::Changed)));
    assert_eq!(with(&|lines| drop(lines.remove(1))), Some((2, Why::Missing { lines: 1 })));
    assert_eq!(with(&|lines| drop(lines.drain(1..3))), Some((2, Why::Missing { lines: 2 })));
    assert_eq!(with(&|lines| lines.swap(1, 2)), Some((2, Why::Missing { lines: 1 })));
    assert_eq!(with(&|lines| lines.insert(2, lines[1].clone())), Some((3, Why::Order)));
    assert_eq!(with(&|lines| lines[2].truncate(20)), Some((3, Why::Unreadable)));
    assert_eq!(with(&|lines| lines.insert(1, "x".repeat(100_000))), Some((2, Why::Unreadable)));
    assert_eq!(
        with(&|lines| lines[3] = lines[3].replace("\"seq\":4", "\"seq\":5")),
        Some((4, Why::Missing { lines: 1 }))
    );
    // At the ends, what was noted elsewhere tells.
    assert_eq!(with(&|lines| drop(lines.remove(0))), None);
    assert_eq!(verify(directory).unwrap().first, Some(2));
    assert_eq!(with(&|lines| drop(lines.pop())), None);
    assert_eq!(verify(directory).unwrap().last.unwrap().0, 3);
}

#[test]
fn a_line_noted_elsewhere_shows_that_the_end_was_removed_or_all_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (directory, other) = (folder.path().join("one"), folder.path().join("other"));
    write(&directory, &["a", "b", "c"]);
    let (line, hash) = verify(&directory).unwrap().last.unwrap();
    let noted: Noted = format!("{line}:{hash}").parse().unwrap();
    let is_there = |directory: &Path| super::verify(directory, Some(noted.clone())).unwrap().is_as_noted;
    assert_eq!(is_there(&directory), Some(true));
    write(&directory, &["d"]);
    assert_eq!(is_there(&directory), Some(true));
    let lines = lines(&directory);
    rewrite(&directory, &lines[..2]);
    assert_eq!(is_there(&directory), Some(false));
    write(&other, &["x", "y", "z", "d"]);
    assert_eq!(is_there(&other), Some(false));
    assert!("3:abc".parse::<Noted>().is_err());
}

#[test]
fn lines_that_go_while_the_agent_runs_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    let audit = start(directory);
    for name in ["a", "b"] {
        audit.note(refused(name));
        wait("a line", || audit.figures().queued == 0 && audit.figures().trouble.is_none());
    }
    wait("both lines", || audit.figures().written == 2);
    fs::write(directory.join(CURRENT), "").unwrap();
    audit.note(refused("c"));
    wait("the third line", || audit.figures().written == 3);
    audit.close();
    assert_eq!(verify(directory).unwrap().first, Some(3), "it does not begin anew");
}

#[test]
fn a_torn_line_is_told_from_one_that_was_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    for cut in [1, 10, 100] {
        let directory = &folder.path().join(cut.to_string());
        write(directory, &["a", "b", "c"]);
        // As a crash leaves it.
        let path = directory.join(CURRENT);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - cut]).unwrap();
        let report = verify(directory).unwrap();
        assert!(report.is_unfinished && report.broken.is_none(), "{report:?}");

        write(directory, &["d"]);
        let report = verify(directory).unwrap();
        let is_torn = cut > 1;
        assert_eq!((report.broken, report.torn, report.is_unfinished), (None, is_torn.into(), false));
        let told = lines(directory);
        if !is_torn {
            assert!(told[2].contains("\"name\":\"c\"") && told[3].contains("\"name\":\"d\""), "{told:?}");
            continue;
        }
        assert!(told[3].contains("\"what\":\"torn\"") && told[4].contains("\"name\":\"d\""), "{told:?}");
        // What is left of it is in the chain too.
        let mut changed = told;
        changed[2] = changed[2].replace("alice", "carol");
        rewrite(directory, &changed);
        assert!(verify(directory).unwrap().broken.is_some());
    }
}

#[test]
fn files_follow_each_other_and_the_oldest_go() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    for number in 0..40 {
        let audit = Audit::start(Settings { max_size: 2_000, keep: 4, ..settings(directory) }).unwrap();
        audit.note(Entry { detail: Some("x".repeat(700).into()), ..refused(&number.to_string()) });
        audit.close();
    }
    assert_eq!(fs::read_dir(directory).unwrap().count(), 4 + 1, "and the lock");
    let report = verify(directory).unwrap();
    assert_eq!((report.files, report.broken.as_ref(), report.last.as_ref().unwrap().0), (4, None, 40));
    assert!(report.first > Some(30), "{report:?}");
    // One in the middle is missed.
    let middle = files::older(directory).unwrap()[1].clone();
    fs::remove_file(middle).unwrap();
    assert!(matches!(verify(directory).unwrap().broken.unwrap().why, Why::Missing { .. }));
}

#[test]
fn agents_that_write_at_once_write_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path();
    std::thread::scope(|scope| {
        for agent in 0..4 {
            scope.spawn(move || {
                let audit = Audit::start(Settings { max_size: 20_000, keep: 100, ..settings(directory) }).unwrap();
                for number in 0..100 {
                    audit.note(refused(&format!("{agent}-{number}")));
                    std::thread::sleep(Duration::from_micros(300));
                }
                wait("its lines", || audit.figures().written == 100);
                audit.close();
            });
        }
    });
    let report = verify(directory).unwrap();
    assert_eq!((report.lines, report.broken, report.dropped), (400, None, 0));
    assert!(report.files > 3, "{}", report.files);
}

#[test]
fn links_and_what_others_may_write_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    let trouble = |directory: &Path| {
        let audit = start(directory);
        audit.note(refused("a"));
        wait("the trouble", || audit.figures().trouble.is_some());
        audit.figures().trouble.unwrap()
    };
    let linked = folder.path().join("linked");
    fs::create_dir(&linked).unwrap();
    symlink(&victim, linked.join(CURRENT)).unwrap();
    let told = trouble(&linked);
    assert!(told.kind == "unsafe" && told.what.contains("symbolic link"), "{told:?}");
    fs::remove_file(linked.join(CURRENT)).unwrap();
    fs::hard_link(&victim, linked.join(CURRENT)).unwrap();
    assert_eq!(trouble(&linked).kind, "unsafe");
    let open = folder.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(trouble(&open).kind, "unsafe");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
}

/// Runs it where what it mounts is its own, on a thread, with the threads that it starts.
fn alone(work: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        if unshare(CloneFlags::CLONE_NEWNS).is_err() {
            eprintln!("skipped: mounting takes root");
            return;
        }
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        work();
    });
    thread.join().unwrap();
}

#[test]
fn a_full_disk_stops_nobody_and_what_had_no_room_is_counted_in_the_chain() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=256k")).unwrap();
        let directory = folder.path().join("audit");
        let audit = Audit::start(Settings { max_size: 1 << 30, ..settings(&directory) }).unwrap();
        audit.note(refused("first"));
        wait("the first line", || audit.figures().written == 1);
        let fill = folder.path().join("fill");
        let mut file = fs::File::create(&fill).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0]).is_ok() {}
        drop(file);
        // More than there is room for on the disk and in the queue.
        for number in 0..20_000 {
            audit.note(refused(&number.to_string()));
        }
        wait("the trouble", || audit.figures().trouble.is_some_and(|trouble| trouble.kind == "full"));
        let figures = audit.figures();
        assert!(figures.dropped > 10_000 && figures.queued <= 8_192 && figures.failures > 0, "{figures:?}");
        mount(None::<&str>, folder.path(), None::<&str>, MsFlags::MS_REMOUNT, Some("size=64m")).unwrap();
        fs::remove_file(&fill).unwrap();
        wait("all that had room", || audit.figures().queued == 0 && audit.figures().trouble.is_none());
        audit.note(refused("last"));
        audit.close();
        let report = verify(&directory).unwrap();
        let figures = audit.figures();
        assert_eq!(report.broken, None);
        assert_eq!(report.dropped, figures.dropped);
        let told = lines(&directory).iter().filter(|line| line.contains("\"what\":\"refused\"")).count() as u64;
        assert_eq!(told + report.dropped, 20_002);
        assert!(lines(&directory).last().unwrap().contains("\"last\""));
        umount(folder.path()).unwrap();
    });
}

#[test]
fn a_read_only_disk_or_a_removed_directory_is_waited_for() {
    alone(|| {
        let folder = tempfile::tempdir().unwrap();
        mount(Some("tmpfs"), folder.path(), Some("tmpfs"), MsFlags::empty(), Some("size=1m")).unwrap();
        let directory = folder.path().join("audit");
        let remount =
            |flags| mount(None::<&str>, folder.path(), None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>);
        let audit = start(&directory);
        audit.note(refused("a"));
        wait("the first line", || audit.figures().written == 1);
        audit.close();
        remount(MsFlags::MS_RDONLY).unwrap();
        let audit = start(&directory);
        audit.note(refused("b"));
        wait("the trouble", || audit.figures().trouble.is_some_and(|trouble| trouble.kind == "read_only"));
        remount(MsFlags::empty()).unwrap();
        wait("the second line", || audit.figures().written == 1 && audit.figures().trouble.is_none());
        assert_eq!(verify(&directory).unwrap().lines, 2);
        fs::remove_dir_all(&directory).unwrap();
        audit.note(refused("c"));
        wait("the third line", || audit.figures().written == 2);
        audit.close();
        let report = verify(&directory).unwrap();
        assert_eq!((report.first, report.broken), (Some(3), None), "the number says what is missing");
        umount(folder.path()).unwrap();
    });
}

#[test]
fn nothing_to_read_and_no_audit_say_so() {
    let folder = tempfile::tempdir().unwrap();
    assert!(verify(&folder.path().join("none")).unwrap_err().is_missing());
    assert!(verify(folder.path()).unwrap_err().is_missing());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever byte is another than it was: it is found, but for what stands in the last line alone.
    #[test]
    fn a_changed_byte_is_found(
        details in prop::collection::vec("[a-z\"\\\\\u{e9}\n]{0,12}", 2..6),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let details: Vec<&str> = details.iter().map(String::as_str).collect();
        let good = example(&details);
        let report = check_bytes(&good);
        prop_assert_eq!((report.lines, report.broken.as_ref()), (details.len() as u64, None));
        let last = good[..good.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap();
        let at = at.index(last);
        prop_assume!(good[at] != byte);
        let mut bad = good.clone();
        bad[at] = byte;
        let report = check_bytes(&bad);
        prop_assert!(report.broken.is_some(), "{}: {report:?}", String::from_utf8_lossy(&bad));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        check_bytes(&bytes);
        let mut after = example(&["a", "b"]);
        after.extend_from_slice(&bytes);
        let report = check_bytes(&after);
        prop_assert!(report.last.is_some_and(|(line, _)| line == 2));
    }

    #[test]
    fn callers_cannot_make_a_line_of_their_own(text in ".{0,40}\n?.{0,40}") {
        let bytes = example(&[&text, &text]);
        prop_assert_eq!(bytes.split(|byte| *byte == b'\n').count(), 3);
        prop_assert_eq!(check_bytes(&bytes).broken, None);
    }
}
