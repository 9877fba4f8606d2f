use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::str::FromStr as _;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tollgate_policy::{Field, Patterns, Selector};

use tollgate_llm::Operation;

use crate::check::Checks;
use crate::decode::nearest;
use crate::document::Path;
use crate::many::Many;
use crate::value::{Leaf, shorten};
use crate::words::Glob;

type Globs = Option<Many<Leaf<Glob>>>;

/// Which calls are meant.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSelector {
    /// The caller's team.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    team: Globs,
    /// File name of the caller's executable. For scripts that is the interpreter's, such as `python3.13`. From the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    program: Globs,
    /// Path of the executable. From the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    executable: Globs,
    /// The caller's login name. From the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    user: Globs,
    /// The caller's user id. From the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    uid: Globs,
    /// The caller's path in the cgroup v2 hierarchy. From the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    cgroup: Globs,
    /// The unit of the system's systemd that the caller runs in. Only root can choose it. From the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    unit: Globs,
    /// The unit of a user's own systemd that the caller runs in. That user can give it any name, so match `user` too. From the kernel.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    user_unit: Globs,
    /// Id of the container that the caller runs in. From the kernel; users who run engines of their own can give theirs any id, so match
    /// `user` too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    container: Globs,
    /// Name of the caller's Kubernetes pod. From the kernel and the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    pod: Globs,
    /// The pod's Kubernetes namespace. From the kernel and the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    namespace: Globs,
    /// The pod's Kubernetes service account. From the kernel and the API server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    service_account: Globs,
    /// Labels of the caller's pod, each with what it may be. From the kernel and the API server.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, Many<Leaf<Glob>>>,
    /// Fingerprint of the credential, as reports show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    credential: Globs,
    /// The SDK, from the request's `user-agent`, which can be forged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    user_agent: Globs,
    /// Whom the request says that it is for (`user`, `metadata.user_id`, `safety_identifier`), which can be forged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    end_user: Globs,
    /// The provider's name, as in reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    provider: Globs,
    /// The provider's region.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    region: Globs,
    /// The host that is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    host: Globs,
    /// What is asked: `chat`, `embeddings`, `image` and so on, as in reports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    operation: Globs,
    /// The model that the request asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Many<Leaf<Glob>>")]
    model: Globs,
}

/// What selectors can name that is in a list somewhere.
pub(super) struct Known<'a> {
    /// The teams of this file.
    pub(super) teams: HashSet<String>,
    /// The providers, built in and of this file.
    pub(super) providers: &'a [String],
    /// Whether pods have names, namespaces, labels and service accounts.
    pub(super) pods: bool,
}

impl Known<'_> {
    /// Looks for patterns that can match nothing. Of a team that is certain, and means that somebody's rule would not hold; a provider may
    /// come with the next version.
    fn check(&self, field: Field, globs: &[Leaf<Glob>], here: &Path, checks: &mut Checks<'_>) {
        let (names, what): (Vec<&str>, _) = match field {
            // There may be thousands of each.
            Field::Team if globs.iter().all(|glob| self.teams.contains(&glob.0.0)) => return,
            Field::Team => {
                let mut teams: Vec<&str> = self.teams.iter().map(String::as_str).collect();
                teams.sort_unstable();
                (teams, "team")
            }
            Field::Provider => (self.providers.iter().map(String::as_str).collect(), "provider"),
            Field::Operation => (Operation::ALL.map(Operation::as_str).into(), "operation"),
            Field::Pod | Field::Namespace | Field::ServiceAccount if !self.pods => {
                return warn_of_pods(here, checks);
            }
            _ => return,
        };
        for (index, glob) in globs.iter().enumerate() {
            let text = glob.0.0.trim_start_matches('!');
            let matches = Patterns::parse(&[text]).map(|pattern| names.iter().any(|name| pattern.matches(Some(*name))));
            if matches != Ok(false) {
                continue;
            }
            let place = if globs.len() > 1 { here.clone().index(index) } else { here.clone() };
            let shown = shorten(text);
            let message = format!("there is no {what} `{shown}`");
            let remedy = nearest(text, &names).map(|meant| format!("did you mean `{meant}`?"));
            if field == Field::Team {
                checks.report(&place, message, remedy.unwrap_or_else(|| "name it in `teams`".into()));
            } else {
                let remedy = remedy.unwrap_or_else(|| format!("see the {what}s in reports and docs/providers.md"));
                checks.warn(&place, message, remedy);
            }
        }
    }
}

