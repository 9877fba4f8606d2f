//! Random messages, on one connection each.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tollgate_e2e::origin::{Origin, Reply, Seen};
use tollgate_e2e::probe::{Answer, Body, Plan, Request};
use tollgate_e2e::stage::Stage;
use tollgate_e2e::wire::{self, Fields};

use crate::{PROBE, difference, grouped};

/// A private host that speaks a provider's dialect.
const HOST: &str = "llm.private.example";
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 99));
const CONFIG: &str = "providers:\n  - name: private\n    hosts: [llm.private.example]\n    dialect: openai\n";
/// Requests on one connection.
const CASES: usize = 100;

/// One request and its response.
#[derive(Clone, Debug)]
struct Case {
    request: Request,
    reply: Reply,
}

fn field_name() -> impl Strategy<Value = String> {
    let token = "[Xx][-_][A-Za-z0-9!#$%&'*+.^_`|~-]{0,18}".boxed();
    let known = prop::sample::select(vec![
        "Accept",
        "accept-language",
        "AUTHORIZATION",
        "User-Agent",
        "Via",
        "Forwarded",
        "x-forwarded-for",
        "Range",
        "DNT",
        "If-None-Match",
        "Content-Type",
        "Max-Forwards",
        "Cookie",
        "From",
        "Link",
        "Age",
        "ETag",
        "Server",
        "Set-Cookie",
        "Cache-Control",
        "Vary",
        "openai-organization",
        "Anthropic-Version",
        "Content-Language",
        "Content-MD5",
        "Priority",
    ]);
    prop_oneof![3 => token, 2 => known.prop_map(str::to_owned)]
}

fn field_value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[!-~]([ -~\t]{0,60}[!-~])?",
        1 => Just(String::new()),
        // Bytes above ASCII are allowed, and opaque (RFC 9110 § 5.5).
        1 => "[\u{80}-\u{ff}]{1,20}",
        1 => (500..3000_usize).prop_map(|length| "long ".repeat(length / 5) + "."),
    ]
}

/// Field lines of different names, or with names that occur again.
fn fields(repeats: bool) -> impl Strategy<Value = Fields> {
    prop::collection::vec((field_name(), field_value(), 0..4_usize), 0..25).prop_map(move |mut fields| {
        let mut list = Fields::new();
        for (name, value, again) in fields.drain(..) {
            if !list.iter().any(|(other, _)| other.eq_ignore_ascii_case(&name)) {
                let times = if repeats && again == 0 { 3 } else { 1 };
                list.extend(
                    (0..times).map(|time| (name.clone(), if time == 0 { value.clone() } else { format!("{time}") })),
                );
            }
        }
        list
    })
}

fn body() -> impl Strategy<Value = Body> {
    let length = prop_oneof![
        Just(0_usize),
        1..100_usize,
        Just(16 * 1024 - 1),
        Just(16 * 1024 + 1),
        1000..70_000_usize,
        Just(400_000),
    ];
    let pieces = prop::collection::vec(prop_oneof![1..10_usize, 1000..20_000_usize, Just(65_536)], 1..5);
    (any::<u64>(), length, pieces).prop_map(|(seed, length, mut pieces)| {
        // A million bytes one by one would test nothing but patience.
        if length > 1000 {
            pieces.push(30_000);
        }
        Body { seed, length, pieces }
    })
}

/// What frames a body on HTTP/1.1.
#[derive(Clone, Debug)]
struct Framed {
    body: Option<Body>,
    headers: Fields,
    trailers: Fields,
}

fn framed(http2: bool) -> impl Strategy<Value = Framed> {
    (prop::option::weighted(0.8, body()), any::<bool>(), any::<bool>(), "[A-Za-z-]{1,5}").prop_map(
        move |(body, chunked, with_trailers, value)| {
            let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            let Some(body) = body else {
                return Framed { body: None, headers: Fields::new(), trailers: Fields::new() };
            };
            let mut headers = Fields::new();
            let mut trailers = Fields::new();
            if chunked {
                if !http2 {
                    headers.push(field("Transfer-Encoding", "chunked"));
                }
                if with_trailers {
                    headers.push(field("Trailer", "X-Check, x-other"));
                    trailers = vec![field("x-check", &value), field("x-other", "2")];
                }
            } else {
                headers.push(field("Content-length", &body.length.to_string()));
            }
            Framed { body: Some(body), headers, trailers }
        },
    )
}

