use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use cel::common::types::{CelBool, CelInt, CelMap, CelMapKey, CelString, CelTimestamp};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use chrono::DateTime;
use jiff::Timestamp;
use tollgate_llm::Operation;
use tollgate_workload::{Caller, Pod};

use super::regexes::Regex;
use crate::{Field, Named, Subject};

/// Most labels of a pod that a condition sees.
pub(super) const LABELS: usize = 256;

/// `caller.`…
pub(super) const CALLER: [&str; 13] = [
    "program",
    "executable",
    "user",
    "uid",
    "pid",
    "cgroup",
    "unit",
    "user_unit",
    "container",
    "pod",
    "namespace",
    "service_account",
    "labels",
];
/// `request.`…
pub(super) const REQUEST: [&str; 10] = [
    "provider",
    "region",
    "host",
    "operation",
    "model",
    "stream",
    "max_output_tokens",
    "end_user",
    "user_agent",
    "credential",
];
/// What stands alone.
pub(super) const ALONE: [&str; 3] = ["team", "cost_center", "now"];
/// What stands in the request's body.
pub(super) const IN_BODY: [&str; 4] = ["model", "stream", "max_output_tokens", "end_user"];

/// What a regular expression is called in the checked expression, before its number. No name in CEL has such a character.
pub(super) const REGEX: &str = "#";
/// What a label is called, before its name.
pub(super) const LABEL: &str = "caller.labels.";

/// What a condition may name, looked up when it does. Texts are borrowed.
pub(super) struct Facts<'a> {
    pub(super) subject: &'a Subject<'a>,
    pub(super) named: &'a Named,
    pub(super) now: Timestamp,
    pub(super) regexes: &'a [Regex],
}

impl VariableResolver for Facts<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(number) = variable.strip_prefix(REGEX) {
            let number: usize = number.parse().ok()?;
            return self.regexes.get(number).map(|regex| CowVal::Borrowed(regex));
        }
        if let Some(label) = variable.strip_prefix(LABEL) {
            return Some(text(self.labels().find(|(name, _)| *name == label).map(|(_, value)| value)));
        }
        Some(match variable {
            "team" => text(self.named.team.as_deref()),
            "cost_center" => text(self.named.cost_center.as_deref()),
            "now" => timestamp(self.now)?,
            "caller.uid" => number(u64::from(self.subject.caller.uid)),
            "caller.pid" => number(u64::from(self.subject.caller.pid)),
            "caller.labels" => self.label_map(),
            "request.stream" => CowVal::owned(CelBool::from(self.subject.stream)),
            "request.max_output_tokens" => number(self.subject.max_output_tokens.unwrap_or_default()),
            _ => {
                let (_, name) = variable.split_once('.')?;
                let field: Field = name.parse().ok()?;
                match field.value(self.subject, self.named) {
                    Some(value) => CowVal::owned(CelString::from(value)),
                    None => text(None),
                }
            }
        })
    }
}

impl Facts<'_> {
    fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.subject.caller.pod.iter().flat_map(|pod| &pod.labels);
        labels.take(LABELS).map(|(name, value)| (&**name, &**value))
    }

    fn label_map<'b>(&'b self) -> CowVal<'b, 'b> {
        let value = |value: &'b str| -> Box<dyn Val + 'b> { Box::new(CelString::from(value)) };
        let labels: HashMap<_, _> =
            self.labels().map(|(name, text)| (CelMapKey::String(CelString::from(name)), value(text))).collect();
        CowVal::owned(CelMap::from(labels))
    }
}

fn text(value: Option<&str>) -> CowVal<'_, '_> {
    CowVal::owned(CelString::from(value.unwrap_or_default()))
}

fn number<'b>(value: u64) -> CowVal<'b, 'b> {
    CowVal::owned(CelInt::from(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn timestamp<'b>(at: Timestamp) -> Option<CowVal<'b, 'b>> {
    let nanosecond = u32::try_from(at.subsec_nanosecond()).unwrap_or_default();
    let at = DateTime::from_timestamp(at.as_second(), nanosecond)?;
    Some(CowVal::owned(CelTimestamp::from(at.fixed_offset())))
}

/// A call of which nothing is known, and one of which everything is.
pub(super) fn examples<E>(regexes: &[Regex], mut with: impl FnMut(&Facts<'_>) -> Result<(), E>) -> Result<(), E> {
    let some = || Some(Arc::from("x"));
    let labels = vec![(Arc::from("x"), Arc::from("x"))];
    let pod = Pod { uid: Arc::from("x"), name: some(), namespace: some(), service_account: some(), labels };
    let mut caller = Caller {
        program: Arc::from(""),
        executable: None,
        user: Arc::from(""),
        uid: 0,
        pid: 1,
        cgroup: None,
        unit: None,
        system_unit: None,
        container: None,
        pod: None,
    };
    let now = Timestamp::UNIX_EPOCH;
    let nothing = Subject {
        caller: &caller,
        credential: None,
        provider: "",
        region: None,
        host: "",
        operation: Operation::Other,
        model: None,
        stream: false,
        max_output_tokens: None,
        end_user: None,
        user_agent: None,
    };
    let named = Named::default();
    with(&Facts { subject: &nothing, named: &named, now, regexes })?;
    caller.program = Arc::from("x");
    caller.executable = Some(PathBuf::from("x"));
    (caller.unit, caller.system_unit, caller.cgroup, caller.container) = (some(), some(), some(), some());
    caller.uid = 1000;
    caller.pod = Some(Arc::new(pod));
    let all = Subject {
        caller: &caller,
        credential: Some("x"),
        provider: "x",
        region: Some("x"),
        host: "x",
        operation: Operation::Chat,
        model: Some("x"),
        stream: true,
        max_output_tokens: Some(1),
        end_user: Some("x"),
        user_agent: Some("x"),
    };
    let named = Named { team: some(), cost_center: some() };
    with(&Facts { subject: &all, named: &named, now, regexes })
}
