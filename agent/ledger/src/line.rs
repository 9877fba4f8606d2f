use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::record::{Charge, Record};

/// The flat form of a [`Record`] that the log, JSON and the ledger share. It is all text and numbers, so that what an
/// older version wrote can be shown whatever its words meant. What is not known is left out of logs and JSON.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line<'a> {
    /// Which exchange; a UUID of version 7.
    pub id: Cow<'a, str>,
    /// When the head of the request had been read.
    #[serde(serialize_with = "rfc3339")]
    pub started: SystemTime,
    /// From `started` to the end of it all, in milliseconds.
    pub duration_ms: f64,
    /// From `started` to the first byte of the answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_first_byte_ms: Option<f64>,
    /// From `started` to the first event of a stream that carries content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_to_first_token_ms: Option<f64>,
    /// As in [`Record::provider`].
    pub provider: Cow<'a, str>,
    /// As in [`Record::region`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Cow<'a, str>>,
    /// As in [`Record::host`].
    pub host: Cow<'a, str>,
    /// As in `gen_ai.operation.name`.
    pub operation: Cow<'a, str>,
    /// As in [`Record::request_model`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_model: Option<Cow<'a, str>>,
    /// As in [`Record::response_model`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_model: Option<Cow<'a, str>>,
    /// All input tokens; the first five counts are there whenever any is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// All output tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Input tokens from the provider's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read_tokens: Option<u64>,
    /// Input tokens written to the provider's cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_tokens: Option<u64>,
    /// Output tokens spent on reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// The part of `cache_write_tokens` that is kept for an hour; this and the next thirteen are left out when nought.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_tokens: Option<u64>,
    /// Input tokens of audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_audio_tokens: Option<u64>,
    /// Cached input tokens of audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read_audio_tokens: Option<u64>,
    /// Output tokens of audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_audio_tokens: Option<u64>,
    /// Input tokens of images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_image_tokens: Option<u64>,
    /// Cached input tokens of images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_read_image_tokens: Option<u64>,
    /// Output tokens of images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_image_tokens: Option<u64>,
    /// Input tokens that the provider's tools brought in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tool_tokens: Option<u64>,
    /// Web searches by the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_searches: Option<u64>,
    /// Calls of the provider's other tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_tools: Option<u64>,
    /// Images made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// Sound, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_ms: Option<u64>,
    /// Characters, where they are billed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub characters: Option<u64>,
    /// Units of search.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_units: Option<u64>,
    /// The tier the provider says it billed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<Cow<'a, str>>,
    /// As in [`Record::usage_source`].
    pub usage_source: Cow<'a, str>,
    /// US dollars. A string: JSON's numbers are binary floating point in most readers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<Cow<'a, str>>,
    /// As in [`Record::price_from`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_from: Option<Cow<'a, str>>,
    /// What looking for the price came to: [`PriceStatus`](tollgate_llm::PriceStatus) as a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price_status: Option<Cow<'a, str>>,
    /// Status of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How it ended: [`Outcome::kind`](crate::Outcome::kind).
    pub outcome: Cow<'a, str>,
    /// As in [`Record::error_type`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<Cow<'a, str>>,
    /// As in [`Record::stream`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the response's body.
    pub response_bytes: u64,
    /// As in [`Record::request_id`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Cow<'a, str>>,
    /// As in [`Record::credential`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Cow<'a, str>>,
    /// File name of the caller's executable.
    pub program: Cow<'a, str>,
    /// Its path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<Cow<'a, str>>,
    /// Login name.
    pub user: Cow<'a, str>,
    /// User id.
    pub uid: u32,
    /// Process id.
    pub pid: u32,
    /// Path in the cgroup v2 hierarchy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Cow<'a, str>>,
    /// systemd's unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<Cow<'a, str>>,
    /// Id of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Cow<'a, str>>,
    /// Uid of the Kubernetes pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<Cow<'a, str>>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Cow<'a, str>>,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Cow<'a, str>>,
    /// Its service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Cow<'a, str>>,
    /// As in [`Attribution::team`](crate::Attribution::team).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<Cow<'a, str>>,
    /// As in [`Attribution::cost_center`](crate::Attribution::cost_center).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_center: Option<Cow<'a, str>>,
    /// As in [`Attribution::end_user`](crate::Attribution::end_user).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_user: Option<Cow<'a, str>>,
    /// As in [`Attribution::user_agent`](crate::Attribution::user_agent).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<Cow<'a, str>>,
    /// As in [`Record::rule`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Cow<'a, str>>,
    /// What budgets were charged. It is not in the log, whose fields are single values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<Charged<'a>>,
}

