//! Draining HTTP/1.1 connections. HTTP/2 is in `http2`.

use std::time::Duration;

use tollgate_ledger::Outcome;

use crate::support::{PATIENCE, Rig, Site, expect, patiently, read_head, read_to_end, say};

const GET: &str = "GET / HTTP/1.1\r\nHost: api.openai.com\r\n\r\n";

fn slow(site: Site) {
    site.serve(&["http/1.1"], |_, mut stream| async move {
        loop {
            read_head(&mut stream).await;
            say(&mut stream, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n12").await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            say(&mut stream, "34").await;
        }
    });
}

#[tokio::test]
async fn what_is_in_flight_finishes_and_what_is_idle_closes() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    slow(site);
    let (mut idle, _) = rig.client(false).await;
    say(&mut idle, GET).await;
    expect(&mut idle, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n1234").await;
    let (mut busy, _) = rig.client(false).await;
    say(&mut busy, GET).await;
    expect(&mut busy, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n12").await;
    let Rig { trigger, watch, recorder, .. } = rig;
    drop(watch);
    let draining = tokio::spawn(trigger.drain(PATIENCE));
    assert!(read_to_end(&mut idle).await.is_empty());
    assert!(!draining.is_finished());
    expect(&mut busy, "34").await;
    assert!(read_to_end(&mut busy).await.is_empty());
    drop((busy, idle));
    patiently(draining).await.expect("no panic").expect("drained");
    assert!(recorder.records(2).await.iter().all(|record| record.outcome == Outcome::Completed));
}

#[tokio::test]
async fn a_connection_that_came_just_before_gets_its_first_request_through() {
    let site = Site::new().await;
    let rig = Rig::new(&site);
    slow(site);
    let (mut client, _) = rig.client(false).await;
    let Rig { trigger, watch, recorder, .. } = rig;
    drop(watch);
    let draining = tokio::spawn(trigger.drain(PATIENCE));
    tokio::time::sleep(Duration::from_millis(100)).await;
    say(&mut client, GET).await;
    let answer = String::from_utf8(read_to_end(&mut client).await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n1234"), "{answer}");
    assert!(answer.contains("connection: close"), "it is told that the connection ends: {answer}");
    drop(client);
    patiently(draining).await.expect("no panic").expect("drained");
    recorder.record().await;
}