/// What only the API server knows matches nothing where it is not asked.
fn warn_of_pods(here: &Path, checks: &mut Checks<'_>) {
    let remedy = "set `kubernetes.api`, or name something that the kernel knows, such as `cgroup`";
    checks.warn(here, "no call has this, because `kubernetes.api` is off", remedy);
}

impl RawSelector {
    /// The selector whose keys are at `here`.
    pub(super) fn check(self, here: &Path, known: &Known<'_>, checks: &mut Checks<'_>) -> Selector {
        let written: [(Field, Globs); Field::ALL.len()] = [
            (Field::Team, self.team),
            (Field::Program, self.program),
            (Field::Executable, self.executable),
            (Field::User, self.user),
            (Field::Uid, self.uid),
            (Field::Cgroup, self.cgroup),
            (Field::Unit, self.unit),
            (Field::UserUnit, self.user_unit),
            (Field::Container, self.container),
            (Field::Pod, self.pod),
            (Field::Namespace, self.namespace),
            (Field::ServiceAccount, self.service_account),
            (Field::Credential, self.credential),
            (Field::UserAgent, self.user_agent),
            (Field::EndUser, self.end_user),
            (Field::Provider, self.provider),
            (Field::Region, self.region),
            (Field::Host, self.host),
            (Field::Operation, self.operation),
            (Field::Model, self.model),
        ];
        let fields = written.into_iter().filter_map(|(field, globs)| {
            let (globs, here) = (globs?, here.clone().key(field.as_str()));
            known.check(field, &globs.0, &here, checks);
            Some((field, patterns(globs, &here, checks)))
        });
        let fields = fields.collect();
        if !known.pods && !self.labels.is_empty() {
            warn_of_pods(&here.clone().key("labels"), checks);
        }
        let labels = self.labels.into_iter().map(|(label, globs)| {
            let patterns = patterns(globs, &here.clone().key("labels").key(&label), checks);
            (label, patterns)
        });
        Selector { labels: labels.collect(), fields }
    }
}

/// What a list of patterns at a path means.
pub(super) fn patterns(globs: Many<Leaf<Glob>>, here: &Path, checks: &mut Checks<'_>) -> Patterns {
    if globs.0.is_empty() {
        checks.report(here, "the list is empty", "name at least one pattern, or leave the key out");
        return Patterns::default();
    }
    let texts: Vec<String> = globs.0.into_iter().map(|glob| glob.0.0).collect();
    Patterns::parse(&texts).unwrap_or_else(|error| {
        checks.report(here, error.to_string().replace(char::is_control, "\u{fffd}"), "correct the list");
        Patterns::default()
    })
}

/// A property of a call, by its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawField(pub(super) Field);

impl Serialize for RawField {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for RawField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Field::from_str(&text).map(Self).map_err(|()| de::Error::custom("it is no property of a call"))
    }
}

impl JsonSchema for RawField {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "a property of calls".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Field::ALL.map(Field::as_str) })
    }
}

/// The fields that share something into parts, each at most once.
pub(super) fn groups(raw: Option<Many<RawField>>, here: &Path, checks: &mut Checks<'_>) -> Vec<Field> {
    let mut fields = Vec::new();
    for (index, RawField(field)) in raw.into_iter().flat_map(|raw| raw.0).enumerate() {
        if fields.contains(&field) {
            checks.report(&here.clone().key("per").index(index), "it is named twice", "name it once");
        }
        fields.push(field);
    }
    fields
}
