use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::record::Record;

/// The flat form of a record that logs and JSON share. Money is a string: JSON's numbers are binary
/// floating point in most readers.
#[derive(Serialize)]
struct Line<'a> {
    /// RFC 3339, UTC.
    started: String,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_to_first_byte_ms: Option<f64>,
    provider: &'a str,
    host: &'a str,
    operation: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'a str>,
    usage_source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<bool>,
    request_bytes: u64,
    response_bytes: u64,
    program: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    executable: Option<Cow<'a, str>>,
    user: &'a str,
    uid: u32,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<&'a str>,
}

impl<'a> From<&'a Record> for Line<'a> {
    fn from(record: &'a Record) -> Self {
        let usage = record.usage.as_ref();
        Self {
            started: timestamp(record.started),
            duration_ms: milliseconds(record.duration),
            time_to_first_byte_ms: record.time_to_first_byte.map(milliseconds),
            provider: &record.provider,
            host: &record.host,
            operation: record.operation.as_str(),
            request_model: record.request_model.as_deref(),
            response_model: record.response_model.as_deref(),
            input_tokens: usage.map(|usage| usage.input),
            output_tokens: usage.map(|usage| usage.output),
            cache_read_tokens: usage.map(|usage| usage.cache_read),
            cache_write_tokens: usage.map(|usage| usage.cache_write),
            reasoning_tokens: usage.map(|usage| usage.reasoning),
            service_tier: usage.map(|usage| usage.tier.as_str()),
            usage_source: record.usage_source.as_str(),
            cost_usd: record.cost.map(|cost| cost.normalize().to_string()),
            status: record.status.map(|status| status.as_u16()),
            outcome: record.outcome.kind(),
            error_type: record.error_type(),
            stream: record.stream,
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            program: &record.caller.program,
            executable: record.caller.executable.as_deref().map(|path| path.to_string_lossy()),
            user: &record.caller.user,
            uid: record.caller.uid,
            pid: record.caller.pid,
            cgroup: record.caller.cgroup.as_deref(),
        }
    }
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Line::from(self).serialize(serializer)
    }
}

impl Record {
    /// Writes the exchange as one structured event of `tracing`, target `exchange`. The fields are
    /// those of the JSON form; absent ones are left out.
    pub fn log(&self) {
        let line = Line::from(self);
        // Text is given as strings, not by Display, so that the text format quotes and escapes it.
        tracing::info!(
            target: "exchange",
            started = line.started,
            duration_ms = line.duration_ms,
            time_to_first_byte_ms = line.time_to_first_byte_ms,
            provider = line.provider,
            host = line.host,
            operation = line.operation,
            request_model = line.request_model,
            response_model = line.response_model,
            input_tokens = line.input_tokens,
            output_tokens = line.output_tokens,
            cache_read_tokens = line.cache_read_tokens,
            cache_write_tokens = line.cache_write_tokens,
            reasoning_tokens = line.reasoning_tokens,
            service_tier = line.service_tier,
            usage_source = line.usage_source,
            cost_usd = line.cost_usd,
            status = line.status,
            outcome = line.outcome,
            error_type = line.error_type,
            stream = line.stream,
            request_bytes = line.request_bytes,
            response_bytes = line.response_bytes,
            program = line.program,
            executable = line.executable.as_deref(),
            user = line.user,
            uid = line.uid,
            pid = line.pid,
            cgroup = line.cgroup,
        );
    }
}

fn timestamp(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).expect("the years of a running clock have four digits")
}

/// Milliseconds with microseconds after the point.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use serde_json::{Value, json};
    use tollgate_workload::Caller;

    use super::*;
    use crate::outcome::Outcome;
    use crate::record::tests::chat;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(json: bool, record: &Record) -> String {
        let output = Output::default();
        let writer = output.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        if json {
            tracing::subscriber::with_default(format.json().flatten_event(true).finish(), || record.log());
        } else {
            tracing::subscriber::with_default(format.finish(), || record.log());
        }
        let bytes = output.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_json_form_has_every_field_with_its_type_and_money_as_text() {
        assert_eq!(
            serde_json::to_value(chat()).unwrap(),
            json!({
                "started": "2025-11-22T22:20:00.25Z",
                "duration_ms": 1234.567,
                "time_to_first_byte_ms": 250.0,
                "provider": "openai",
                "host": "api.openai.com",
                "operation": "chat",
                "request_model": "gpt-5",
                "response_model": "gpt-5-2025-08-07",
                "input_tokens": 1200,
                "output_tokens": 340,
                "cache_read_tokens": 1000,
                "cache_write_tokens": 0,
                "reasoning_tokens": 64,
                "service_tier": "standard",
                "usage_source": "provider",
                "cost_usd": "0.003775",
                "status": 200,
                "outcome": "completed",
                "stream": true,
                "request_bytes": 5120,
                "response_bytes": 20480,
                "program": "python3.13",
                "executable": "/usr/bin/python3.13",
                "user": "alice",
                "uid": 1000,
                "pid": 4242,
                "cgroup": "/user.slice/app.scope",
            })
        );
    }

    #[test]
    fn the_log_line_carries_the_fields_of_the_json_form() {
        for record in [chat(), Record { usage: None, cost: None, stream: None, outcome: Outcome::Stopped, ..chat() }] {
            let line: Value = serde_json::from_str(&logged(true, &record)).unwrap();
            let Value::Object(mut line) = line else { panic!("a line is an object") };
            for added in ["timestamp", "level"] {
                assert!(line.remove(added).is_some());
            }
            assert_eq!(line.remove("target"), Some(json!("exchange")));
            assert_eq!(Value::Object(line), serde_json::to_value(&record).unwrap());
        }
    }

    #[test]
    fn names_from_outside_cannot_forge_a_line_of_the_log() {
        let caller = Caller { cgroup: Some("/a\nb".into()), ..(*chat().caller).clone() };
        let record = Record {
            request_model: Some("gpt\n2026-01-01T00:00:00Z  INFO exchange: forged\u{1b}[31m".into()),
            caller: Arc::new(caller),
            ..chat()
        };
        for json in [true, false] {
            let text = logged(json, &record);
            assert_eq!(text.trim_end().lines().count(), 1, "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
    }
}