/// What a budget was charged for a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Charged<'a> {
    /// Which budget.
    pub budget: Cow<'a, str>,
    /// Whose share of it; left out where all have one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub group: Cow<'a, str>,
    /// When its window began, in seconds of Unix time.
    pub window: i64,
    /// US dollars or tokens. A string, as all money here.
    pub amount: Cow<'a, str>,
}

impl<'a> From<&'a Record> for Line<'a> {
    fn from(record: &'a Record) -> Self {
        let usage = record.usage.as_ref();
        let pod = record.caller.pod.as_deref();
        Self {
            id: record.id.to_string().into(),
            started: record.started,
            duration_ms: milliseconds(record.duration),
            time_to_first_byte_ms: record.time_to_first_byte.map(milliseconds),
            time_to_first_token_ms: record.time_to_first_token.map(milliseconds),
            provider: text(&record.provider),
            region: record.region.as_deref().map(text),
            host: text(&record.host),
            operation: text(record.operation.as_str()),
            request_model: record.request_model.as_deref().map(text),
            response_model: record.response_model.as_deref().map(text),
            input_tokens: usage.map(|usage| usage.input),
            output_tokens: usage.map(|usage| usage.output),
            cache_read_tokens: usage.map(|usage| usage.cache_read),
            cache_write_tokens: usage.map(|usage| usage.cache_write),
            reasoning_tokens: usage.map(|usage| usage.reasoning),
            cache_write_1h_tokens: usage.and_then(|usage| some(usage.cache_write_1h)),
            input_audio_tokens: usage.and_then(|usage| some(usage.input_audio)),
            cache_read_audio_tokens: usage.and_then(|usage| some(usage.cache_read_audio)),
            output_audio_tokens: usage.and_then(|usage| some(usage.output_audio)),
            input_image_tokens: usage.and_then(|usage| some(usage.input_image)),
            cache_read_image_tokens: usage.and_then(|usage| some(usage.cache_read_image)),
            output_image_tokens: usage.and_then(|usage| some(usage.output_image)),
            input_tool_tokens: usage.and_then(|usage| some(usage.input_tool)),
            web_searches: usage.and_then(|usage| some(usage.web_searches)),
            server_tools: usage.and_then(|usage| some(usage.server_tools)),
            images: usage.and_then(|usage| some(usage.images)),
            audio_ms: usage.and_then(|usage| some(usage.audio_ms)),
            characters: usage.and_then(|usage| some(usage.characters)),
            search_units: usage.and_then(|usage| some(usage.search_units)),
            service_tier: usage.map(|usage| text(usage.tier.as_str())),
            usage_source: text(record.usage_source.as_str()),
            cost_usd: record.cost.map(|cost| cost.normalize().to_string().into()),
            price_from: record.price_from.as_deref().map(text),
            price_status: record.price_status.map(|status| text(status.as_str())),
            status: record.status.map(|status| status.as_u16()),
            outcome: text(record.outcome.kind()),
            error_type: record.error_type().map(text),
            stream: record.stream,
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            request_id: record.request_id.as_deref().map(text),
            credential: record.credential.as_deref().map(text),
            program: text(&record.caller.program),
            executable: record.caller.executable.as_deref().map(|path| path.to_string_lossy()),
            user: text(&record.caller.user),
            uid: record.caller.uid,
            pid: record.caller.pid,
            cgroup: record.caller.cgroup.as_deref().map(text),
            unit: record.caller.unit.as_deref().map(text),
            container: record.caller.container.as_deref().map(text),
            pod_uid: pod.map(|pod| text(&pod.uid)),
            pod: pod.and_then(|pod| pod.name.as_deref()).map(text),
            namespace: pod.and_then(|pod| pod.namespace.as_deref()).map(text),
            service_account: pod.and_then(|pod| pod.service_account.as_deref()).map(text),
            team: record.attribution.team.as_deref().map(text),
            cost_center: record.attribution.cost_center.as_deref().map(text),
            end_user: record.attribution.end_user.as_deref().map(text),
            user_agent: record.attribution.user_agent.as_deref().map(text),
            rule: record.rule.as_deref().map(text),
            charges: record.charges.iter().map(charged).collect(),
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
        // What is below costs as much as all else that is kept of an exchange.
        if !tracing::enabled!(target: "exchange", tracing::Level::INFO) {
            return;
        }
        let line = Line::from(self);
        // Text is given as strings, not by Display, so that the text format quotes and escapes it.
        tracing::info!(
            target: "exchange",
            id = line.id.as_ref(),
            started = timestamp(line.started),
            duration_ms = line.duration_ms,
            time_to_first_byte_ms = line.time_to_first_byte_ms,
            time_to_first_token_ms = line.time_to_first_token_ms,
            provider = line.provider.as_ref(),
            region = line.region.as_deref(),
            host = line.host.as_ref(),
            operation = line.operation.as_ref(),
            request_model = line.request_model.as_deref(),
            response_model = line.response_model.as_deref(),
            input_tokens = line.input_tokens,
            output_tokens = line.output_tokens,
            cache_read_tokens = line.cache_read_tokens,
            cache_write_tokens = line.cache_write_tokens,
            reasoning_tokens = line.reasoning_tokens,
            cache_write_1h_tokens = line.cache_write_1h_tokens,
            input_audio_tokens = line.input_audio_tokens,
            cache_read_audio_tokens = line.cache_read_audio_tokens,
            output_audio_tokens = line.output_audio_tokens,
            input_image_tokens = line.input_image_tokens,
            cache_read_image_tokens = line.cache_read_image_tokens,
            output_image_tokens = line.output_image_tokens,
            input_tool_tokens = line.input_tool_tokens,
            web_searches = line.web_searches,
            server_tools = line.server_tools,
            images = line.images,
            audio_ms = line.audio_ms,
            characters = line.characters,
            search_units = line.search_units,
            service_tier = line.service_tier.as_deref(),
            usage_source = line.usage_source.as_ref(),
            cost_usd = line.cost_usd.as_deref(),
            price_from = line.price_from.as_deref(),
            price_status = line.price_status.as_deref(),
            status = line.status,
            outcome = line.outcome.as_ref(),
            error_type = line.error_type.as_deref(),
            stream = line.stream,
            request_bytes = line.request_bytes,
            response_bytes = line.response_bytes,
            request_id = line.request_id.as_deref(),
            credential = line.credential.as_deref(),
            program = line.program.as_ref(),
            executable = line.executable.as_deref(),
            user = line.user.as_ref(),
            uid = line.uid,
            pid = line.pid,
            cgroup = line.cgroup.as_deref(),
            unit = line.unit.as_deref(),
            container = line.container.as_deref(),
            pod_uid = line.pod_uid.as_deref(),
            pod = line.pod.as_deref(),
            namespace = line.namespace.as_deref(),
            service_account = line.service_account.as_deref(),
            team = line.team.as_deref(),
            cost_center = line.cost_center.as_deref(),
            end_user = line.end_user.as_deref(),
            user_agent = line.user_agent.as_deref(),
            rule = line.rule.as_deref(),
        );
    }
}

