use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_llm::price::{self, file::File};

use crate::check::Checks;
use crate::decode;
use crate::document::{self, Document};
use crate::error::Error;
use crate::value::Leaf;

/// Largest price file that is read: several times the largest list there is.
const LIMIT: usize = 16 << 20;

/// What models cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices {
    /// Files of prices, to be read with [`load_prices`]. The last one that has a model decides.
    pub files: Vec<PathBuf>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RawPrices {
    /// Files of prices that count before the bundled list; of several that have a model, the last. Their format is that of
    /// [prices.md](prices.md), and `tollgate prices import` makes them of other lists. They are read at the start.
    files: Vec<Leaf<PathBuf>>,
}

impl From<RawPrices> for Prices {
    fn from(raw: RawPrices) -> Self {
        Self { files: raw.files.into_iter().map(|path| path.0).collect() }
    }
}

/// Reads and checks a price file.
pub fn load_prices(path: &Path) -> Result<File, Error> {
    let text = crate::read(path, LIMIT).map_err(|source| Error::ReadPrices { path: path.into(), source })?;
    parse_prices(&path.to_string_lossy(), &text)
}

/// Checks the text of a price file. `name` stands for the file in errors.
pub fn parse_prices(name: &str, text: &str) -> Result<File, Error> {
    let invalid = |problems| Error::Invalid { name: name.into(), problems };
    let document = Document::parse(text, LIMIT).map_err(|problem| invalid(vec![problem]))?;
    let file: File = decode::decode(&document).map_err(invalid)?;
    let mut checks = Checks::new(&document);
    for complaint in price::check(&file) {
        let item = document::Path::default().key(complaint.list).index(complaint.index);
        checks.report(&item.key(complaint.key), complaint.message, complaint.remedy);
    }
    checks.finish(file).map_err(invalid)
}

#[cfg(test)]
mod tests;
