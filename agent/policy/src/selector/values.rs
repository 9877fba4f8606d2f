use std::borrow::Cow;

use tollgate_workload::Pod;

use crate::{Field, Named, Subject};

static NOBODY: Named = Named { team: None, cost_center: None };

/// The values of all fields of one call, each looked up once. What ignores case is in lower case.
#[derive(Debug)]
pub(crate) struct Values<'a> {
    fields: [Option<Cow<'a, str>>; Field::ALL.len()],
    pod: Option<&'a Pod>,
}

impl<'a> Values<'a> {
    /// The team is not known yet.
    pub(crate) fn new(subject: &Subject<'a>) -> Self {
        let value = |field: Field| {
            let value = field.value(subject, &NOBODY);
            match value {
                Some(value) if field.ignores_case() && value.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                    Some(Cow::Owned(value.to_ascii_lowercase()))
                }
                value => value,
            }
        };
        Self { fields: Field::ALL.map(value), pod: subject.caller.pod.as_deref() }
    }

    pub(crate) fn get(&self, field: Field) -> Option<&str> {
        self.fields[field as usize].as_deref()
    }

    /// A label of the pod. Unlike a field it may be empty: labels are also set for being there.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        let labels = &self.pod?.labels;
        labels.iter().find(|(own, _)| **own == *name).map(|(_, value)| &**value)
    }

    /// The pod's labels.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pod.iter().flat_map(|pod| pod.labels.iter().map(|(name, value)| (&**name, &**value)))
    }

    /// What the policy calls the caller, once that is known.
    pub(crate) fn set_team(&mut self, team: Option<&'a str>) {
        self.fields[Field::Team as usize] = team.map(Cow::Borrowed);
    }
}
