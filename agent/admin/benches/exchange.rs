//! What all that is known of one exchange costs: identified, metered, priced, recorded and counted. Moving its bytes is not in it.
//! Run it with `cargo bench -p tollgate-admin`; it prints, it does not judge. Names of steps after `--` choose among them.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Method, StatusCode};
use tollgate_admin::{Metrics, Step};
use tollgate_ledger::{Id, Opened, Outcome, Record};
use tollgate_llm::{
    Asked, Call, Catalogue, Prices, Provider, RequestMeter, ResponseFacts, ResponseMeter, Usage, UsageSource, identify,
};
use tollgate_workload::Caller;

const HOST: &str = "api.openai.com";
const PATH: &str = "/v1/chat/completions";
const JSON: Option<&str> = Some("application/json");
const ROUNDS: usize = 15;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let bench = Bench::new();
    let answer = answer();
    let (small, large, image) = (body(800), body(200_000), body_of_image(200_000));
    let facts = ResponseFacts { model: Some("gpt-4o-mini-2024-07-18".into()), ..ResponseFacts::default() };
    let record = bench.record(&facts, small.len(), answer.len());
    let call = bench.identify();
    let usage = Usage { input: 190, output: 100, cache_read: 128, reasoning: 64, ..Usage::default() };
    let steps: [(&str, usize, &dyn Fn()); 16] = [
        ("exchange", 2_000, &|| bench.exchange(&small, &answer)),
        ("stream of 100 events", 200, &|| bench.stream(100)),
        ("identify", 10_000, &|| drop(black_box(bench.identify()))),
        ("meter request", 10_000, &|| drop(black_box(Bench::ask(&call, &small)))),
        ("meter request of 200 KB", 50, &|| drop(black_box(Bench::ask(&call, &large)))),
        ("meter request with an image, 200 KB", 50, &|| drop(black_box(Bench::ask(&call, &image)))),
        ("meter answer", 10_000, &|| drop(black_box(bench.answered(&call, &answer)))),
        ("price", 10_000, &|| _ = black_box(bench.price(black_box(&usage)))),
        ("opened", 10_000, &|| drop(black_box(bench.opened(&call)))),
        ("record", 10_000, &|| drop(black_box(bench.record(&facts, 1, 1)))),
        ("count", 10_000, &|| bench.metrics.record(black_box(&record))),
        ("count steps", 10_000, &|| bench.steps()),
        ("log, to nobody", 10_000, &|| black_box(&record).log()),
        ("id", 10_000, &|| _ = black_box(Id::new())),
        ("clocks", 10_000, &|| _ = black_box((Instant::now(), SystemTime::now()))),
        ("find provider", 10_000, &|| _ = black_box(bench.catalogue.find(black_box(HOST)))),
    ];
    for (name, times, step) in steps {
        if wanted.is_empty() || wanted.iter().any(|word| *word == name) {
            let took = median(times, step);
            println!("{name:40} {:10.0} ns", took.as_nanos() as f64 / times as f64);
        }
    }
}

/// The median time of so many runs.
fn median(times: usize, step: &dyn Fn()) -> Duration {
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..times).for_each(|_| step());
            start.elapsed()
        })
        .collect();
    rounds.sort_unstable();
    rounds[rounds.len() / 2]
}

