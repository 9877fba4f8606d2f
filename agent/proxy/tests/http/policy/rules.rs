//! Rules: who may call what, and what they change in a request.

use http::StatusCode;
use serde_json::json;
use tollgate_ledger::{Outcome, Refusal};
use tollgate_llm::{Catalogue, Operation};
use tollgate_policy::{Action, Field, Mode, Notice, Parameter, Rule, Selector, Spec, Team, What};
use tollgate_proxy::observe::UpstreamEvent;

use super::{LARGE, SMALL, Stage, WAYS, Way, chat, deny, header, is_ok, of, patterns, pieces, post, rule, rules};
use crate::support::{expect, patiently, read_head, say};

#[tokio::test]
async fn a_denied_call_gets_the_providers_error_and_its_connection_goes_on() {
    for way in WAYS {
        let stage = Stage::new(way, rules(vec![deny("no-large", of(Field::Model, &["gpt-4o"]))])).await;
        let mut client = stage.client().await;
        for _ in 0..2 {
            let (parts, body) = client.post(LARGE).await;
            assert_eq!(parts.status, StatusCode::FORBIDDEN, "{way:?}");
            assert_eq!(body["error"]["type"], "permission_error");
            let message = body["error"]["message"].as_str().expect("words");
            assert!(message.contains("no-large") && message.contains("platform@example.com"), "{message}");
        }
        assert!(is_ok(&client.post(SMALL).await), "{way:?}");
        let records = stage.rig.recorder.records(3).await;
        for record in &records[..2] {
            assert_eq!(record.outcome, Outcome::Refused(Refusal::Policy));
            assert_eq!((record.status, record.cost), (Some(StatusCode::FORBIDDEN), None));
            assert_eq!((record.rule.as_deref(), record.request_model.as_deref()), (Some("no-large"), Some("gpt-4o")));
            assert_eq!((record.request_bytes, record.response_bytes > 0), (0, true));
            assert_eq!(record.attribution.user_agent.as_deref(), Some("OpenAI/Python"));
        }
        assert_eq!((records[2].outcome, records[2].rule.as_deref()), (Outcome::Completed, None));
        let refused = Notice::Refused { what: What::Rule, name: "no-large".into(), mode: Mode::Enforce };
        assert_eq!(stage.rig.recorder.notices(), [refused.clone(), refused], "{way:?}");
        assert_eq!((stage.rig.recorder.opened(), stage.provider.bodies()), (1, vec![SMALL.to_owned()]), "{way:?}");
        assert_eq!(stage.rig.recorder.openings()[0].request_model.as_deref(), Some("gpt-4o-mini"));
    }
}

#[tokio::test]
async fn what_nobody_allows_is_denied_unknown_endpoints_and_other_methods_too() {
    for way in WAYS {
        let spec = Spec {
            default: Action::Deny,
            rules: vec![Rule {
                models: Some(patterns(&["gpt-4o-*"])),
                ..rule("chats", of(Field::Operation, &["chat"]))
            }],
            ..Spec::default()
        };
        let stage = Stage::new(way, spec).await;
        let mut client = stage.client().await;
        assert!(is_ok(&client.post(SMALL).await), "{way:?}");
        for body in [LARGE, r#"{"messages":[]}"#, "not json", ""] {
            assert_eq!(client.post(body).await.0.status, StatusCode::FORBIDDEN, "{way:?} {body:?}");
        }
        assert_eq!(client.send(post("/v1/unheard-of", SMALL)).await.0.status, StatusCode::FORBIDDEN);
        let mut list = post("/v1/models", "");
        *list.method_mut() = http::Method::GET;
        assert_eq!(client.send(list).await.0.status, StatusCode::FORBIDDEN);
        assert_eq!(stage.provider.bodies().len(), 1);
        assert_eq!(stage.rig.recorder.records(7).await[6].operation, Operation::Other);
    }
}

