//! Where the project is, and how its cargo is called.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;

/// The folder with the workspace's `Cargo.toml`.
pub(crate) fn root() -> PathBuf {
    // Cargo tells it at run time, so that a moved checkout is found; the other is for a hand-started executable.
    let own =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or(own.clone(), PathBuf::from)
}

/// The folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// A cargo command as a shell in the workspace would start it.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).current_dir(root());
    like_a_shell(&mut command);
    command
}

/// Takes away what `cargo run` added to the environment. Build scripts that watch these variables would otherwise run anew each time
/// that a developer changes between `cargo build` and `cargo xtask build`.
pub(crate) fn like_a_shell(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let Some(libraries) = std::env::var_os("LD_LIBRARY_PATH") else { return };
    // The built libraries' folders, and the compiler's own: SYSROOT/lib and SYSROOT/lib/rustlib/TARGET/lib.
    let compilers = |folder: &Path| folder.join("rustlib").is_dir() || folder.iter().any(|part| part == "rustlib");
    let ours = |folder: &PathBuf| folder.starts_with(target()) || compilers(folder);
    let kept: Vec<_> =
        std::env::split_paths(&libraries).filter(|folder| !ours(folder) && !folder.as_os_str().is_empty()).collect();
    match std::env::join_paths(&kept) {
        Ok(joined) if !kept.is_empty() => command.env("LD_LIBRARY_PATH", joined),
        _ => command.env_remove("LD_LIBRARY_PATH"),
    };
}

/// The names of the workspace's packages.
pub(crate) fn packages() -> Result<Vec<String>> {
    let text = shell::output(cargo("metadata").args(["--no-deps", "--format-version=1", "--offline"]))?;
    names(&text).context("`cargo metadata` printed something else than its documentation says")
}

fn names(metadata: &str) -> Option<Vec<String>> {
    let value: serde_json::Value = serde_json::from_str(metadata).ok()?;
    value.get("packages")?.as_array()?.iter().map(|package| Some(package.get("name")?.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("a manifest is at the root");
        assert!(manifest.contains("[workspace]"));
    }

    #[test]
    fn this_package_is_one_of_the_workspace() {
        assert!(packages().expect("cargo knows the packages").iter().any(|name| name == "xtask"));
    }

    #[test]
    fn other_output_is_refused() {
        assert_eq!(names("{\"packages\":[{\"id\":1}]}"), None);
        assert_eq!(names("nonsense"), None);
    }

    #[test]
    fn nested_cargo_does_not_see_this_package() {
        let command = cargo("build");
        let removed = |name: &str| command.get_envs().any(|(key, value)| key == name && value.is_none());
        assert!(removed("CARGO_PKG_NAME"), "cargo test sets it, so it must be taken away");
    }
}
