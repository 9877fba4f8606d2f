//! Nothing is held back: each event is at the client before the provider sends the next.

use anyhow::Result;
use tollgate_e2e::calls::Api;
use tollgate_e2e::stage::Stage;

use crate::GENEROUS;

fn count(text: &[u8], part: &[u8]) -> usize {
    text.windows(part.len()).filter(|window| window == &part).count()
}

/// Lets the provider send one event at a time, and waits for the client to have it.
fn assert_each_event_comes_before_the_next(api: Api, curl: &[&str]) -> Result<()> {
    let stage = Stage::new("")?;
    let gate = stage.world.provider().gate("events");
    let call = |faults: &str| api.call(&stage.world, "One by one", true, faults).args(curl);
    let whole = call("words=6").run()?.success()?;
    let events = count(&whole.stdout, b"data:");
    assert!(events > 6, "{whole}");
    let call = call("words=6,gate=events").start()?;
    for event in 1..=events {
        gate.allow(1);
        call.wait_until(GENEROUS, |stdout, _| count(stdout, b"data:") == event)?;
        assert_eq!(gate.passed(), event, "{api:?}: nothing more was sent when event {event} had come");
    }
    // A content coding has an end of its own.
    gate.open();
    let gated = call.wait(GENEROUS)?.success()?;
    assert_eq!(gated.stdout, whole.stdout, "{api:?}");
    stage.agent.metrics_when(GENEROUS, |page| {
        page.contains(&format!(r#"tollgate_requests_total{{gen_ai_provider_name="{}""#, api.provider()))
            && page.contains(r#"outcome="completed""#)
    })?;
    Ok(())
}

#[test]
fn over_http1() -> Result<()> {
    Api::ALL.into_iter().try_for_each(|api| assert_each_event_comes_before_the_next(api, &["--http1.1"]))
}

#[test]
fn over_http2() -> Result<()> {
    Api::ALL.into_iter().try_for_each(|api| assert_each_event_comes_before_the_next(api, &["--http2"]))
}

#[test]
fn in_a_content_coding() -> Result<()> {
    for (api, coding) in [(Api::Chat, "zstd"), (Api::Responses, "gzip"), (Api::Messages, "br"), (Api::Gemini, "gzip")] {
        let accept = format!("accept-encoding: {coding}");
        assert_each_event_comes_before_the_next(api, &["--http2", "--compressed", "-H", &accept])?;
    }
    Ok(())
}
