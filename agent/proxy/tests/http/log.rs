//! What is logged of a request. `tests/http_secrecy.rs` looks for everything else that is secret.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Rig, Site, expect, read_head, say};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

// All tasks run on this thread, so its log has all of them.
#[tokio::test]
async fn the_log_names_the_operation_and_not_the_path() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone());
    let _guard = tracing::subscriber::set_default(subscriber.with_ansi(false).finish());
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let site = Site::new().await;
    let rig = Rig::new(&site);
    site.serve(&["http/1.1"], move |_, mut stream| async move {
        for _ in 0..2 {
            read_head(&mut stream).await;
            say(&mut stream, answer).await;
        }
    });
    let (mut client, _) = rig.client(false).await;
    for path in ["/v1/files/SECRET-name/content", "/v1/chat/completions"] {
        say(&mut client, format!("GET {path} HTTP/1.1\r\nHost: api.openai.com\r\n\r\n")).await;
        expect(&mut client, answer).await;
    }
    let log = String::from_utf8_lossy(&log.0.lock()).into_owned();
    let requests: Vec<_> = log.lines().filter(|line| line.contains("a request")).collect();
    assert_eq!(requests.len(), 2, "{log}");
    assert!(requests.iter().all(|line| line.contains("operation=")), "{requests:?}");
    assert!(!log.contains("SECRET") && !log.contains("/v1/"), "{log}");
}
