//! What the programs log reaches this process's log, at the level that was asked for.

use std::{io::Write, sync::Arc};

use parking_lot::Mutex;
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter};

use crate::lab::{Agent, PROVIDER, lab, patient};

/// A log in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Memory {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// What is logged of one redirected connection, and its process.
fn logged(level: LevelFilter) -> (String, u32) {
    let memory = Memory::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(level).with_writer(memory.clone()).with_ansi(false).finish();
    let (mut said, mut pid) = (String::new(), 0);
    lab(|lab| {
        tracing::subscriber::with_default(subscriber, || {
            let agent = Agent::start(lab, &patient());
            let mut client = lab.client("call(V4, '203.0.113.7')");
            agent.take();
            assert_eq!(client.line(), format!("agent {PROVIDER} 443"));
            agent.beat();
            pid = client.pid();
        });
        said = String::from_utf8_lossy(&memory.0.lock()).into_owned();
    });
    (said, pid)
}

#[test]
fn decisions_are_logged_for_debugging_only() {
    let (said, pid) = logged(LevelFilter::DEBUG);
    assert!(said.contains(&format!("process {pid} is redirected to port ")), "{said}");
    let (said, _) = logged(LevelFilter::INFO);
    assert!(!said.contains("redirected"), "{said}");
}