/// A request with so many bytes of text, as SDKs write it.
fn body(bytes: usize) -> Vec<u8> {
    let text = "Some text of a usual length,\\nwith \\\"quotes\\\" and all. It has some sentences, and ends. ";
    let message = |text: &str| format!(r#"{{"role":"user","content":"{text}"}}"#);
    let messages: Vec<String> = (0..bytes.div_ceil(1_000)).map(|_| message(&text.repeat(1_000 / text.len()))).collect();
    let head = r#"{"role":"system","content":"You are a helpful assistant."}"#;
    format!(
        r#"{{"messages":[{head},{}],"model":"gpt-4o-mini","temperature":0.2,"max_tokens":400}}"#,
        messages.join(",")
    )
    .into()
}

fn body_of_image(bytes: usize) -> Vec<u8> {
    let image = "iVBORw0KGgoAAAANSUhEUgAAAAUA".repeat(bytes / 28);
    format!(r#"{{"model":"gpt-4o-mini","messages":[{{"role":"user","content":[{{"type":"text","text":"What is it?"}},{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{image}"}}}}]}}]}}"#).into()
}

fn answer() -> Vec<u8> {
    let text = "Hello! How can I assist you today? ".repeat(12);
    format!(
        r#"{{
  "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
  "object": "chat.completion",
  "created": 1741569952,
  "model": "gpt-4o-mini-2024-07-18",
  "choices": [
    {{
      "index": 0,
      "message": {{
        "role": "assistant",
        "content": "{text}",
        "refusal": null,
        "annotations": []
      }},
      "logprobs": null,
      "finish_reason": "stop"
    }}
  ],
  "usage": {{
    "prompt_tokens": 190,
    "completion_tokens": 100,
    "total_tokens": 290,
    "prompt_tokens_details": {{
      "cached_tokens": 0,
      "audio_tokens": 0
    }},
    "completion_tokens_details": {{
      "reasoning_tokens": 0,
      "audio_tokens": 0,
      "accepted_prediction_tokens": 0,
      "rejected_prediction_tokens": 0
    }}
  }},
  "service_tier": "default",
  "system_fingerprint": "fp_06737a9306"
}}
"#
    )
    .into()
}

struct Bench {
    catalogue: Catalogue,
    provider: Arc<Provider>,
    prices: Prices,
    metrics: Metrics,
    headers: HeaderMap,
    host: Arc<str>,
    credential: Arc<str>,
    caller: Arc<Caller>,
}

impl Bench {
    fn new() -> Self {
        let catalogue = Catalogue::builtin();
        let provider = Arc::clone(catalogue.find(HOST).expect("a built-in host"));
        let headers = [
            ("date", "Mon, 23 Nov 2026 04:20:00 GMT"),
            ("content-type", "application/json"),
            ("openai-organization", "acme"),
            ("openai-processing-ms", "400"),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-request-id", "req_0b7f3ab3f8e94b1d9a63ad8d0cbb7c41"),
            ("cf-ray", "8f1b4c5d6e7f8a9b-FRA"),
        ];
        let headers = headers.map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        let caller = Caller {
            program: "python3.13".into(),
            executable: Some("/usr/bin/python3.13".into()),
            user: "alice".into(),
            uid: 1000,
            pid: 4242,
            cgroup: Some("/user.slice/app.scope".into()),
            unit: Some("app.scope".into()),
            container: None,
            pod: None,
            system_unit: None,
        };
        Self {
            catalogue,
            provider,
            prices: Prices::bundled(),
            metrics: Metrics::new("bench", "0"),
            headers: HeaderMap::from_iter(headers),
            host: HOST.into(),
            credential: "0123456789abcdef".into(),
            caller: Arc::new(caller),
        }
    }

    fn identify(&self) -> Call {
        identify(&self.provider, &Method::POST, black_box(PATH))
    }

    fn ask(call: &Call, body: &[u8]) -> Option<Arc<str>> {
        let mut meter = RequestMeter::new(call, JSON, None);
        body.chunks(16 << 10).for_each(|piece| meter.push(black_box(piece)));
        let (facts, _sample) = meter.finish_with_text();
        assert!(facts.model.is_some(), "it is in the body");
        facts.model
    }

    fn answered(&self, call: &Call, body: &[u8]) -> ResponseFacts {
        let meter = ResponseMeter::new(call.api, StatusCode::OK, JSON, None);
        let mut meter = meter.with_headers(&self.headers);
        meter.push(black_box(body));
        let (facts, untold) = meter.finish_with_untold();
        assert!(facts.source == UsageSource::Provider && untold.is_nothing(), "it tells its usage");
        facts
    }

    fn price(&self, usage: &Usage) -> rust_decimal::Decimal {
        let asked = Asked {
            provider: "openai",
            region: None,
            response_model: Some(black_box("gpt-4o-mini-2024-07-18")),
            request_model: Some(black_box("gpt-4o-mini")),
            usage,
            pointed: None,
            told: None,
            at: SystemTime::now(),
        };
        self.prices.price(&asked).expect("it is on the list").cost
    }

