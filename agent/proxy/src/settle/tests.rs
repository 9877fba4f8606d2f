use std::collections::HashSet;
use std::sync::mpsc;
use std::thread::ThreadId;
use std::time::SystemTime;

use http::{Method, StatusCode};
use tollgate_ledger::Id;
use tollgate_llm::{Api, Catalogue, Operation, RequestMeter, ResponseMeter, identify};
use tollgate_workload::Caller;

use super::*;

/// Remembers records and by which thread they came. Its first call by another thread than the test's waits until it is let go.
struct Recorder {
    test: ThreadId,
    records: Mutex<Vec<(Id, ThreadId, Record)>>,
    waits: Mutex<Option<Receiver<()>>>,
}

impl Recorder {
    fn new(waits: Option<Receiver<()>>) -> Arc<Self> {
        Arc::new(Self { test: std::thread::current().id(), records: Mutex::default(), waits: Mutex::new(waits) })
    }

    fn take(&self) -> Vec<(Id, ThreadId, Record)> {
        std::mem::take(&mut self.records.lock())
    }
}

impl Observer for Recorder {
    fn settled(&self, record: Record) {
        let thread = std::thread::current().id();
        if thread != self.test
            && let Some(waits) = self.waits.lock().take()
        {
            // Nobody left to tell us to go on is as good.
            waits.recv().unwrap_or(());
        }
        self.records.lock().push((record.id, thread, record));
    }
}

const TEXT: &str = "The quick brown fox jumps over the lazy dog.";

fn record(outcome: Outcome) -> Record {
    Record {
        id: Id::new(),
        started: SystemTime::now(),
        duration: Duration::ZERO,
        time_to_first_byte: None,
        time_to_first_token: None,
        provider: "openai".into(),
        region: None,
        host: "api.openai.com".into(),
        operation: Operation::Chat,
        request_model: Some("gpt-4o".into()),
        response_model: None,
        usage: None,
        usage_source: UsageSource::None,
        cost: None,
        price_from: None,
        price_status: None,
        status: Some(StatusCode::OK),
        outcome,
        error: None,
        stream: Some(true),
        request_bytes: 0,
        response_bytes: 0,
        request_id: None,
        credential: None,
        caller: Arc::new(Caller {
            program: "test".into(),
            executable: None,
            user: "nobody".into(),
            uid: 1,
            pid: 1,
            cgroup: None,
            unit: None,
            container: None,
            pod: None,
            system_unit: None,
        }),
        attribution: tollgate_ledger::Attribution::default(),
        rule: None,
        charges: Vec::new(),
    }
}

/// What is untold of a stream that breaks off after [`TEXT`], and the text of its request.
fn untold() -> (Untold, Sample) {
    let catalogue = Catalogue::builtin();
    let provider = catalogue.find("api.openai.com").expect("built in");
    let call = identify(provider, &Method::POST, "/v1/chat/completions");
    let mut request = RequestMeter::new(&call, None, None);
    request.push(format!(r#"{{"messages":[{{"role":"user","content":"{TEXT}"}}]}}"#).as_bytes());
    let mut response = ResponseMeter::new(Api::ChatCompletions, StatusCode::OK, Some("text/event-stream"), None);
    response.push(format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{TEXT}\"}}}}]}}\n\n").as_bytes());
    let (_, untold) = response.finish_with_untold();
    (untold, request.finish_with_text().1)
}

fn estimate(settler: &Settler, outcome: Outcome) -> Id {
    let (record, (untold, asked)) = (record(outcome), untold());
    let id = record.id;
    settler.estimate(record, Bill::default(), untold, asked, drain::channel().1);
    id
}

#[test]
fn what_was_not_told_is_estimated_and_priced_and_then_told_once() {
    let recorder = Recorder::new(None);
    let settler = Settler::new(Arc::<Recorder>::clone(&recorder));
    estimate(&settler, Outcome::ClientGone);
    drop(settler);
    let records = recorder.take();
    assert_eq!(records.len(), 1);
    let (_, thread, record) = &records[0];
    assert_ne!(*thread, recorder.test, "the counting is done elsewhere");
    let usage = record.usage.expect("estimated");
    // Ten tokens of text each; four for the message and three for the conversation.
    assert_eq!((usage.input, usage.output, record.usage_source), (17, 10, UsageSource::Estimated));
    assert!(record.cost.is_some_and(|cost| !cost.is_zero()), "{record:?}");
}

#[test]
fn nobody_waits_for_a_full_queue_and_no_record_is_lost() {
    let (let_go, waits) = mpsc::channel();
    let recorder = Recorder::new(Some(waits));
    let settler = Settler::new(Arc::<Recorder>::clone(&recorder));
    let ids: HashSet<_> = (0..QUEUE + 50).map(|_| estimate(&settler, Outcome::ClientGone)).collect();
    // The thread holds at most one beside its queue.
    let at_once = recorder.records.lock().len();
    assert!((49..=50).contains(&at_once), "{at_once}");
    let_go.send(()).expect("it waits");
    drop(settler);
    let records = recorder.take();
    assert_eq!(records.len(), QUEUE + 50, "each once");
    assert_eq!(records.iter().map(|(id, ..)| *id).collect::<HashSet<_>>(), ids);
    for (_, thread, record) in &records {
        let usage = record.usage.expect("estimated");
        assert_eq!(record.usage_source, UsageSource::Estimated);
        if *thread == recorder.test {
            assert!((14..=20).contains(&usage.input) && (7..=13).contains(&usage.output), "a rough count: {usage:?}");
        } else {
            assert_eq!((usage.input, usage.output), (17, 10));
        }
    }
}

#[test]
fn when_the_agent_stops_the_count_is_made_at_once() {
    let recorder = Recorder::new(None);
    let settler = Settler::new(Arc::<Recorder>::clone(&recorder));
    estimate(&settler, Outcome::Stopped);
    let records = recorder.take();
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].1, records[0].2.usage_source), (recorder.test, UsageSource::Estimated));
}

