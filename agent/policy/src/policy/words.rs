use std::fmt::Write as _;

use jiff::Timestamp;

use super::Call;
use super::rules::{Outcome, missing};
use crate::window::readable;
use crate::{Field, Parameter, Patterns, Rule};

/// Most patterns that a refusal lists.
const LISTED: usize = 10;
/// Most characters of a caller's own value.
const LONGEST: usize = 80;

/// What a caller is told whom a rule refuses: which rule, why, what to do, when it opens, whom to ask. A rule's own message takes
/// the place of all but the last.
pub(super) fn refusal(
    rule: &Rule,
    outcome: Outcome,
    call: &Call<'_>,
    opens: Option<Timestamp>,
    contact: Option<&str>,
) -> String {
    let mut message = match &rule.message {
        Some(message) => message.to_string(),
        None => usual(rule, outcome, call, opens),
    };
    add_contact(&mut message, contact);
    message
}

/// What a caller is told whom no rule allows.
pub(super) fn by_default(contact: Option<&str>) -> String {
    let mut message = "No rule allows this call, and what no rule allows is refused.".to_owned();
    add_contact(&mut message, contact);
    message
}

fn usual(rule: &Rule, outcome: Outcome, call: &Call<'_>, opens: Option<Timestamp>) -> String {
    let name = &rule.name;
    let models = rule.models.as_ref().map(list).unwrap_or_default();
    match outcome {
        Outcome::Closed => {
            let hours = rule.hours.as_ref().map(ToString::to_string).unwrap_or_default();
            let next = rule.hours.as_ref().zip(opens).map(|(hours, opens)| {
                readable(opens.as_second(), &hours.zone).map(|opens| format!(" It opens again at {opens}."))
            });
            format!(
                "Rule \"{name}\" allows this call at certain hours only: {hours}.{}",
                next.flatten().unwrap_or_default()
            )
        }
        Outcome::WrongModel => {
            let model = short(call.subject.model.unwrap_or_default());
            format!("Rule \"{name}\" does not allow the model \"{model}\". It allows: {models}.")
        }
        Outcome::NoModel => {
            format!(
                "Rule \"{name}\" allows certain models only, and this request does not say which it is for. It allows: {models}."
            )
        }
        Outcome::Missing => {
            let add: Vec<_> = missing(&rule.require, &call.subject).map(parameter).collect();
            format!("Rule \"{name}\" requires what this request does not say. Add {}.", add.join("; and "))
        }
        Outcome::Denied | Outcome::Passes | Outcome::Clamped(_) => {
            let about = about(rule, call);
            format!("Rule \"{name}\" does not allow this call{about}.")
        }
    }
}

/// By what the rule is about the call: the caller's own values of what it names.
fn about(rule: &Rule, call: &Call<'_>) -> String {
    let fields = rule.matches.fields.iter().map(|(field, _)| *field).filter(|field| *field != Field::Credential);
    let own = fields.filter_map(|field| Some(format!("{field} {}", short(call.values.get(field)?))));
    let own: Vec<_> = own.collect();
    if own.is_empty() { String::new() } else { format!(" ({})", own.join(", ")) }
}

fn parameter(parameter: Parameter) -> &'static str {
    match parameter {
        Parameter::MaxOutputTokens => {
            "how many tokens the answer may have at most (max_tokens, max_completion_tokens, max_output_tokens or \
             maxOutputTokens, as the API calls it)"
        }
        Parameter::EndUser => "whom it is for (user, safety_identifier or metadata.user_id, as the API calls it)",
        Parameter::Stream => "that the answer is to be a stream (\"stream\": true)",
    }
}

fn list(patterns: &Patterns) -> String {
    let mut listed: Vec<_> = patterns.texts().take(LISTED).collect();
    if patterns.texts().count() > LISTED {
        listed.push("and others");
    }
    listed.join(", ")
}

/// Fit for one line.
fn short(value: &str) -> String {
    let shown = value.chars().take(LONGEST).map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c });
    shown.chain(value.chars().nth(LONGEST).map(|_| '…')).collect()
}

fn add_contact(message: &mut String, contact: Option<&str>) {
    if let Some(contact) = contact.filter(|contact| !message.contains(contact)) {
        write!(message, " Ask {contact}.").expect("a string takes what is written");
    }
}
