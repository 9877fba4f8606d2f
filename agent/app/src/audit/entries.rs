//! What the proxy tells, as entries. Nothing of what a call says is in them, not even whom it says that it is for.

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
