use jiff::Timestamp;
use rusqlite::types::Value;

use super::period::Period;

/// Which calls are asked for. Patterns are those of SQLite's GLOB, like a shell's: `*`, `?`, `[a-z]`. Of several for one
/// property any may match; no pattern is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// When the call began.
    pub period: Period,
    /// Providers' names.
    pub provider: Vec<String>,
    /// Models, as in [`Record::model`](crate::Record::model).
    pub model: Vec<String>,
    /// Programs' names.
    pub program: Vec<String>,
    /// Login names.
    pub user: Vec<String>,
    /// Names of Kubernetes pods.
    pub pod: Vec<String>,
    /// Kubernetes namespaces.
    pub namespace: Vec<String>,
    /// Kubernetes service accounts.
    pub service_account: Vec<String>,
    /// Teams.
    pub team: Vec<String>,
    /// Who pays.
    pub cost_center: Vec<String>,
    /// Whom requests say that they are for.
    pub end_user: Vec<String>,
    /// SDKs.
    pub user_agent: Vec<String>,
}

/// A condition in SQL, and the values of its parameters.
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<Value>,
}

/// Which models a table tells.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Models {
    Both,
    Asked,
}

impl Filter {
    /// For `WHERE`, over the columns that all tables of calls share.
    pub(super) fn condition(&self, models: Models) -> Condition {
        let mut condition = Condition { sql: "1".into(), values: Vec::new() };
        condition.bound("started >=", self.period.since);
        condition.bound("started <", self.period.until);
        let model = match models {
            Models::Both => "CASE request_model WHEN 0 THEN response_model ELSE request_model END",
            Models::Asked => "request_model",
        };
        condition.any("provider", &self.provider);
        condition.any(model, &self.model);
        condition.any("team", &self.team);
        condition.any("cost_center", &self.cost_center);
        condition.any("end_user", &self.end_user);
        condition.any("user_agent", &self.user_agent);
        for (column, globs) in [
            ("program", &self.program),
            ("user", &self.user),
            ("pod", &self.pod),
            ("namespace", &self.namespace),
            ("service_account", &self.service_account),
        ] {
            if !globs.is_empty() {
                condition.sql.push_str(" AND caller IN (SELECT id FROM caller WHERE 1");
                condition.any(column, globs);
                condition.sql.push(')');
            }
        }
        condition
    }
}

impl Condition {
    fn bound(&mut self, comparison: &str, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.sql.push_str(" AND ");
            self.sql.push_str(comparison);
            self.sql.push_str(" ?");
            self.values.push(at.as_microsecond().into());
        }
    }

    /// That the text which `column` refers to is like any of these.
    fn any(&mut self, column: &str, globs: &[String]) {
        if globs.is_empty() {
            return;
        }
        let likes = vec!["value GLOB ?"; globs.len()].join(" OR ");
        self.sql.extend([" AND ", column, " IN (SELECT id FROM text WHERE ", &likes, ")"]);
        self.values.extend(globs.iter().cloned().map(Value::from));
    }
}
