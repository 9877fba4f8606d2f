//! What can go wrong between the agent and its programs.

use std::{io, path::PathBuf};

use aya::{EbpfError, programs::ProgramError};
use tollgate_ebpf::name::TooManyAlike;

/// Why the programs are not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The patterns do not fit.
    #[error(transparent)]
    Patterns(#[from] TooManyAlike),
    /// The process may not load programs.
    #[error("this process may not load eBPF programs: run it as root, or with CAP_BPF and CAP_NET_ADMIN")]
    Permission,
    /// The object was refused before its programs were looked at.
    #[error("the kernel programs cannot be loaded: {0}; `doctor` says what this kernel lacks")]
    Object(#[source] EbpfError),
    /// The kernel refused a program.
    #[error("the kernel refused the program {program}: {reason}; `doctor` says what this kernel lacks")]
    Program {
        /// Its name.
        program: &'static str,
        /// The error, and the verifier's last words.
        reason: String,
    },
    /// The object lacks a part: it was not built from these sources.
    #[error("the embedded kernel object has no {0}; build again from clean sources")]
    Part(&'static str),
    /// A map is not as the agent expects it, or could not be filled.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Nothing would exempt the agent's own connections, and they would come back to it.
    #[error(
        "in a PID namespace of its own the agent cannot be told from other processes by its process id; give it a \
         cgroup of its own, or run it in the host's PID namespace (hostPID: true)"
    )]
    Exemption,
}

/// Why the programs are not attached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The cgroup's directory cannot be opened.
    #[error("cannot open the cgroup {path}: {source}")]
    Cgroup {
        /// Its directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refused.
    #[error(
        "cannot attach {program} to the cgroup {path}: {source}; is it a cgroup v2 directory, and has no other program \
         been attached there exclusively (`bpftool cgroup tree`)?"
    )]
    Program {
        /// The program's name.
        program: &'static str,
        /// The cgroup's directory.
        path: PathBuf,
        /// What the kernel said.
        source: ProgramError,
    },
    /// The object lacks a program.
    #[error("the embedded kernel object has no {0}; build again from clean sources")]
    Part(&'static str),
}

/// Why a map could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the kernel's map {map} cannot be used: {source}")]
pub struct MapError {
    /// Its name.
    pub map: &'static str,
    /// What the kernel said.
    pub source: aya::maps::MapError,
}

impl MapError {
    pub(super) fn writing(map: &'static str) -> impl FnOnce(aya::maps::MapError) -> Self {
        move |source| Self { map, source }
    }
}

impl LoadError {
    /// Shortens what the loader says to what an operator can use.
    pub(super) fn program(program: &'static str, error: ProgramError) -> Self {
        match error {
            ProgramError::LoadError { io_error, .. }
                if io_error.kind() == io::ErrorKind::PermissionDenied && !is_root() =>
            {
                Self::Permission
            }
            ProgramError::LoadError { io_error, verifier_log } => {
                let log = verifier_log.to_string();
                let mut last: Vec<&str> = log.lines().rev().take(8).collect();
                last.reverse();
                Self::Program { program, reason: format!("{io_error}\n{}", last.join("\n")) }
            }
            other => Self::Program { program, reason: other.to_string() },
        }
    }

    /// The same for the object as a whole.
    pub(super) fn object(error: EbpfError) -> Self {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<io::Error>()
                && io.kind() == io::ErrorKind::PermissionDenied
            {
                return Self::Permission;
            }
            source = cause.source();
        }
        Self::Object(error)
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
