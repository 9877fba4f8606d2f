//! Disks that are full, read-only, damaged or gone: for real, in mount namespaces of single threads.

use std::fs;
use std::io::Write as _;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;

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

fn tmpfs(path: &Path, options: &str) {
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
}

#[test]
fn a_full_disk_stops_nobody_and_loses_nothing() {
    alone(|| {
        let place = Place::new();
        tmpfs(place.disk.path(), "size=1m");
        let ledger = place.start();
        let first = chat();
        ledger.settled(&first);
        wait("the first row", || ledger.figures().written == 1);
        let fill = place.disk.path().join("fill");
        let mut file = fs::File::create(&fill).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        drop(file);

        // Twice as many rows as the queue has room for.
        let count = queue::ROWS as u64;
        for _ in 0..count {
            let record = chat();
            ledger.opened(&opened(record.id));
            ledger.settled(&record);
        }
        wait("the trouble", || ledger.figures().trouble.is_some_and(|trouble| trouble.kind == "full"));
        let figures = ledger.figures();
        assert!(figures.queued <= queue::ROWS as u64, "{figures:?}");
        assert!(figures.journal_bytes <= 64 << 20, "{figures:?}");
        assert_eq!(figures.lost, 0, "the journal has what the queue has not");
        assert!(ids(&place.read()).contains(&first.id));

        // Room again: for all of it.
        mount(None::<&str>, place.disk.path(), None::<&str>, MsFlags::MS_REMOUNT, Some("size=200m")).unwrap();
        fs::remove_file(&fill).unwrap();
        wait("all rows", || place.number("SELECT count(*) FROM exchange") == count.cast_signed() + 1);
        wait("no trouble", || ledger.figures().trouble.is_none());
        ledger.close();
        assert_eq!(place.number("SELECT count(*) FROM exchange WHERE is_lost"), 0);
        assert_eq!(place.number("SELECT count(*) FROM open"), 0);
        assert_eq!(place.journals(), 0);
    });
}

#[test]
fn beyond_all_bounds_rows_are_counted_as_lost_and_still_known_to_have_been() {
    alone(|| {
        let place = Place::new();
        // The journal has hardly any room, the ledger none.
        tmpfs(place.memory.path(), "size=64k");
        tmpfs(place.disk.path(), "size=4k");
        let ledger = place.start();
        wait("the trouble", || ledger.figures().trouble.is_some());
        // The writer holds one queue's worth at most, and another waits.
        let count = 2 * queue::ROWS as u64 + 20_000;
        let records: Vec<Record> = (0..count).map(|_| chat()).collect();
        for record in &records {
            ledger.settled(record);
        }
        let figures = ledger.figures();
        assert!(figures.lost > 3_000 && figures.lost <= count - queue::ROWS as u64, "{figures:?}");
        mount(None::<&str>, place.disk.path(), None::<&str>, MsFlags::MS_REMOUNT, Some("size=200m")).unwrap();
        wait("the others", || ledger.figures().trouble.is_none() && ledger.figures().queued == 0);
        ledger.close();
        let kept = place.number("SELECT count(*) FROM exchange");
        assert_eq!(kept.cast_unsigned() + figures.lost, count);
    });
}

#[test]
fn a_read_only_disk_is_waited_for() {
    alone(|| {
        let place = Place::new();
        tmpfs(place.disk.path(), "size=64m");
        let remount = |flags| {
            mount(None::<&str>, place.disk.path(), None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>).unwrap();
        };
        let ledger = place.start();
        ledger.settled(&chat());
        wait("the first row", || ledger.figures().written == 1);
        ledger.close();
        remount(MsFlags::MS_RDONLY);

        let ledger = place.start();
        ledger.settled(&chat());
        wait("the trouble", || ledger.figures().trouble.is_some_and(|trouble| trouble.kind == "read_only"));
        // Ended in the middle of it: the journal keeps the row.
        ledger.close();
        assert_eq!(place.journals(), 1);
        let ledger = place.start();
        ledger.settled(&chat());
        remount(MsFlags::empty());
        wait("all rows", || place.number("SELECT count(*) FROM exchange") == 3);
        ledger.close();
        assert_eq!(place.journals(), 0);
    });
}

#[test]
fn a_damaged_file_is_kept_aside_and_a_new_one_begun() {
    let place = Place::new();
    fs::create_dir(place.directory()).unwrap();
    let garbage = vec![b'x'; 20_000];
    fs::write(place.directory().join(FILE), &garbage).unwrap();
    let ledger = place.start();
    ledger.settled(&chat());
    ledger.close();
    assert_eq!(place.number("SELECT count(*) FROM exchange"), 1);
    let names = file_names(&place.directory());
    let aside = names.iter().find(|name| name.starts_with("ledger.db.damaged-")).expect("it is there");
    assert_eq!(fs::read(place.directory().join(aside)).unwrap(), garbage);
}

