//! Requests that have to be read and are large, slow, coded, odd, or announced.

use std::io::Write as _;

use http::StatusCode;
use tokio::io::AsyncWriteExt as _;
use tollgate_ledger::{Outcome, Refusal};
use tollgate_policy::{Field, Spec};
use tollgate_proxy::http::PolicySettings;

use super::{LARGE, SMALL, Stage, WAYS, Way, chat, deny, is_ok, of, pieces, rules, whole};
use crate::support::{expect, patiently, read_head, read_to_end, say};

fn no_large() -> Spec {
    rules(vec![deny("no-large", of(Field::Model, &["gpt-4o"]))])
}

fn padded(model: &str, length: usize) -> String {
    format!(r#"{{"messages":["{}"],"model":"{model}"}}"#, "x".repeat(length))
}

#[tokio::test]
async fn a_body_is_read_in_whatever_way_it_comes() {
    for way in WAYS {
        let stage = Stage::new(way, no_large()).await;
        let mut client = stage.client().await;
        let gzip = |body: &str| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(body.as_bytes()).expect("in memory");
            let mut request = chat(encoder.finish().expect("in memory"));
            request.headers_mut().insert("content-encoding", "gzip".parse().expect("a value"));
            request
        };
        let typed = |body: &str, kind: &'static str| {
            let mut request = chat(body.to_owned());
            request.headers_mut().insert("content-type", kind.parse().expect("a value"));
            request
        };
        let large = padded("gpt-4o", 300_000);
        let refused = [
            chat("").map(|_| pieces(LARGE, 3)),
            chat("").map(|_| pieces(&large, 50_000)),
            chat(large),
            gzip(LARGE),
            typed(LARGE, "text/plain"),
            typed(LARGE, "multipart/form-data; boundary=x"),
            chat(LARGE.replace("gpt-4o", "GPT\\u002d4o").replace("GPT", "gpt")),
            chat(LARGE.replace("model", "MODEL")),
        ];
        for (place, request) in refused.into_iter().enumerate() {
            let (parts, body) = client.send(request).await;
            assert_eq!(parts.status, StatusCode::FORBIDDEN, "{way:?} {place} {body}");
        }
        for request in [chat("").map(|_| pieces(SMALL, 3)), gzip(SMALL), chat(padded("gpt-4o-mini", 300_000))] {
            assert!(is_ok(&client.send(request).await), "{way:?}");
        }
        assert_eq!(stage.provider.arrivals.lock().len(), 3);
        stage.rig.recorder.records(11).await;
    }
}

