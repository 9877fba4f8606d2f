use std::fmt::{Display, Write as _};
use std::io::{IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use tollgate_config::{Case, Config, Expectation, load_cases};
use tollgate_policy::{Looked, Policy, Spec, Verdict};

use super::TestArgs;
use super::call::Call;
use super::explain::{STRING, verdict};
use crate::exit::{self, Coded, USAGE};
use crate::settings;

pub(super) fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let config = settings::load(&args.config)?;
    for warning in &config.warnings {
        eprintln!("tollgate: {warning}");
    }
    let read = |file| load_cases(file).map_err(|error| Coded::new(USAGE, error.to_string()));
    let files = args.files.iter().map(|file| Ok((file.as_path(), read(file)?))).collect::<Result<Vec<_>, Coded>>()?;
    let policy = Policy::new(Spec::clone(&config.policy.spec));
    let mut out = std::io::stdout().lock();
    let colour = exit::colour(out.is_terminal());
    let (mut held, mut failed) = (0, 0);
    for (file, cases) in &files {
        for case in cases {
            let differences = differences(&policy, case, &config)?;
            write!(out, "{}", told(file, case, &differences, colour))?;
            if differences.is_empty() { held += 1 } else { failed += 1 }
        }
    }
    writeln!(out, "{held} of {} cases hold", held + failed)?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Something that is not as it was expected to be.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    what: &'static str,
    expected: String,
    found: String,
    why: Option<String>,
}

fn differences(policy: &Policy, case: &Case, config: &Config) -> anyhow::Result<Vec<Difference>> {
    unknown(policy.spec(), case)?;
    let call = Call::of_case(&case.call, config);
    let explanation = policy.explain(&call.subject(), call.at);
    let decision = &explanation.decision;
    let Expectation { allow, rule, team, clamp, budgets, limits } = &case.expect;
    let mut found = Vec::new();
    let mut compare = |what, expected: Option<String>, is: String, why: Option<String>| {
        if let Some(expected) = expected.filter(|expected| *expected != is) {
            found.push(Difference { what, expected, found: is, why });
        }
    };
    let word = |allow: bool| if allow { "allow" } else { "deny" }.to_owned();
    let refusal = decision.refused.as_ref().map(|refused| refused.message.clone());
    compare("decision", allow.map(word), word(decision.refused.is_none()), refusal);
    let deciding = decision.rule.as_deref().unwrap_or("default");
    compare("rule", rule.clone(), deciding.to_owned(), rule.as_deref().and_then(|rule| why(&explanation.rules, rule)));
    let is = explanation.named.team.as_deref().unwrap_or("none").to_owned();
    compare("team", team.clone(), is, team.as_deref().and_then(|team| why(&explanation.teams, team)));
    let number = |clamp: Option<u64>| clamp.map_or_else(|| "none".to_owned(), |clamp| clamp.to_string());
    compare("clamp", clamp.map(number), number(decision.clamp), None);
    for (what, expected, looked) in
        [("budgets", budgets, &explanation.budgets), ("limits", limits, &explanation.limits)]
    {
        let Some(expected) = expected else { continue };
        let is: Vec<&str> =
            looked.iter().filter(|looked| looked.verdict == Verdict::Matches).map(|looked| &*looked.name).collect();
        let missing = expected.iter().find(|name| !is.contains(&name.as_str()));
        compare(what, Some(list(expected)), list(&is), missing.and_then(|name| why(looked, name)));
    }
    Ok(found)
}

/// A name that the policy does not have is a slip of the pen, in a case that could not fail or not hold.
fn unknown(spec: &Spec, case: &Case) -> anyhow::Result<()> {
    let Expectation { rule, team, budgets, limits, .. } = &case.expect;
    let wrong = |what: &str, name: &str| {
        let told = format!("case `{}`: the configuration has no {what} `{name}`", case.name);
        Err(Coded::new(USAGE, told).into())
    };
    if let Some(rule) =
        rule.as_deref().filter(|rule| *rule != "default" && !spec.rules.iter().any(|one| *one.name == **rule))
    {
        return wrong("rule", rule);
    }
    if let Some(team) =
        team.as_deref().filter(|team| *team != "none" && !spec.teams.iter().any(|one| *one.name == **team))
    {
        return wrong("team", team);
    }
    if let Some(name) = budgets.iter().flatten().find(|name| !spec.budgets.iter().any(|one| *one.name == ***name)) {
        return wrong("budget", name);
    }
    if let Some(name) = limits.iter().flatten().find(|name| !spec.limits.iter().any(|one| *one.name == ***name)) {
        return wrong("limit", name);
    }
    Ok(())
}

/// In one order, so that two can be compared.
fn list(names: &[impl Display]) -> String {
    let mut names: Vec<String> = names.iter().map(ToString::to_string).collect();
    names.sort_unstable();
    names.dedup();
    format!("[{}]", names.join(", "))
}

/// Why what was expected is not.
fn why(all: &[Looked], name: &str) -> Option<String> {
    let looked = all.iter().find(|looked| *looked.name == *name)?;
    let told = match looked.verdict {
        Verdict::NotReached => format!("{name} was not asked: {} came first", first(all)?),
        _ => format!("{name}: {}", verdict(&looked.verdict)),
    };
    Some(told)
}

fn first(all: &[Looked]) -> Option<&str> {
    all.iter().find(|looked| looked.verdict == Verdict::Matches).map(|looked| &*looked.name)
}

fn told(file: &Path, case: &Case, differences: &[Difference], colour: bool) -> String {
    let (green, red, plain) = if colour { ("\x1b[32m", "\x1b[31m", "\x1b[0m") } else { ("", "", "") };
    if differences.is_empty() {
        return format!("{green}ok{plain}    {}\n", case.name);
    }
    let mut text = format!("{red}wrong{plain} {} ({}:{})\n", case.name, file.display(), case.place.line);
    for Difference { what, expected, found, why } in differences {
        writeln!(text, "      {what}: expected {expected}, found {found}").expect(STRING);
        if let Some(why) = why {
            writeln!(text, "        {why}").expect(STRING);
        }
    }
    text
}
