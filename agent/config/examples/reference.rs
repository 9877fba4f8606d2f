//! Prints the reference page of the configuration, `docs/configuration.md`, or with the argument `schema` its JSON Schema,
//! `docs/configuration.schema.json`.

use std::io::{self, Write as _};

fn main() -> io::Result<()> {
    let text = match std::env::args().nth(1).as_deref() {
        Some("schema") => format!("{:#}\n", tollgate_config::schema()),
        _ => tollgate_config::reference(),
    };
    io::stdout().write_all(text.as_bytes())
}
