//! What the demonstration writes: in colour on a terminal, plain when piped or where `NO_COLOR` is set.

use std::io::{IsTerminal as _, Write as _};

pub(crate) struct Screen {
    coloured: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { coloured: wanted && std::io::stdout().is_terminal() }
    }

    pub(crate) fn title(&self, text: &str) {
        self.write("1;36", text);
    }

    pub(crate) fn scene(&self, number: u32, text: &str) {
        self.write("", "");
        self.write("1;36", &format!("{number}. {text}"));
    }

    /// What the viewer is told.
    pub(crate) fn text(&self, text: &str) {
        self.write("", text);
    }

    /// A command, as one would type it; what follows is its output.
    pub(crate) fn command(&self, text: &str) {
        self.write("", "");
        self.write("1", &format!("$ {text}"));
    }

    /// A file that matters, line by line.
    pub(crate) fn file(&self, text: &str) {
        for line in text.trim_end().lines() {
            self.write("2", &format!("  | {line}"));
        }
    }

    /// Something that was to be shown, and was.
    pub(crate) fn proof(&self, text: &str) {
        self.write("32", &format!("=> {text}"));
    }

    pub(crate) fn problem(&self, text: &str) {
        self.write("1;31", &format!("The demonstration failed: {text}"));
    }

    fn write(&self, style: &str, text: &str) {
        let mut out = std::io::stdout().lock();
        let written = if self.coloured && !style.is_empty() && !text.is_empty() {
            writeln!(out, "\x1b[{style}m{text}\x1b[0m")
        } else {
            writeln!(out, "{text}")
        };
        // Programs that share this output write next. A reader that went away has seen enough.
        written.and_then(|()| out.flush()).ok();
    }
}
