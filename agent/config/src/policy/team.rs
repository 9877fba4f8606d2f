use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tollgate_policy::{Field, Team};

use super::selector::{Known, RawSelector};
use super::text;
use crate::check::Checks;
use crate::document::Path;
use crate::value::Leaf;
use crate::words::{Name, Text, When};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawTeam {
    /// What it is called in reports and selectors.
    pub(super) name: Leaf<Name>,
    /// Who pays, as the accountants call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<Text>")]
    cost_center: Option<Leaf<Text>>,
    /// Whose calls are the team's: those where each key that is named here matches. A value is a pattern or a list of patterns: exact,
    /// with `*` for any characters and `?` for one, or with `!` before it for what is left out. What a call does not have is matched by
    /// lists that only leave out. Without keys, every call. Teams are told apart before all else, so `team` cannot stand here.
    #[serde(default)]
    r#match: RawSelector,
    /// What must also hold, in [CEL](rules.md#conditions).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Leaf<When>")]
    when: Option<Leaf<When>>,
}

pub(super) fn check(raw: Vec<RawTeam>, known: &Known<'_>, checks: &mut Checks<'_>) -> Vec<Team> {
    let teams = raw.into_iter().enumerate().map(|(index, team)| {
        let here = Path::default().key("teams").index(index).key("match");
        let matches = team.r#match.check(&here, known, checks);
        if matches.fields.iter().any(|(field, _)| *field == Field::Team) {
            let remedy = "name what its callers have in common, such as `unit` or `namespace`";
            checks.report(&here.key("team"), "a team cannot be chosen by teams", remedy);
        }
        Team {
            name: team.name.0.0.into(),
            cost_center: text(team.cost_center),
            matches,
            when: team.when.map(|when| when.0.0),
        }
    });
    teams.collect()
}
