//! Who called `sudo tollgate exec`, and with which environment.
//!
//! `sudo` replaces the environment, and with it the caller's PATH and API keys. Its own initial environment, which the
//! kernel keeps in `/proc`, is the caller's: that is what the child gets. The child runs as that same caller, so nobody
//! gains anything that they did not have.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use nix::unistd::{Gid, Uid, User};

/// The environment of a process.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// The user whom the child runs as.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct CallingUser {
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    /// The login name, by which supplementary groups are found. None where the user is in no user database.
    pub(crate) name: Option<String>,
}

/// Who the child runs as, and with what environment.
pub(crate) struct Caller {
    pub(crate) user: CallingUser,
    pub(crate) environment: Environment,
}

impl Caller {
    /// Whoever ran `sudo`, if that is what started us; else ourselves.
    ///
    /// In a root shell that `sudo` started there are `SUDO_` variables too. It is root who calls there, and root's environment is
    /// not for the user whom they name.
    pub(crate) fn find(ours: Environment) -> Self {
        let sudo = Uid::effective().is_root().then(sudo_environment).flatten();
        match (sudo, user(&ours)) {
            (Some(callers), Some(user)) => Self { user, environment: merge(callers, &ours) },
            _ => Self { user: CallingUser::of(Uid::current(), Gid::current()), environment: ours },
        }
    }
}

impl CallingUser {
    fn of(uid: Uid, gid: Gid) -> Self {
        let name = User::from_uid(uid).ok().flatten().map(|user| user.name);
        Self { uid, gid, name }
    }
}

/// The user whom `sudo` names.
fn user(environment: &Environment) -> Option<CallingUser> {
    let id = |name: &str| environment.get(OsStr::new(name))?.to_str()?.parse::<u32>().ok();
    Some(CallingUser::of(Uid::from_raw(id("SUDO_UID")?), Gid::from_raw(id("SUDO_GID")?)))
}

/// What `sudo` sets about itself, and what it sets to the target user's: not for the caller's child.
fn is_sudos(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"SUDO_")
        || [&b"HOME"[..], b"LOGNAME", b"MAIL", b"PATH", b"SHELL", b"USER", b"XAUTHORITY"].contains(&name.as_bytes())
}

fn merge(mut callers: Environment, ours: &Environment) -> Environment {
    for (name, value) in ours {
        if !is_sudos(name) && !callers.contains_key(name) {
            callers.insert(name.clone(), value.clone());
        }
    }
    callers
}

/// The initial environment of the `sudo` that started us: that of whoever ran it. None where our parent is something else.
///
/// With a terminal of its own `sudo` is two processes, and our parent is a fork of the first: its initial environment is the same.
fn sudo_environment() -> Option<Environment> {
    let parent = format!("/proc/{}", std::os::unix::process::parent_id());
    let status = std::fs::read_to_string(format!("{parent}/status")).ok()?;
    let name = status.lines().find_map(|line| line.strip_prefix("Name:"))?;
    if name.trim() != "sudo" {
        return None;
    }
    std::fs::read(format!("{parent}/environ")).ok().map(|environ| parse_environ(&environ))
}

/// Reads an environment in the form that the kernel keeps it in: `NAME=value`, each ended by a zero byte.
pub(crate) fn parse_environ(environ: &[u8]) -> Environment {
    environ
        .split(|byte| *byte == 0)
        .filter_map(|entry| {
            let equals = entry.iter().position(|byte| *byte == b'=').filter(|at| *at > 0)?;
            let (name, value) = (&entry[..equals], &entry[equals + 1..]);
            Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
        })
        .collect()
}

/// Writes what [`parse_environ`] reads.
pub(crate) fn write_environ(environment: &Environment) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in environment {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment_of(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
    }

    #[test]
    fn the_callers_path_and_keys_survive_sudo() {
        let callers =
            environment_of(&[("PATH", "/home/a/.local/bin:/usr/bin"), ("OPENAI_API_KEY", "k"), ("HOME", "/home/a")]);
        let ours =
            environment_of(&[("PATH", "/usr/sbin:/usr/bin"), ("HOME", "/root"), ("SUDO_UID", "1000"), ("EXTRA", "1")]);
        let merged = merge(callers, &ours);
        assert_eq!(
            merged,
            environment_of(&[
                ("PATH", "/home/a/.local/bin:/usr/bin"),
                ("OPENAI_API_KEY", "k"),
                ("HOME", "/home/a"),
                ("EXTRA", "1")
            ])
        );
    }

    #[test]
    fn environ_with_odd_entries_is_read() {
        let environ = b"A=1\0B=x=y\0\0=nameless\0noequals\0C=\0";
        let parsed = parse_environ(environ);
        assert_eq!(parsed, environment_of(&[("A", "1"), ("B", "x=y"), ("C", "")]));
        assert_eq!(parse_environ(&write_environ(&parsed)), parsed);
    }

    #[test]
    fn without_sudo_we_are_the_calling_user_whatever_the_environment_says() {
        let ours = environment_of(&[("SUDO_UID", "1000"), ("SUDO_GID", "1000"), ("SECRET_OF_ROOT", "1")]);
        let caller = Caller::find(ours.clone());
        assert_eq!((caller.user.uid, caller.user.gid), (Uid::current(), Gid::current()));
        assert_eq!(caller.environment, ours);
    }
}
