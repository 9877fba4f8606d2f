//! Budgets and limits: what fits goes out, what does not is refused or waits, and what is charged in the end.

use std::time::Duration;

use http::StatusCode;
use rust_decimal::Decimal;
use tokio::task::JoinSet;
use tollgate_ledger::{Outcome, Record, Refusal};
use tollgate_policy::{Amount, Budget, Limit, Measure, Mode, Notice, Spec, Unpriced};

use super::{LARGE, SMALL, Stage, WAYS, Way, budget, budgets, chat, header, is_ok, limit, limits};
use crate::support::{patiently, say};

/// What budgets were charged for these calls.
fn charged(records: &[Record]) -> Decimal {
    records.iter().flat_map(|record| &record.charges).map(|charge| charge.amount).sum()
}

#[tokio::test]
async fn of_500_calls_at_once_exactly_those_go_out_that_fit() {
    for way in [Way::Direct, Way::Hyper, Way::Http2] {
        // Each sets aside what it uses in the end: ten tokens.
        let stage = Stage::held(way, budgets(vec![budget("tokens", 500)])).await;
        let mut calls = JoinSet::new();
        for _ in 0..if way.is_http2() { 5 } else { 500 } {
            let mut client = stage.client().await;
            let streams = if way.is_http2() { 100 } else { 1 };
            for _ in 0..streams {
                let mut client = client.another();
                calls.spawn(async move { client.post(SMALL).await });
            }
        }
        let mut refused = 0;
        while refused < 450 {
            let (parts, body) = patiently(calls.join_next()).await.expect("some are left").expect("it ends");
            assert_eq!(parts.status, StatusCode::TOO_MANY_REQUESTS, "{body}");
            assert_eq!(body["error"]["code"], "insufficient_quota");
            refused += 1;
        }
        stage.provider.has(50).await;
        assert_eq!(stage.provider.bodies().len(), 50, "{way:?}");
        stage.let_answer(50);
        while let Some(call) = patiently(calls.join_next()).await {
            assert!(is_ok(&call.expect("it ends")));
        }
        let records = stage.rig.recorder.records(500).await;
        assert_eq!(charged(&records), Decimal::from(500));
        let is_refused = |record: &&Record| record.outcome == Outcome::Refused(Refusal::Budget);
        assert_eq!(records.iter().filter(is_refused).count(), 450);
        assert_eq!(stage.rig.recorder.opened(), 50, "{way:?}");
        for opened in stage.rig.recorder.openings() {
            assert_eq!((opened.charges.len(), opened.charges[0].amount), (1, Decimal::TEN), "told before it left");
        }
        let (parts, _) = stage.client().await.post(SMALL).await;
        assert_eq!(parts.status, StatusCode::TOO_MANY_REQUESTS, "nothing came back");
    }
}