#[tokio::test]
async fn what_can_be_read_in_two_ways_or_none_is_refused() {
    let wide: Vec<u8> = LARGE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for way in WAYS {
        let stage = Stage::new(way, no_large()).await;
        let mut client = stage.client().await;
        let mut coded = chat(SMALL);
        coded.headers_mut().insert("content-encoding", "x-own".parse().expect("a value"));
        let unclear = [
            chat(r#"{"model":"gpt-4o","model":"gpt-4o-mini"}"#),
            chat(r#"{"model":"gpt-4o","Model":"gpt-4o-mini"}"#),
            chat(r#"{"model":"gpt-4o-mini""#),
            chat(wide.clone()),
            coded,
        ];
        for request in unclear {
            assert_eq!(client.send(request).await.0.status, StatusCode::BAD_REQUEST, "{way:?}");
        }
        assert!(is_ok(&client.post(SMALL).await), "{way:?}");
        assert_eq!(stage.provider.bodies(), [SMALL]);
    }
}

#[tokio::test]
async fn a_path_or_query_that_a_server_may_read_as_another_call_is_refused() {
    for way in WAYS {
        let stage = Stage::new(way, no_large()).await;
        let mut client = stage.client().await;
        for path in [
            "/v1/x/../chat/completions",
            "/v1/chat%2Fcompletions",
            "/v1/%2e%2e/chat/completions",
            "/v1/chat;x/completions;y",
        ] {
            let (parts, body) = client.send(super::post(path, LARGE)).await;
            assert_eq!(parts.status, StatusCode::BAD_REQUEST, "{way:?} {path} {body}");
        }
        let (parts, _) = client.send(super::post("/v1/Chat/Completions", LARGE)).await;
        assert_eq!(parts.status, StatusCode::FORBIDDEN, "{way:?} the same call in another case");
        let get = |path: &str| {
            let request = http::Request::get(format!("https://{}{path}", crate::support::HOST));
            request.body(whole("")).expect("a request")
        };
        let (parts, _) = client.send(get("/v1/realtime?model=gpt-realtime-mini&model=gpt-realtime")).await;
        assert_eq!(parts.status, StatusCode::BAD_REQUEST, "{way:?}");
        assert!(stage.provider.arrivals.lock().is_empty(), "{way:?}");
        // What is no call either way is none of the policy's business.
        assert!(is_ok(&client.send(get("/v1/files/a%2Fb")).await) && is_ok(&client.post(SMALL).await), "{way:?}");
        stage.rig.recorder.records(8).await;
    }
}

#[tokio::test]
async fn a_form_is_read_as_such_where_it_says_so_and_as_json_where_it_does_not() {
    let form = "--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nsmall\r\n--x--\r\n";
    let rest = "--y\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nlarge\r\n--y--\r\n";
    for way in WAYS {
        let stage = Stage::new(way, rules(vec![deny("no-large", of(Field::Model, &["large"]))])).await;
        let mut client = stage.client().await;
        for (kind, body, status) in [
            ("multipart/form-data; boundary=x", form.to_owned(), StatusCode::OK),
            ("multipart/form-data; boundary=x; boundary=y", format!("{form}{rest}"), StatusCode::BAD_REQUEST),
            ("multipart/form-data; boundary=x", format!("{form}{rest}"), StatusCode::BAD_REQUEST),
            ("multipart/form-data", r#"{"model":"large"}"#.to_owned(), StatusCode::FORBIDDEN),
            ("multipart/form-data; boundary=x", r#"{"model":"large"}"#.to_owned(), StatusCode::BAD_REQUEST),
        ] {
            let mut request = super::post("/v1/images/generations", body);
            request.headers_mut().insert("content-type", kind.parse().expect("a value"));
            assert_eq!(client.send(request).await.0.status, status, "{way:?} {kind}");
        }
    }
}

#[tokio::test]
async fn a_client_that_goes_on_sending_what_is_too_large_gets_its_refusal() {
    let settings = PolicySettings { body_limit: 1000 };
    for way in [Way::Direct, Way::Hyper] {
        let stage = Stage::with(way, no_large(), None, settings).await;
        let (client, _) = stage.rig.client(false).await;
        let (mut from, mut to) = client.into_split();
        let head = "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 8000000\r\n\r\n";
        let sending = tokio::spawn(async move {
            say(&mut to, head).await;
            // It may be told to stop.
            drop(to.write_all(&vec![b' '; 8_000_000]).await);
            to
        });
        let head = patiently(read_head(&mut from)).await;
        assert!(head.starts_with("HTTP/1.1 413 Payload Too Large\r\n"), "{way:?} {head}");
        drop(sending.await);
    }
}

#[tokio::test]
async fn a_request_larger_than_is_read_is_refused_and_one_as_large_is_not() {
    let settings = PolicySettings { body_limit: 1000 };
    let fits = padded("m", 1000 - padded("m", 0).len());
    let exceeds = padded("m", 1001 - padded("m", 0).len());
    for way in WAYS {
        let stage = Stage::with(way, no_large(), None, settings).await;
        for request in [chat(exceeds.clone()), chat("").map(|_| pieces(&exceeds, 600))] {
            let (parts, _) = stage.client().await.send(request).await;
            assert_eq!(parts.status, StatusCode::PAYLOAD_TOO_LARGE, "{way:?}");
        }
        let mut client = stage.client().await;
        for request in [chat(fits.clone()), chat("").map(|_| pieces(&fits, 600))] {
            assert!(is_ok(&client.send(request).await), "{way:?}");
        }
        assert_eq!(stage.provider.bodies(), [fits.clone(), fits.clone()]);
        let records = stage.rig.recorder.records(4).await;
        let refused = |record: &&tollgate_ledger::Record| record.outcome == Outcome::Refused(Refusal::Policy);
        assert_eq!(records.iter().filter(refused).count(), 2);
    }
}

#[tokio::test]
async fn a_request_of_which_no_one_reads_anything_has_no_bound() {
    let settings = PolicySettings { body_limit: 10 };
    let spec = rules(vec![deny("others", of(Field::Program, &["other"]))]);
    for way in WAYS {
        let stage = Stage::with(way, spec.clone(), None, settings).await;
        assert!(is_ok(&stage.client().await.post(LARGE).await), "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_is_refused_at_last() {
    for way in [Way::Direct, Way::Hyper] {
        let stage = Stage::new(way, no_large()).await;
        let (mut client, _) = stage.rig.client(false).await;
        say(
            &mut client,
            "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n\
             Content-Length: 100\r\n\r\n{\"model\":",
        )
        .await;
        let mut answer = String::new();
        // An hour, by a clock that goes on when nothing else does.
        let reading = tokio::io::AsyncReadExt::read_to_string(&mut client, &mut answer);
        tokio::time::timeout(std::time::Duration::from_hours(1), reading).await.expect("an answer").expect("text");
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{way:?} {answer}");
        assert_eq!(stage.rig.recorder.record().await.status, Some(StatusCode::REQUEST_TIMEOUT));
    }
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    for way in [Way::Direct, Way::Hyper] {
        for (body, status) in [(SMALL, "200 OK"), (LARGE, "403 Forbidden")] {
            let stage = Stage::new(way, no_large()).await;
            let (mut client, _) = stage.rig.client(false).await;
            let length = body.len();
            say(
                &mut client,
                format!(
                    "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Type: application/json\r\n\
                     Expect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
                ),
            )
            .await;
            expect(&mut client, "HTTP/1.1 100 Continue\r\n\r\n").await;
            say(&mut client, body).await;
            let head = patiently(read_head(&mut client)).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{way:?} {head}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_its_request_is_read_is_gone() {
    for way in [Way::Direct, Way::Hyper] {
        let stage = Stage::new(way, no_large()).await;
        let (mut client, _) = stage.rig.client(false).await;
        say(&mut client, "POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\nContent-Length: 100\r\n\r\n{")
            .await;
        client.shutdown().await.expect("open");
        read_to_end(&mut client).await;
        let record = stage.rig.recorder.record().await;
        assert_eq!(record.outcome, Outcome::ClientGone, "{way:?}");
        assert_eq!(stage.rig.recorder.opened(), 0);
    }
}

#[tokio::test]
async fn forms_are_read_for_their_model() {
    let form = |model: &str| {
        format!(
            "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\n{model}\r\n--x--\r\n"
        )
    };
    for way in WAYS {
        let stage = Stage::new(way, rules(vec![deny("no-whisper", of(Field::Model, &["whisper-1"]))])).await;
        let mut client = stage.client().await;
        for (model, status) in [("whisper-1", StatusCode::FORBIDDEN), ("gpt-4o-transcribe", StatusCode::OK)] {
            let mut request = super::post("/v1/audio/transcriptions", "").map(|_| whole(form(model)));
            request.headers_mut().insert("content-type", "multipart/form-data; boundary=x".parse().expect("a value"));
            assert_eq!(client.send(request).await.0.status, status, "{way:?}");
        }
    }
}