#[test]
fn an_estimate_is_never_below_what_was_told() {
    let (_, asked) = untold();
    let told = Usage { input: 1_000, output: 3, cache_read: 900, ..Usage::default() };
    let of = |input, output, counted| {
        let mut record =
            Record { usage: Some(told), usage_source: UsageSource::Partial, ..record(Outcome::ClientGone) };
        complete(&mut record, &Untold { input, output, ..Untold::default() }, &asked, |_, _| counted);
        (record.usage.expect("told"), record.usage_source)
    };
    assert_eq!(of(false, true, 50), (Usage { output: 50, ..told }, UsageSource::Estimated));
    assert_eq!(of(false, true, 2), (told, UsageSource::Partial), "nothing in it is ours");
    assert_eq!(of(false, false, 9_999), (told, UsageSource::Partial));
}

#[test]
fn a_count_that_panics_loses_no_record() {
    let recorder = Recorder::new(None);
    let (untold, asked) = untold();
    let mut uncounted = Uncounted {
        parts: Some((record(Outcome::ClientGone), Bill::default(), untold, asked)),
        prices: Arc::new(Prices::bundled()),
        observer: Arc::<Recorder>::clone(&recorder),
        _drain: drain::channel().1,
    };
    let counted = catch_unwind(AssertUnwindSafe(|| uncounted.settle(|_, _| panic!("a text like no other"))));
    assert!(counted.is_err() && recorder.take().is_empty());
    drop(uncounted);
    let records = recorder.take();
    assert_eq!((records.len(), records[0].2.usage_source), (1, UsageSource::Estimated));
}

#[test]
fn the_drain_waits_for_what_is_being_counted() {
    let (let_go, waits) = mpsc::channel();
    let recorder = Recorder::new(Some(waits));
    let settler = Settler::new(Arc::<Recorder>::clone(&recorder));
    let (trigger, watch) = drain::channel();
    let (untold, asked) = untold();
    settler.estimate(record(Outcome::ClientGone), Bill::default(), untold, asked, watch);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mut drained = std::pin::pin!(trigger.drain(Duration::from_mins(1)));
        let early = tokio::time::timeout(Duration::from_millis(50), &mut drained).await;
        assert!(early.is_err(), "it is still counted");
        let_go.send(()).expect("it waits");
        drained.await.expect("it is counted now");
    });
    assert_eq!(recorder.take().len(), 1);
}

fn settled(record: Record, bill: Bill, prices: Option<Prices>) -> Record {
    let recorder = Recorder::new(None);
    let settler = Settler::new(Arc::<Recorder>::clone(&recorder));
    if let Some(prices) = prices {
        settler.use_prices(Arc::new(prices));
    }
    settler.settle(record, bill);
    recorder.take().pop().expect("settled").2
}

fn used() -> Record {
    Record { usage: Some(Usage { input: 1_000_000, ..Usage::default() }), ..record(Outcome::Completed) }
}

#[test]
fn a_record_says_what_it_cost_and_where_the_price_is_from_or_why_there_is_none() {
    let priced = settled(used(), Bill::default(), None);
    assert_eq!(priced.cost.map(|cost| cost.to_string()).as_deref(), Some("2.5"));
    assert_eq!(priced.price_status, Some(PriceStatus::Exact));
    assert!(priced.price_from.is_some_and(|from| from.ends_with("2026-10-30")));

    let unknown = settled(Record { request_model: Some("gpt-9000".into()), ..used() }, Bill::default(), None);
    assert_eq!((unknown.cost, unknown.price_status), (None, Some(PriceStatus::UnknownModel)));

    let nothing = settled(record(Outcome::Completed), Bill::default(), None);
    assert_eq!((nothing.cost, nothing.price_status), (None, None), "there was nothing to be priced");
}

#[test]
fn what_the_provider_charges_is_believed_where_the_operator_has_no_price() {
    let bill = || Bill { cost: Some(Decimal::new(5, 3)), pointed: Pointed::default(), reserved: None };
    let told = settled(used(), bill(), None);
    assert_eq!((told.cost, told.price_status), (bill().cost, Some(PriceStatus::Told)));
    let uncounted = settled(record(Outcome::Completed), bill(), None);
    assert_eq!((uncounted.cost, uncounted.price_status), (bill().cost, Some(PriceStatus::Told)));

    let own = r#"{"source":"own","date":"2026-11-01","prices":[{"provider":"openai","model":"gpt-4o","rates":{"input":"1"}}]}"#;
    let file = tollgate_llm::price::file::File::from_json(own).expect("is right");
    let prices = Prices::with(&[("own.yaml".to_owned(), file)]).expect("is right");
    let owned = settled(used(), bill(), Some(prices));
    assert_eq!((owned.cost, owned.price_status), (Some(Decimal::ONE), Some(PriceStatus::Exact)));
    assert_eq!(owned.price_from.as_deref(), Some("own, 2026-11-01"));
}