fn case(http2: bool, repeats: bool) -> impl Strategy<Value = Case> {
    let method = prop::sample::select(vec![
        "POST", "POST", "GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "PURGE", "X-frob!",
    ]);
    let query = "(/[A-Za-z0-9._~!$&'()*+,;=:@%20-]{0,12}){0,4}(\\?[A-Za-z0-9._~!$&'()*+,;=:@/?-]{0,40})?";
    let status = prop::sample::select(vec![
        200_u16, 200, 200, 201, 203, 204, 206, 299, 304, 400, 404, 418, 429, 500, 503, 529, 599,
    ]);
    let reason = "[A-Za-z][A-Za-z '!-]{0,20}[a-z]";
    let positions = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let request = (method, query, fields(repeats), framed(http2));
    let reply = (status, reason, fields(repeats), framed(http2));
    (request, reply, positions).prop_map(
        move |((method, query, fields, sent), (status, reason, given, back), (at, back_at))| {
            let mut headers = insert(fields, sent.headers, at);
            if !http2 {
                headers.insert(at.index(headers.len() + 1), ("Host".to_owned(), HOST.to_owned()));
            }
            // Only who asks for trailers gets them on HTTP/1.1.
            if !back.trailers.is_empty() {
                headers.push(("te".to_owned(), "trailers".to_owned()));
            }
            let body = sent.body.filter(|_| method != "HEAD");
            if body.is_none() {
                headers.retain(|(name, _)| !is_framing(name));
            }
            let trailers = if body.is_some() { sent.trailers } else { Fields::new() };
            let path = query.replace("%20-", "").replace('%', "%20");
            let request = Request {
                method: method.to_owned(),
                path,
                headers: lower(headers, http2),
                body,
                trailers,
                ..Request::default()
            };
            let bare = matches!(status, 204 | 304) || method == "HEAD";
            let mut given = insert(given, back.headers, back_at);
            let (mut body, mut trailers) = (back.body, back.trailers);
            if bare {
                given.retain(|(name, _)| !is_framing(name));
                (body, trailers) = (None, Fields::new());
            } else if body.is_none() && !http2 {
                given.push(("Content-Length".to_owned(), "0".to_owned()));
            }
            let reply = Reply { status, reason, headers: lower(given, http2), body, trailers, ..Reply::default() };
            Case { request, reply }
        },
    )
}

fn is_framing(name: &str) -> bool {
    ["content-length", "transfer-encoding", "trailer"].iter().any(|framing| framing.eq_ignore_ascii_case(name))
}

fn insert(mut fields: Fields, more: Fields, at: prop::sample::Index) -> Fields {
    let place = at.index(fields.len() + 1);
    fields.splice(place..place, more);
    fields
}

fn lower(fields: Fields, http2: bool) -> Fields {
    let case = |name: String| if http2 { name.to_ascii_lowercase() } else { name };
    fields.into_iter().map(|(name, value)| (case(name), value)).collect()
}

fn cases(http2: bool, repeats: bool) -> Vec<Case> {
    let mut runner = TestRunner::deterministic();
    let strategy = case(http2, repeats);
    let mut draw = |number| {
        let mut case = strategy.new_tree(&mut runner).expect("nothing is filtered").current();
        case.request.path = format!("/{number}{}", case.request.path);
        case
    };
    (0..CASES).map(&mut draw).collect()
}

/// Sends all cases both ways and returns what was seen: by the origin and by the client, direct and through the agent.
fn exchange(http2: bool, cases: &[Case]) -> Result<[(Vec<Seen>, Vec<Answer>); 2]> {
    let stage = Stage::new(CONFIG)?;
    let origin = Origin::start(&stage.world, HOST, ADDRESS, cases.iter().map(|case| case.reply.clone()).collect())?;
    let requests: Vec<Request> = cases.iter().map(|case| case.request.clone()).collect();
    let plan = Plan { host: HOST.to_owned(), http2, requests, ..Plan::default() };
    let direct = tollgate_e2e::probe::run(stage.world.agent_command(PROBE), &plan)?;
    let seen_direct = origin.take();
    let steered = tollgate_e2e::probe::run(stage.world.client_command(PROBE), &plan)?;
    assert_ne!(direct.certificate, steered.certificate, "the calls did not pass the agent");
    let mut both = [(seen_direct, direct.answers), (origin.take(), steered.answers)];
    for (seen, answers) in &mut both {
        for head in seen.iter_mut().map(|seen| &mut seen.head).chain(answers.iter_mut().map(|answer| &mut answer.head))
        {
            *head = wire::tidy(head);
        }
    }
    Ok(both)
}

/// Every case was answered as the origin was told, so that the comparison compares something.
fn assert_whole(cases: &[Case], answers: &[Answer]) {
    for (case, answer) in cases.iter().zip(answers) {
        let length = case.reply.body.as_ref().map_or(0, |body| body.length as u64);
        assert_eq!((answer.status, answer.length, &answer.error), (case.reply.status, length, &None), "{case:#?}");
    }
    assert_eq!(answers.len(), cases.len());
}

fn assert_equal([(seen_direct, direct), (seen, steered)]: [(Vec<Seen>, Vec<Answer>); 2], cases: &[Case]) {
    assert_whole(cases, &direct);
    let mut differences = Vec::new();
    for (number, (direct, steered)) in direct.iter().zip(&steered).enumerate() {
        let about = format!("{} {:.60} -> {}", cases[number].request.method, cases[number].request.path, direct.status);
        differences.extend(difference(&format!("{about}: the origin got"), &seen_direct[number], &seen[number]));
        differences.extend(difference(&format!("{about}: the client got"), direct, steered));
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert_eq!((seen.len(), steered.len()), (CASES, CASES));
}

#[test]
fn random_http1_messages_pass_byte_for_byte() -> Result<()> {
    let cases = cases(false, false);
    assert_equal(exchange(false, &cases)?, &cases);
    Ok(())
}

#[test]
fn random_http1_messages_with_repeated_fields_pass_field_for_field() -> Result<()> {
    let cases = cases(false, true);
    let mut both = exchange(false, &cases)?;
    for (seen, answers) in &mut both {
        for seen in seen {
            (seen.headers, seen.head) = (grouped(&seen.headers), String::new());
        }
        for answer in answers {
            (answer.headers, answer.head) = (grouped(&answer.headers), String::new());
        }
    }
    assert_equal(both, &cases);
    Ok(())
}

#[test]
fn random_http2_messages_pass_field_for_field() -> Result<()> {
    let cases = cases(true, true);
    assert_equal(exchange(true, &cases)?, &cases);
    Ok(())
}
