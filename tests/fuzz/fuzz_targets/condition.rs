//! A condition of any content is compiled or refused, and evaluated without a panic; what it says stays on one line.
#![no_main]

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use tollgate_llm::Operation;
use tollgate_policy::{Condition, Named, Subject};
use tollgate_workload::{Caller, Pod};

static CALLER: LazyLock<Caller> = LazyLock::new(|| Caller {
    program: "python3".into(),
    executable: Some("/usr/bin/python3".into()),
    user: "alice".into(),
    uid: 1000,
    pid: 42,
    cgroup: Some("/system.slice/a.service".into()),
    unit: Some("a.service".into()),
    system_unit: Some("a.service".into()),
    container: None,
    pod: Some(Arc::new(Pod { labels: vec![("app".into(), "x".into()), ("empty".into(), "".into())], ..Pod::default() })),
});

fuzz_target!(|text: &str| {
    let told = match Condition::compile(text) {
        Ok(condition) => {
            assert_eq!(condition.as_str(), text);
            let subject = Subject {
                caller: &CALLER,
                credential: None,
                provider: "openai",
                region: None,
                host: "api.openai.com",
                operation: Operation::Chat,
                model: Some("gpt-5"),
                stream: true,
                max_output_tokens: Some(u64::MAX),
                end_user: Some("1"),
                user_agent: Some("x"),
            };
            let named = Named { team: Some("a".into()), cost_center: None };
            let times = [Timestamp::UNIX_EPOCH, Timestamp::MIN, Timestamp::MAX];
            times.iter().filter_map(|now| condition.evaluate(&subject, &named, *now).err()).collect::<String>()
        }
        Err(error) => error.to_string(),
    };
    assert!(!told.contains(char::is_control), "{told:?}");
});