#[tokio::test]
async fn an_observing_rule_tells_and_a_requirement_is_one() {
    for way in WAYS {
        let watch = Rule { mode: Mode::Observe, ..deny("watch", Selector::default()) };
        let require = Rule { require: vec![Parameter::EndUser], ..rule("who", Selector::default()) };
        let stage = Stage::new(way, rules(vec![watch, require])).await;
        let mut client = stage.client().await;
        let (parts, body) = client.post(SMALL).await;
        assert_eq!((parts.status, &body["error"]["type"]), (StatusCode::BAD_REQUEST, &json!("invalid_request_error")));
        assert!(is_ok(&client.post(r#"{"model":"gpt-4o","user":"ann"}"#).await), "{way:?}");
        let records = stage.rig.recorder.records(2).await;
        assert_eq!(records[1].attribution.end_user.as_deref(), Some("ann"));
        assert_eq!(stage.rig.recorder.openings()[0].attribution.end_user.as_deref(), Some("ann"));
        let notices = stage.rig.recorder.notices().into_iter();
        let names: Vec<_> = notices
            .map(|notice| match notice {
                Notice::Refused { name, mode, .. } => (name.to_string(), mode),
                other => panic!("{other:?}"),
            })
            .collect();
        let watched = ("watch".to_owned(), Mode::Observe);
        assert_eq!(names, [watched.clone(), ("who".to_owned(), Mode::Enforce), watched]);
    }
}

#[tokio::test]
async fn teams_are_told_where_there_is_nothing_but_teams() {
    for way in WAYS {
        let team = Team {
            name: "search".into(),
            cost_center: Some("CC-1".into()),
            matches: of(Field::Program, &["test"]),
            when: None,
        };
        let stage = Stage::new(way, Spec { teams: vec![team], ..Spec::default() }).await;
        assert!(is_ok(&stage.client().await.post(r#"{"model":"gpt-4o","safety_identifier":"ann"}"#).await));
        let attribution = stage.rig.recorder.record().await.attribution;
        assert_eq!((attribution.team.as_deref(), attribution.cost_center.as_deref()), (Some("search"), Some("CC-1")));
        assert_eq!(attribution.end_user.as_deref(), Some("ann"), "{way:?}");
        assert_eq!(stage.rig.recorder.openings()[0].attribution.team.as_deref(), Some("search"));
    }
}

fn clamping() -> Spec {
    rules(vec![Rule { max_output_tokens: Some(64), ..rule("short", Selector::default()) }])
}

#[tokio::test]
async fn a_clamp_changes_its_span_and_nothing_else() {
    let cases = [
        (
            r#"{ "max_tokens" : 1000 , "model":"gpt-4o","messages":[] }"#,
            r#"{ "max_tokens" : 64 , "model":"gpt-4o","messages":[] }"#,
        ),
        (r#"{"model":"gpt-4o","max_tokens":64}"#, r#"{"model":"gpt-4o","max_tokens":64}"#),
    ];
    for way in WAYS {
        let stage = Stage::new(way, clamping()).await;
        let mut client = stage.client().await;
        for (sent, expected) in cases {
            assert!(is_ok(&client.post(sent).await), "{way:?}");
            assert!(is_ok(&client.send(chat("").map(|_| pieces(sent, 7))).await), "{way:?}");
            let bodies = stage.provider.bodies();
            assert_eq!(bodies[bodies.len() - 2..], [expected, expected], "{way:?}");
        }
        let (parts, _) = stage.provider.arrivals.lock()[0].clone();
        let length = cases[0].1.len().to_string();
        assert_eq!(header(&parts.headers, "content-length"), Some(&*length), "{way:?}");
        assert_eq!(header(&parts.headers, "accept-encoding"), Some("gzip"), "the answer is not looked into");
        let records = stage.rig.recorder.records(4).await;
        let rules: Vec<_> = records.iter().map(|record| record.rule.as_deref()).collect();
        assert_eq!(rules, [Some("short"), Some("short"), None, None]);
        assert_eq!(records[0].request_bytes, cases[0].0.len() as u64, "as the client sent it");
        let clamped = Notice::Clamped { rule: "short".into(), from: Some(1000), to: 64, mode: Mode::Enforce };
        assert_eq!(stage.rig.recorder.notices(), [clamped.clone(), clamped], "{way:?}");
    }
}

#[tokio::test]
async fn a_clamp_goes_with_asking_for_usage_and_stays_when_that_is_refused() {
    for way in WAYS {
        let stage = Stage::new(way, clamping()).await;
        let mut client = stage.client().await;
        let (parts, body) = client.post(r#"{"model":"gpt-4o","stream":true}"#).await;
        assert_eq!(parts.status, StatusCode::OK);
        let text = body.as_str().expect("a stream");
        let sent = stage.provider.bodies().remove(0);
        assert!(
            sent.starts_with(r#"{"model":"gpt-4o","stream":true,"#)
                && sent.contains("64")
                && sent.contains("include_usage"),
            "{sent}"
        );
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        assert!(is_ok(&client.post(r#"{"model":"old","stream":true,"max_tokens":99}"#).await), "{way:?}");
        let bodies = stage.provider.bodies();
        assert!(bodies[1].contains("include_usage") && bodies[1].contains(r#""max_tokens":64"#), "{}", bodies[1]);
        assert_eq!(bodies[2], r#"{"model":"old","stream":true,"max_tokens":64}"#, "{way:?}");
        assert_eq!(stage.rig.recorder.events(UpstreamEvent::UsageRefused), 1);
        let (parts, _) = stage.provider.arrivals.lock()[2].clone();
        assert_eq!(header(&parts.headers, "content-length"), Some(&*bodies[2].len().to_string()));
        assert_eq!(header(&parts.headers, "accept-encoding"), Some("gzip"), "{way:?}");
        stage.rig.recorder.records(2).await;
    }
}

#[tokio::test]
async fn what_cannot_be_clamped_is_refused() {
    for way in WAYS {
        let stage = Stage::new(way, clamping()).await;
        let mut client = stage.client().await;
        let mut signed = chat(LARGE.replace("10", "1000"));
        signed.headers_mut().insert("content-digest", "sha-256=:x:".parse().expect("a value"));
        let odd = chat(r#"{"model":"gpt-4o","max_tokens":10,"max_tokens":1000}"#);
        for request in [signed, odd] {
            let (parts, body) = client.send(request).await;
            assert_eq!(parts.status, StatusCode::BAD_REQUEST, "{way:?}");
            assert!(body["error"]["message"].as_str().is_some_and(|text| text.contains("max_")), "{body}");
        }
        assert_eq!(stage.provider.bodies().len(), 0);
        for record in stage.rig.recorder.records(2).await {
            assert_eq!((record.outcome, record.rule.as_deref()), (Outcome::Refused(Refusal::Policy), Some("short")));
        }
    }
}

#[tokio::test]
async fn each_dialect_is_refused_in_its_own_words_on_a_connection_that_goes_on() {
    let cases = [
        ("api.openai.com", "/v1/chat/completions", "/error/type", "permission_error"),
        ("api.anthropic.com", "/v1/messages", "/error/type", "permission_error"),
        (
            "generativelanguage.googleapis.com",
            "/v1beta/models/gemini-3-pro:generateContent",
            "/error/status",
            "PERMISSION_DENIED",
        ),
        ("api.mistral.ai", "/v1/chat/completions", "/type", "permission_error"),
        ("api.cohere.com", "/v2/chat", "/message", ""),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/model/anthropic.claude-3-haiku/converse", "/message", ""),
    ];
    for way in [Way::Direct, Way::Hyper, Way::Http2] {
        for (host, path, pointer, word) in cases {
            let mut stage = Stage::new(way, rules(vec![deny("none", Selector::default())])).await;
            let catalogue = Catalogue::builtin();
            stage.rig.provider = catalogue.find(host).cloned().unwrap_or_else(|| panic!("{host} is built in"));
            let mut client = stage.client().await;
            for _ in 0..2 {
                let (parts, body) = client.send(post(path, r#"{"model":"m","messages":[]}"#)).await;
                assert_eq!(parts.status, StatusCode::FORBIDDEN, "{host}");
                assert!(
                    body.pointer(pointer).and_then(|found| found.as_str()).is_some_and(|found| found.contains(word)),
                    "{body}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_refused_request_leaves_the_ones_behind_it_alone() {
    let stage = Stage::new(Way::Direct, rules(vec![deny("no-large", of(Field::Model, &["gpt-4o"]))])).await;
    let (mut client, _) = stage.rig.client(false).await;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{LARGE}\r\n0\r\nX: y\r\n\r\n", LARGE.len());
    let plain = format!("{head}Content-Length: {}\r\n\r\n{LARGE}", LARGE.len());
    let good = format!("{head}Content-Length: {}\r\n\r\n{SMALL}", SMALL.len());
    say(&mut client, [chunked, plain, good].concat()).await;
    for status in ["403 Forbidden", "403 Forbidden", "200 OK"] {
        let head = patiently(read_head(&mut client)).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let mut body = vec![0; length.parse().expect("a number")];
        patiently(tokio::io::AsyncReadExt::read_exact(&mut client, &mut body)).await.expect("all of it");
    }
    drop(client);
    stage.rig.recorder.records(3).await;
}

#[tokio::test]
async fn without_a_policy_bytes_pass_as_ever() {
    let stage = Stage::new(Way::Direct, Spec::default()).await;
    let (mut client, _) = stage.rig.client(false).await;
    let odd = r#"{"model":"a","model":"b"  , "max_tokens":1e9}"#;
    let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n";
    say(&mut client, format!("{head}Content-Length: {}\r\n\r\n{odd}", odd.len())).await;
    expect(&mut client, "HTTP/1.1 200 OK\r\n").await;
    stage.provider.has(1).await;
    assert_eq!(stage.provider.bodies(), [odd]);
}

#[tokio::test]
async fn usage_is_asked_for_whether_a_policy_reads_the_request_or_not() {
    for way in WAYS {
        for spec in [
            rules(vec![deny("others", of(Field::Program, &["other"]))]),
            rules(vec![deny("no", of(Field::Model, &["no"]))]),
        ] {
            let stage = Stage::new(way, spec).await;
            assert!(is_ok(&stage.client().await.post(r#"{"model":"gpt-4o","stream":true}"#).await), "{way:?}");
            assert_eq!(stage.rig.recorder.events(UpstreamEvent::UsageAsked), 1, "{way:?}");
            assert_eq!(stage.rig.recorder.record().await.usage.map(|usage| usage.output), Some(10), "{way:?}");
        }
    }
}
