use crate::document::{Document, Path};
use crate::error::Problem;

/// Collects what is wrong although every value is right by itself.
pub(crate) struct Checks<'a> {
    document: &'a Document,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl<'a> Checks<'a> {
    pub(crate) fn new(document: &'a Document) -> Self {
        Self { document, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Notes a problem with the value at `path`.
    pub(crate) fn report(&mut self, path: &Path, message: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Problem::new(self.document.place(path), path, message, remedy));
    }

    /// Notes what is probably not meant at `path`, and is no reason not to start.
    pub(crate) fn warn(&mut self, path: &Path, message: impl Into<String>, remedy: impl Into<String>) {
        self.warnings.push(Problem::new(self.document.place(path), path, message, remedy));
    }

    /// What was warned of, in the order of the file.
    pub(crate) fn warnings(&mut self) -> Vec<Problem> {
        self.warnings.sort_by_key(|problem| problem.place);
        std::mem::take(&mut self.warnings)
    }

    /// `checked`, if nothing was noted.
    pub(crate) fn finish<T>(mut self, checked: T) -> Result<T, Vec<Problem>> {
        self.problems.sort_by_key(|problem| problem.place);
        if self.problems.is_empty() { Ok(checked) } else { Err(self.problems) }
    }
}

/// The path of a key in a section.
pub(crate) fn at(section: &str, key: &str) -> Path {
    Path::default().key(section).key(key)
}
