//! What the operator's prices ask for is read from answers as they pass, and charged.

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tollgate_llm::price::file::File;
use tollgate_llm::{PriceStatus, Prices};

use crate::support::{HOST, Rig, Site, patiently, read_head, read_to_end, say};

const PRICES: &str = r#"{"source":"contract","date":"2026-11-01","prices":[{"provider":"openai","model":"gpt-4o-mini",
    "rates":{"input":"1","output":"2"},"pointers":[{"pointer":"/usage/special_units","each":"0.001"}]}]}"#;

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n\
    data: {\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"special_units\":3}}\n\n\
    data: {\"model\":\"gpt-4o-mini\",\"choices\":[],\"usage\":{\"prompt_tokens\":1000,\"completion_tokens\":200,\"special_units\":7.5}}\n\n\
    data: [DONE]\n\n";

#[tokio::test]
async fn a_number_that_only_the_operator_knows_the_price_of_is_charged() {
    let site = Site::new().await;
    let mut rig = Rig::new(&site);
    let file = File::from_json(PRICES).expect("is right");
    rig.http = rig.http.with_prices(Arc::new(Prices::with(&[("contract".to_owned(), file)]).expect("is right")));
    site.serve(&["http/1.1"], |_, mut stream| async move {
        read_head(&mut stream).await;
        say(&mut stream, ANSWER).await;
        stream.shutdown().await.ok();
    });
    let (mut client, _serving) = rig.client(false).await;
    let body = r#"{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true}}"#;
    let length = body.len();
    say(
        &mut client,
        format!("POST /v1/chat/completions HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"),
    )
    .await;
    patiently(read_to_end(&mut client)).await;
    let record = rig.recorder.record().await;
    // 1000 and 200 tokens, and the latest count of what only the operator knows.
    assert_eq!(record.cost.map(|cost| cost.to_string()).as_deref(), Some("0.0089"));
    assert_eq!(record.price_from.as_deref(), Some("contract, 2026-11-01"));
    assert_eq!(record.price_status, Some(PriceStatus::Exact));
}
