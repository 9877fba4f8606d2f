use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::amount::Number;
use crate::check::{Checks, at};
use crate::ledger::Directory;
use crate::value::{Leaf, Size};

/// The audit: decisions that matter, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Its folder; `None` where none is kept.
    pub directory: Option<PathBuf>,
    /// Bytes after which another file is begun.
    pub max_size: u64,
    /// How many files are kept, with the one that is written.
    pub keep: u32,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawAudit {
    /// Folder of the audit, or `off` to keep none. Made at the first start, readable by the agent's user alone.
    directory: Leaf<Directory>,
    /// The size at which a file is closed and another begun.
    max_size: Leaf<Size>,
    /// How many files are kept, with the one that is written. The oldest are removed.
    keep: Leaf<Number>,
}

impl Default for RawAudit {
    fn default() -> Self {
        Self {
            directory: Leaf(Directory::at("/var/log/tollgate")),
            max_size: Leaf(Size(64 << 20)),
            keep: Leaf(Number(10)),
        }
    }
}

impl RawAudit {
    pub(crate) fn check(self, checks: &mut Checks<'_>) -> Audit {
        let max_size = self.max_size.0.0 as u64;
        if !(64 << 10..=16 << 30).contains(&max_size) {
            let message = "this is too little for a file, or more than anyone reads";
            checks.report(&at("audit", "max_size"), message, "write a size from `64KiB` to `16GiB`");
        }
        let keep = u32::try_from(self.keep.0.0).ok().filter(|keep| (2..=10_000).contains(keep));
        if keep.is_none() {
            let message = "a new file must not push out the only other one, nor can there be so many";
            checks.report(&at("audit", "keep"), message, "write a number from `2` to `10000`");
        }
        Audit { directory: self.directory.0.path(), max_size, keep: keep.unwrap_or(2) }
    }
}
