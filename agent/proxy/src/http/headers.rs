//! Heads of messages on their way from one connection to another: hop-by-hop fields (RFC 9110 § 7.6.1), and the little that
//! differs between HTTP/1.1 and HTTP/2 (RFC 9113 § 8).
//!
//! Between two HTTP/1.1 connections a head is left alone as far as the RFC lets it: what concerns the connection in the same
//! words on both sides (`close`, `keep-alive`, `upgrade`, `TE: trailers`, `transfer-encoding`) stays where it stands.

use std::borrow::Cow;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, Entry, HOST, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Uri, Version, request};

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    pub(crate) fn of(version: Version) -> Self {
        if version == Version::HTTP_2 { Self::Http2 } else { Self::Http1 }
    }
}

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Prepares the head of a request that came by `from` for a connection of `to`. `host` is the server's name; `empty` says that
/// no body follows.
pub(crate) fn prepare_request(parts: &mut request::Parts, from: Protocol, to: Protocol, host: &str, empty: bool) {
    strip(&mut parts.headers, to);
    match (from, to) {
        (Protocol::Http1, Protocol::Http1) => {}
        (Protocol::Http2, Protocol::Http2) => complete_target(parts, host),
        (Protocol::Http1, Protocol::Http2) => {
            complete_target(parts, host);
            parts.headers = without(&parts.headers, |name| name == HOST);
            parts.version = Version::HTTP_2;
        }
        (Protocol::Http2, Protocol::Http1) => to_http1(parts, host, empty),
    }
}

/// Prepares the head of a response for a connection of `to`.
pub(crate) fn prepare_response(headers: &mut HeaderMap, to: Protocol) {
    strip(headers, to);
}

/// The value of a list field, which may come in several lines (RFC 9110 § 5.3). What is not text stays recognisable as something.
pub(crate) fn joined_lines<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Cow<'a, str>> {
    let mut lines = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let first = lines.next()?;
    Some(lines.fold(first, |joined, line| joined + ", " + line))
}

/// HTTP/2 requests carry scheme and authority in the target (RFC 9113 § 8.3.1).
fn complete_target(parts: &mut request::Parts, host: &str) {
    // A plain CONNECT has an authority and nothing else (RFC 9113 § 8.5).
    let connect = parts.method == Method::CONNECT && parts.extensions.get::<h2::ext::Protocol>().is_none();
    if connect || (parts.uri.scheme().is_some() && parts.uri.authority().is_some()) {
        return;
    }
    let named = parts.headers.get(HOST).and_then(|value| Authority::try_from(value.as_bytes()).ok());
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.authority = uri.authority.or(named).or_else(|| Authority::try_from(host).ok());
    uri.scheme = Some(Scheme::HTTPS);
    uri.path_and_query.get_or_insert_with(|| PathAndQuery::from_static("/"));
    // It cannot fail: all three parts are there.
    parts.uri = Uri::from_parts(uri).unwrap_or_default();
}

fn to_http1(parts: &mut request::Parts, host: &str, empty: bool) {
    let authority = parts.uri.authority().map_or(host, Authority::as_str);
    let old = &parts.headers;
    let mut headers = HeaderMap::with_capacity(old.len() + 3);
    if let Some(value) = old.get(HOST).cloned().or_else(|| HeaderValue::try_from(authority).ok()) {
        headers.insert(HOST, value);
    }
    for (name, value) in old {
        // HTTP/2 may split cookies (RFC 9113 § 8.2.3); HTTP/1.1 wants one line.
        if name == COOKIE {
            if let Entry::Vacant(entry) = headers.entry(COOKIE) {
                entry.insert(joined(old));
            }
        } else if name != HOST {
            headers.append(name.clone(), value.clone());
        }
    }
    if headers.contains_key(TE) {
        headers.insert(CONNECTION, HeaderValue::from_static("TE"));
    }
    // HTTP/2 frames its bodies; HTTP/1.1 must say which framing it uses.
    if !headers.contains_key(CONTENT_LENGTH) {
        if !empty {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        } else if [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
    }
    parts.headers = headers;
    if parts.method != Method::CONNECT {
        let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        parts.uri = Uri::from(target);
    }
    parts.version = Version::HTTP_11;
}

fn joined(headers: &HeaderMap) -> HeaderValue {
    let crumbs: Vec<_> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    let mut value =
        HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).expect("values joined by a semicolon are a value");
    value.set_sensitive(true);
    value
}

