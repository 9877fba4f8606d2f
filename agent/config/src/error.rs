use std::path::PathBuf;
use std::{fmt, io};

use crate::document::Path;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}; check that the path is right and that this user may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of prices cannot be read.
    #[error("cannot read the prices {}: {source}; check `prices.files`, and that this user may read it", path.display())]
    ReadPrices {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file of cases cannot be read.
    #[error("cannot read the cases {}: {source}; check that the path is right and that this user may read it", path.display())]
    ReadCases {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file says something that cannot be meant.
    #[error("{}", lines(name, problems))]
    Invalid {
        /// The file, or whatever the text came from.
        name: String,
        /// All that was found, in the order of the file; at least one.
        problems: Vec<Problem>,
    },
}

/// One thing to correct in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// Which field, as in `providers[1].hosts[0]`; empty for the file as a whole.
    pub field: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// A position in the file, counted from 1, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

impl Place {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

impl Problem {
    pub(crate) fn new(place: Place, path: &Path, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place, field: path.to_string(), message: message.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.place.line, self.place.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        write!(f, "{}; {}", self.message, self.remedy)
    }
}

/// One line a problem, in the form that editors and terminals make clickable.
fn lines(name: &str, problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("{name}:{problem}")).collect::<Vec<_>>().join("\n")
}
