//! What is learned of a request as it passes, by either way.

use tollgate_llm::{RequestFacts, RequestMeter};

use crate::http::request::{RequestSource, Settled};

/// What a request is learned from as it passes.
pub(crate) enum RequestSide {
    Source(RequestSource),
    Direct(Box<DirectRequest>),
}

/// A request that passes without hyper.
pub(crate) struct DirectRequest {
    meter: Option<RequestMeter>,
    bytes: u64,
    is_sent: bool,
    /// It is looked at before it is handed on.
    is_ahead: bool,
}

impl DirectRequest {
    pub(crate) fn new(meter: RequestMeter) -> Self {
        Self { meter: Some(meter), bytes: 0, is_sent: false, is_ahead: false }
    }

    /// Content was handed on, and may be looked at.
    pub(crate) fn handed_on(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if let Some(meter) = self.meter.as_mut().filter(|_| !self.is_ahead) {
            meter.push(bytes);
        }
    }

    /// Content is here, and all of it will be looked at before it is handed on.
    pub(crate) fn look_ahead(&mut self, bytes: &[u8]) {
        self.is_ahead = true;
        if let Some(meter) = &mut self.meter {
            meter.push(bytes);
        }
    }

    /// What is known of it by now. `is_whole` says that all of it was looked at.
    pub(crate) fn facts(&mut self, is_whole: bool) -> RequestFacts {
        let Some(meter) = &mut self.meter else { return RequestFacts::default() };
        if is_whole {
            meter.end();
        }
        meter.facts()
    }

    /// How many tokens the model is given to read, at most.
    pub(crate) fn estimated_input(&self) -> u64 {
        self.meter.as_ref().map_or(0, RequestMeter::estimated_input)
    }

    /// All of it was handed on.
    pub(crate) fn sent(&mut self) {
        self.is_sent = true;
    }
}

impl From<RequestSource> for RequestSide {
    fn from(source: RequestSource) -> Self {
        Self::Source(source)
    }
}

impl From<DirectRequest> for RequestSide {
    fn from(request: DirectRequest) -> Self {
        Self::Direct(Box::new(request))
    }
}

impl RequestSide {
    pub(super) fn relayed(&mut self, bytes: u64) {
        match self {
            Self::Source(source) => source.relayed(bytes),
            Self::Direct(request) => request.bytes += bytes,
        }
    }

    pub(super) fn settle(&mut self) -> Settled {
        match self {
            Self::Source(source) => source.settle(),
            Self::Direct(request) => {
                let DirectRequest { meter, bytes, is_sent, .. } = &mut **request;
                let (facts, text) = meter.take().map(RequestMeter::finish_with_text).unwrap_or_default();
                Settled { facts, text, is_sent: *is_sent, bytes: *bytes }
            }
        }
    }
}
