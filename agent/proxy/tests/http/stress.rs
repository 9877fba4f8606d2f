//! Many at once, some of whom leave, on several threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tollgate_ledger::Outcome;
use tollgate_proxy::upstream::Limits;

use crate::support::{HOST, PATIENCE, Rig, Site, full, https, patiently};

/// Echoes, in pieces, after a while that the path says; on `/close` it breaks off in the middle.
async fn provider(stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>) {
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
        let breaks = request.uri().path() == "/close";
        let body = request.into_body().collect().await?.to_bytes();
        let pieces = futures_util::stream::unfold((body, 0), move |(body, at)| async move {
            if breaks && at > 0 {
                return Some((Err(std::io::Error::other("broken off")), (body, at)));
            }
            let end = body.len().min(at + 1_000);
            tokio::time::sleep(Duration::from_micros(200)).await;
            (at < end).then(|| (Ok(Frame::data(body.slice(at..end))), (body.clone(), end)))
        });
        Ok::<_, hyper::Error>(Response::new(StreamBody::new(pieces).boxed_unsync()))
    });
    if http2 {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        drop(builder.serve_connection(TokioIo::new(stream), service).await);
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        drop(builder.serve_connection(TokioIo::new(stream), service).await);
    }
}

/// Ten requests of one client, each another shape; counts those that were answered in full.
async fn client(rig: Arc<Rig>, seed: usize, http2: bool, complete: Arc<AtomicUsize>) {
    let (socket, served) = rig.client(http2).await;
    let mut senders = if http2 {
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.expect("HTTP/2");
        tokio::spawn(async move { drop(connection.await) });
        (Some(sender), None)
    } else {
        let (sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.expect("a connection");
        tokio::spawn(async move { drop(connection.await) });
        (None, Some(sender))
    };
    for index in 0..10 {
        let body = Bytes::from(vec![index as u8; 500 + (seed * 37 + index * 1_009) % 9_000]);
        let path = if (seed + index).is_multiple_of(7) { "/close" } else { "/" };
        let uri = if http2 { https(path) } else { path.parse().expect("a path") };
        let request = Request::post(uri).header("host", HOST).body(full(body.clone())).expect("a request");
        let exchange = async {
            let response = match &mut senders {
                (Some(sender), _) => sender.send_request(request).await.ok()?,
                (_, Some(sender)) => {
                    sender.ready().await.ok()?;
                    sender.send_request(request).await.ok()?
                }
                _ => unreachable!(),
            };
            let status = response.status();
            Some((status, response.into_body().collect().await.ok()?.to_bytes()))
        };
        let leaves = (seed + index) % 5 == 3;
        let limit = if leaves { Duration::from_millis(1 + (seed % 4) as u64) } else { PATIENCE };
        match tokio::time::timeout(limit, exchange).await {
            Ok(Some((status, received))) if status.is_success() => {
                assert_eq!(received, body, "whole, and its own");
                complete.fetch_add(1, Relaxed);
            }
            // Broken off by one side or the other; an HTTP/1.1 connection is over then.
            Ok(None) | Err(_) if !http2 => break,
            Ok(_) | Err(_) => {}
        }
    }
    drop(senders);
    drop(patiently(served).await.expect("no panic"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_exchange_is_settled_once_whatever_happens() {
    for alpn in [&["http/1.1"][..], &["h2"], &["h2", "http/1.1"]] {
        let site = Site::new().await;
        let limits = Limits { streams_per_connection: 7, idle_per_host: 3, ..Limits::default() };
        let rig = Arc::new(Rig::with(&site, site.address(), limits, Vec::new()));
        site.serve(alpn, |_, stream| provider(stream));
        let complete = Arc::<AtomicUsize>::default();
        let clients: Vec<_> = (0..60)
            .map(|seed| tokio::spawn(client(Arc::clone(&rig), seed, seed.is_multiple_of(2), Arc::clone(&complete))))
            .collect();
        for client in clients {
            client.await.expect("no panic");
        }
        // All connections have been served to their ends, so all exchanges have been settled.
        let records = rig.recorder.settled();
        let records = rig.recorder.records(records).await;
        let completed = records.iter().filter(|record| {
            record.outcome == Outcome::Completed && record.status.is_some_and(|status| status.is_success())
        });
        let (completed, complete) = (completed.count(), complete.load(Relaxed));
        // A client may leave right after the last byte was handed to its connection, never the other way round.
        assert!(completed >= complete && complete > 200, "{completed} {complete}");
        assert!(records.iter().any(|record| record.outcome == Outcome::ClientGone));
        assert!(records.iter().any(|record| matches!(record.outcome, Outcome::UpstreamFailed(_))));
    }
}
