//! Whether the program that is to be measured is what its sources say.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use tollgate_world::agent;

/// Fails where a source of the agent was changed after the agent was built: its figures would be those of another program, and
/// nothing in them would say so. Of one that `TOLLGATE_BIN` names, nothing is known.
pub(crate) fn check() -> Result<()> {
    if std::env::var_os("TOLLGATE_BIN").is_some() {
        return Ok(());
    }
    let binary = agent::binary()?;
    let newer = newer_source(&binary)?;
    ensure!(
        newer.is_none(),
        "{} is older than {}: run `cargo xtask bench`, which builds it, or name it in TOLLGATE_BIN to measure it as it is",
        binary.display(),
        newer.unwrap_or_default().display(),
    );
    Ok(())
}

/// A source that was changed after this program was built, by the list that Cargo keeps beside it. None where there is no list.
fn newer_source(binary: &Path) -> Result<Option<PathBuf>> {
    let changed = |path: &Path| fs::metadata(path).and_then(|of| of.modified());
    let built = changed(binary).with_context(|| format!("cannot tell when {} was built", binary.display()))?;
    let list = fs::read_to_string(binary.with_extension("d")).unwrap_or_default();
    // What is gone was changed, too.
    let is_newer = |path: &PathBuf| changed(path).unwrap_or_else(|_gone| SystemTime::now()) > built;
    Ok(sources(&list).into_iter().find(is_newer))
}

/// The names behind the colon. A blank within one has a backslash before it.
fn sources(list: &str) -> Vec<PathBuf> {
    let names = list.lines().next().and_then(|line| line.split_once(": ")).map_or("", |(_, names)| names);
    let names = names.replace("\\ ", "\0");
    names.split_whitespace().map(|name| name.replace('\0', " ").into()).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_source_that_is_newer_than_the_program_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let [binary, old, new] = ["program", "old one.rs", "new.rs"].map(|name| folder.path().join(name));
        let list =
            format!("{}: {} {}\n", binary.display(), old.display().to_string().replace(' ', "\\ "), new.display());
        fs::write(binary.with_extension("d"), list).unwrap();
        let built = SystemTime::now() - Duration::from_mins(2);
        for (file, time) in [(&binary, built), (&old, built - Duration::from_mins(1)), (&new, built)] {
            File::create(file).unwrap().set_modified(time).unwrap();
        }
        assert_eq!(newer_source(&binary).unwrap(), None);
        File::open(&new).unwrap().set_modified(built + Duration::from_mins(1)).unwrap();
        assert_eq!(newer_source(&binary).unwrap(), Some(new));
        fs::remove_file(&old).unwrap();
        assert_eq!(newer_source(&binary).unwrap(), Some(old));
    }

    #[test]
    fn a_program_without_a_list_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("program");
        fs::write(&binary, "").unwrap();
        assert_eq!(newer_source(&binary).unwrap(), None);
    }
}
