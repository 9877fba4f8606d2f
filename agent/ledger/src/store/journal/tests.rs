use std::collections::{BTreeSet, HashMap};
use std::fs;

use proptest::prelude::*;

use super::*;
use crate::record::Record;
use crate::record::tests::{chat, opened};
use crate::store::tests::{ending, opening};

/// A folder in memory, as journals are.
fn memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn journal(folder: &Path) -> Journal {
    Journal::new(&[folder.join("run")], &folder.join("ledger"))
}

fn append(journal: &Journal, frame: &[u8], queued: bool) -> bool {
    journal.append(frame, || queued)
}

fn dead(folder: &Path) -> Vec<Leftover> {
    leftovers(&[folder.join("run")], &Header::new(&folder.join("ledger"))).0
}

/// Ids with whether they were lost.
fn told(leftover: &Leftover) -> BTreeSet<(Id, bool)> {
    let mut rows = BTreeSet::new();
    leftover.rows(|row| assert!(rows.insert((row.id, row.end().is_some_and(|end| end.is_lost))), "told once")).unwrap();
    rows
}

#[test]
fn the_dead_tell_what_ended_and_what_did_not_and_the_living_are_left_alone() {
    let folder = memory();
    let journal = journal(folder.path());
    let (ended, open) = (chat(), opened(Id::new()));
    assert!(append(&journal, &opening(&opened(ended.id)), true));
    assert!(append(&journal, &opening(&open), true));
    let old = journal.turn(true).unwrap();
    assert!(append(&journal, &ending(&ended), false));
    assert!(!old.is_alone());

    assert!(dead(folder.path()).is_empty(), "it is alive");
    drop((old, journal));
    let found = dead(folder.path());
    assert_eq!(found.len(), 1);
    assert_eq!(told(&found[0]), [(ended.id, false), (open.id, true)].into());
    for leftover in found {
        leftover.remove();
    }
    assert!(dead(folder.path()).is_empty());
}

#[test]
fn the_journals_of_another_ledger_are_not_ours() {
    let folder = memory();
    drop(journal(folder.path()));
    let other = Header::new(Path::new("/elsewhere"));
    assert!(leftovers(&[folder.path().join("run")], &other).0.is_empty());
    assert_eq!(dead(folder.path()).len(), 1);
}

#[test]
fn without_its_directory_the_journal_is_beside_the_ledger() {
    let folder = memory();
    fs::write(folder.path().join("run"), "in the way").unwrap();
    let _journal = journal(folder.path());
    assert_eq!(fs::read_dir(folder.path().join("ledger")).unwrap().count(), 1);
}

#[test]
fn a_journal_that_nobody_reads_stays_bounded() {
    let folder = memory();
    let journal = journal(folder.path());
    let row = ending(&Record { request_model: Some("m".repeat(1024).into()), ..chat() });
    let mut written = 0;
    while append(&journal, &row, false) {
        written += 1;
        assert!(written < 1_000_000);
    }
    let bytes: u64 =
        fs::read_dir(folder.path().join("run")).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= LIMIT + 4096 && bytes > LIMIT / 2, "{bytes}");
    assert!(append(&journal, &row, true), "the queue has it");
}

#[test]
fn what_others_could_have_written_is_not_believed() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = memory();
    let run = folder.path().join("run");
    let theirs = journal(folder.path());
    append(&theirs, &ending(&chat()), true);
    drop(theirs);
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(dead(folder.path()).is_empty());
    fs::set_permissions(&run, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(dead(folder.path()).len(), 1);
}

#[test]
fn a_file_that_goes_while_it_is_looked_at_does_not_make_its_agent_dead() {
    let folder = memory();
    let id = Id::new();
    fs::create_dir(folder.path().join("run")).unwrap();
    // Listed, and not to be opened: as one that was removed in between.
    std::os::unix::fs::symlink("gone", folder.path().join(format!("run/{id}-000000.journal"))).unwrap();
    let (dead, alive) = leftovers(&[folder.path().join("run")], &Header::new(&folder.path().join("ledger")));
    assert!(dead.is_empty() && alive.contains(&id));
}

#[test]
fn no_folder_is_made_beyond_the_first_in_memory() {
    let folder = memory();
    let directories = ["run", "shm"].map(|name| folder.path().join(name));
    let _journal = Journal::new(&directories, &folder.path().join("ledger"));
    assert!(directories[0].exists() && !directories[1].exists());
}

#[test]
fn an_old_file_is_followed_by_another_however_small_it_is() {
    let folder = memory();
    let journal = journal(folder.path());
    let long_ago = Instant::now().checked_sub(2 * AGE).unwrap();
    journal.current.write().as_mut().unwrap().begun = long_ago;
    assert!(journal.turn(false).is_none(), "it tells nothing");
    assert!(append(&journal, &ending(&chat()), true));
    assert!(journal.turn(false).is_some());
    assert!(append(&journal, &ending(&chat()), true));
    assert!(journal.turn(false).is_none(), "it is new");
}

/// Opens and closes in some order, each close after its open.
fn history() -> impl Strategy<Value = Vec<(usize, bool)>> {
    prop::collection::vec((0..12_usize, any::<bool>()), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Cut at any byte, the file tells each exchange once: as it ended if that frame is whole, else as lost.
    #[test]
    fn a_crash_at_any_byte_loses_only_the_frame_it_tears(history in history(), cut in 0..=1000_usize) {
        let ids: Vec<Id> = (0..12).map(|_| Id::new()).collect();
        let mut bytes = Header::new(Path::new("/l")).line().unwrap();
        let head = bytes.len();
        let mut lines = Vec::new();
        for (which, close) in history {
            let id = ids[which];
            bytes.extend(if close { ending(&Record { id, ..chat() }) } else { opening(&opened(id)) });
            lines.push((bytes.len(), id, close));
        }
        let cut = head + (bytes.len() - head) * cut / 1000;
        let whole = || lines.iter().filter(|(end, ..)| *end <= cut);
        let expected_closed: BTreeSet<Id> = whole().filter(|(.., close)| *close).map(|(_, id, _)| *id).collect();
        let expected_open: BTreeSet<Id> = whole().filter(|(.., close)| !*close).map(|(_, id, _)| *id).collect();
        let (mut open, mut closed) = (HashMap::new(), BTreeSet::new());
        let header = read(&bytes[..cut], &mut open, |row| { closed.insert(row.id); }).unwrap();
        prop_assert!(header.is_some());
        prop_assert_eq!(closed, expected_closed);
        prop_assert_eq!(open.into_keys().collect::<BTreeSet<_>>(), expected_open);
    }

    #[test]
    fn garbage_is_passed_over(garbage in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut bytes = Header::new(Path::new("/l")).line().unwrap();
        bytes.extend(&garbage);
        bytes.extend(ending(&chat()));
        let mut count = 0;
        read(&bytes[..], &mut HashMap::new(), |_| count += 1).unwrap();
        prop_assert_eq!(count, 1);
        read(&garbage[..], &mut HashMap::new(), |_| {}).unwrap();
    }
}
