use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tollgate_policy::{Explanation, Looked, Mode, Notice, Policy, Spec, Verdict};

use super::call::Call;
use super::{ExplainArgs, Output};
use crate::{exit, settings};

pub(super) fn explain(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let config = settings::load(&args.config)?;
    for warning in &config.warnings {
        eprintln!("tollgate: {warning}");
    }
    let call = Call::of_args(&args.call, &config)?;
    let policy = Policy::new(Spec::clone(&config.policy.spec));
    let explanation = policy.explain(&call.subject(), call.at);
    let mut out = std::io::stdout().lock();
    match args.output {
        Output::Json => writeln!(out, "{:#}", json(&call, &explanation))?,
        Output::Text => {
            let colour = exit::colour(out.is_terminal());
            write!(out, "{}", Told { call: &call, explanation: &explanation, colour }.text())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Why writing to a string cannot fail.
pub(super) const STRING: &str = "writing to a string does not fail";

/// An explanation for people.
struct Told<'a> {
    call: &'a Call,
    explanation: &'a Explanation,
    colour: bool,
}

impl Told<'_> {
    fn text(&self) -> String {
        let Explanation { named, teams, rules, decision, budgets, limits } = self.explanation;
        let mut text = format!("call      {}\n          {}\n", self.who(), self.what());
        let team = named.team.as_deref().unwrap_or("none");
        let pays = named.cost_center.as_deref().map(|pays| format!(", paid by {pays}")).unwrap_or_default();
        writeln!(text, "team      {team}{pays}\ndecision  {}", self.decision()).expect(STRING);
        if let Some(clamp) = decision.clamp {
            let held = "output tokens, and is made to ask for that where it asks for more or for no number";
            writeln!(text, "          it may ask for {clamp} {held}").expect(STRING);
        }
        for (title, list) in [("teams", teams), ("rules", rules), ("budgets", budgets), ("limits", limits)] {
            self.push_list(&mut text, title, list);
        }
        text
    }

    fn who(&self) -> String {
        let caller = &self.call.caller;
        let program = if caller.program.is_empty() { "any program" } else { &caller.program };
        let mut who = vec![format!("{program} of {} (uid {})", caller.user, caller.uid)];
        let pod = caller.pod.as_deref();
        let more = [
            ("unit", caller.system_unit.as_deref()),
            ("user unit", caller.unit.as_deref().filter(|unit| caller.system_unit.as_deref() != Some(unit))),
            ("container", caller.container.as_deref().map(|id| id.get(..12).unwrap_or(id))),
            ("namespace", pod.and_then(|pod| pod.namespace.as_deref())),
            ("pod", pod.and_then(|pod| pod.name.as_deref())),
        ];
        who.extend(more.into_iter().filter_map(|(what, value)| Some(format!("{what} {}", value?))));
        who.join(", ")
    }

    fn what(&self) -> String {
        let call = self.call;
        let stream = if call.stream { " as a stream" } else { "" };
        let model = call.model.as_deref().map(|model| format!(" of {model}")).unwrap_or_default();
        let output = call.max_output_tokens.map(|most| format!(", at most {most} output tokens")).unwrap_or_default();
        let at = call.at.to_zoned(TimeZone::system()).strftime("%a %F %H:%M %Z");
        format!("{}{model} at {} ({}){stream}{output}, {at}", call.operation, call.host, call.provider)
    }

    fn decision(&self) -> String {
        let (green, red, plain) = if self.colour { ("\x1b[32m", "\x1b[31m", "\x1b[0m") } else { ("", "", "") };
        let decision = &self.explanation.decision;
        let by = match &decision.rule {
            Some(rule) => format!("by rule {rule}"),
            None => "by policy.default, as no rule matches".into(),
        };
        match &decision.refused {
            None => format!("{green}allowed{plain} {by}, as far as budgets and limits have room"),
            Some(refused) => {
                format!("{red}refused{plain} ({}) {by}\n          {}", refused.status.as_u16(), refused.message)
            }
        }
    }

    fn push_list(&self, text: &mut String, title: &str, list: &[Looked]) {
        let (dim, plain) = if self.colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
        let width = list.iter().map(|looked| looked.name.len()).max().unwrap_or_default();
        for (number, looked) in list.iter().enumerate() {
            let title = if number == 0 { title } else { "" };
            let (on, off) = match looked.verdict {
                Verdict::Matches | Verdict::Observes { .. } => ("", ""),
                _ => (dim, plain),
            };
            let share = if looked.group.is_empty() { String::new() } else { format!(", share of {}", looked.group) };
            let why = verdict(&looked.verdict);
            writeln!(text, "{title:<8}  {on}{:<width$}  {why}{share}{off}", looked.name).expect(STRING);
        }
    }
}

/// Why something matches or not, in a line.
pub(super) fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Matches => "matches".into(),
        Verdict::Observes { would: None } => "matches, observes, and would have let it pass".into(),
        Verdict::Observes { would: Some(notice) } => format!("matches, observes, and would have {}", would(notice)),
        Verdict::Differs { field, value, patterns } => match value {
            Some(value) => format!("{field} is `{value}`, not {patterns}"),
            None => format!("it has no {field}, and {patterns} is wanted"),
        },
        Verdict::Fails { condition, error: None } => format!("`{condition}` does not hold"),
        Verdict::Fails { condition, error: Some(error) } => {
            format!("`{condition}` cannot be told ({error}), so it does not hold")
        }
        Verdict::NotReached => "not asked".into(),
    }
}

