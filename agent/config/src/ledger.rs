use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::value::{Leaf, Value};

/// The ledger: what was used, by whom, on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ledger {
    /// Its folder; `None` where none is kept.
    pub directory: Option<PathBuf>,
    /// The folder of what a crash must not lose, in memory.
    pub journal: PathBuf,
    /// How long single exchanges are kept; `None` for ever.
    pub retention: Option<Duration>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawLedger {
    /// Folder of the ledger, or `off` to keep none. Made at the first start, readable by the agent's user alone: it tells
    /// who calls what. `run` and `exec` write the same one.
    directory: Leaf<Directory>,
    /// Folder of the ledger's journals, which hold what is not in the ledger yet, should the agent be killed. It should be in
    /// memory (tmpfs) and outlive the agent.
    journal: Leaf<PathBuf>,
    /// How long each call is kept by itself, at least a day, or `forever`. Older ones are added up by quarters of an hour, so
    /// that reports stay right.
    retention: Leaf<Retention>,
}

/// A folder, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory(Option<PathBuf>);

impl Directory {
    pub(crate) fn at(path: &str) -> Self {
        Self(Some(path.into()))
    }

    pub(crate) fn path(self) -> Option<PathBuf> {
        self.0
    }
}

impl Value for Directory {
    const NAME: &str = "an absolute path, or `off`";
    const EXAMPLE: &str = "/var/lib/tollgate/ledger";

    fn read(text: &str) -> Result<Self, String> {
        if text == "off" { Ok(Self(None)) } else { PathBuf::read(text).map(|path| Self(Some(path))) }
    }

    fn write(&self) -> String {
        self.0.as_ref().map_or_else(|| "off".into(), Value::write)
    }
}

/// A number of days, or for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Retention(Option<Duration>);

const DAY: Duration = Duration::from_hours(24);

impl Value for Retention {
    const NAME: &str = "a duration, or `forever`";
    const EXAMPLE: &str = "90d";

    fn read(text: &str) -> Result<Self, String> {
        if text == "forever" {
            return Ok(Self(None));
        }
        let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
        if duration < DAY || duration > DAY * 36_525 {
            return Err("it must be at least a day and at most a hundred years".into());
        }
        Ok(Self(Some(duration)))
    }

    fn write(&self) -> String {
        match self.0 {
            None => "forever".into(),
            Some(duration) if duration.as_secs().is_multiple_of(DAY.as_secs()) && duration.subsec_nanos() == 0 => {
                format!("{}d", duration.as_secs() / DAY.as_secs())
            }
            Some(duration) => humantime::format_duration(duration).to_string(),
        }
    }
}

impl Ledger {
    /// The file's name in the directory. The ledger itself has the same.
    const FILE: &str = "ledger.db";

    /// The ledger's file, where one is kept.
    pub fn file(&self) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(Self::FILE))
    }
}

impl Default for RawLedger {
    fn default() -> Self {
        Self {
            directory: Leaf(Directory(Some("/var/lib/tollgate/ledger".into()))),
            journal: Leaf("/run/tollgate/journal".into()),
            retention: Leaf(Retention(Some(DAY * 90))),
        }
    }
}

impl From<RawLedger> for Ledger {
    fn from(raw: RawLedger) -> Self {
        Self { directory: raw.directory.0.0, journal: raw.journal.0, retention: raw.retention.0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    #[test]
    fn retention_is_days_or_for_ever() {
        for (text, days) in [("90d", Some(90)), ("1d", Some(1)), ("2w", Some(14)), ("forever", None)] {
            let read = Retention::read(text).unwrap();
            assert_eq!(read, Retention(days.map(|days| DAY * days)), "{text}");
            assert_eq!(Retention::read(&read.write()).unwrap(), read);
        }
        for bad in ["", "90", "23h", "off", "101years"] {
            assert!(Retention::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn it_can_be_switched_off() {
        let config = Config::parse("test", "ledger:\n  directory: off\n").unwrap();
        assert_eq!(config.ledger.file(), None);
        assert_eq!(Config::default().ledger.file(), Some("/var/lib/tollgate/ledger/ledger.db".into()));
    }
}
