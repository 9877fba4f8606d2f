use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use super::text::histograms;

/// Seconds that a network is in: 0.5 ms to 8 s.
const NETWORK: [f64; 15] =
    [0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192];
/// Seconds of our own work: 10 µs to 250 ms.
const OWN: [f64; 12] =
    [0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25];

/// A step whose duration is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The TLS handshake with a client.
    Handshake,
    /// A new connection to a provider.
    Connect,
    /// Our own time with a request.
    Request,
    /// Our own time with a response's head.
    Response,
}

/// How long steps took, over all calls.
#[derive(Debug)]
pub(super) struct Steps {
    prefix: String,
    handshake: Histogram,
    connect: Histogram,
    request: Histogram,
    response: Histogram,
}

impl Steps {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
            handshake: Histogram::new(NETWORK),
            connect: Histogram::new(NETWORK),
            request: Histogram::new(OWN),
            response: Histogram::new(OWN),
        }
    }

    pub(super) fn took(&self, step: Step, time: Duration) {
        let histogram = match step {
            Step::Handshake => &self.handshake,
            Step::Connect => &self.connect,
            Step::Request => &self.request,
            Step::Response => &self.response,
        };
        histogram.observe(time.as_secs_f64());
    }
}

impl Collector for Steps {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let families = [
            ("tls_handshake_duration", "TLS handshakes with clients.", &self.handshake),
            ("upstream_connect_duration", "New connections to providers, TLS included.", &self.connect),
            ("request_processing", "Our own time from the head of a request to its being handed on.", &self.request),
            ("response_processing", "Our own time from the head of a response to its being handed on.", &self.response),
        ];
        for (name, help, histogram) in families {
            let series = [([("", ""); 0], histogram.clone())];
            histograms(&mut encoder, &format!("{}_{name}", self.prefix), help, Some(&Unit::Seconds), series)?;
        }
        Ok(())
    }
}
