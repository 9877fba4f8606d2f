//! `cargo xtask setup`: what the other tasks need. It looks first, then says what it will install and why, then installs that alone;
//! where all is there it takes no time, so the other tasks call [`ensure`] each time.

pub(crate) mod debian;
pub(crate) mod folder;
pub(crate) mod llvm_tools;
mod rivals;
mod rust_source;
mod tool;

use anyhow::{Context as _, Result};

use crate::{clients, shell};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// For which task; without any, for `build`, `test` and `demo`
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Only say what is missing; fail if something is
    #[arg(long)]
    dry_run: bool,
}

/// A task, or a part of one, by what must be installed for it.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Compiling, the kernel programs included
    Build,
    /// The tests and the demo, but for the clients' suite
    Test,
    /// The clients that nobody here wrote: the vendors' SDKs and their languages
    Clients,
    /// Counting instructions, which the tests end with
    Gate,
    /// The benchmark: load generators and what Tollgate is compared with
    Bench,
    /// Building the agent from what was seen of it at work
    Trained,
    /// Dependency rules
    Check,
    /// Fuzzing, where there is a nightly compiler
    Fuzz,
}

/// Something that is not there yet.
pub(crate) struct Missing {
    /// What people call it.
    pub(crate) name: String,
    /// Why it is needed, and whence it comes.
    pub(crate) why: String,
    /// How to install it.
    pub(crate) remedy: Remedy,
}

/// How something is installed.
pub(crate) enum Remedy {
    /// By apt-get, all in one call.
    Debian(&'static str),
    /// In a way of its own.
    Own(fn() -> Result<()>),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let parts = if args.parts.is_empty() {
        vec![Part::Build, Part::Test, Part::Gate, Part::Clients]
    } else {
        args.parts.clone()
    };
    if args.dry_run {
        let missing = missing(&parts);
        tell(&missing, "Setup would install");
        anyhow::ensure!(missing.is_empty(), "{} missing; `cargo xtask setup` installs what is", missing.len());
    } else {
        ensure(&parts)?;
    }
    shell::step("Everything needed is installed");
    Ok(())
}

/// Installs what is missing for these parts, after saying what and why. Quiet and quick where nothing is.
pub(crate) fn ensure(parts: &[Part]) -> Result<()> {
    let missing = missing(parts);
    if missing.is_empty() {
        return Ok(());
    }
    tell(&missing, "Setup will install");
    let packages: Vec<_> = missing
        .iter()
        .filter_map(|thing| match thing.remedy {
            Remedy::Debian(package) => Some(package),
            Remedy::Own(_) => None,
        })
        .collect();
    debian::install(&packages)?;
    for thing in &missing {
        if let Remedy::Own(install) = thing.remedy {
            shell::step(&format!("Installing {}", thing.name));
            install().with_context(|| format!("cannot install {}", thing.name))?;
        }
    }
    Ok(())
}

fn missing(parts: &[Part]) -> Vec<Missing> {
    let mut missing = Vec::new();
    for part in parts {
        match part {
            Part::Build => {
                missing.extend(rust_source::missing());
                missing.extend(tool::BPF_LINKER.missing());
            }
            Part::Test => missing.extend(debian::missing(debian::TEST)),
            Part::Gate => missing.extend(debian::missing(debian::GATE)),
            Part::Bench => {
                missing.extend(debian::missing(debian::BENCH));
                missing.extend(rivals::missing());
            }
            Part::Clients => missing.extend(clients::missing()),
            Part::Trained => missing.extend(llvm_tools::missing()),
            Part::Check => missing.extend(tool::CARGO_DENY.missing()),
            Part::Fuzz => missing.extend(tool::CARGO_FUZZ.missing()),
        }
    }
    missing
}

fn tell(missing: &[Missing], heading: &str) {
    if missing.is_empty() {
        return;
    }
    shell::step(heading);
    let width = missing.iter().map(|thing| thing.name.len()).max().unwrap_or_default();
    for thing in missing {
        shell::note(&format!("{:width$}  {}", thing.name, thing.why));
    }
}
