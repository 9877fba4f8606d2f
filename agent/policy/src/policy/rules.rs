use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;
use tollgate_llm::Operation;

use super::{Call, Policy, words};
use crate::{Action, Hours, Mode, Notice, Parameter, Patterns, Refused, Rule, Subject, What};

/// A call that the rules let pass.
#[derive(Debug)]
pub(crate) struct Passed {
    /// The most output tokens that it may ask for, where it asks for more or does not say.
    pub(crate) clamp: Option<u64>,
    /// What observed rules would have done, and the clamp.
    pub(crate) notices: Vec<Notice>,
}

/// What a rule makes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing stands against it.
    Passes,
    /// It is edited to ask for no more output tokens than this.
    Clamped(u64),
    /// The rule allows none.
    Denied,
    /// Not at this hour.
    Closed,
    /// Not this model.
    WrongModel,
    /// It is one of several models, and it does not say which.
    NoModel,
    /// It does not say what it must.
    Missing,
}

impl Policy {
    /// Asks the rules. The first that matches decides; those that only observe tell what they would have done.
    pub(crate) fn ask_rules(&self, call: &Call<'_>) -> Result<Passed, Refused> {
        let mut notices = Vec::new();
        for at in self.matching_rules(call) {
            let rule = &self.spec.rules[at];
            let outcome = Outcome::of(rule, &call.subject, call.now);
            if rule.mode == Mode::Observe {
                notices.extend(outcome.notice(rule, &call.subject));
                continue;
            }
            return match self.act(rule, outcome, call) {
                Ok(clamp) => {
                    notices.extend(outcome.notice(rule, &call.subject));
                    Ok(Passed { clamp, notices })
                }
                Err(refused) => Err(Refused { notices, ..refused }),
            };
        }
        match self.by_default() {
            Ok(clamp) => Ok(Passed { clamp, notices }),
            Err(refused) => Err(Refused { notices, ..refused }),
        }
    }

    /// What becomes of a call on which that rule, or none, decides: the clamp, or the refusal without notices.
    pub(super) fn decision_of(&self, rule: Option<usize>, call: &Call<'_>) -> Result<Option<u64>, Refused> {
        let Some(rule) = rule.map(|at| &self.spec.rules[at]) else { return self.by_default() };
        self.act(rule, Outcome::of(rule, &call.subject, call.now), call)
    }

    fn act(&self, rule: &Rule, outcome: Outcome, call: &Call<'_>) -> Result<Option<u64>, Refused> {
        match outcome {
            Outcome::Passes => Ok(None),
            Outcome::Clamped(most) => Ok(Some(most)),
            _ => Err(self.refused(rule, outcome, call)),
        }
    }

    fn by_default(&self) -> Result<Option<u64>, Refused> {
        match self.spec.default {
            Action::Allow => Ok(None),
            Action::Deny => Err(Refused {
                what: What::Rule,
                name: Arc::from("default"),
                status: StatusCode::FORBIDDEN,
                message: words::by_default(self.spec.contact.as_deref()),
                retry_after: None,
                quota: None,
                notices: Vec::new(),
            }),
        }
    }

    fn refused(&self, rule: &Rule, outcome: Outcome, call: &Call<'_>) -> Refused {
        let opens = rule.hours.as_ref().filter(|_| outcome == Outcome::Closed).and_then(|hours| hours.opens(call.now));
        let contact = rule.contact.as_deref().or(self.spec.contact.as_deref());
        Refused {
            what: What::Rule,
            name: Arc::clone(&rule.name),
            status: if outcome == Outcome::Missing { StatusCode::BAD_REQUEST } else { StatusCode::FORBIDDEN },
            message: words::refusal(rule, outcome, call, opens, contact),
            retry_after: opens.and_then(|opens| Duration::try_from(call.now.duration_until(opens)).ok()),
            quota: None,
            notices: Vec::new(),
        }
    }
}

impl Outcome {
    /// What a rule that matches makes of a call, whether it acts or observes.
    pub(crate) fn of(rule: &Rule, subject: &Subject<'_>, now: Timestamp) -> Self {
        if rule.action == Action::Deny {
            return Self::Denied;
        }
        if !rule.hours.as_ref().is_none_or(|hours: &Hours| hours.is_open(now)) {
            return Self::Closed;
        }
        if let Some(refused) = rule.models.as_ref().and_then(|models| wrong_model(models, subject)) {
            return refused;
        }
        if missing(&rule.require, subject).next().is_some() {
            return Self::Missing;
        }
        match rule.max_output_tokens {
            Some(most)
                if generates_text(subject.operation) && subject.max_output_tokens.is_none_or(|own| own > most) =>
            {
                Self::Clamped(most)
            }
            _ => Self::Passes,
        }
    }

    /// What is told of it.
    pub(super) fn notice(self, rule: &Rule, subject: &Subject<'_>) -> Option<Notice> {
        let mode = rule.mode;
        match self {
            Self::Passes => None,
            Self::Clamped(to) => {
                Some(Notice::Clamped { rule: Arc::clone(&rule.name), from: subject.max_output_tokens, to, mode })
            }
            _ => Some(Notice::Refused { what: What::Rule, name: Arc::clone(&rule.name), mode }),
        }
    }
}

/// What a request does not say, of what a rule requires and its operation has a parameter for.
pub(super) fn missing(require: &[Parameter], subject: &Subject<'_>) -> impl Iterator<Item = Parameter> {
    require.iter().copied().filter(move |parameter| match parameter {
        Parameter::MaxOutputTokens => generates_text(subject.operation) && subject.max_output_tokens.is_none(),
        Parameter::Stream => generates_text(subject.operation) && !subject.stream,
        Parameter::EndUser => names_end_users(subject.operation) && subject.end_user.is_none_or(str::is_empty),
    })
}

/// The patterns are in lower case.
fn wrong_model(models: &Patterns, subject: &Subject<'_>) -> Option<Outcome> {
    let model = subject.model.filter(|model| !model.is_empty());
    match model {
        Some(model) => (!models.matches(Some(&model.to_ascii_lowercase()))).then_some(Outcome::WrongModel),
        // What runs no model names none: lists, files, counts, and sockets whose calls come later.
        None if !runs_model(subject.operation) => None,
        None => Some(Outcome::NoModel),
    }
}

/// Whether its answer is text whose length a request may bound.
fn generates_text(operation: Operation) -> bool {
    use Operation::{Chat, GenerateContent, Realtime, TextCompletion};
    matches!(operation, Chat | TextCompletion | GenerateContent | Realtime)
}

/// Whether its requests have a place for whom they are for.
fn names_end_users(operation: Operation) -> bool {
    generates_text(operation) || matches!(operation, Operation::Embeddings | Operation::Image)
}

fn runs_model(operation: Operation) -> bool {
    !matches!(operation, Operation::Session | Operation::File | Operation::CountTokens | Operation::Other)
}
