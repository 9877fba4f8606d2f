//! A ledger of fixed calls, and the command to read it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use jiff::Timestamp;
use tollgate_ledger::store::{FILE, Ledger, Settings};
use tollgate_ledger::{Id, Opened, Outcome, Record, Refusal};
use tollgate_llm::{ErrorKind, Operation, Usage, UsageSource};
use tollgate_workload::Caller;

/// How long anything here may take on a machine that is busy with other things.
pub(super) const PATIENCE: Duration = Duration::from_mins(2);

/// A ledger in a folder of its own.
pub(super) struct Shelf {
    folder: tempfile::TempDir,
}

impl Shelf {
    pub(super) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub(super) fn with(records: &[Record]) -> Self {
        let shelf = Self::new();
        let ledger = shelf.writer();
        for record in records {
            ledger.settled(record);
        }
        ledger.close();
        shelf
    }

    pub(super) fn writer(&self) -> Ledger {
        let (directory, journals) = (self.folder.path().join("ledger"), self.folder.path().join("journal"));
        Ledger::start(Settings { directory, journals: vec![journals], retention: None }).expect("a writer")
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("ledger").join(FILE)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command, in UTC.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tollgate(arguments);
        command.arg("--ledger").arg(self.file());
        command
    }

    pub(super) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the command starts")
    }

    /// What a successful command says on stdout.
    #[track_caller]
    pub(super) fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        text(&output.stdout)
    }
}

pub(super) fn tollgate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).stdin(Stdio::null()).env("TZ", "UTC");
    command
}

pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits for something that will come.
#[track_caller]
pub(super) fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !done() {
        assert!(std::time::Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(super) fn caller(program: &str, user: &str, unit: Option<&str>) -> Arc<Caller> {
    Arc::new(Caller {
        program: program.into(),
        executable: Some(format!("/usr/bin/{program}").into()),
        user: user.into(),
        uid: 1000,
        pid: 4242,
        cgroup: None,
        unit: unit.map(Into::into),
        container: None,
        pod: None,
        system_unit: None,
    })
}

/// A good chat with gpt-5 at that time.
pub(super) fn chat(started: &str) -> Record {
    let started: Timestamp = started.parse().expect("a time");
    Record {
        id: Id::new(),
        started: started.into(),
        duration: Duration::from_millis(1_250),
        time_to_first_byte: Some(Duration::from_millis(200)),
        time_to_first_token: Some(Duration::from_millis(250)),
        provider: "openai".into(),
        region: None,
        host: "api.openai.com".into(),
        operation: Operation::Chat,
        request_model: Some("gpt-5".into()),
        response_model: Some("gpt-5-2025-08-07".into()),
        usage: Some(Usage { input: 1_200, output: 340, cache_read: 1_000, reasoning: 64, ..Usage::default() }),
        usage_source: UsageSource::Provider,
        cost: "0.003775".parse().ok(),
        price_from: Some("test prices".into()),
        price_status: None,
        status: Some(StatusCode::OK),
        outcome: Outcome::Completed,
        error: None,
        stream: Some(true),
        request_bytes: 5_120,
        response_bytes: 20_480,
        request_id: Some("req_1".into()),
        credential: Some("c0ffee".into()),
        caller: caller("python3.13", "alice", Some("app.service")),
        attribution: tollgate_ledger::Attribution::default(),
        rule: None,
        charges: Vec::new(),
    }
}

/// Calls of every kind, over two days.
pub(super) fn calls() -> Vec<Record> {
    let claude = |started| Record {
        provider: "anthropic".into(),
        host: "api.anthropic.com".into(),
        request_model: Some("claude-opus-4-5".into()),
        response_model: None,
        usage: Some(Usage {
            input: 1_234_567,
            output: 8_910,
            cache_read: 1_000_000,
            cache_write: 500,
            cache_write_1h: 200,
            ..Usage::default()
        }),
        cost: "1234.5678901".parse().ok(),
        credential: None,
        caller: caller("node", "bob", None),
        ..chat(started)
    };
    let private = Record {
        provider: "vllm".into(),
        cost: None,
        request_model: Some("=cmd|' /C calc'!A0".into()),
        ..chat("2026-11-02T09:00:00Z")
    };
    vec![
        chat("2026-11-01T10:00:00Z"),
        chat("2026-11-01T10:30:00Z"),
        claude("2026-11-01T23:59:59Z"),
        Record { usage_source: UsageSource::Estimated, ..claude("2026-11-02T00:00:00Z") },
        private,
        Record { usage_source: UsageSource::Partial, outcome: Outcome::ClientGone, ..chat("2026-11-02T10:00:00Z") },
        Record { usage: None, usage_source: UsageSource::None, cost: None, ..chat("2026-11-02T11:00:00Z") },
        Record {
            usage: None,
            usage_source: UsageSource::None,
            cost: None,
            status: Some(StatusCode::TOO_MANY_REQUESTS),
            error: Some(ErrorKind::RateLimited),
            ..chat("2026-11-02T12:00:00Z")
        },
        Record {
            usage: None,
            usage_source: UsageSource::None,
            cost: None,
            status: Some(StatusCode::FORBIDDEN),
            outcome: Outcome::Refused(Refusal::Policy),
            ..chat("2026-11-02T13:00:00Z")
        },
    ]
}

/// A call of a team's, in a pod, with a charge.
pub(super) fn put_down() -> Record {
    let pod = tollgate_workload::Pod {
        uid: "0b5e".into(),
        name: Some("train-0".into()),
        namespace: Some("ml".into()),
        service_account: Some("trainer".into()),
        ..tollgate_workload::Pod::default()
    };
    let chat = chat("2026-11-02T14:00:00Z");
    Record {
        caller: Arc::new(Caller { pod: Some(Arc::new(pod)), ..(*chat.caller).clone() }),
        attribution: tollgate_ledger::Attribution {
            team: Some("research".into()),
            cost_center: Some("=CC-1".into()),
            end_user: Some("u-7".into()),
            user_agent: Some("openai-python/2.8.0".into()),
        },
        rule: Some("small".into()),
        charges: vec![tollgate_ledger::Charge {
            budget: "month".into(),
            group: "alice".into(),
            window: 1_761_955_200,
            counts: None,
            amount: "0.003775".parse().expect("a number"),
        }],
        ..chat
    }
}

/// A call that begins now.
pub(super) fn opened() -> Opened {
    Opened {
        id: Id::new(),
        started: SystemTime::now(),
        provider: "anthropic".into(),
        region: None,
        host: "api.anthropic.com".into(),
        operation: Operation::Chat,
        request_model: Some("claude-opus-4-5".into()),
        credential: None,
        caller: caller("claude", "alice", None),
        attribution: tollgate_ledger::Attribution::default(),
        charges: Vec::new(),
    }
}

/// A call that has just ended.
pub(super) fn ended() -> Record {
    let started = SystemTime::now() - Duration::from_millis(1_250);
    Record { id: Id::new(), started, ..chat("2026-11-01T10:00:00Z") }
}
