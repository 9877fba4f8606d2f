//! Reads what a request asks for from its body as the bytes pass.

mod fields;

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use self::fields::{Place, Told};
use crate::{
    call::{self, Api, Call, Operation},
    coding::{Consume, Decoder},
    estimate::{Gather, Sample, Sampler},
    json::{Paths, Scanner, Value, Visit},
    multipart::{self, Fields},
    response::{is_readable, reads_text},
    usage::ServiceTier,
    worst::estimate_input_of,
};

/// What a request said about itself. All but the first two is read where a policy asks for it, by [`RequestMeter::for_policy`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// The model asked for, from the path or the body.
    pub model: Option<Arc<str>>,
    /// Whether a stream was asked for; `None` when nothing was said, which providers take as no.
    pub stream: Option<bool>,
    /// The most output tokens that one answer may have. Of several parameters for it the largest, as servers differ in which of
    /// them counts; `None` where none was given, or one that bounds nothing.
    pub max_output_tokens: Option<u64>,
    /// How many answers are asked for: `n` and its kin, times the prompts where there are several.
    pub choices: Option<u32>,
    /// Whom the request says that it is for: `safety_identifier`, else `user`, else `metadata.user_id`. At most 256 bytes, in one line.
    pub end_user: Option<Arc<str>>,
    /// How many images the model is given.
    pub images: u32,
    /// How many sounds, films and documents the model is given.
    pub files: u32,
    /// The service tier asked for.
    pub tier: ServiceTier,
    /// Whether what is read is to be kept in the provider's cache, where that has to be asked for.
    pub caching: Option<Caching>,
    /// The length of the body, decoded, as far as it was read.
    pub body_bytes: u64,
    /// The body has ended and does not say these things for certain: it names two models, it is not one JSON object, or its coding
    /// could not be undone. A server may read it otherwise.
    pub is_unclear: bool,
}

/// How long the provider's cache is to keep what is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caching {
    /// Some minutes.
    Minutes,
    /// An hour, which costs more.
    Hour,
}

/// Watches one request body. Memory is bounded whatever the body's size; nothing of the content is kept.
pub struct RequestMeter {
    api: Api,
    in_path: RequestFacts,
    streams_unasked: bool,
    body: Option<Box<Decoder<Body>>>,
    ended: Option<Box<Ended>>,
}

/// A body that has ended.
struct Ended {
    body: Body,
    /// All of it was decoded.
    is_whole: bool,
}

impl RequestMeter {
    /// For the body of `call`, with the values of its `content-type` and `content-encoding` headers. Reads model and stream.
    pub fn new(call: &Call, content_type: Option<&str>, content_encoding: Option<&str>) -> Self {
        let paths = says_in_body(call.api).then(|| &*PATHS);
        Self::reading(call, paths, false, content_type, content_encoding)
    }

    /// Like [`Self::new`], and reads all else that [`RequestFacts`] hold, which takes longer.
    pub fn for_policy(call: &Call, content_type: Option<&str>, content_encoding: Option<&str>) -> Self {
        Self::reading(call, fields::table(call.api), true, content_type, content_encoding)
    }

    /// For a client's message on a WebSocket of `call` that asks for an answer, in both shapes that clients give it.
    pub fn for_message(call: &Call) -> Self {
        Self::reading(call, Some(fields::message()), true, None, None)
    }

