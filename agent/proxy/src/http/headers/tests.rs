use proptest::prelude::*;

use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
    }
    map
}

fn lines(map: &HeaderMap) -> Vec<(&str, &str)> {
    map.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

fn stripped(before: &[(&str, &str)], to: Protocol) -> Vec<(String, String)> {
    let mut headers = map(before);
    strip(&mut headers, to);
    lines(&headers).into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn request(method: Method, uri: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
    *request.headers_mut() = map(headers);
    request.into_parts().0
}

#[test]
fn connection_options_that_mean_the_same_on_both_sides_stay_as_they_are_written() {
    for options in ["close", "Keep-Alive", "keep-alive, Upgrade", "TE,close", "", " ,close , ,"] {
        let before = [("a", "1"), ("connection", options), ("upgrade", "websocket"), ("te", "trailers"), ("b", "2")];
        assert_eq!(stripped(&before, Protocol::Http1).len(), before.len(), "{options}");
        assert_eq!(
            stripped(&before, Protocol::Http2),
            [("a".into(), "1".into()), ("te".into(), "trailers".into()), ("b".into(), "2".into())]
        );
    }
}

#[test]
fn nominated_fields_go_whatever_their_case_and_number() {
    let before = [
        ("x-one", "1"),
        ("connection", "X-One, keep-alive"),
        ("stays", "1"),
        ("connection", "x-TWO"),
        ("x-two", "2"),
        ("x-two", "3"),
    ];
    let after = stripped(&before, Protocol::Http1);
    assert_eq!(after, [("connection".into(), "keep-alive".into()), ("stays".into(), "1".into())]);
}

#[test]
fn what_frames_or_routes_a_message_cannot_be_nominated_away() {
    let before = [("host", "a"), ("content-length", "1"), ("connection", "host, content-length, transfer-encoding")];
    assert_eq!(
        stripped(&before, Protocol::Http2),
        [("host".into(), "a".into()), ("content-length".into(), "1".into())]
    );
}

#[test]
fn te_is_cut_down_to_what_can_be_relayed() {
    for (before, after) in [
        ("trailers", Some("trailers")),
        ("Trailers", Some("Trailers")),
        ("gzip, trailers", Some("trailers")),
        ("gzip;q=0.5", None),
        ("", None),
    ] {
        let kept = stripped(&[("te", before)], Protocol::Http1);
        assert_eq!(kept.first().map(|(_, value)| value.as_str()), after, "{before}");
        // HTTP/2 knows one way to write it, and refuses a message with any other.
        let kept = stripped(&[("te", before)], Protocol::Http2);
        assert_eq!(kept.first().map(|(_, value)| value.as_str()), after.map(|_| "trailers"), "{before}");
    }
}

#[test]
fn a_target_is_completed_for_http2_from_the_host_field_or_the_handshake() {
    for (uri, host, expected) in [
        ("/a?b", Some("api.openai.com:443"), "https://api.openai.com:443/a?b"),
        ("/a", None, "https://api.openai.com/a"),
        ("http://api.openai.com/a", Some("other"), "http://api.openai.com/a"),
        ("*", Some("api.openai.com"), "https://api.openai.com*"),
    ] {
        let headers: Vec<_> = host.map(|host| ("host", host)).into_iter().chain([("x", "1")]).collect();
        let mut parts = request(Method::GET, uri, &headers);
        prepare_request(&mut parts, Protocol::Http1, Protocol::Http2, "api.openai.com", true);
        assert_eq!(parts.uri.to_string(), expected);
        assert_eq!(lines(&parts.headers), [("x", "1")]);
    }
}

proptest! {
    /// Whatever is nominated, other fields keep their order and values, and nothing is invented.
    #[test]
    fn fields_keep_their_order(
        fields in prop::collection::vec(("[a-d]|x-[a-c]|connection|te|keep-alive|upgrade", "[ -~]{0,12}|close|trailers|a|x-b, c"), 0..30),
        http1 in any::<bool>(),
    ) {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.trim())).collect();
        let before = map(&fields);
        let mut after = before.clone();
        strip(&mut after, if http1 { Protocol::Http1 } else { Protocol::Http2 });
        let plain = |map: &HeaderMap| -> Vec<(String, Vec<u8>)> {
            let names = ["connection", "te", "keep-alive", "upgrade"];
            let lines = map.iter().filter(|(name, _)| !names.contains(&name.as_str()));
            lines.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
        };
        let nominated = nominated(&before);
        let expected: Vec<_> = plain(&before)
            .into_iter()
            .filter(|(name, _)| !nominated.iter().any(|option| option.eq_ignore_ascii_case(name)))
            .collect();
        prop_assert_eq!(plain(&after), expected);
        prop_assert!(after.len() <= before.len());
        prop_assert!(!after.contains_key("keep-alive"));
        prop_assert!(http1 || !after.contains_key("connection"));
    }
}
