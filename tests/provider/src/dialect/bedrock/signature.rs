//! Signatures of requests to AWS, version 4: computed anew from what arrived, with the one secret that this account knows.
//! docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use http::{HeaderMap, Method};

use crate::seed::{hex, sha256};

/// The access key that requests are signed with.
pub const KEY_ID: &str = "stand-in-key";
/// Its secret.
pub const SECRET: &str = "stand-in-secret";

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request as it arrived.
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    pub(crate) host: &'a str,
    /// Path and query.
    pub(crate) target: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

impl Signed<'_> {
    /// Whether the signature holds; `None` where the request has none.
    pub(crate) fn holds(&self) -> Option<bool> {
        let authorization = self.headers.get("authorization")?.to_str().ok()?;
        let parameters = authorization.strip_prefix(ALGORITHM)?;
        Some(self.computed(parameters).is_some_and(|(computed, claimed)| computed == claimed))
    }

    /// The signature that this request should have, and the one it has. `None` where something is missing for it.
    fn computed<'p>(&self, parameters: &'p str) -> Option<(String, &'p str)> {
        let parameter =
            |name: &str| parameters.split(',').find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
        let scope = parameter("Credential")?.strip_prefix(KEY_ID)?.strip_prefix('/')?;
        let time = self.headers.get("x-amz-date")?.to_str().ok()?;
        let request = self.canonical(parameter("SignedHeaders")?)?;
        let to_sign = format!("{ALGORITHM}\n{time}\n{scope}\n{}", sha256(request.as_bytes()));
        let [date, region, service, "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else { return None };
        if !time.starts_with(date) {
            return None;
        }
        let first = format!("AWS4{SECRET}").into_bytes();
        let key = [date, region, service, "aws4_request"].iter().fold(first, |key, part| sign(&key, part));
        Some((hex(&sign(&key, &to_sign)), parameter("Signature")?))
    }

    fn canonical(&self, signed_headers: &str) -> Option<String> {
        let (path, query) = self.target.split_once('?').unwrap_or((self.target, ""));
        let mut headers = String::new();
        for name in signed_headers.split(';') {
            let value = if name == "host" { self.host.to_owned() } else { self.header(name)? };
            writeln!(headers, "{name}:{value}").ok()?;
        }
        // The host and the body are of no use to anyone unsigned.
        if !signed_headers.split(';').any(|name| name == "host") {
            return None;
        }
        let digest = sha256(self.body);
        if self.headers.get("x-amz-content-sha256").is_some_and(|claimed| claimed != digest.as_str()) {
            return None;
        }
        let mut pairs: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        pairs.sort_unstable();
        let (path, query) = (encoded_again(path), pairs.join("&"));
        Some(format!("{}\n{path}\n{query}\n{headers}\n{signed_headers}\n{digest}", self.method))
    }

    /// All lines of a header, in order, with the space in them made single.
    fn header(&self, name: &str) -> Option<String> {
        let lines: Option<Vec<&str>> = self.headers.get_all(name).iter().map(|value| value.to_str().ok()).collect();
        let lines = lines.filter(|lines| !lines.is_empty())?;
        let single = |line: &str| line.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        Some(lines.into_iter().map(single).collect::<Vec<_>>().join(","))
    }
}

fn sign(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

/// All services but S3 encode the encoded path once more.
fn encoded_again(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string cannot fail");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by botocore 1.44.5 for this key; see `tests/clients` for it live.
    #[test]
    fn a_signature_by_amazons_own_library_holds_and_any_change_breaks_it() {
        let headers = |change: &str| -> HeaderMap {
            [
                ("content-type", "application/json"),
                ("x-amz-date", "20261123T010203Z"),
                ("authorization", AUTHORIZATION),
                ("x-novelty", change),
            ]
            .into_iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
        };
        let target = "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse";
        let holds = |host: &str, target: &str, headers: &HeaderMap, body: &str| {
            Signed { method: &Method::POST, host, target, headers, body: body.as_bytes() }.holds()
        };
        let host = "bedrock-runtime.us-east-1.amazonaws.com";
        assert_eq!(holds(host, target, &headers("unsigned"), BODY), Some(true));
        assert_eq!(holds("bedrock-runtime.eu-west-1.amazonaws.com", target, &headers(""), BODY), Some(false));
        assert_eq!(holds(host, &target.replace("%3A", ":"), &headers(""), BODY), Some(false));
        assert_eq!(holds(host, &format!("{target}?a=b"), &headers(""), BODY), Some(false));
        assert_eq!(holds(host, target, &headers(""), &BODY.replace(' ', "")), Some(false));
        let mut changed = headers("");
        changed.insert("content-type", "application/json; charset=utf-8".parse().unwrap());
        assert_eq!(holds(host, target, &changed, BODY), Some(false));
        changed.insert("authorization", "Bearer key".parse().unwrap());
        assert_eq!(holds(host, target, &changed, BODY), None);
    }

    const BODY: &str = r#"{"messages": [{"role": "user", "content": [{"text": "hi"}]}]}"#;
    const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=stand-in-key/20261123/us-east-1/bedrock/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=6ae13ba47349ff61418761dd105477a85baeb4982676e250783cce5f16dc1e84";
}
