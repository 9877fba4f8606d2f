//! The kinds of values that are written as one word: how each is read, written and described.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};
use tollgate_ebpf::name::Pattern;

/// A value that is written as one word.
pub(crate) trait Value: Sized {
    /// What it is called in the reference and in errors, with its article.
    const NAME: &str;
    /// What one looks like.
    const EXAMPLE: &str;

    /// Reads it. The error says what is wrong with the text, if there is more to say than that it is none.
    fn read(text: &str) -> Result<Self, String>;

    /// Writes it, so that `read` gives it back.
    fn write(&self) -> String;
}

/// A value in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Leaf<T>(pub(crate) T);

impl<T: Value> Serialize for Leaf<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.write())
    }
}

impl<'de, T: Value> Deserialize<'de> for Leaf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LeafVisitor(PhantomData)).map(Self)
    }
}

impl<T: Value> JsonSchema for Leaf<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"], "title": T::NAME, "examples": [T::EXAMPLE] })
    }
}

struct LeafVisitor<T>(PhantomData<T>);

impl<T: Value> Visitor<'_> for LeafVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} such as `{}`", T::NAME, T::EXAMPLE)
    }

    /// YAML reads `true` as such, and Kubernetes has labels like that.
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        self.visit_str(if value { "true" } else { "false" })
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::read(text).map_err(|reason| {
            let shown = shorten(text);
            let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
            E::custom(format!("`{shown}` is not {}{reason}", T::NAME))
        })
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

/// A text of the user's for a message: on one line and not longer than helps.
pub(crate) fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect::<String>().escape_debug().to_string();
    if text.chars().nth(60).is_some() {
        shown.push('…');
    }
    shown
}

impl Value for Duration {
    const NAME: &str = "a duration";
    const EXAMPLE: &str = "30s";

    fn read(text: &str) -> Result<Self, String> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("it has no unit".into());
        }
        let duration = humantime::parse_duration(text).map_err(|error| error.to_string())?;
        // Longer ones overflow the clocks that add them up; zero never means what is hoped.
        if duration.is_zero() || duration > Self::from_hours(365 * 24) {
            return Err("it must be above zero and at most a year".into());
        }
        Ok(duration)
    }

    fn write(&self) -> String {
        humantime::format_duration(*self).to_string()
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) usize);

impl Value for Size {
    const NAME: &str = "a size";
    const EXAMPLE: &str = "64KiB";

    fn read(text: &str) -> Result<Self, String> {
        let size: ByteSize = text.parse().ok().ok_or_else(String::new)?;
        usize::try_from(size.as_u64()).map(Self).map_err(|error| error.to_string())
    }

    fn write(&self) -> String {
        let mut size = self.0;
        let mut unit = 0;
        while size > 0 && size.is_multiple_of(1024) && unit < 3 {
            size /= 1024;
            unit += 1;
        }
        format!("{size}{}", ["B", "KiB", "MiB", "GiB"][unit])
    }
}

impl Value for NonZeroU16 {
    const NAME: &str = "a port number";
    const EXAMPLE: &str = "443";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().ok().ok_or_else(|| "ports are 1 to 65535".into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// Ports that follow each other, both ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest, at least `first`.
    pub last: u16,
}

impl PortRange {
    /// Each of them.
    pub fn ports(&self) -> std::ops::RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl Value for PortRange {
    const NAME: &str = "a range of ports";
    const EXAMPLE: &str = "18443-18542";

    fn read(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| NonZeroU16::read(text.trim()).map(NonZeroU16::get);
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err("the first port is above the last".into());
        }
        Ok(Self { first, last })
    }

    fn write(&self) -> String {
        format!("{}-{}", self.first, self.last)
    }
}

impl Value for SocketAddr {
    const NAME: &str = "an address with a port";
    const EXAMPLE: &str = "127.0.0.1:9464";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().ok().ok_or_else(|| "write the number of an address, not a name, and IPv6 as `[::1]:9464`".into())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for PathBuf {
    const NAME: &str = "an absolute path";
    const EXAMPLE: &str = "/var/lib/example";

    fn read(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err("it holds a zero byte".into());
        }
        // A relative one would depend on where the agent happens to be started.
        if text.starts_with('/') { Ok(text.into()) } else { Err("it must start with `/`".into()) }
    }

    fn write(&self) -> String {
        self.to_string_lossy().into_owned()
    }
}

impl Value for Pattern {
    const NAME: &str = "a host pattern";
    const EXAMPLE: &str = "*.openai.azure.com";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: tollgate_ebpf::name::ParseError| error.to_string())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

/// A provider's name, fit for a metric's label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProviderName(pub(crate) String);

impl Value for ProviderName {
    const NAME: &str = "a provider's name";
    const EXAMPLE: &str = "my.vllm";

    fn read(text: &str) -> Result<Self, String> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if text.is_empty() || text.len() > 64 || !text.bytes().all(allowed) {
            return Err("use 1 to 64 letters, digits, `.`, `_` and `-`".into());
        }
        Ok(Self(text.into()))
    }

    fn write(&self) -> String {
        self.0.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Holds that the good texts are these values, written and read back, and that the bad ones are refused.
    pub(crate) fn reads<T: Value + PartialEq + fmt::Debug>(good: &[(&str, T)], bad: &[&str]) {
        for (text, value) in good {
            assert_eq!(&T::read(text).unwrap(), value, "{text}");
            assert_eq!(&T::read(&value.write()).unwrap(), value, "what is written is read back");
        }
        for text in bad {
            assert!(T::read(text).is_err(), "{text}");
        }
        assert!(T::read(T::EXAMPLE).is_ok());
    }

    #[test]
    fn durations_need_a_unit_and_are_above_zero() {
        reads(
            &[
                ("10s", Duration::from_secs(10)),
                ("5m", Duration::from_mins(5)),
                ("1m 30s", Duration::from_secs(90)),
                ("250ms", Duration::from_millis(250)),
            ],
            &["", "10", "0s", "-5s", "ten seconds", "2years", "99999999999999999999s"],
        );
    }

    #[test]
    fn sizes_take_units() {
        reads(
            &[("64KiB", Size(65_536)), ("4096", Size(4_096)), ("1MB", Size(1_000_000)), ("0", Size(0))],
            &["", "-1", "big"],
        );
    }

    #[test]
    fn ports_and_ranges_are_within_what_exists() {
        let range = |first, last| PortRange { first, last };
        reads(
            &[("1-65535", range(1, 65_535)), ("80", range(80, 80)), ("5 - 6", range(5, 6))],
            &["0-5", "6-5", "1-65536", "-", ""],
        );
        reads::<NonZeroU16>(&[], &["0", "65536", "-1", "https"]);
    }

    #[test]
    fn addresses_are_numbers_with_ports() {
        reads::<SocketAddr>(
            &[("[::1]:9464", "[::1]:9464".parse().unwrap())],
            &["localhost:9464", "127.0.0.1", "::1:9464:"],
        );
    }

    #[test]
    fn paths_are_absolute() {
        reads::<PathBuf>(&[("/a b", "/a b".into())], &["", "a", "~/ca", "/a\0b"]);
    }

    #[test]
    fn patterns_and_names_are_checked() {
        reads::<Pattern>(&[], &["", "https://api.openai.com", "10.0.0.1", "a*b.com"]);
        reads::<ProviderName>(&[], &["", "has space", "new\nline", &"x".repeat(65)]);
    }
}
