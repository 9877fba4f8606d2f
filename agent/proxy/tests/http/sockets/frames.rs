//! WebSockets under a policy, as they pass: compression, fragments, control frames, and frames that break the protocol.

use super::*;

/// What a client and a server say on a WebSocket byte by byte. `extension` is what the client offers.
fn upgrade(extension: &str) -> String {
    format!(
        "GET /v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: api.openai.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         {extension}Sec-WebSocket-Version: 13\r\n\r\n"
    )
}

#[tokio::test]
async fn compression_is_not_offered_to_the_server_where_there_is_a_policy_and_only_there() {
    const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    for has_policy in [true, false] {
        let site = Site::new().await;
        let rig = if has_policy { under(&site, models("gpt-*")) } else { Rig::new(&site) };
        site.serve(&["http/1.1"], move |_, mut stream| async move {
            let head = read_head(&mut stream).await;
            assert_eq!(head, upgrade(if has_policy { "" } else { OFFER }));
            say(&mut stream, SWITCHED).await;
        });
        let (mut client, _) = rig.client(false).await;
        say(&mut client, upgrade(OFFER)).await;
        expect(&mut client, SWITCHED).await;
        read_to_end(&mut client).await;
        drop(client);
        rig.recorder.record().await;
    }
}

#[tokio::test]
async fn a_server_that_compresses_all_the_same_is_not_let_to() {
    let site = Site::new().await;
    let rig = under(&site, models("gpt-*"));
    site.serve(&["http/1.1"], |_, mut stream| async move {
        read_head(&mut stream).await;
        let agreed = format!("{}: permessage-deflate\r\n\r\n", SEC_WEBSOCKET_EXTENSIONS.as_str());
        say(&mut stream, SWITCHED.replace("\r\n\r\n", &format!("\r\n{agreed}"))).await;
    });
    let (mut client, _) = rig.client(false).await;
    say(&mut client, upgrade("")).await;
    let head = read_head(&mut client).await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    drop(client);
    rig.recorder.record().await;
}