#[test]
fn a_file_damaged_while_it_is_written_is_kept_aside_too() {
    let place = Place::new();
    let ledger = place.start();
    for _ in 0..5_000 {
        ledger.settled(&chat());
    }
    ledger.close();
    let file = fs::OpenOptions::new().write(true).open(place.directory().join(FILE)).unwrap();
    // All but the first page, which holds the schema.
    std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xAA; 400_000], 4096).unwrap();
    let ledger = place.start();
    let record = chat();
    ledger.opened(&opened(record.id));
    ledger.settled(&record);
    wait("the row", || ledger.figures().written == 1);
    ledger.close();
    assert_eq!(ids(&place.read()), [record.id]);
    assert!(file_names(&place.directory()).iter().any(|name| name.starts_with("ledger.db.damaged-")));
}

#[test]
fn a_file_or_directory_that_is_removed_under_us_is_made_anew() {
    let place = Place::new();
    let ledger = place.start();
    for (number, all) in [false, true, false].into_iter().enumerate() {
        ledger.settled(&chat());
        wait("a row", || ledger.figures().written == number as u64 + 1);
        assert_eq!(place.number("SELECT count(*) FROM exchange"), 1);
        if all {
            // At one moment, as the writer may make it anew at any.
            let aside = place.disk.path().join("aside");
            fs::rename(place.directory(), &aside).unwrap();
            fs::remove_dir_all(aside).unwrap();
        } else {
            // The file itself last: what is found beside a new one would be taken for its own.
            for name in file_names(&place.directory()).into_iter().rev() {
                fs::remove_file(place.directory().join(name)).unwrap();
            }
        }
    }
    ledger.close();
}

#[test]
fn a_later_versions_file_is_left_alone_and_the_rows_are_kept() {
    let place = Place::new();
    place.start().close();
    let version = |version: i64| {
        let file = Connection::open(place.directory().join(FILE)).unwrap();
        file.pragma_update(None, "user_version", version).unwrap();
    };
    version(99);
    let ledger = place.start();
    ledger.settled(&chat());
    wait("the trouble", || ledger.figures().trouble.is_some_and(|trouble| trouble.kind == "newer"));
    assert!(ledger.figures().trouble.unwrap().what.contains("upgrade"));
    version(schema::VERSION);
    wait("the row", || ledger.figures().written == 1);
    ledger.close();
    assert_eq!(place.number("SELECT count(*) FROM exchange"), 1);
}

#[test]
fn beside_a_disk_the_writer_itself_keeps_the_journal() {
    // A regular file where the journal's directory should be.
    let place = Place::new();
    let wrong = place.disk.path().join("file");
    fs::write(&wrong, "").unwrap();
    let ledger = Ledger::start(Settings { journals: vec![wrong], ..place.settings() }).unwrap();
    let open = opened(Id::new());
    ledger.opened(&open);
    wait("the line", || {
        file_names(&place.directory())
            .iter()
            .filter(|name| name.ends_with(".journal"))
            .any(|name| journal_counts(&fs::read(place.directory().join(name)).unwrap()) == Some((0, 1)))
    });
    ledger.close();
    // It was never settled, so the next start does that.
    let next = place.start();
    wait("the loss", || next.figures().recovered == 1);
}

#[test]
fn a_full_queue_does_not_hold_up_the_end() {
    let place = Place::new();
    let ledger = place.start();
    ledger.settled(&chat());
    wait("the file", || ledger.figures().written == 1);
    let other = Connection::open(place.directory().join(FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for _ in 0..3 * queue::ROWS {
        ledger.settled(&chat());
    }
    assert_eq!(ledger.figures().queued, queue::ROWS as u64);
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| ledger.close());
        std::thread::sleep(Duration::from_millis(50));
        other.execute_batch("ROLLBACK").unwrap();
        let start = Instant::now();
        while !closing.is_finished() {
            if start.elapsed() > Duration::from_mins(2) {
                eprintln!("the ledger does not close");
                std::process::abort();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

#[test]
fn a_ledger_is_read_where_nothing_can_be_written() {
    alone(|| {
        let place = Place::new();
        tmpfs(place.disk.path(), "size=8m");
        let ledger = place.start();
        ledger.settled(&chat());
        ledger.close();
        let odd = place.directory().join("a?b#c%41.db");
        fs::copy(place.directory().join(FILE), &odd).unwrap();
        mount(None::<&str>, place.disk.path(), None::<&str>, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, None::<&str>)
            .unwrap();
        assert_eq!(place.number("SELECT count(*) FROM exchange"), 1);
        let copy = open_read_only(&odd).unwrap();
        assert_eq!(copy.query_row("SELECT count(*) FROM exchange", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    });
}