    fn opened(&self, call: &Call) -> Opened {
        Opened {
            id: Id::new(),
            started: SystemTime::now(),
            provider: Arc::clone(&self.provider.name),
            region: self.provider.region(&self.host).map(Arc::from),
            host: Arc::clone(&self.host),
            operation: call.operation,
            request_model: call.model_in_path.clone(),
            credential: Some(Arc::clone(&self.credential)),
            caller: Arc::clone(&self.caller),
            attribution: tollgate_ledger::Attribution::default(),
            charges: Vec::new(),
        }
    }

    fn record(&self, facts: &ResponseFacts, sent: usize, received: usize) -> Record {
        Record {
            id: Id::new(),
            started: SystemTime::now(),
            duration: Duration::from_millis(20),
            time_to_first_byte: Some(Duration::from_millis(19)),
            time_to_first_token: None,
            region: self.provider.region(&self.host).map(Arc::from),
            provider: Arc::clone(&self.provider.name),
            host: Arc::clone(&self.host),
            operation: tollgate_llm::Operation::Chat,
            request_model: facts.model.clone(),
            response_model: facts.model.clone(),
            usage: facts.usage,
            usage_source: facts.source,
            cost: None,
            price_from: None,
            price_status: None,
            status: Some(StatusCode::OK),
            outcome: Outcome::Completed,
            error: None,
            stream: None,
            request_bytes: sent as u64,
            response_bytes: received as u64,
            request_id: self.headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(Arc::from),
            credential: Some(Arc::clone(&self.credential)),
            caller: Arc::clone(&self.caller),
            attribution: tollgate_ledger::Attribution::default(),
            rule: None,
            charges: Vec::new(),
        }
    }

    fn steps(&self) {
        self.metrics.took(Step::Request, Duration::from_micros(30));
        self.metrics.took(Step::Response, Duration::from_micros(10));
    }

    fn settle(&self, call: &Call, model: Option<Arc<str>>, facts: &ResponseFacts, sent: usize, received: usize) {
        let mut record = self.record(facts, sent, received);
        record.operation = call.operation;
        record.request_model = model;
        let asked = Asked {
            provider: &record.provider,
            region: record.region.as_deref(),
            response_model: record.response_model.as_deref(),
            request_model: record.request_model.as_deref(),
            usage: record.usage.as_ref().expect("it was told"),
            pointed: None,
            told: facts.cost,
            at: record.started,
        };
        let price = self.prices.price(&asked).expect("it is on the list");
        (record.cost, record.price_from, record.price_status) =
            (Some(price.cost), Some(price.from), Some(price.status));
        self.metrics.record(&record);
        record.log();
        black_box(record);
    }

    fn exchange(&self, request: &[u8], answer: &[u8]) {
        let call = self.identify();
        black_box(self.opened(&call));
        let model = Self::ask(&call, request);
        let facts = self.answered(&call, answer);
        self.settle(&call, model, &facts, request.len(), answer.len());
        self.steps();
    }

    fn stream(&self, events: usize) {
        const EVENT: &str = "data: {\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\"chat.completion.chunk\",\"created\":1741570283,\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_06737a9306\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" token\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null,\"obfuscation\":\"kX2n\"}\n\n";
        const END: &str = "data: {\"id\":\"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG\",\"object\":\"chat.completion.chunk\",\"created\":1741570283,\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":10,\"total_tokens\":29,\"prompt_tokens_details\":{\"cached_tokens\":0},\"completion_tokens_details\":{\"reasoning_tokens\":0}}}\n\ndata: [DONE]\n\n";
        let call = self.identify();
        let meter = ResponseMeter::new(call.api, StatusCode::OK, Some("text/event-stream"), None);
        let mut meter = meter.with_headers(&self.headers);
        (0..events).for_each(|_| meter.push(black_box(EVENT.as_bytes())));
        meter.push(END.as_bytes());
        assert_eq!(black_box(meter.finish()).source, UsageSource::Provider);
    }
}