#[tokio::test]
async fn what_is_allowed_passes_byte_for_byte_in_its_fragments_and_control_frames_at_once() {
    let create = br#"{"type":"response.create","event_id":"1"}"#;
    let message = [
        frame(0x01, true, &create[..9]),
        frame(0x00, true, &create[9..20]),
        frame(0x00, true, b""),
        frame(0x80, true, &create[20..]),
    ];
    let ping = frame(0x89, true, b"are you there");
    let binary = frame(0x82, true, br#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#);
    let long = frame(0x81, true, format!(r#"{{"type":"x","y":"{}"}}"#, "z".repeat(70_000)).as_bytes());
    let site = Site::new().await;
    let rig = under(&site, models("gpt-realtime"));
    // The ping overtakes the fragments before it.
    let early = [&message[0][..], &message[1], &ping].concat();
    let rest = [&message[2][..], &message[3], &binary, &long].concat();
    let expected = [&message.concat()[..], &binary, &long].concat();
    let pong = frame(0x8a, false, b"are you there");
    let (first, second, answer) = (ping.clone(), expected.clone(), pong.clone());
    site.serve(&["http/1.1"], move |_, mut stream| {
        let (first, second, answer) = (first.clone(), second.clone(), answer.clone());
        async move {
            read_head(&mut stream).await;
            say(&mut stream, SWITCHED).await;
            for expected in [first, second] {
                let mut got = vec![0; expected.len()];
                patiently(stream.read_exact(&mut got)).await.expect("as much as expected");
                assert_eq!(got, expected);
                say(&mut stream, &answer).await;
            }
            stream.shutdown().await.expect("open");
        }
    });
    let (mut client, _) = rig.client(false).await;
    say(&mut client, upgrade("")).await;
    expect(&mut client, SWITCHED).await;
    for bytes in [early, rest] {
        // In pieces that end anywhere.
        for piece in bytes.chunks(997) {
            say(&mut client, piece).await;
        }
        let mut got = vec![0; pong.len()];
        patiently(client.read_exact(&mut got)).await.expect("an answer");
        assert_eq!(got, pong);
    }
    read_to_end(&mut client).await;
    drop(client);
    let session = rig.recorder.records(2).await.into_iter().find(|record| record.operation == Operation::Session);
    assert_eq!(session.expect("a session").request_bytes, (ping.len() + expected.len()) as u64);
}

#[tokio::test]
async fn an_error_waits_until_the_server_has_ended_its_message() {
    let site = Site::new().await;
    let rig = under(&site, models("gpt-5-mini"));
    let go_on = frame(0x81, true, br#"{"type":"go on"}"#);
    let (one, two) = (frame(0x01, false, b"{\"type\":"), frame(0x80, false, b"\"done\"}"));
    let (parts, expected) = ((one.clone(), two.clone()), go_on.clone());
    site.serve(&["http/1.1"], move |_, mut stream| {
        let ((one, two), expected) = (parts.clone(), expected.clone());
        async move {
            read_head(&mut stream).await;
            say(&mut stream, SWITCHED).await;
            say(&mut stream, &one).await;
            let mut got = vec![0; expected.len()];
            patiently(stream.read_exact(&mut got)).await.expect("as much as expected");
            assert_eq!(got, expected, "nothing of what was refused");
            say(&mut stream, &two).await;
            drop(patiently(stream.read(&mut [0])).await);
        }
    });
    let (mut client, _) = rig.client(false).await;
    let responses = upgrade("").replace("/v1/realtime?model=gpt-realtime", "/v1/responses");
    say(&mut client, responses).await;
    expect(&mut client, SWITCHED).await;
    let mut got = vec![0; one.len()];
    patiently(client.read_exact(&mut got)).await.expect("the first part");
    say(&mut client, frame(0x82, true, br#"{"type":"response.create","model":"gpt-5-pro"}"#)).await;
    say(&mut client, &go_on).await;
    let mut got = vec![0; two.len()];
    patiently(client.read_exact(&mut got)).await.expect("the other part");
    assert_eq!(got, two);
    let mut head = [0; 4];
    patiently(client.read_exact(&mut head)).await.expect("an error");
    assert_eq!(head[..2], [0x81, 126], "a text of the server's");
    let mut error = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
    patiently(client.read_exact(&mut error)).await.expect("an error");
    let error: Value = serde_json::from_slice(&error).expect("JSON");
    assert_eq!(error["status"], 403, "{error}");
    drop(client);
    rig.recorder.records(2).await;
}

#[tokio::test]
async fn frames_that_break_the_protocol_end_the_session_and_reach_nobody() {
    let create = br#"{"type":"response.create"}"#;
    for hostile in
        [frame(0x81, false, create), frame(0xc1, true, create), frame(0x80, true, create), frame(0x83, true, create)]
    {
        let site = Site::new().await;
        let rig = under(&site, models("gpt-*"));
        let (got, mut gets) = tokio::sync::mpsc::unbounded_channel();
        site.serve(&["http/1.1"], move |_, mut stream| {
            let got = got.clone();
            async move {
                read_head(&mut stream).await;
                say(&mut stream, SWITCHED).await;
                got.send(read_to_end(&mut stream).await).expect("the test waits");
            }
        });
        let (mut client, _) = rig.client(false).await;
        say(&mut client, upgrade("")).await;
        expect(&mut client, SWITCHED).await;
        say(&mut client, &hostile).await;
        let rest = read_to_end(&mut client).await;
        assert_eq!((rest[0], &rest[2..4]), (0x88, &1002_u16.to_be_bytes()[..]), "{rest:?}");
        drop(client);
        let told = patiently(gets.recv()).await.expect("an end");
        assert_eq!((told[0], told.len()), (0x88, 8), "a goodbye and nothing else: {told:?}");
        rig.recorder.records(1).await;
    }
}

#[tokio::test]
async fn a_message_that_is_larger_than_is_read_is_refused_and_the_session_goes_on() {
    let site = Site::new().await;
    let rig = under(&site, models("gpt-realtime"));
    let asked = provider(site);
    let mut socket = open(&rig, REALTIME).await;
    let large = json!({"type": "input_audio_buffer.append", "audio": "A".repeat(17 << 20)});
    let refused = ask(&mut socket, &large).await;
    assert!(refused["error"]["message"].as_str().expect("a message").contains("larger"), "{refused}");
    assert_eq!(ask(&mut socket, &json!({"type": "response.create"})).await["type"], "response.completed");
    assert_eq!(asked.lock().len(), 1);
    close(socket).await;
    rig.recorder.records(3).await;
}

#[tokio::test]
async fn a_client_that_offers_compression_gets_along_without() {
    let site = Site::new().await;
    let rig = under(&site, models("gpt-realtime"));
    provider(site);
    let (stream, _) = rig.client(false).await;
    let mut request = REALTIME.into_client_request().expect("a request");
    request.headers_mut().insert(SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate".parse().expect("a value"));
    let (mut socket, response) =
        patiently(tokio_tungstenite::client_async(request, stream)).await.expect("a WebSocket");
    assert!(!response.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS));
    assert_eq!(ask(&mut socket, &json!({"type": "response.create"})).await["type"], "response.completed");
    close(socket).await;
    rig.recorder.records(2).await;
}
