use proptest::prelude::*;

use super::*;

#[derive(Debug, Default, PartialEq)]
struct Found(Vec<(String, String)>);

impl Fields for Found {
    fn wants(&self, name: &str) -> bool {
        matches!(name, "model" | "stream" | "a b;\"c")
    }

    fn field(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }
}

fn parse<'a>(content_type: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<(String, String)> {
    let mut parser = Parser::new(content_type).expect("a form");
    let mut found = Found::default();
    for piece in pieces {
        parser.push(piece, &mut found);
        assert!(parser.text.capacity() <= 4 << 10, "{} bytes are held", parser.text.capacity());
    }
    found.0
}

const TYPE: &str = "multipart/form-data; boundary=xYz";

fn found(body: &str) -> Vec<(String, String)> {
    let body = body.replace('\n', "\r\n");
    let whole = parse(TYPE, [body.as_bytes()]);
    for size in [1, 2, 3, 7] {
        assert_eq!(parse(TYPE, body.as_bytes().chunks(size)), whole, "in pieces of {size}");
    }
    for cut in 0..body.len() {
        let (a, b) = body.as_bytes().split_at(cut);
        assert_eq!(parse(TYPE, [a, b]), whole, "cut at {cut}");
    }
    whole
}

fn model(value: &str) -> Vec<(String, String)> {
    vec![("model".to_owned(), value.to_owned())]
}

#[test]
fn a_field_is_found_behind_a_file() {
    let body = "--xYz\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\nContent-Type: audio/mpeg\n\n\
                ID3 --xYz\n--xY\nname=\"model\"\n\n--xYzz\n--xYz\ncontent-disposition: form-data; name=\"model\"\n\n\
                whisper-1\n--xYz--\n";
    assert_eq!(found(body), model("whisper-1"));
}

#[test]
fn what_only_looks_like_the_field_is_not() {
    let part = |head: &str| format!("--xYz\n{head}\n\nno\n--xYz--");
    assert_eq!(found(&part("Content-Disposition: form-data; name=\"model\"; filename=\"model\"")), []);
    assert_eq!(found(&part("Content-Disposition: form-data; name=\"model\"; filename*=utf-8''m")), []);
    assert_eq!(found(&part("X-Content-Disposition: form-data; name=\"model\"")), []);
    assert_eq!(found(&part("Content-Disposition: form-data; filename=\"; name=\\\"model\"")), []);
    assert_eq!(found(&part("Content-Type: text/plain; name=\"model\"")), []);
    assert_eq!(found("Content-Disposition: form-data; name=\"model\"\n\nno\n--xYz--"), [], "the preamble");
    assert_eq!(
        found("--xYz--\n--xYz\nContent-Disposition: form-data; name=\"model\"\n\nno\n--xYz"),
        [],
        "the epilogue"
    );
}

#[test]
fn heads_are_read_however_they_are_written() {
    for head in [
        "Content-Disposition: form-data; name=\"model\"",
        "CONTENT-DISPOSITION:form-data;name=model",
        "Content-Type: text/plain\nContent-Disposition: form-data; name=\"model\"\nContent-Length: 3",
        "Content-Disposition: form-data; x; name = \"model\"",
    ] {
        assert_eq!(found(&format!("--xYz \t\n{head}\n\nm-1\n--xYz--")), model("m-1"), "{head}");
    }
    let odd = found("--xYz\nContent-Disposition: form-data; name=\"a b;\\\"c\"\n\n\n--xYz--");
    assert_eq!(odd, [("a b;\"c".to_owned(), String::new())]);
}

#[test]
fn a_value_may_have_lines_and_what_looks_like_a_delimiter() {
    assert_eq!(
        found("--xYz\nContent-Disposition: form-data; name=model\n\na\n\n--xY\n--x\n--xYz--"),
        model("a\r\n\r\n--xY\r\n--x")
    );
}

#[test]
fn a_form_that_is_cut_gives_no_half_value() {
    assert_eq!(found("--xYz\nContent-Disposition: form-data; name=model\n\nwhisper"), []);
    assert_eq!(found("--xYz\nContent-Disposition: form-data; name=model\n\nwhisper\n--xY"), []);
}

#[test]
fn endless_heads_and_values_are_survived() {
    let long = "x".repeat(5000);
    let part = |head: &str, value: &str| {
        let body = format!("--xYz\r\n{head}\r\n\r\n{value}\r\n--xYz--");
        parse(TYPE, body.as_bytes().chunks(100))
    };
    assert_eq!(part("Content-Disposition: form-data; name=model", &long), []);
    assert_eq!(part(&format!("Content-Disposition: form-data; x={long}; name=model"), "no"), []);
    assert_eq!(part(&format!("X: {long}\r\nContent-Disposition: form-data; name=model"), "yes"), model("yes"));
}

#[test]
fn types_without_a_sound_boundary_are_refused() {
    for no in [
        "multipart/form-data",
        "multipart/form-data; charset=utf-8",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"open",
        "multipart/mixed; boundary=x",
        "application/json; boundary=x",
        &format!("multipart/form-data; boundary={}", "x".repeat(300)),
    ] {
        assert!(Parser::new(no).is_none(), "{no}");
    }
    let quoted = "Multipart/Form-Data; charset=utf-8; Boundary=\"a b;c\"";
    let body = b"--a b;c\r\nContent-Disposition: form-data; name=model\r\n\r\nm\r\n--a b;c--";
    assert_eq!(parse(quoted, [&body[..]]), model("m"));
}

proptest! {
    #[test]
    fn every_field_comes_out_as_it_went_in_at_every_cut(
        parts in prop::collection::vec((prop_oneof![Just("model"), Just("stream"), Just("file")], "(\\PC|\r|\n|-|x|Y){0,30}", any::<bool>()), 0..6),
        preamble in "[a-z -]{0,10}", sizes in prop::collection::vec(1usize..20, 1..30),
    ) {
        let mut body = if preamble.is_empty() { String::new() } else { format!("{preamble}\r\n") };
        let mut expected = Vec::new();
        for (name, value, is_file) in &parts {
            prop_assume!(!value.contains("--xYz"));
            let file = if *is_file { "; filename=\"x\"" } else { "" };
            let head = format!("Content-Disposition: form-data; name=\"{name}\"{file}");
            body.extend(["--xYz\r\n", &head, "\r\n\r\n", value, "\r\n"]);
            if !is_file && *name != "file" {
                expected.push(((*name).to_owned(), value.clone()));
            }
        }
        body.push_str("--xYz--\r\n");
        let mut rest = body.as_bytes();
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() { break; }
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        prop_assert_eq!(parse(TYPE, pieces), expected);
    }

    #[test]
    fn no_bytes_panic_and_every_cut_gives_the_same(bytes in prop::collection::vec(prop_oneof![
        any::<u8>(), Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'x'), Just(b'Y'), Just(b'z'), Just(b':'), Just(b'=')
    ], 0..200)) {
        let form = [b"--xYz\r\nContent-Disposition: form-data; name=model\r\n\r\n", &bytes[..]].concat();
        for body in [&bytes, &form] {
            prop_assert_eq!(parse(TYPE, body.chunks(1)), parse(TYPE, [&body[..]]));
        }
    }

    #[test]
    fn no_content_type_panics(text in "(multipart/form-data;)?(\\PC|=|;|\"|\\\\){0,40}") {
        let _ = Parser::new(&text);
    }
}