/// What to do with one field line.
enum Fate {
    Keep,
    Drop,
    Replace(HeaderValue),
}

/// Removes hop-by-hop fields, keeping the order of the rest.
fn strip(headers: &mut HeaderMap, to: Protocol) {
    let nominated = nominated(headers);
    let judge = |name: &HeaderName, value: &HeaderValue| judge(name, value, &nominated, to);
    if headers.iter().all(|(name, value)| matches!(judge(name, value), Fate::Keep)) {
        return;
    }
    // `HeaderMap::remove` moves the last field into the gap, so the map is made anew.
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in &*headers {
        match judge(name, value) {
            Fate::Keep => drop(kept.append(name.clone(), value.clone())),
            Fate::Replace(value) => drop(kept.append(name.clone(), value)),
            Fate::Drop => {}
        }
    }
    *headers = kept;
}

/// All but some, in their order, which `HeaderMap::remove` does not keep.
pub(crate) fn without(headers: &HeaderMap, mut dropped: impl FnMut(&HeaderName) -> bool) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| !dropped(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The connection options, which are also the names of fields meant for this connection alone.
fn nominated(headers: &HeaderMap) -> Vec<&str> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(tokens).collect()
}

fn tokens(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|token| !token.is_empty())
}

fn judge(name: &HeaderName, value: &HeaderValue, nominated: &[&str], to: Protocol) -> Fate {
    let http1 = to == Protocol::Http1;
    if *name == CONNECTION {
        return if http1 { connection(value) } else { Fate::Drop };
    }
    if *name == TE {
        return te(value, to);
    }
    if *name == TRANSFER_ENCODING || *name == UPGRADE {
        // hyper frames HTTP/1.1 bodies as this says, so the line can stay as it came.
        return if http1 { Fate::Keep } else { Fate::Drop };
    }
    if *name == KEEP_ALIVE || *name == PROXY_CONNECTION {
        return Fate::Drop;
    }
    // A sender must not nominate what is meant for the recipient; one that does is not let to change the message's meaning.
    let protected = [HOST, CONTENT_LENGTH].contains(name);
    let dropped = !protected && nominated.iter().any(|option| option.eq_ignore_ascii_case(name.as_str()));
    if dropped { Fate::Drop } else { Fate::Keep }
}

/// Options that mean the same on the next connection; the others named fields that are dropped.
fn connection(value: &HeaderValue) -> Fate {
    let Ok(text) = value.to_str() else { return Fate::Drop };
    let stays = |option: &&str| ["close", "keep-alive", "upgrade", "te"].iter().any(|o| o.eq_ignore_ascii_case(option));
    if tokens(text).all(|option| stays(&option)) {
        return Fate::Keep;
    }
    let options: Vec<_> = tokens(text).filter(stays).collect();
    if options.is_empty() {
        return Fate::Drop;
    }
    HeaderValue::try_from(options.join(", ")).map_or(Fate::Drop, Fate::Replace)
}

/// We can relay trailers, and no transfer coding but `chunked`.
fn te(value: &HeaderValue, to: Protocol) -> Fate {
    let Ok(text) = value.to_str() else { return Fate::Drop };
    let trailers = |token: &str| token.eq_ignore_ascii_case("trailers");
    if !tokens(text).any(trailers) {
        Fate::Drop
    } else if text == "trailers" || (to == Protocol::Http1 && trailers(text.trim())) {
        // HTTP/2 has it in this one way (RFC 9113 § 8.2.2).
        Fate::Keep
    } else {
        Fate::Replace(HeaderValue::from_static("trailers"))
    }
}

#[cfg(test)]
mod tests;