    fn reading(
        call: &Call,
        paths: Option<&'static Paths<Field>>,
        is_for_policy: bool,
        content_type: Option<&str>,
        content_encoding: Option<&str>,
    ) -> Self {
        let reads_text = reads_text(call.api);
        let form = content_type.filter(|_| paths.is_some()).and_then(multipart::Parser::new);
        let is_typed = is_for_policy && paths.is_some() || content_type.is_none_or(is_readable);
        let is_read = form.is_some() || (paths.is_some() || reads_text) && is_typed;
        let body = is_read.then(|| {
            let body = Body {
                scanner: paths.filter(|_| form.is_none()).map(Scanner::new),
                form: form.map(Box::new),
                asked: Asked { told: is_for_policy.then(Box::default), ..Asked::default() },
                gather: reads_text.then(|| Gather::request(call.operation)),
                text: Sampler::default(),
                bytes: 0,
                is_wide: false,
            };
            Box::new(Decoder::new(content_encoding, body))
        });
        Self {
            api: call.api,
            in_path: RequestFacts {
                model: call.model_in_path.clone(),
                stream: call.stream_in_path,
                ..RequestFacts::default()
            },
            // docs.ollama.com/api: what generates streams, unless it is told not to.
            streams_unasked: call.api == Api::Ollama && call.operation != Operation::Embeddings,
            body,
            ended: None,
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
        match &self.ended {
            Some(ended) => self.merge(Some(&ended.body), ended.is_whole),
            None => self.merge(self.body.as_ref().and_then(|body| body.get_ref()), true),
        }
    }

    /// The body has ended: what the decoders have held back is read, too.
    pub fn end(&mut self) {
        if let Some(body) = self.body.take() {
            let (body, failure) = body.finish();
            self.ended = Some(Box::new(Ended { body, is_whole: failure.is_none() }));
        }
    }

    /// How many input tokens it is at most, as far as it came, as [`estimate_input`](crate::estimate_input) has it.
    pub fn estimated_input(&self) -> u64 {
        let body = self.body.as_ref().and_then(|body| body.get_ref()).or(self.ended.as_ref().map(|ended| &ended.body));
        body.map_or(0, |body| estimate_input_of(self.api, body.text.so_far(), &self.facts()))
    }

    /// The body has ended.
    pub fn finish(self) -> RequestFacts {
        self.finish_with_text().0
    }

    /// Like [`Self::finish`], with the text that the model is given to read.
    pub fn finish_with_text(mut self) -> (RequestFacts, Sample) {
        self.end();
        let facts = self.facts();
        (facts, self.ended.map(|ended| ended.body.text.finish()).unwrap_or_default())
    }

    fn merge(&self, body: Option<&Body>, is_whole: bool) -> RequestFacts {
        let asked = body.map(|body| &body.asked);
        let mut facts = RequestFacts {
            model: self.in_path.model.clone().or_else(|| asked?.model.clone()),
            stream: self.in_path.stream.or_else(|| asked?.stream).or(self.streams_unasked.then_some(true)),
            ..RequestFacts::default()
        };
        if let Some((body, told)) = body.and_then(|body| Some((body, body.asked.told.as_ref()?))) {
            told.tell(self.api, &mut facts);
            facts.body_bytes = body.bytes;
            facts.is_unclear = self.ended.is_some() && !(is_whole && body.is_clear());
        }
        facts
    }
}

/// Whether requests of the API name model or stream in their bodies. The path of the others says it all, or the frames of a WebSocket do.
fn says_in_body(api: Api) -> bool {
    match api {
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
        Api::GenerateContent
        | Api::EmbedContent
        | Api::Predict
        | Api::BedrockInvoke
        | Api::BedrockInvokeStream
        | Api::BedrockConverse
        | Api::BedrockConverseStream
        | Api::Realtime
        | Api::Unknown => false,
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
    bytes: u64,
    /// It begins as UTF-16 and UTF-32 do, which some servers read, or with a byte order mark.
    is_wide: bool,
}

impl Body {
    /// Whether there is one way to read it.
    fn is_clear(&self) -> bool {
        let is_one = |scanner: &Scanner<Field>| scanner.is_at_top() && self.asked.documents == 1 && !self.is_wide;
        let is_one_form = self.form.as_ref().is_none_or(|form| form.is_clear());
        self.scanner.as_ref().is_none_or(is_one) && is_one_form && !self.asked.names_two
    }
}

impl Consume for Body {
    fn consume(&mut self, bytes: &[u8]) {
        if self.bytes < 4 {
            let first = bytes.iter().take(4 - self.bytes as usize);
            self.is_wide |=
                first.enumerate().any(|(at, byte)| *byte == 0 || at as u64 + self.bytes == 0 && *byte > 0x7f);
        }
        self.bytes += bytes.len() as u64;
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
    /// What only a policy asks for.
    Place(Place),
}

/// `model_id` is watsonx's word for it.
const BASE: [(&str, Field); 3] = [("model", Field::Model), ("model_id", Field::Model), ("stream", Field::Stream)];

static PATHS: LazyLock<Paths<Field>> = LazyLock::new(|| Paths::new(BASE));

#[derive(Default)]
struct Asked {
    model: Option<Arc<str>>,
    /// Another model was named before, or something that is no name.
    names_two: bool,
    stream: Option<bool>,
    documents: u32,
    told: Option<Box<Told>>,
}

impl Visit<Field> for Asked {
    fn field(&mut self, field: Field, value: Value<'_>) {
        match (field, value) {
            (Field::Model, Value::Text(name)) => self.name(name),
            (Field::Stream, Value::Bool(stream)) => self.stream = Some(stream),
            // As servers in Python take it, and a limit on streams has to.
            (Field::Stream, Value::Number(number)) if self.told.is_some() => self.stream = Some(number != 0),
            (Field::Stream, Value::Text(word)) if self.told.is_some() => self.stream = Some(!says_no(word)),
            (Field::Place(place), value) => {
                if let Some(told) = &mut self.told {
                    told.field(place, value);
                }
            }
            _ => {}
        }
    }

    fn unread(&mut self, field: Field) {
        match (field, &mut self.told) {
            (Field::Place(place), Some(told)) => told.unread(place),
            (Field::Model, _) => self.names_two |= self.model.is_some(),
            _ => {}
        }
    }

    fn nested(&mut self, field: Field) {
        if let (Field::Place(place), Some(told)) = (field, &mut self.told) {
            told.field(place, Value::End);
        }
    }

    fn document(&mut self) {
        self.documents += 1;
    }
}

fn says_no(word: &str) -> bool {
    ["false", "0", "no", "off", "n", "f", ""].iter().any(|no| word.eq_ignore_ascii_case(no))
}

impl Asked {
    fn name(&mut self, name: &str) {
        let model = call::model(name);
        // What is no name to us may be one to a server that trims it.
        self.names_two |= self.model.is_some() && self.model != model || model.is_none() && !name.is_empty();
        self.model = model;
    }
}

impl Fields for Asked {
    fn wants(&self, name: &str) -> bool {
        matches!(name, "model" | "stream") || self.told.is_some() && fields::form_field(name).is_some()
    }

    fn field(&mut self, name: &str, value: &str) {
        match (name, value) {
            ("model", name) => self.name(name),
            // As HTTP clients of several languages write it.
            ("stream", "true" | "True" | "1") => self.stream = Some(true),
            ("stream", "false" | "False" | "0") => self.stream = Some(false),
            (name, value) => {
                if let (Some(place), Some(told)) = (fields::form_field(name), &mut self.told) {
                    told.field(place, Value::Text(value));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
