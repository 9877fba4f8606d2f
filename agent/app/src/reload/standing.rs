use std::path::{Path, PathBuf};

use jiff::Timestamp;
use parking_lot::Mutex;
use tollgate_admin::{ConfigFigures, ConfigState};
use tollgate_config::Config;

/// Which configuration is in force, and what became of the last attempt to take over another.
pub(crate) struct Standing {
    file: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    /// When what is in force was read.
    loaded: Timestamp,
    taken_over: u64,
    refused: u64,
    trouble: Option<String>,
    needs_restart: Vec<String>,
    warnings: Vec<String>,
}

impl Standing {
    /// That of an agent that starts with this configuration.
    pub(crate) fn new(file: Option<PathBuf>, config: &Config) -> Self {
        let state = State {
            loaded: Timestamp::now(),
            taken_over: 0,
            refused: 0,
            trouble: None,
            needs_restart: Vec::new(),
            warnings: warnings(config),
        };
        Self { file, state: Mutex::new(state) }
    }

    /// The configuration's file.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Another one is in force, except for what needs a restart.
    pub(super) fn taken_over(&self, config: &Config, needs_restart: &[&str]) {
        let mut state = self.state.lock();
        state.loaded = Timestamp::now();
        state.taken_over += 1;
        state.trouble = None;
        state.needs_restart = needs_restart.iter().map(|&part| part.to_owned()).collect();
        state.warnings = warnings(config);
    }

    /// What was read cannot be used.
    pub(super) fn refused(&self, why: String) {
        let mut state = self.state.lock();
        state.refused += 1;
        state.trouble = Some(why);
    }

    /// For the status page.
    pub(crate) fn state(&self) -> ConfigState {
        let state = self.state.lock();
        ConfigState {
            file: self.file.as_ref().map(|file| file.display().to_string()),
            loaded: format!("{:.0}", state.loaded),
            reloads: state.taken_over,
            refused: state.refused,
            trouble: state.trouble.clone(),
            needs_restart: state.needs_restart.clone(),
            warnings: state.warnings.clone(),
        }
    }

    /// For the metrics.
    pub(crate) fn figures(&self) -> ConfigFigures {
        let state = self.state.lock();
        ConfigFigures {
            taken_over: state.taken_over,
            refused: state.refused,
            is_good: state.trouble.is_none(),
            loaded: state.loaded.as_second(),
        }
    }
}

fn warnings(config: &Config) -> Vec<String> {
    config.warnings.iter().map(ToString::to_string).collect()
}
