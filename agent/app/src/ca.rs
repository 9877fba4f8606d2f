//! `tollgate ca`: the certificate authority of `tollgate run`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use tollgate_audit::What;
use tollgate_config::Config;
use tollgate_llm::Catalogue;
use tollgate_tls::Authority;
use tollgate_tls::trust::{self, Environment, Trust};

use crate::cli::{CaCommand, CaInitArgs, CaShowArgs};
use crate::{audit, settings};

pub(crate) fn ca(command: &CaCommand) -> anyhow::Result<ExitCode> {
    match command {
        CaCommand::Init(args) => init(args),
        CaCommand::Show(args) => show(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn init(args: &CaInitArgs) -> anyhow::Result<()> {
    let config = settings::load(&args.config)?;
    let directory = &config.ca.directory;
    let file = directory.join(Authority::FILE);
    // The old one is kept until the new one is there, and beyond: a person may have been too quick.
    let aside = directory.join(format!("{}.old", Authority::FILE));
    let replaced = args.force && set_aside(&file, &aside)?;
    let permitted = settings::catalogue(&config).constraints();
    let authority = Authority::create(directory, &permitted).inspect_err(|_error| {
        if replaced {
            std::fs::rename(&aside, &file).ok();
        }
    });
    let authority = authority.context(
        "no authority was made; one that is there is shown by `tollgate ca show`, and replaced with --force",
    )?;
    let audit = audit::start(&config)?;
    audit::note(audit.as_deref(), What::AuthorityMade, format!("in {}, by `tollgate ca init`", directory.display()));
    let trust = write_trust(&config, &authority)?;
    let mut out = std::io::stdout().lock();
    describe(&mut out, &config, &authority)?;
    writeln!(
        out,
        "\nPrograms trust it when their environment says so. Those that keep roots of their own (Python, Node, …):"
    )?;
    for (name, value) in &trust.variables {
        writeln!(out, "  {}={}", name.display(), value.display())?;
    }
    writeln!(
        out,
        "Programs that do not are noticed, and tunnelled unmetered. `tollgate exec` sets all of this by itself."
    )?;
    Ok(())
}

/// Whether there was a file to set aside.
fn set_aside(file: &Path, aside: &Path) -> anyhow::Result<bool> {
    match std::fs::rename(file, aside) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("cannot set the old authority {} aside", file.display())),
    }
}

fn show(args: &CaShowArgs) -> anyhow::Result<()> {
    let config = settings::load(&args.config)?;
    let authority = Authority::load(&config.ca.directory)
        .context("no authority can be shown; `tollgate ca init` makes one, and so does the first `tollgate run`")?;
    let mut out = std::io::stdout().lock();
    if args.pem {
        out.write_all(authority.certificate_pem().as_bytes())?;
    } else {
        describe(&mut out, &config, &authority)?;
        for pattern in authority.uncovered(&settings::catalogue(&config).constraints()) {
            writeln!(
                out,
                "not for      {pattern}: configured since; `tollgate ca init --force` makes an authority for it"
            )?;
        }
    }
    Ok(())
}

fn describe(out: &mut impl std::io::Write, config: &Config, authority: &Authority) -> anyhow::Result<()> {
    let days = authority.not_after().duration_since(SystemTime::now()).map_or(0, |left| left.as_secs() / 86_400);
    writeln!(out, "file         {}", config.ca.directory.join(Authority::FILE).display())?;
    writeln!(out, "certificate  {}", trust_directory(config).join("ca.pem").display())?;
    writeln!(out, "sha256       {}", authority.fingerprint())?;
    writeln!(out, "valid for    {days} more days")?;
    writeln!(out, "signs for    {}", authority.subtrees().join(", "))?;
    Ok(())
}

/// Tells of providers that were configured after the authority was made.
pub(crate) fn warn_of_uncovered(authority: &Authority, catalogue: &Catalogue) {
    for pattern in authority.uncovered(&catalogue.constraints()) {
        let remedy = "`tollgate ca init --force` makes an authority for it; programs must then trust the new one";
        tracing::warn!(host = %pattern, remedy, "the authority was made without this host, which is tunnelled");
    }
}

/// Writes what programs are to trust, readable by all, beside the authority's directory, which is not.
pub(crate) fn write_trust(config: &Config, authority: &Authority) -> anyhow::Result<Trust> {
    let directory = trust_directory(config);
    // The node's programs are not ours: what our own environment says about roots is not what theirs does.
    let trust = trust::install(&directory, authority.certificate_pem(), &Environment::new()).with_context(|| {
        format!("the files that programs are to trust cannot be written to {}", directory.display())
    })?;
    for note in &trust.notes {
        tracing::warn!("{note}");
    }
    Ok(trust)
}

pub(crate) fn trust_directory(config: &Config) -> PathBuf {
    config.ca.directory.with_file_name("trust")
}
