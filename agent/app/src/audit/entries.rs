//! What the proxy tells, as entries. Nothing of what a call says is in them, not even whom it says that it is for, save in the
//! names of groups where the operator counts by that.

use std::sync::Arc;
use std::time::SystemTime;

use tollgate_audit::{Entry, What, Who};
use tollgate_policy::{Mode, Notice, Unit};
use tollgate_proxy::fate::ConnectionRecord;
use tollgate_proxy::observe::PolicyEvent;
use tollgate_workload::Caller;

/// What the policy decided.
pub(crate) fn policy(event: &PolicyEvent<'_>) -> Entry {
    let mut who = who(event.caller);
    who.team.clone_from(&event.attribution.team);
    who.cost_center.clone_from(&event.attribution.cost_center);
    let call = Entry {
        time: SystemTime::now(),
        id: Some(event.id.to_string().into()),
        who: Some(who),
        credential: event.credential.map(Arc::from),
        provider: Some(event.provider.into()),
        host: Some(event.host.into()),
        operation: Some(event.operation.as_str()),
        model: event.model.map(Arc::from),
        ..Entry::new(What::Refused)
    };
    match event.notice {
        Notice::Refused { what, name, mode } => {
            Entry { kind: Some(what.as_str()), name: Some(Arc::clone(name)), mode: Some(word(*mode)), ..call }
        }
        Notice::Clamped { rule, from, to, mode } => Entry {
            what: What::Clamped,
            kind: Some("rule"),
            name: Some(Arc::clone(rule)),
            mode: Some(word(*mode)),
            from: *from,
            to: Some(*to),
            ..call
        },
        Notice::Cut { budget } => Entry {
            what: What::Cut,
            kind: Some("budget"),
            name: Some(Arc::clone(budget)),
            mode: Some("enforce"),
            ..call
        },
        Notice::Spent { budget, group, percent, window } => Entry {
            what: What::Spent,
            kind: Some("budget"),
            name: Some(Arc::clone(budget)),
            group: Some(Arc::clone(group)).filter(|group| !group.is_empty()),
            percent: Some(*percent),
            detail: Some(window_word(*window).into()),
            ..call
        },
    }
}

/// A program that refused our certificate.
pub(crate) fn trust_refused(record: &ConnectionRecord) -> Entry {
    Entry {
        who: Some(who(&record.caller)),
        host: record.host.clone(),
        detail: Some(record.fate.reason().into()),
        ..Entry::new(What::TrustRefused)
    }
}

fn who(caller: &Caller) -> Who {
    let pod = caller.pod.as_deref();
    Who {
        program: Arc::clone(&caller.program),
        executable: caller.executable.clone(),
        user: Arc::clone(&caller.user),
        uid: caller.uid,
        pid: caller.pid,
        cgroup: caller.cgroup.clone(),
        unit: caller.unit.clone(),
        container: caller.container.clone(),
        pod_uid: pod.map(|pod| Arc::clone(&pod.uid)),
        pod: pod.and_then(|pod| pod.name.clone()),
        namespace: pod.and_then(|pod| pod.namespace.clone()),
        service_account: pod.and_then(|pod| pod.service_account.clone()),
        team: None,
        cost_center: None,
    }
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Observe => "observe",
    }
}

/// The window of a budget.
pub(crate) fn window_word(window: Unit) -> &'static str {
    match window {
        Unit::Hour => "hour",
        Unit::Day => "day",
        Unit::Week => "week",
        Unit::Month => "month",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tollgate_ledger::{Attribution, Id};
    use tollgate_llm::Operation;
    use tollgate_policy::What as Kind;
    use tollgate_workload::Pod;

    use super::*;

    fn told(notice: &Notice) -> Value {
        let pod = Pod { uid: "0b5e".into(), namespace: Some("ml".into()), ..Pod::default() };
        let caller = Caller {
            program: "python3".into(),
            executable: Some("/usr/bin/python3".into()),
            user: "alice".into(),
            uid: 1000,
            pid: 42,
            cgroup: Some("/kubepods/x".into()),
            unit: None,
            system_unit: None,
            container: None,
            pod: Some(Arc::new(pod)),
        };
        let attribution = Attribution {
            team: Some("research".into()),
            cost_center: None,
            end_user: Some("jane@example.com".into()),
            user_agent: Some("openai-python/2.8.0".into()),
        };
        let event = PolicyEvent {
            notice,
            id: Id::new(),
            caller: &caller,
            attribution: &attribution,
            credential: Some("c0ffee"),
            provider: "openai",
            host: "api.openai.com",
            operation: Operation::Chat,
            model: Some("gpt-5"),
        };
        let value = serde_json::to_value(policy(&event)).expect("it is JSON");
        assert_eq!(value["id"], event.id.to_string());
        value
    }

    #[test]
    fn a_refusal_says_who_what_and_by_which_rule_and_nothing_of_the_request() {
        let mut value = told(&Notice::Refused { what: Kind::Rule, name: "no-image".into(), mode: Mode::Observe });
        let fields = value.as_object_mut().expect("an object");
        assert!(fields.remove("time").is_some() && fields.remove("id").is_some());
        assert_eq!(
            value,
            json!({
                "what": "refused", "kind": "rule", "name": "no-image", "mode": "observe",
                "who": {
                    "program": "python3", "executable": "/usr/bin/python3", "user": "alice", "uid": 1000, "pid": 42,
                    "cgroup": "/kubepods/x", "pod_uid": "0b5e", "namespace": "ml", "team": "research",
                },
                "credential": "c0ffee", "provider": "openai", "host": "api.openai.com", "operation": "chat", "model": "gpt-5",
            })
        );
    }

    #[test]
    fn clamps_cuts_and_thresholds_say_how_much() {
        let value = told(&Notice::Clamped { rule: "small".into(), from: Some(9), to: 7, mode: Mode::Enforce });
        assert_eq!((&value["what"], &value["from"], &value["to"]), (&json!("clamped"), &json!(9), &json!(7)));
        let value = told(&Notice::Cut { budget: "month".into() });
        assert_eq!(
            (&value["what"], &value["kind"], &value["name"]),
            (&json!("cut"), &json!("budget"), &json!("month"))
        );
        let spent = |group: &str| Notice::Spent {
            budget: "month".into(),
            group: group.into(),
            percent: 80,
            window: Unit::Month,
        };
        let value = told(&spent("alice"));
        assert_eq!(
            (&value["what"], &value["percent"], &value["group"]),
            (&json!("spent"), &json!(80), &json!("alice"))
        );
        assert_eq!(value["detail"], "month");
        assert!(told(&spent("")).get("group").is_none());
    }
}
