//! Running other programs: each is shown as a line that can be pasted into a shell, and a failure names it.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// Announces what comes next.
pub(crate) fn step(text: &str) {
    eprintln!("{}==> {text}{}", style("1;34"), style("0"));
}

/// A line below a step.
pub(crate) fn note(text: &str) {
    eprintln!("    {text}");
}

/// The last line of a task that did not do what was asked.
pub(crate) fn failure(text: &str) {
    eprintln!("{}error:{} {text}", style("1;31"), style("0"));
}

fn style(code: &str) -> String {
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if coloured { format!("\x1b[{code}m") } else { String::new() }
}

/// Shows and runs a command with this process's own input and output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    show_line(command);
    let status = command.status().with_context(|| cannot_start(command))?;
    if !status.success() {
        bail!("`{}` failed ({status})", show(command));
    }
    Ok(())
}

/// Shows and runs a command whose output is of interest only when it fails.
pub(crate) fn run_quietly(command: &mut Command) -> Result<()> {
    show_line(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        eprint!("{}", String::from_utf8_lossy(&output.stdout));
        bail!("`{}` failed ({})", show(command), output.status);
    }
    Ok(())
}

/// Shows a command that is about to run.
pub(crate) fn show_line(command: &Command) {
    eprintln!("{}+ {}{}", style("2"), show(command), style("0"));
}

/// What a command prints; nothing is shown unless it fails.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| cannot_start(command))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", show(command), output.status, complaint.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` did not print UTF-8", show(command)))
}

/// Whether a command runs and succeeds; its output is dropped.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The file that a shell would run for `program`, looked up in PATH and then where Debian keeps what only root has in PATH.
pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`; is it installed?", command.get_program().to_string_lossy())
}

fn show(command: &Command) -> String {
    let settings =
        command.get_envs().filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quote(value?))));
    let program = Path::new(command.get_program());
    // Cargo is known by its full path; its name is what one types.
    let program =
        if program.file_name() == Some(OsStr::new("cargo")) { OsStr::new("cargo") } else { program.as_os_str() };
    settings.chain(std::iter::once(program).chain(command.get_args()).map(quote)).collect::<Vec<_>>().join(" ")
}

fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_pasted() {
        let mut command = Command::new("/some/where/cargo");
        command.args(["doc", "a b", "it's", ""]).env("RUSTDOCFLAGS", "-D warnings").env_remove("CARGO_PKG_NAME");
        assert_eq!(show(&command), r"RUSTDOCFLAGS='-D warnings' cargo doc 'a b' 'it'\''s' ''");
    }

    #[test]
    fn a_failure_names_the_command_and_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo no such luck >&2; exit 3"])).expect_err("exits with 3");
        let text = format!("{error:#}");
        assert!(text.contains("no such luck") && text.contains("exit status: 3"), "{text}");
    }

    #[test]
    fn a_missing_program_is_one_clear_sentence() {
        let error = run(&mut Command::new("no-such-program-here")).expect_err("does not exist");
        assert!(format!("{error:#}").contains("cannot start `no-such-program-here`; is it installed?"));
    }

    #[test]
    fn programs_are_found_where_a_shell_would_find_them() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
    }
}
