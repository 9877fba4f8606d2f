//! Prints the reference page of the configuration: `docs/configuration.md`.

use std::io::{self, Write as _};

fn main() -> io::Result<()> {
    io::stdout().write_all(tollgate_config::reference().as_bytes())
}