#[tokio::test]
async fn what_an_answer_does_not_use_comes_back() {
    for way in WAYS {
        let spec = budgets(vec![Budget { soft: vec![50], ..budget("tokens", 30) }]);
        let stage = Stage::new(way, spec).await;
        let mut client = stage.client().await;
        let ask = |tokens: u32| format!(r#"{{"model":"gpt-4o-mini","max_tokens":{tokens}}}"#);
        assert!(is_ok(&client.post(ask(30)).await), "{way:?}");
        stage.rig.recorder.records(1).await;
        assert!(is_ok(&client.post(ask(20)).await), "{way:?}");
        stage.rig.recorder.records(2).await;
        let (parts, body) = client.post(ask(11)).await;
        assert_eq!(parts.status, StatusCode::TOO_MANY_REQUESTS, "{way:?}");
        assert!(body["error"]["message"].as_str().is_some_and(|text| text.contains("tokens")), "{body}");
        assert_eq!(header(&parts.headers, "x-should-retry"), Some("false"), "it is a month's");
        assert!(is_ok(&client.post(ask(10)).await), "{way:?}");
        let records = stage.rig.recorder.records(4).await;
        assert_eq!(charged(&records), Decimal::from(30));
        assert_eq!((records[2].charges.len(), records[2].rule.as_deref()), (0, Some("tokens")));
        let notices = stage.rig.recorder.notices();
        let spent = |wanted: u8| {
            notices.iter().any(|notice| matches!(notice, Notice::Spent { percent, .. } if *percent == wanted))
        };
        assert!(spent(50) && spent(100), "{notices:?}");
    }
}

#[tokio::test]
async fn what_the_provider_does_not_charge_for_comes_back() {
    for way in WAYS {
        let stage = Stage::new(way, budgets(vec![budget("tokens", 10)])).await;
        let mut client = stage.client().await;
        for count in 1..=3 {
            let (parts, _) = client.post(SMALL.replace("gpt-4o-mini", "broken")).await;
            assert_eq!(parts.status, StatusCode::INTERNAL_SERVER_ERROR, "{way:?}");
            let records = stage.rig.recorder.records(count).await;
            assert_eq!(charged(&records), Decimal::ZERO);
        }
        assert!(is_ok(&client.post(SMALL).await), "{way:?}");
    }
}

#[tokio::test]
async fn nothing_is_charged_where_no_provider_was_reached() {
    for way in [Way::Direct, Way::Hyper, Way::Http2] {
        let mut stage = Stage::new(way, budgets(vec![budget("tokens", 10)])).await;
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback binds");
        let reached = std::mem::replace(&mut stage.rig.destination, closed.local_addr().expect("bound"));
        drop(closed);
        for _ in 0..2 {
            let (parts, _) = stage.client().await.post(SMALL).await;
            assert_eq!(parts.status, StatusCode::BAD_GATEWAY, "{way:?}");
        }
        stage.rig.destination = reached;
        assert!(is_ok(&stage.client().await.post(SMALL).await), "{way:?}");
        assert_eq!(charged(&stage.rig.recorder.records(3).await), Decimal::TEN);
    }
}

#[tokio::test]
async fn a_client_that_leaves_pays_for_what_the_model_has_read_at_least() {
    for way in [Way::Direct, Way::Http2] {
        let money = Budget { amount: Amount::Money(Decimal::ONE), ..budget("money", 0) };
        let stage = Stage::held(way, budgets(vec![money])).await;
        let words = "All work and no play makes a dull gateway. ".repeat(100);
        let body =
            format!(r#"{{"model":"gpt-4o","max_tokens":1000,"messages":[{{"role":"user","content":"{words}"}}]}}"#);
        if way.is_http2() {
            let super::Client::Http2(mut sender) = stage.client().await else { unreachable!("it is HTTP/2") };
            let call = tokio::spawn(async move { sender.send_request(chat(body)).await.map(drop) });
            stage.provider.has(1).await;
            call.abort();
        } else {
            let (mut client, _) = stage.rig.client(false).await;
            let length = body.len();
            say(&mut client, format!("POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")).await;
            stage.provider.has(1).await;
            drop(client);
        }
        let record = stage.rig.recorder.record().await;
        let opened = stage.rig.recorder.openings().remove(0);
        assert_eq!((record.outcome, record.status), (Outcome::ClientGone, None), "{way:?}");
        let (charged, reserved) = (record.charges[0].amount, opened.charges[0].amount);
        assert!(charged > Decimal::ZERO && charged < reserved, "{charged} of {reserved}");
        assert!(charged >= record.cost.expect("the input is estimated"), "{charged}");
    }
}

#[tokio::test]
async fn a_call_of_unknown_price_is_refused_where_the_budget_says_so() {
    for way in WAYS {
        let money = Budget { amount: Amount::Money(Decimal::ONE), unpriced: Unpriced::Deny, ..budget("money", 0) };
        let stage = Stage::new(way, budgets(vec![money])).await;
        let mut client = stage.client().await;
        let (parts, _) = client.post(r#"{"model":"nobody-knows-this-one"}"#).await;
        assert_eq!(parts.status, StatusCode::FORBIDDEN, "{way:?}");
        assert!(is_ok(&client.post(SMALL).await), "{way:?}");
        let mut list = super::post("/v1/models", "");
        *list.method_mut() = http::Method::GET;
        assert!(is_ok(&client.send(list).await), "what costs nothing is not of unknown price");
        let records = stage.rig.recorder.records(3).await;
        assert_eq!(charged(&records), records[1].cost.expect("it is priced"));
    }
}

#[tokio::test]
async fn a_limit_refuses_with_what_an_sdk_needs_to_wait() {
    for way in WAYS {
        let stage = Stage::new(
            way,
            limits(vec![Limit { period: Duration::from_mins(1), ..limit("rpm", Measure::Requests, 2) }]),
        )
        .await;
        let mut client = stage.client().await;
        for _ in 0..2 {
            assert!(is_ok(&client.post(SMALL).await), "{way:?}");
        }
        let (parts, body) = client.post(SMALL).await;
        assert_eq!(
            (parts.status, &body["error"]["code"]),
            (StatusCode::TOO_MANY_REQUESTS, &"rate_limit_exceeded".into())
        );
        assert!(header(&parts.headers, "retry-after").is_some() && header(&parts.headers, "retry-after-ms").is_some());
        assert_eq!(header(&parts.headers, "x-ratelimit-limit-requests"), Some("2"), "{:?}", parts.headers);
        let record = stage.rig.recorder.records(3).await.remove(2);
        assert_eq!((record.outcome, record.rule.as_deref()), (Outcome::Refused(Refusal::Limit), Some("rpm")));
    }
}

#[tokio::test]
async fn a_caller_of_one_call_at_a_time_is_never_in_its_own_way() {
    for way in [Way::Direct, Way::Hyper, Way::Mixed, Way::Http2] {
        let stage = Stage::new(way, limits(vec![limit("one", Measure::Concurrent, 1)])).await;
        let mut clients = [stage.client().await, stage.client().await];
        for call in 0..200 {
            let body = if call % 2 == 0 { SMALL } else { r#"{"model":"gpt-4o-mini","stream":true}"# };
            let answer = clients[call % 3 % 2].post(body).await;
            assert!(is_ok(&answer), "{way:?} {call} {answer:?}");
        }
    }
}

fn one_at_a_time() -> Spec {
    limits(vec![Limit { wait: Some(Duration::from_mins(10)), ..limit("one", Measure::Concurrent, 1) }])
}

#[tokio::test]
async fn calls_wait_their_turn_and_one_whose_client_leaves_waits_no_more() {
    for way in [Way::Direct, Way::Hyper] {
        let stage = Stage::held(way, one_at_a_time()).await;
        let (mut first, mut third) = (stage.client().await, stage.client().await);
        let first = tokio::spawn(async move { first.post(SMALL).await });
        stage.provider.has(1).await;
        let third = tokio::spawn(async move { third.post(SMALL).await });
        let (mut second, _) = stage.rig.client(false).await;
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n";
        say(&mut second, format!("{head}Content-Length: {}\r\n\r\n{SMALL}", SMALL.len())).await;
        drop(second);
        let record = stage.rig.recorder.record().await;
        assert_eq!((record.outcome, record.status), (Outcome::ClientGone, None), "{way:?}");
        assert_eq!(stage.rig.recorder.opened(), 1, "nobody else's turn has come");
        stage.let_answer(2);
        assert!(is_ok(&patiently(first).await.expect("it ends")));
        assert!(is_ok(&patiently(third).await.expect("it ends")));
        stage.rig.recorder.records(3).await;
        assert_eq!((stage.rig.recorder.opened(), stage.provider.bodies().len()), (2, 2), "{way:?}");
    }
}

#[tokio::test]
async fn a_drain_ends_the_wait_and_not_the_call() {
    for way in [Way::Direct, Way::Http2] {
        let stage = Stage::held(way, one_at_a_time()).await;
        let (mut first, mut second) = (stage.client().await, stage.client().await);
        let first = tokio::spawn(async move { first.post(SMALL).await });
        stage.provider.has(1).await;
        let second = tokio::spawn(async move { second.post(SMALL).await });
        // It has come when it is on the way to be refused, at the latest.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let Stage { rig, provider, engine: _engine, .. } = stage;
        let (trigger, recorder) = (rig.trigger, rig.recorder);
        drop((rig.watch, rig.http));
        let draining = tokio::spawn(trigger.drain(Duration::from_mins(1)));
        let (parts, body) = patiently(second).await.expect("it ends");
        assert_eq!(parts.status, StatusCode::SERVICE_UNAVAILABLE, "{way:?} {body}");
        assert_eq!(header(&parts.headers, "retry-after"), Some("1"));
        provider.may_answer.as_ref().expect("it waits").add_permits(1);
        assert!(is_ok(&patiently(first).await.expect("it ends")));
        patiently(draining).await.expect("it ends").expect("all is over");
        let records = recorder.records(2).await;
        assert_eq!(records[0].outcome, Outcome::Refused(Refusal::Limit));
    }
}

#[tokio::test]
async fn an_observed_budget_refuses_nobody_and_says_whom_it_would() {
    for way in WAYS {
        let stage = Stage::new(way, budgets(vec![Budget { mode: Mode::Observe, ..budget("tokens", 5) }])).await;
        assert!(is_ok(&stage.client().await.post(LARGE).await), "{way:?}");
        assert_eq!(charged(&[stage.rig.recorder.record().await]), Decimal::TEN);
        let notices = stage.rig.recorder.notices();
        let observed = |notice: &&Notice| matches!(notice, Notice::Refused { mode: Mode::Observe, .. });
        assert_eq!(notices.iter().filter(observed).count(), 1, "{notices:?}");
    }
}

#[tokio::test]
async fn a_call_sent_again_is_charged_once() {
    let stage = Stage::new(Way::Direct, budgets(vec![budget("tokens", 100)])).await;
    assert!(is_ok(&stage.client().await.post(r#"{"model":"old","stream":true,"max_tokens":20}"#).await));
    assert_eq!(stage.provider.bodies().len(), 2, "it was refused, and sent as it came");
    assert_eq!(charged(&[stage.rig.recorder.record().await]), Decimal::TEN);
}
