//! Reads what a request asks for from its body as the bytes pass.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use crate::{
    call::{self, Api, Call, Operation},
    coding::{Consume, Decoder},
    estimate::{Gather, Sample, Sampler},
    json::{Paths, Scanner, Value, Visit},
    multipart::{self, Fields},
    response::{is_readable, reads_text},
};

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
    in_path: RequestFacts,
    streams_unasked: bool,
    body: Option<Box<Decoder<Body>>>,
}

impl RequestMeter {
    /// For the body of `call`, with the values of its `content-type` and `content-encoding` headers.
    pub fn new(call: &Call, content_type: Option<&str>, content_encoding: Option<&str>) -> Self {
        let says_in_body = match call.api {
            Api::ChatCompletions
            | Api::Completions
            | Api::Responses
            | Api::Embeddings
            | Api::Images
            | Api::Speech
            | Api::Transcription
            | Api::Moderations
            | Api::Messages
            | Api::CohereChat
            | Api::CohereEmbed
            | Api::Rerank
            | Api::Ocr
            | Api::Conversations
            | Api::Ollama
            | Api::CountTokens => true,
            // The path says it all, or the frames of a WebSocket do.
            Api::GenerateContent
            | Api::EmbedContent
            | Api::Predict
            | Api::BedrockInvoke
            | Api::BedrockInvokeStream
            | Api::BedrockConverse
            | Api::BedrockConverseStream
            | Api::Realtime
            | Api::Unknown => false,
        };
        let reads_text = reads_text(call.api);
        let form = content_type.filter(|_| says_in_body).and_then(multipart::Parser::new);
        let is_read = form.is_some() || (says_in_body || reads_text) && content_type.is_none_or(is_readable);
        let body = is_read.then(|| {
            let body = Body {
                scanner: (says_in_body && form.is_none()).then(|| Scanner::new(&PATHS)),
                form: form.map(Box::new),
                asked: Asked::default(),
                gather: reads_text.then(|| Gather::request(call.operation)),
                text: Sampler::default(),
            };
            Box::new(Decoder::new(content_encoding, body))
        });
        Self {
            in_path: RequestFacts { model: call.model_in_path.clone(), stream: call.stream_in_path },
            // docs.ollama.com/api: what generates streams, unless it is told not to.
            streams_unasked: call.api == Api::Ollama && call.operation != Operation::Embeddings,
            body,
        }
    }

    /// Takes the next bytes of the body, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) {
        if let Some(body) = &mut self.body {
            body.push(bytes);
        }
    }

    /// What is known so far. The path wins over the body, and later keys over earlier ones, as JSON readers have it.
    pub fn facts(&self) -> RequestFacts {
        self.merge(self.body.as_ref().and_then(|body| body.get_ref()).map(|body| &body.asked))
    }

    /// The body has ended.
    pub fn finish(self) -> RequestFacts {
        self.finish_with_text().0
    }

    /// Like [`Self::finish`], with the text that the model is given to read.
    pub fn finish_with_text(mut self) -> (RequestFacts, Sample) {
        let body = self.body.take().map(|body| body.finish().0);
        let facts = self.merge(body.as_ref().map(|body| &body.asked));
        (facts, body.map(|body| body.text.finish()).unwrap_or_default())
    }

    fn merge(&self, asked: Option<&Asked>) -> RequestFacts {
        RequestFacts {
            model: self.in_path.model.clone().or_else(|| asked?.model.clone()),
            stream: self.in_path.stream.or_else(|| asked?.stream).or(self.streams_unasked.then_some(true)),
        }
    }
}

impl fmt::Debug for RequestMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestMeter").finish_non_exhaustive()
    }
}

struct Body {
    scanner: Option<Scanner<Field>>,
    form: Option<Box<multipart::Parser>>,
    asked: Asked,
    gather: Option<Gather>,
    text: Sampler,
}

impl Consume for Body {
    fn consume(&mut self, bytes: &[u8]) {
        if let Some(scanner) = &mut self.scanner {
            scanner.push(bytes, &mut self.asked);
        }
        if let Some(form) = &mut self.form {
            form.push(bytes, &mut self.asked);
        }
        if let Some(gather) = &mut self.gather {
            gather.push(bytes, &mut self.text);
        }
    }
}

#[derive(Clone, Copy)]
enum Field {
    Model,
    Stream,
}

/// `model_id` is watsonx's word for it.
static PATHS: LazyLock<Paths<Field>> =
    LazyLock::new(|| Paths::new([("model", Field::Model), ("model_id", Field::Model), ("stream", Field::Stream)]));

#[derive(Default)]
struct Asked {
    model: Option<Arc<str>>,
    stream: Option<bool>,
}

impl Visit<Field> for Asked {
    fn field(&mut self, field: Field, value: Value<'_>) {
        match (field, value) {
            (Field::Model, Value::Text(name)) => self.model = call::model(name),
            (Field::Stream, Value::Bool(stream)) => self.stream = Some(stream),
            _ => {}
        }
    }
}

impl Fields for Asked {
    fn wants(&self, name: &str) -> bool {
        matches!(name, "model" | "stream")
    }

    fn field(&mut self, name: &str, value: &str) {
        match (name, value) {
            ("model", name) => self.model = call::model(name),
            // As HTTP clients of several languages write it.
            ("stream", "true" | "True" | "1") => self.stream = Some(true),
            ("stream", "false" | "False" | "0") => self.stream = Some(false),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