fn would(notice: &Notice) -> String {
    match notice {
        Notice::Refused { .. } => "refused it".into(),
        Notice::Clamped { to, .. } => format!("held it to {to} output tokens"),
        Notice::Spent { budget, percent, .. } => format!("told that {percent}% of {budget} is spent"),
        Notice::Cut { budget } => format!("cut it, as {budget} is spent"),
    }
}

fn json(call: &Call, explanation: &Explanation) -> Value {
    let Explanation { named, teams, rules, decision, budgets, limits } = explanation;
    let caller = &call.caller;
    let pod = caller.pod.as_deref();
    let list = |list: &[Looked]| list.iter().map(looked).collect::<Vec<_>>();
    json!({
        "call": {
            "program": &*caller.program, "executable": caller.executable, "user": &*caller.user, "uid": caller.uid,
            "cgroup": caller.cgroup.as_deref(), "unit": caller.system_unit.as_deref(), "user_unit": caller.unit.as_deref().filter(|unit| caller.system_unit.as_deref() != Some(unit)),
            "container": caller.container.as_deref(),
            "pod": pod.and_then(|pod| pod.name.as_deref()), "namespace": pod.and_then(|pod| pod.namespace.as_deref()),
            "service_account": pod.and_then(|pod| pod.service_account.as_deref()),
            "provider": call.provider, "region": call.region, "host": call.host, "operation": call.operation.as_str(),
            "model": call.model, "stream": call.stream, "max_output_tokens": call.max_output_tokens,
            "credential": call.credential, "user_agent": call.user_agent, "end_user": call.end_user,
            "at": call.at.to_string(),
        },
        "team": named.team.as_deref(),
        "cost_center": named.cost_center.as_deref(),
        "decision": {
            "allowed": decision.refused.is_none(),
            "rule": decision.rule.as_deref(),
            "max_output_tokens": decision.clamp,
            "status": decision.refused.as_ref().map(|refused| refused.status.as_u16()),
            "message": decision.refused.as_ref().map(|refused| refused.message.as_str()),
        },
        "teams": list(teams), "rules": list(rules), "budgets": list(budgets), "limits": list(limits),
    })
}

fn looked(looked: &Looked) -> Value {
    let verdict_name = match &looked.verdict {
        Verdict::Matches => "matches",
        Verdict::Observes { .. } => "observes",
        Verdict::Differs { .. } => "differs",
        Verdict::Fails { .. } => "fails",
        Verdict::NotReached => "not_reached",
    };
    let mut value = json!({ "name": &*looked.name, "verdict": verdict_name, "why": verdict(&looked.verdict) });
    if matches!(looked.verdict, Verdict::Matches) && !looked.group.is_empty() {
        value["group"] = looked.group.as_str().into();
    }
    if let Verdict::Observes { would: Some(Notice::Refused { mode, .. }) } = &looked.verdict {
        value["would_refuse"] = (*mode == Mode::Observe).into();
    }
    value
}
