//! What HTTP has beside plain messages, one by one.

use anyhow::Result;
use tollgate_e2e::origin::{Origin, Reply};
use tollgate_e2e::probe::{Answer, Body, Plan, Request};
use tollgate_e2e::stage::{Run, Stage};
use tollgate_e2e::wire::{self, Fields};
use tollgate_provider::{Exchange, FAULT_HEADER, random_bytes, sha256};

use crate::{PROBE, difference, grouped};

const HOST: &str = "api.openai.com";
const CHAT: &str = "/v1/chat/completions";
const BOTH: [bool; 2] = [false, true];

fn request(http2: bool, method: &str, path: &str, fields: &[(&str, &str)]) -> Request {
    let mut headers: Fields = vec![("authorization".to_owned(), "Bearer key".to_owned())];
    headers.extend(fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
    if !http2 {
        headers.insert(0, ("Host".to_owned(), HOST.to_owned()));
    }
    Request { method: method.to_owned(), path: path.to_owned(), headers, ..Request::default() }
}

/// With a body of so many bytes whose length is told.
fn sized(mut request: Request, length: usize) -> Request {
    request.headers.push(("content-length".to_owned(), length.to_string()));
    request.body = Some(Body { seed: length as u64, length, pieces: Vec::new() });
    request
}

/// With a body of so many bytes whose length is not told.
fn unsized_(mut request: Request, http2: bool, length: usize) -> Request {
    if !http2 {
        request.headers.push(("Transfer-Encoding".to_owned(), "chunked".to_owned()));
    }
    request.body = Some(Body { seed: length as u64, length, pieces: vec![1, 100, 5000] });
    request
}

/// A call of an API: as it asks for its model, so it is answered.
fn chat(http2: bool, fault: &str, stream: bool, fields: &[(&str, &str)]) -> Request {
    let mut request = request(http2, "POST", CHAT, fields);
    if !fault.is_empty() {
        request.headers.push((FAULT_HEADER.to_owned(), fault.to_owned()));
    }
    let text = format!(r#"{{"model":"gpt-4o-mini","stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#);
    request.headers.push(("content-length".to_owned(), text.len().to_string()));
    request.text = Some(text);
    request
}

fn plan(http2: bool, requests: Vec<Request>) -> Plan {
    Plan { host: HOST.to_owned(), http2, requests, ..Plan::default() }
}

/// What is to be equal in what the provider saw, with the spacing of field lines out of the way.
fn seen(exchange: &Exchange) -> impl PartialEq + std::fmt::Debug + use<> {
    let head = exchange.raw_head.as_deref().map(|head| wire::tidy(&wire::latin1(head)));
    let Exchange { method, version, host, path, sni, .. } = exchange.clone();
    let Exchange { headers, trailers, request_bytes, request_sha256, outcome, .. } = exchange.clone();
    (method, version, host, path, sni, head, headers, trailers, request_bytes, request_sha256, outcome)
}

fn tidy(answer: &Answer) -> Answer {
    let mut answer = Answer { head: wire::tidy(&answer.head), ..answer.clone() };
    // The provider's own are all at one moment, but for those that its HTTP library writes into a switch of protocols.
    answer.headers.retain(|(name, _)| name != "date");
    answer.head = answer.head.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect();
    answer
}

/// Carries the plan out both ways, asserts that nobody can tell, and returns the steered run.
fn assert_transparent(stage: &Stage, plan: &Plan) -> Result<Run> {
    let (direct, steered) = stage.both(PROBE, plan)?;
    let mut differences = Vec::new();
    for (direct, steered) in direct.exchanges.iter().zip(&steered.exchanges) {
        differences.extend(difference("the provider got", &seen(direct), &seen(steered)));
    }
    for (direct, steered) in direct.report.answers.iter().zip(&steered.report.answers) {
        differences.extend(difference("the client got", &tidy(direct), &tidy(steered)));
    }
    assert!(differences.is_empty(), "{}\n{plan:#?}", differences.join("\n"));
    assert_eq!(direct.exchanges.len(), steered.exchanges.len(), "{plan:#?}");
    assert_eq!(direct.report.answers.len(), steered.report.answers.len(), "{plan:#?}");
    Ok(steered)
}

#[test]
fn large_heads_pass_both_ways() -> Result<()> {
    let stage = Stage::new("")?;
    for http2 in BOTH {
        let one = "l".repeat(64 * 1024);
        let single = request(http2, "GET", "/v1/models", &[("x-large", &one)]);
        let names: Vec<String> = (0..64).map(|number| format!("x-many-{number}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), &one[..1024])).collect();
        let answered = chat(http2, "huge-headers=65536", false, &many);
        let steered = assert_transparent(&stage, &plan(http2, vec![single, answered]))?;
        let size: usize = steered.report.answers[1].headers.iter().map(|(_, value)| value.len()).sum();
        assert!(size >= 65_536 && steered.exchanges[0].header("x-large") == Some(one.as_str()), "{size}");
    }
    Ok(())
}

#[test]
fn every_method_passes() -> Result<()> {
    let stage = Stage::new("")?;
    for http2 in BOTH {
        let methods = ["OPTIONS", "TRACE", "PROPFIND", "PURGE", "M-SEARCH", "X", "get"];
        let mut requests: Vec<Request> = methods.map(|method| request(http2, method, "/echo?x", &[])).into();
        requests.push(request(http2, "HEAD", "/v1/models", &[]));
        requests.push(request(http2, "HEAD", "/bytes/1000", &[]));
        if !http2 {
            requests.push(request(http2, "OPTIONS", "*", &[]));
        }
        let steered = assert_transparent(&stage, &plan(http2, requests))?;
        let told: Vec<_> = steered.exchanges.iter().map(|exchange| exchange.method.as_str()).collect();
        assert_eq!(&told[..methods.len()], methods);
        assert_eq!(steered.report.answers[methods.len() + 1].header("content-length"), Some("1000"));
    }
    Ok(())
}

#[test]
fn trailers_pass_both_ways() -> Result<()> {
    let stage = Stage::new("")?;
    for http2 in BOTH {
        let mut up = unsized_(request(http2, "POST", "/echo", &[("Trailer", "x-end, x-sum")]), http2, 20_000);
        up.headers.iter_mut().filter(|_| http2).for_each(|(name, _)| name.make_ascii_lowercase());
        up.trailers = vec![("x-end".to_owned(), "yes".to_owned()), ("x-sum".to_owned(), "a b".to_owned())];
        let down = chat(http2, "trailers", true, &[("te", "trailers")]);
        let steered = assert_transparent(&stage, &plan(http2, vec![up.clone(), down]))?;
        assert_eq!(steered.exchanges[0].trailers, up.trailers);
        assert_eq!(steered.report.answers[1].trailers.len(), 2, "{:?}", steered.report.answers[1]);
    }
    Ok(())
}

#[test]
fn a_client_that_expects_100_continue_gets_it_from_the_provider() -> Result<()> {
    let stage = Stage::new("")?;
    let waiting = |fault: &str| Request {
        wait_after: Some(0),
        ..sized(request(false, "POST", "/echo", &[("Expect", "100-continue"), (FAULT_HEADER, fault)]), 300_000)
    };
    let steered = assert_transparent(&stage, &plan(false, vec![waiting("")]))?;
    assert_eq!(steered.report.answers[0].interim, [100]);
    assert_eq!(steered.exchanges[0].request_bytes, 300_000);
    // Refused, it does not send its body.
    let steered = assert_transparent(&stage, &plan(false, vec![waiting("early,413")]))?;
    assert_eq!((steered.report.answers[0].interim.as_slice(), steered.report.answers[0].status), (&[][..], 413));
    assert_eq!(steered.exchanges[0].request_bytes, 0);
    Ok(())
}

#[test]
fn an_answer_before_the_end_of_the_request_passes() -> Result<()> {
    let stage = Stage::new("")?;
    for http2 in BOTH {
        // The rest is not sent before the answer is here.
        let early = Request {
            wait_after: Some(65_536),
            ..sized(request(http2, "POST", CHAT, &[(FAULT_HEADER, "early,429,retry-after=7")]), 200_000)
        };
        // Many times: this provider closes an HTTP/1.1 connection then, and its answer is in a race with the reset.
        for _ in 0..if http2 { 2 } else { 12 } {
            let steered = stage.steered(PROBE, &plan(http2, vec![early.clone()]))?;
            let answer = &steered.report.answers[0];
            assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")), "{http2} {answer:?}");
        }
        // While the body comes back as it goes.
        let length = 700_000;
        let mirrored = unsized_(request(http2, "POST", "/mirror", &[]), http2, length);
        let steered = assert_transparent(&stage, &plan(http2, vec![mirrored.clone()]))?;
        assert_eq!(Some(&steered.report.answers[0].sha256), mirrored.body.map(|body| body.sha256()).as_ref());
    }
    Ok(())
}

#[test]
fn coded_and_oddly_cut_answers_pass_untouched() -> Result<()> {
    let stage = Stage::new("")?;
    for http2 in BOTH {
        let faults =
            ["gzip", "br", "zstd", "deflate", "identity", "split=7,gzip", "split-utf8", "crlf,keepalive", "split"];
        let both = |fault: &&str| [false, true].map(|stream| chat(http2, fault, stream, &[]));
        let mut requests: Vec<Request> = faults.iter().flat_map(both).collect();
        let accepts = ["gzip, deflate, br, zstd", "gzip", "*", "br;q=0, gzip;q=0.1", "identity"];
        requests.extend(accepts.map(|accept| chat(http2, "", true, &[("accept-encoding", accept)])));
        let steered = assert_transparent(&stage, &plan(http2, requests))?;
        let answers = &steered.report.answers;
        for (index, coding) in [(0, "gzip"), (2, "br"), (4, "zstd"), (6, "deflate"), (faults.len() * 2, "zstd")] {
            assert_eq!(answers[index].header("content-encoding"), Some(coding), "{:?}", answers[index]);
        }
        assert!(answers.iter().all(|answer| answer.status == 200 && answer.length > 100));
    }
    Ok(())
}

#[test]
fn an_odd_head_keeps_its_reason_order_and_case() -> Result<()> {
    let stage = Stage::new("")?;
    let plan = plan(false, vec![chat(false, "odd-headers", false, &[])]);
    let (direct, steered) = stage.both(PROBE, &plan)?;
    let [direct, steered] = [direct, steered].map(|run| run.report.answers[0].clone());
    assert!(
        direct.head.starts_with("HTTP/1.1 200 Odd But Fine\r\nX-oDD-cASE: One\r\nx-second: 2\r\nX-ODD-CASE: Three")
    );
    assert_eq!(steered.head.lines().next(), Some("HTTP/1.1 200 Odd But Fine"));
    assert_eq!(grouped(&direct.headers), grouped(&steered.headers));
    assert_eq!((direct.length, direct.sha256), (steered.length, steered.sha256));
    Ok(())
}

/// A WebSocket frame (RFC 6455 § 5.2) of text, masked with zeros as a client's must be, or not, as a server's.
fn websocket_frame(text: &str, masked: bool) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("a short text");
    assert!(length < 126);
    let mut frame = vec![0x81, length | if masked { 0x80 } else { 0 }];
    frame.extend_from_slice(if masked { &[0; 4] } else { &[] });
    frame.extend_from_slice(text.as_bytes());
    frame
}

fn websocket(text: &str) -> Request {
    let fields = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Protocol", "realtime, openai-insecure-api-key.k"),
    ];
    let mut request = request(false, "GET", "/websocket?model=gpt-realtime", &fields);
    request.switched = Some((websocket_frame(text, true), websocket_frame(text, false).len()));
    request
}

#[test]
fn a_websocket_passes_over_http1() -> Result<()> {
    let stage = Stage::new("")?;
    let text = "naïve 漢字";
    let steered = assert_transparent(&stage, &plan(false, vec![websocket(text)]))?;
    let answer = &steered.report.answers[0];
    assert_eq!((answer.status, &answer.switched), (101, &websocket_frame(text, false)));
    assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));

    let refused = Request { path: "/http-only/v1/responses".to_owned(), switched: None, ..websocket("") };
    let steered = assert_transparent(&stage, &plan(false, vec![refused]))?;
    assert_eq!(steered.report.answers[0].status, 426);

    let bytes = random_bytes(5, 600_000);
    let mut raw = request(false, "POST", "/upgrade", &[("upgrade", "raw/1"), ("connection", "upgrade")]);
    raw.switched = Some((bytes.clone(), bytes.len()));
    let steered = assert_transparent(&stage, &plan(false, vec![raw]))?;
    assert_eq!(sha256(&steered.report.answers[0].switched), sha256(&bytes));
    Ok(())
}

