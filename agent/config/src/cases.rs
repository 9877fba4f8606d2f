//! The operator's own cases for their policy: calls, and what is to become of them.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_llm::Operation;

use crate::amount::Number;
use crate::check::Checks;
use crate::decode;
use crate::document::{Document, LIMIT, Path as At};
use crate::error::{Error, Place};
use crate::value::{Leaf, Value};

/// A call, and what is to become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it is called.
    pub name: String,
    /// Where it begins.
    pub place: Place,
    /// The call.
    pub call: CaseCall,
    /// What is to become of it.
    pub expect: Expectation,
}

/// A call as somebody describes it. What is not said is not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CaseCall {
    /// The properties that selectors know, by their keys, with `operation` and all others as text.
    pub fields: BTreeMap<&'static str, String>,
    /// Labels of the caller's pod.
    pub labels: BTreeMap<String, String>,
    /// What is asked.
    pub operation: Option<Operation>,
    /// The caller's user id.
    pub uid: Option<u32>,
    /// Whether a stream is asked for.
    pub stream: bool,
    /// The most output tokens that the request allows.
    pub max_output_tokens: Option<u64>,
    /// When it is made; now where nothing is said.
    pub at: Option<Timestamp>,
}

/// What is to become of a call. What is not said may be anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Expectation {
    /// Whether it is let through.
    pub allow: Option<bool>,
    /// The rule that decides; `default` where none does.
    pub rule: Option<String>,
    /// The caller's team; `none` where it has none.
    pub team: Option<String>,
    /// To how many output tokens it is held; `None` within where to none.
    pub clamp: Option<Option<u64>>,
    /// The budgets that are charged, in any order.
    pub budgets: Option<Vec<String>>,
    /// The limits in which it counts, in any order.
    pub limits: Option<Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawCases {
    /// The cases.
    cases: Vec<RawCase>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RawCase {
    /// What it is called.
    name: Leaf<Word>,
    /// The call.
    #[serde(default)]
    call: RawCall,
    /// What is to become of it.
    expect: RawExpectation,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RawCall {
    #[schemars(with = "Leaf<Word>")]
    program: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    executable: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    user: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Uid>")]
    uid: Option<Leaf<Uid>>,
    #[schemars(with = "Leaf<Word>")]
    cgroup: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    unit: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    user_unit: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    container: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    pod: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    namespace: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    service_account: Option<Leaf<Word>>,
    labels: BTreeMap<String, Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    credential: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    user_agent: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    end_user: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    provider: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    region: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    host: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Operation>")]
    operation: Option<Leaf<Operation>>,
    #[schemars(with = "Leaf<Word>")]
    model: Option<Leaf<Word>>,
    stream: Leaf<Flag>,
    #[schemars(with = "Leaf<Number>")]
    max_output_tokens: Option<Leaf<Number>>,
    #[schemars(with = "Leaf<Timestamp>")]
    at: Option<Leaf<Timestamp>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct RawExpectation {
    #[schemars(with = "RawDecision")]
    decision: Option<RawDecision>,
    #[schemars(with = "Leaf<Word>")]
    rule: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<Word>")]
    team: Option<Leaf<Word>>,
    #[schemars(with = "Leaf<ClampTo>")]
    clamp: Option<Leaf<ClampTo>>,
    #[schemars(with = "Vec<Leaf<Word>>")]
    budgets: Option<Vec<Leaf<Word>>>,
    #[schemars(with = "Vec<Leaf<Word>>")]
    limits: Option<Vec<Leaf<Word>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum RawDecision {
    Allow,
    Deny,
}

/// Any text on one line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word(String);

impl Value for Word {
    const NAME: &str = "a text";
    const EXAMPLE: &str = "search-api.service";

    fn read(text: &str) -> Result<Self, String> {
        if text.contains(char::is_control) { Err("it is on one line".into()) } else { Ok(Self(text.into())) }
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Flag(bool);

impl Value for Flag {
    const NAME: &str = "`true` or `false`";
    const EXAMPLE: &str = "true";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_neither| String::new())
    }

    fn write(&self) -> String {
        self.0.to_string()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Uid(u32);

impl Value for Uid {
    const NAME: &str = "a user id";
    const EXAMPLE: &str = "1000";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_none| String::new())
    }

    fn write(&self) -> String {
        self.0.to_string()
    }
}

impl Value for Operation {
    const NAME: &str = "an operation";
    const EXAMPLE: &str = "chat";

    fn read(text: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::as_str);
        Self::ALL.into_iter().find(|operation| operation.as_str() == text).ok_or_else(|| {
            let meant = decode::nearest(text, &known);
            meant.map_or_else(|| format!("they are {}", known.join(", ")), |meant| format!("did you mean `{meant}`?"))
        })
    }

    fn write(&self) -> String {
        self.as_str().into()
    }
}

impl Value for Timestamp {
    const NAME: &str = "a time with its offset";
    const EXAMPLE: &str = "2026-11-23T10:00:00+01:00";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_none| String::new())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct ClampTo(Option<u64>);

impl Value for ClampTo {
    const NAME: &str = "a number, or `none`";
    const EXAMPLE: &str = "4096";

    fn read(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self(None)) } else { Number::read(text).map(|number| Self(Some(number.0))) }
    }

    fn write(&self) -> String {
        self.0.map_or_else(|| "none".into(), |number| Number(number).write())
    }
}

/// Reads a file of cases.
pub fn load_cases(path: &Path) -> Result<Vec<Case>, Error> {
    let text = crate::read(path, LIMIT).map_err(|source| Error::ReadCases { path: path.into(), source })?;
    parse_cases(&path.to_string_lossy(), &text)
}

/// Checks the text of a file of cases. `name` stands for the file in errors.
pub fn parse_cases(name: &str, text: &str) -> Result<Vec<Case>, Error> {
    let invalid = |problems| Error::Invalid { name: name.into(), problems };
    let document = Document::parse(text, LIMIT).map_err(|problem| invalid(vec![problem]))?;
    let RawCases { cases } = decode::decode(&document).map_err(invalid)?;
    let mut checks = Checks::new(&document);
    let here = At::default().key("cases");
    if cases.is_empty() {
        checks.report(&here, "there are no cases", "add one: a `name`, a `call`, and what to `expect`");
    }
    let cases = cases.into_iter().enumerate().map(|(index, case)| {
        let here = here.clone().index(index);
        let expect = Expectation::from(case.expect);
        if expect == Expectation::default() {
            checks.report(
                &here.clone().key("expect"),
                "nothing is expected",
                "say `decision: allow` or `decision: deny`",
            );
        }
        Case { name: case.name.0.0, place: document.place(&here), call: case.call.into(), expect }
    });
    let cases = cases.collect();
    checks.finish(cases).map_err(invalid)
}

impl From<RawCall> for CaseCall {
    fn from(raw: RawCall) -> Self {
        let fields = [
            ("program", raw.program),
            ("executable", raw.executable),
            ("user", raw.user),
            ("cgroup", raw.cgroup),
            ("unit", raw.unit),
            ("user_unit", raw.user_unit),
            ("container", raw.container),
            ("pod", raw.pod),
            ("namespace", raw.namespace),
            ("service_account", raw.service_account),
            ("credential", raw.credential),
            ("user_agent", raw.user_agent),
            ("end_user", raw.end_user),
            ("provider", raw.provider),
            ("region", raw.region),
            ("host", raw.host),
            ("model", raw.model),
        ];
        Self {
            fields: fields.into_iter().filter_map(|(key, value)| Some((key, value?.0.0))).collect(),
            labels: raw.labels.into_iter().map(|(key, value)| (key, value.0.0)).collect(),
            operation: raw.operation.map(|operation| operation.0),
            uid: raw.uid.map(|uid| uid.0.0),
            stream: raw.stream.0.0,
            max_output_tokens: raw.max_output_tokens.map(|number| number.0.0),
            at: raw.at.map(|at| at.0),
        }
    }
}

impl From<RawExpectation> for Expectation {
    fn from(raw: RawExpectation) -> Self {
        let names = |names: Option<Vec<Leaf<Word>>>| Some(names?.into_iter().map(|name| name.0.0).collect());
        Self {
            allow: raw.decision.map(|decision| decision == RawDecision::Allow),
            rule: raw.rule.map(|rule| rule.0.0),
            team: raw.team.map(|team| team.0.0),
            clamp: raw.clamp.map(|clamp| clamp.0.0),
            budgets: names(raw.budgets),
            limits: names(raw.limits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_a_call_and_what_is_expected() {
        let cases = parse_cases(
            "t.yaml",
            "cases:
  - name: research may
    call: { unit: a.service, uid: 1000, labels: { gpu: true }, operation: image, model: gpt-5, stream: true,
            max_output_tokens: 4k, at: 2026-11-23T10:00:00+01:00 }
    expect: { decision: allow, team: research, rule: default, clamp: none, budgets: [], limits: [rpm] }
  - { name: others may not, expect: { decision: deny, clamp: 4096 } }
",
        );
        let cases = cases.unwrap();
        let CaseCall { fields, labels, operation, uid, stream, max_output_tokens, at } = &cases[0].call;
        assert_eq!(fields, &[("model", "gpt-5".to_owned()), ("unit", "a.service".to_owned())].into());
        assert_eq!(labels["gpu"], "true");
        assert_eq!((operation, uid, stream), (&Some(Operation::Image), &Some(1000), &true));
        assert_eq!((max_output_tokens, at.unwrap().to_string()), (&Some(4000), "2026-11-23T09:00:00Z".into()));
        let expect = &cases[0].expect;
        assert_eq!((expect.allow, expect.rule.as_deref(), expect.clamp), (Some(true), Some("default"), Some(None)));
        assert_eq!(
            (expect.budgets.as_deref(), expect.limits.as_deref()),
            (Some(&[][..]), Some(&["rpm".to_owned()][..]))
        );
        assert_eq!((cases[1].expect.allow, cases[1].expect.clamp), (Some(false), Some(Some(4096))));
        assert_eq!((cases[1].place.line, &cases[1].call), (6, &CaseCall::default()));
    }

    #[test]
    fn what_is_wrong_is_told_by_line_field_and_remedy() {
        for (text, told) in [
            ("", "t.yaml:1:1: `cases` is missing"),
            ("cases: []", "t.yaml:1:8: cases: there are no cases"),
            ("cases: [{ name: a, expect: {} }]", "cases[0].expect: nothing is expected"),
            ("cases: [{ name: a }]", "cases[0]: `expect` is missing"),
            ("cases: [{ name: a, call: { modle: x }, expect: { decision: deny } }]", "did you mean `model`?"),
            ("cases: [{ name: a, call: { operation: imagee }, expect: { decision: deny } }]", "did you mean `image`?"),
            ("cases: [{ name: a, expect: { decision: refuse } }]", "write `allow` or `deny`"),
            (
                "cases: [{ name: a, call: { at: noon }, expect: { decision: deny } }]",
                "`noon` is not a time with its offset",
            ),
        ] {
            let error = parse_cases("t.yaml", text).unwrap_err().to_string();
            assert!(error.contains(told) && error.lines().count() == 1, "{text}\n{error}");
        }
        assert!(load_cases(Path::new("/nowhere/cases.yaml")).unwrap_err().to_string().contains("/nowhere/cases.yaml"));
    }
}
