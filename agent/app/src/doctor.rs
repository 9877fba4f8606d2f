//! `tollgate doctor`: looks for whatever is in the way, each with its remedy.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::SystemTime;

use tollgate_admin::{AuditState, ConfigState, LedgerState};
use tollgate_config::Config;
use tollgate_kernel::probe::{self, Finding, Problem};
use tollgate_tls::{Authority, Roots};

use crate::cli::ConfigArgs;
use crate::control::{self, Asked};
use crate::{ca, exit, settings};

pub(crate) fn doctor(args: &ConfigArgs) -> anyhow::Result<ExitCode> {
    let config = settings::load(args)?;
    let mut findings = probe::run();
    findings.push(authority(&config));
    findings.push(roots(&config));
    findings.extend(running(&config));
    let healthy = findings.iter().all(|finding| finding.outcome.is_ok());
    let mut out = std::io::stdout().lock();
    let colour = exit::colour(out.is_terminal());
    for finding in &findings {
        write!(out, "{}", told(finding, colour))?;
    }
    writeln!(out, "{}", if healthy { "Nothing is in the way." } else { "\nSomething is in the way: see above." })?;
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What another process told is shown without whatever would steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

fn told(finding: &Finding, colour: bool) -> String {
    let (green, red, plain) = if colour { ("\x1b[32m", "\x1b[31m", "\x1b[0m") } else { ("", "", "") };
    match &finding.outcome {
        Ok(what) => format!("{green}ok{plain}    {}: {}\n", finding.name, printable(what)),
        Err(Problem { what, remedy }) => {
            let (what, remedy) = (printable(what), printable(remedy));
            format!("{red}wrong{plain} {}: {what}\n      → {remedy}\n", finding.name)
        }
    }
}

fn authority(config: &Config) -> Finding {
    let file = config.ca.directory.join(Authority::FILE);
    let outcome = if file.try_exists().is_ok_and(|exists| !exists) {
        Ok(format!("none yet; the first `tollgate run` makes {}", file.display()))
    } else {
        match Authority::load(&config.ca.directory) {
            Err(error) => Err(Problem {
                what: error.to_string(),
                remedy: "run doctor as root; if the file is damaged, `tollgate ca init --force` makes a new authority"
                    .into(),
            }),
            Ok(authority) => judge(&authority, config),
        }
    };
    Finding { name: "certificate authority", outcome }
}

fn judge(authority: &Authority, config: &Config) -> Result<String, Problem> {
    let remedy = "`tollgate ca init --force` makes a new authority, which programs must then trust";
    let patterns = settings::catalogue(config).constraints();
    let uncovered: Vec<_> = authority.uncovered(&patterns).iter().map(ToString::to_string).collect();
    let left = authority.not_after().duration_since(SystemTime::now());
    match left {
        Err(_past) => Err(Problem { what: "it has expired".into(), remedy: remedy.into() }),
        Ok(_) if !uncovered.is_empty() => Err(Problem {
            what: format!("it may not sign for {}, which are tunnelled", uncovered.join(", ")),
            remedy: remedy.into(),
        }),
        Ok(left) => Ok(format!(
            "{}, valid for {} more days, for programs in {}",
            config.ca.directory.join(Authority::FILE).display(),
            left.as_secs() / 86_400,
            ca::trust_directory(config).display()
        )),
    }
}

fn roots(config: &Config) -> Finding {
    let outcome = match Roots::load(&config.upstream.roots) {
        Ok(_) => Ok("providers' certificates can be verified".into()),
        Err(error) => Err(Problem {
            what: error.to_string(),
            remedy: "install ca-certificates, or correct upstream.roots in the configuration".into(),
        }),
    };
    Finding { name: "trusted roots", outcome }
}

/// What a running agent says of itself: where it listens, and who refused its certificate.
fn running(config: &Config) -> Vec<Finding> {
    let agent = |outcome| vec![Finding { name: "agent", outcome }];
    match control::ask(config) {
        Asked::Off => agent(Ok("its admin address is off, so it cannot be asked".into())),
        Asked::Absent => agent(Ok("none is running here; start one with `tollgate run`".into())),
        Asked::Broken(what) => agent(Err(Problem {
            what,
            remedy: "see the agent's log; if another program has the address, change admin.listen".into(),
        })),
        Asked::Running(status) => {
            let mut findings = agent(if status.ready {
                Ok(format!("running since {} s as process {}", status.uptime_seconds, status.pid))
            } else {
                Err(Problem { what: format!("not ready: {}", status.pending.join(", ")), remedy: "see its log".into() })
            });
            findings.extend(status.state.config.as_ref().map(configuration));
            findings.extend(status.state.ledger.as_ref().map(ledger));
            findings.extend(status.state.audit.as_ref().map(audit));
            findings.push(Finding { name: "listeners", outcome: Ok(status.state.listeners.join(", ")) });
            findings.extend(status.state.refusals.iter().map(|refused| Finding {
                name: "trust",
                outcome: Err(Problem {
                    what: format!(
                        "{} of user {} does not trust our certificate for {} ({}, {} times); it is tunnelled, unmetered, for {} s more",
                        refused.program, refused.user, refused.host, refused.reason, refused.times, refused.remaining_seconds
                    ),
                    remedy: refused.remedy.clone(),
                }),
            }));
            findings
        }
    }
}

/// What the running agent says of its configuration.
fn configuration(state: &ConfigState) -> Finding {
    let file = state.file.as_deref().unwrap_or("the default");
    let wrong = |what, remedy: &str| Err(Problem { what, remedy: remedy.into() });
    let outcome = if let Some(trouble) = &state.trouble {
        let what = format!("the one of {} is in force; what was read since is refused: {trouble}", state.loaded);
        wrong(what, "correct the file; it is read again as soon as it changes")
    } else if !state.needs_restart.is_empty() {
        let what = format!("{file}: changed, but in force only after a restart: {}", state.needs_restart.join(", "));
        wrong(what, "restart the agent when it suits; calls in flight are finished first")
    } else if let Some(first) = state.warnings.first() {
        let what = format!("{file} is in force, and this in it is probably not meant: {first}");
        wrong(what, "correct the file; it is read again as soon as it changes")
    } else {
        Ok(format!("{file} is in force, as of {}", state.loaded))
    };
    Finding { name: "configuration", outcome }
}

/// What the running agent says of its ledger.
fn ledger(state: &LedgerState) -> Finding {
    let outcome = match &state.trouble {
        None if state.lost == 0 => Ok(format!("{} is written", state.file)),
        None => Ok(format!(
            "{} is written; earlier, there was no room for all of {} calls, of which it knows only that they were",
            state.file, state.lost
        )),
        Some(trouble) => Err(Problem {
            what: format!("{} cannot be written: {trouble}; {} rows wait", state.file, state.waiting),
            remedy: "calls go on. Make room on the disk, or correct the rights or ledger.directory; what waits is written then"
                .into(),
        }),
    };
    Finding { name: "ledger", outcome }
}

/// What the running agent says of its audit.
fn audit(state: &AuditState) -> Finding {
    let outcome = match &state.trouble {
        None if state.dropped == 0 => Ok(format!("{} is written", state.directory)),
        None => Ok(format!("{} is written; earlier, there was no room for {} entries", state.directory, state.dropped)),
        Some(trouble) => Err(Problem {
            what: format!("it cannot be written: {trouble}; {} entries wait, {} are lost", state.waiting, state.dropped),
            remedy: "calls go on. Make room on the disk, or correct the rights or audit.directory; what waits is written then"
                .into(),
        }),
    };
    Finding { name: "audit", outcome }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_its_remedy_and_without_colour_when_piped() {
        let problem = Problem { what: "not mounted".into(), remedy: "mount it".into() };
        let finding = Finding { name: "cgroup v2", outcome: Err(problem) };
        assert_eq!(told(&finding, false), "wrong cgroup v2: not mounted\n      → mount it\n");
        assert!(told(&finding, true).contains("\x1b[31m"));
    }
}