#[test]
fn extended_connect_passes_over_http2() -> Result<()> {
    let stage = Stage::new("")?;
    // The agent offers it once it has seen that the provider does.
    stage.steered(PROBE, &plan(true, vec![request(true, "GET", "/v1/models", &[])]))?;
    let text = "naïve 漢字";
    let mut socket = request(true, "CONNECT", "/websocket?model=gpt-realtime", &[("sec-websocket-version", "13")]);
    socket.protocol = Some("websocket".to_owned());
    socket.switched = Some((websocket_frame(text, true), websocket_frame(text, false).len()));
    let bytes = random_bytes(6, 600_000);
    let mut raw = request(true, "CONNECT", "/upgrade", &[]);
    raw.protocol = Some("raw".to_owned());
    raw.switched = Some((bytes.clone(), bytes.len()));
    let steered = assert_transparent(&stage, &plan(true, vec![socket, raw]))?;
    let answers = &steered.report.answers;
    assert_eq!((answers[0].status, &answers[0].switched), (200, &websocket_frame(text, false)));
    assert_eq!(sha256(&answers[1].switched), sha256(&bytes));
    Ok(())
}

#[test]
fn what_breaks_off_is_an_error_for_the_client_too() -> Result<()> {
    let stage = Stage::new("")?;
    for http2 in BOTH {
        for fault in ["reset=3", "truncate=3", "reset-connection=3"] {
            for stream in [false, true] {
                let plan = plan(http2, vec![chat(http2, fault, stream, &[])]);
                let (direct, steered) = stage.both(PROBE, &plan)?;
                let [direct, steered] = [direct, steered].map(|run| run.report.answers[0].clone());
                let about = format!("http2: {http2}, {fault}, stream: {stream}\n{direct:#?}\n{steered:#?}");
                // An HTTP/2 stream that ends well, too early for its content, looks like the end to everybody.
                let ends_well = http2 && stream && fault.starts_with("truncate");
                assert_eq!((direct.error.is_none(), steered.error.is_none()), (ends_well, ends_well), "{about}");
                assert_eq!((steered.status, &steered.headers), (direct.status, &direct.headers), "{about}");
                // All that came before comes through.
                assert_eq!((steered.length, &steered.sha256), (direct.length, &direct.sha256), "{about}");
                if http2 && fault.starts_with("reset=") {
                    assert_eq!(steered.error, direct.error, "{about}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_body_that_ends_with_its_connection_passes_and_is_told_from_one_cut_off() -> Result<()> {
    let stage = Stage::new("providers:\n  - name: private\n    hosts: [llm.private.example]\n    dialect: openai\n")?;
    let reply = Reply {
        status: 200,
        reason: "OK".to_owned(),
        headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
        body: Some(Body { seed: 1, length: 100_000, pieces: Vec::new() }),
        ..Reply::default()
    };
    let cut = Reply { cut: true, ..reply.clone() };
    let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".to_vec();
    let after_hints = Reply { before: hints, ..reply.clone() };
    let address = "203.0.113.99".parse()?;
    let _origin = Origin::start(&stage.world, "llm.private.example", address, vec![reply.clone(), cut, after_hints])?;
    let ask = |path: &str| {
        let mut request = request(false, "GET", path, &[]);
        request.headers[0].1 = "llm.private.example".to_owned();
        let plan = Plan { host: "llm.private.example".to_owned(), ..plan(false, vec![request]) };
        Ok::<_, anyhow::Error>(stage.steered(PROBE, &plan)?.report.answers.remove(0))
    };
    let body = reply.body.map(|body| body.sha256());
    for path in ["/0", "/2"] {
        let answer = ask(path)?;
        assert_eq!((answer.status, Some(answer.sha256), answer.error), (200, body.clone(), None));
    }
    let answer = ask("/1")?;
    assert!(answer.status == 200 && answer.error.is_some(), "{answer:?}");
    Ok(())
}

#[test]
fn a_provider_that_retires_its_connections_is_not_noticed() -> Result<()> {
    let stage = Stage::with_provider("", |provider| provider.requests_per_connection(3))?;
    for http2 in BOTH {
        let requests: Vec<Request> = (0..30).map(|number| chat(http2, "", number % 2 == 0, &[])).collect();
        let plan = Plan { together: http2, ..plan(http2, requests) };
        let answers = stage.steered(PROBE, &plan)?.report.answers;
        let whole = answers.iter().filter(|answer| answer.status == 200 && answer.error.is_none()).count();
        // HTTP/1.1 clients may be told, as they would be directly, and connect anew.
        let told = answers[..whole].last().and_then(|answer| answer.header("connection")) == Some("close");
        assert!(whole == 30 || (told && !http2), "http2: {http2}, {whole} {:?}", answers.last());
    }
    // GOAWAY with an exchange: it ends well, and the client's own connection goes on.
    let plan = plan(true, vec![chat(true, "goaway", true, &[]), chat(true, "", true, &[])]);
    let answers = stage.steered(PROBE, &plan)?.report.answers;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.error.is_none()), "{answers:#?}");
    Ok(())
}

#[test]
fn many_streams_of_one_connection_do_not_mix() -> Result<()> {
    let stage = Stage::new("")?;
    let mirrored = |seed: usize| {
        let mut request = request(true, "POST", "/mirror", &[]);
        let body = Body { seed: seed as u64, length: 1 + seed * 997 % 60_000, pieces: vec![1 + seed, 4000] };
        request.body = Some(body);
        request
    };
    let requests: Vec<Request> = (0..100).map(mirrored).collect();
    let plan = Plan { together: true, ..plan(true, requests.clone()) };
    let answers = stage.steered(PROBE, &plan)?.report.answers;
    for (request, answer) in requests.iter().zip(&answers) {
        let body = request.body.as_ref().expect("each has one");
        assert_eq!((answer.length, &answer.sha256), (body.length as u64, &body.sha256()), "{answer:?}");
    }
    assert_eq!(answers.len(), 100);
    Ok(())
}

/// Clients and providers agree on HTTP's version with the agent, each for itself.
#[test]
fn a_provider_of_one_version_serves_clients_of_the_other() -> Result<()> {
    for http2 in BOTH {
        let own = if http2 { "http/1.1" } else { "h2" };
        let stage = Stage::with_provider("", move |provider| provider.alpn(&[own]))?;
        let requests = |http2: bool| {
            vec![
                chat(http2, "", true, &[("cookie", "a=1; b=2"), ("accept-encoding", "gzip")]),
                chat(http2, "split=100", false, &[]),
                unsized_(request(http2, "POST", "/echo", &[]), http2, 100_000),
                request(http2, "GET", "/bytes/500000?seed=8", &[]),
                request(http2, "HEAD", "/v1/models", &[]),
                chat(http2, "429,retry-after=3", true, &[]),
            ]
        };
        let steered = stage.steered(PROBE, &plan(http2, requests(http2)))?;
        let direct = stage.direct(PROBE, &plan(!http2, requests(!http2)))?;
        assert_ne!(direct.report.certificate, steered.report.certificate);
        let framing = ["transfer-encoding", "connection", "host", "content-length"];
        let meaning = |fields: &Fields| -> Fields {
            let mut fields: Fields =
                fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
            fields.retain(|(name, _)| !framing.contains(&name.as_str()));
            grouped(&fields)
        };
        for (direct, steered) in direct.exchanges.iter().zip(&steered.exchanges) {
            assert_eq!(steered.alpn.as_deref(), Some(own));
            assert_eq!((&direct.method, &direct.path, &direct.host), (&steered.method, &steered.path, &steered.host));
            assert_eq!(meaning(&direct.headers), meaning(&steered.headers));
            assert_eq!(direct.request_sha256, steered.request_sha256);
        }
        for (number, (direct, steered)) in direct.report.answers.iter().zip(&steered.report.answers).enumerate() {
            assert_eq!((direct.status, &direct.error), (steered.status, &steered.error), "{number}");
            assert_eq!(meaning(&direct.headers), meaning(&steered.headers), "{number}");
            // What `/echo` tells of a request holds its version and framing.
            if number != 2 {
                assert_eq!((direct.length, &direct.sha256), (steered.length, &steered.sha256), "{number}");
            }
        }
        assert_eq!((direct.exchanges.len(), steered.exchanges.len()), (6, 6));
    }
    Ok(())
}
