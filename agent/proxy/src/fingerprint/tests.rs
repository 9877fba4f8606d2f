use std::os::unix::fs::MetadataExt as _;

use http::Request;

use super::*;

const SECRET: &str = "sk-proj-0123456789abcdef";

fn head(uri: &str, headers: &[(&str, &str)]) -> request::Parts {
    let mut request = Request::builder().uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

#[test]
fn a_credential_is_the_same_wherever_it_stands() {
    let fingerprints = Fingerprints::with(&[7; KEY]);
    let of = |uri: &str, headers: &[(&str, &str)]| fingerprints.of(&head(uri, headers));
    let bearer = of("/v1/chat", &[("authorization", &format!("Bearer {SECRET}"))]).expect("a credential");
    assert_eq!(bearer.len(), 16);
    assert!(bearer.bytes().all(|byte| byte.is_ascii_hexdigit()));
    for (uri, name, value) in [
        ("/", "authorization", format!("bearer  {SECRET} ")),
        ("/", "x-api-key", SECRET.to_owned()),
        ("/", "api-key", SECRET.to_owned()),
        ("/", "x-goog-api-key", SECRET.to_owned()),
        ("/?alt=sse&key=sk-proj-0123456789abcdef", "accept", "*/*".to_owned()),
        ("/", "sec-websocket-protocol", format!("realtime, openai-insecure-api-key.{SECRET}")),
    ] {
        assert_eq!(of(uri, &[(name, &value)]).as_deref(), Some(&*bearer), "{uri} {name}");
    }
    assert_ne!(of("/", &[("x-api-key", "sk-proj-0123456789abcdeg")]).as_deref(), Some(&*bearer));
    assert_eq!(of("/?monkey=1&key=", &[("x-api-key", " ")]), None);
}

#[test]
fn of_amazons_signatures_the_name_of_the_key_counts() {
    let fingerprints = Fingerprints::with(&[7; KEY]);
    let signed = |day: &str, signature: &str| {
        let value = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{day}/us-east-1/bedrock/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        fingerprints.of(&head("/", &[("authorization", &value)]))
    };
    assert_eq!(signed("20251101", "aa"), signed("20251102", "bb"));
    let presigned = "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20251101%2Fus-east-1";
    assert_eq!(fingerprints.of(&head(presigned, &[])), signed("20251101", "aa"));
}

#[test]
fn a_fingerprint_is_a_keyed_hash() {
    // RFC 4231, test case 1: HMAC-SHA-256 with twenty bytes of 0x0b, which are zero-padded to the block like ours.
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[0x0b; 20]);
    assert_eq!(&*Fingerprints { key }.hash(b"Hi There"), "b0344c61d8db3853");
    let of = |key: u8| Fingerprints::with(&[key; KEY]).hash(SECRET.as_bytes());
    assert_ne!(of(1), of(2), "other nodes have other fingerprints");
}

#[test]
fn the_key_is_made_once_for_its_owner_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let ledger = directory.path().join("var/ledger");
    let first = Fingerprints::load_or_create(&ledger).expect("it is made").hash(b"x");
    let second = Fingerprints::load_or_create(&ledger).expect("it is read").hash(b"x");
    assert_eq!(first, second);
    let file = ledger.join(Fingerprints::FILE);
    assert_eq!(fs::metadata(&file).expect("a file").mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&ledger).expect("a directory").mode() & 0o777, 0o700);
    assert_eq!(fs::read_dir(&ledger).expect("a directory").count(), 1, "nothing is left aside");
    assert_ne!(Fingerprints::ephemeral().expect("random bytes").hash(b"x"), first);

    fs::write(&file, b"short").expect("written");
    let error = Fingerprints::load_or_create(&ledger).expect_err("no key");
    assert!(error.to_string().contains("credential.key") && error.to_string().contains("remove it"), "{error}");
}

#[test]
fn many_that_start_at_once_agree_on_one_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let hashes: Vec<_> = std::thread::scope(|scope| {
        let start = || Fingerprints::load_or_create(directory.path()).expect("a key").hash(b"x");
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(start)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it ends")).collect()
    });
    assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{hashes:?}");
}

#[test]
fn nothing_of_a_credential_is_shown() {
    let fingerprints = Fingerprints::with(&[7; KEY]);
    let fingerprint = fingerprints.hash(SECRET.as_bytes());
    for shown in [format!("{fingerprints:?}"), format!("{fingerprint:?}")] {
        assert!(!shown.contains("sk-") && !shown.contains("0707"), "{shown}");
    }
}
