//! Keys, prompts and answers stay out of logs, at every level and of every crate. A process of its own: one log for all threads.

#[path = "http/support.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod support;

use std::io;
use std::sync::Arc;

use http::Request;
use parking_lot::Mutex;
use tracing_subscriber::fmt::MakeWriter;

use support::{Rig, Site, full, https, patiently, read_head, read_to_end, say, text};

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

#[tokio::test]
async fn nothing_secret_is_logged_when_all_goes_well_or_nothing_does() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    for alpn in ["http/1.1", "h2", "none"] {
        let site = Site::new().await;
        let rig = Rig::new(&site);
        site.serve(&[alpn], |_, mut stream| async move {
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    let response = http::Response::builder().header("x-answer", "SECRET-field").body(());
                    let mut sending = respond.send_response(response.expect("a response"), false).expect("open");
                    sending.send_data("SECRET-answer".into(), true).expect("open");
                }
            } else {
                read_head(&mut stream).await;
                say(
                    &mut stream,
                    "HTTP/1.1 200 OK\r\nX-Answer: SECRET-field\r\nContent-Length: 13\r\n\r\nSECRET-answer",
                )
                .await;
                // And then something that cannot be parsed, if there is a second request.
                let mut byte = [0];
                drop(patiently(tokio::io::AsyncReadExt::read(&mut stream, &mut byte)).await);
                say(&mut stream, "SECRET-garbage\r\n\r\n").await;
            }
        });
        let (mut client, _) = rig.client(false).await;
        for _ in 0..2 {
            let head =
                "POST /v1/x?key=SECRET-query HTTP/1.1\r\nHost: api.openai.com\r\nAuthorization: Bearer SECRET-key\r\n";
            say(&mut client, format!("{head}Content-Length: 13\r\n\r\nSECRET-prompt")).await;
        }
        say(&mut client, "SECRET-method\u{1} / HTTP/1.1\r\n\r\n").await;
        drop(read_to_end(&mut client).await);
        let request = Request::post(https("/v1/x?key=SECRET-query")).header("authorization", "Bearer SECRET-key");
        let request = request.body(full("SECRET-prompt")).expect("a request");
        let response = patiently(rig.http2().await.send_request(request)).await.expect("answered");
        drop(text(response.into_body()).await);
        rig.recorder.records(3).await;
    }
    let log = String::from_utf8_lossy(&log.0.lock()).into_owned();
    assert!(log.contains("a request"), "the log works");
    let leaks: Vec<_> = log.lines().filter(|line| line.contains("SECRET")).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}