fn charged(charge: &Charge) -> Charged<'_> {
    Charged {
        budget: text(&charge.budget),
        group: text(&charge.group),
        window: charge.window,
        amount: charge.amount.normalize().to_string().into(),
    }
}

fn text(text: &str) -> Cow<'_, str> {
    Cow::Borrowed(text)
}

fn some(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}

fn rfc3339<S: Serializer>(at: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&timestamp(*at))
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
    use tollgate_llm::{ErrorKind, ServiceTier, Usage};
    use tollgate_workload::Caller;

    use super::*;
    use crate::outcome::Outcome;
    use crate::record::tests::{charged, chat};

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

    /// An exchange of which everything is known, each count another number.
    fn everything() -> Record {
        let base = charged(rust_decimal::Decimal::new(15, 1));
        let caller =
            Caller { unit: Some("app.service".into()), container: Some("c0ffee".into()), ..(*base.caller).clone() };
        let usage = Usage {
            input: 1,
            output: 2,
            cache_read: 3,
            cache_write: 4,
            cache_write_1h: 5,
            reasoning: 6,
            input_audio: 7,
            cache_read_audio: 8,
            output_audio: 9,
            output_image: 10,
            input_image: 11,
            input_tool: 12,
            web_searches: 13,
            server_tools: 14,
            images: 15,
            audio_ms: 16,
            characters: 17,
            search_units: 18,
            cache_read_image: 19,
            tier: ServiceTier::Batch,
        };
        Record {
            time_to_first_token: Some(Duration::from_millis(260)),
            region: Some("eu".into()),
            usage: Some(usage),
            price_from: Some("genai-prices 0.2.1".into()),
            error: Some(ErrorKind::Overloaded),
            request_id: Some("req_1".into()),
            credential: Some("0123abcd".into()),
            caller: Arc::new(caller),
            ..base
        }
    }

    #[test]
    fn what_is_rare_is_in_the_json_form_when_it_is_there() {
        let value = serde_json::to_value(everything()).unwrap();
        let counts = [
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_write_tokens",
            "cache_write_1h_tokens",
            "reasoning_tokens",
            "input_audio_tokens",
            "cache_read_audio_tokens",
            "output_audio_tokens",
            "output_image_tokens",
            "input_image_tokens",
            "input_tool_tokens",
            "web_searches",
            "server_tools",
            "images",
            "audio_ms",
            "characters",
            "search_units",
            "cache_read_image_tokens",
        ];
        for (number, name) in counts.iter().enumerate() {
            assert_eq!(value[name], number + 1, "{name}");
        }
        for (name, text) in [
            ("region", "eu"),
            ("service_tier", "batch"),
            ("price_from", "genai-prices 0.2.1"),
            ("error_type", "overloaded"),
            ("request_id", "req_1"),
            ("credential", "0123abcd"),
            ("unit", "app.service"),
            ("container", "c0ffee"),
            ("pod_uid", "0b5e"),
            ("pod", "train-0"),
            ("namespace", "ml"),
            ("service_account", "trainer"),
            ("team", "research"),
            ("cost_center", "CC-1"),
            ("end_user", "u-7"),
            ("user_agent", "openai-python/2.8.0"),
            ("rule", "small"),
        ] {
            assert_eq!(value[name], text, "{name}");
        }
        assert_eq!(value["time_to_first_token_ms"], 260.0);
        assert_eq!(
            value["charges"],
            json!([
                { "budget": "month", "group": "alice", "window": 1_761_955_200, "amount": "1.5" },
                { "budget": "tokens", "window": 1_761_955_200, "amount": "1540" },
            ])
        );
    }

    #[test]
    fn the_json_form_has_every_field_with_its_type_and_money_as_text() {
        let record = chat();
        assert_eq!(
            serde_json::to_value(&record).unwrap(),
            json!({
                "id": record.id.to_string(),
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
                "price_status": "exact",
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
                "unit": "app.scope",
            })
        );
    }

    #[test]
    fn the_log_line_carries_the_fields_of_the_json_form() {
        let nothing = Record { usage: None, cost: None, stream: None, outcome: Outcome::Stopped, ..chat() };
        for record in [chat(), everything(), nothing] {
            let line: Value = serde_json::from_str(&logged(true, &record)).unwrap();
            let Value::Object(mut line) = line else { panic!("a line is an object") };
            for added in ["timestamp", "level"] {
                assert!(line.remove(added).is_some());
            }
            assert_eq!(line.remove("target"), Some(json!("exchange")));
            let single = Record { charges: Vec::new(), ..record };
            assert_eq!(Value::Object(line), serde_json::to_value(&single).unwrap());
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
