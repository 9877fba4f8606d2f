//! What a policy needs to know of a request, and where each API says it. From the providers' API references named in
//! `response/fields`, and docs.vllm.ai for what those who follow OpenAI also take. As of 2026-11-23.

use std::sync::{Arc, LazyLock};

use super::{Caching, RequestFacts};
use crate::call::Api;
use crate::json::{Paths, Value};
use crate::usage::ServiceTier;

/// What stands at a place in a request.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// The largest answer, under one of the names it has.
    Most(u8),
    /// The object that such a name stands in. A second one leaves open which counts.
    MostIn(u8),
    /// How many answers, under one of the names it has.
    Choices(u8),
    /// A prompt of several.
    Prompt,
    /// Whom the request is for; the lowest number counts.
    EndUser(u8),
    /// The type of a part of a message.
    PartType,
    /// The media type of a part.
    MediaType,
    /// It is there, so there is an image.
    Image,
    /// It is there, so there is a sound, a film or a document.
    File,
    Tier,
    Speed,
    /// It is there, so what is read goes to the provider's cache.
    Cache,
    CacheTtl,
}

type Table = &'static [(&'static str, Place)];

use Place::{Cache, CacheTtl, Choices, EndUser, File, Image, MediaType, Most, MostIn, PartType, Prompt, Speed, Tier};

const OPENAI: Table = &[
    ("user", EndUser(1)),
    ("safety_identifier", EndUser(0)),
    ("metadata.user_id", EndUser(2)),
    ("service_tier", Tier),
];

const CHAT: Table = &[
    ("max_completion_tokens", Most(0)),
    ("max_tokens", Most(1)),
    // watsonx and Mistral's conversations.
    ("completion_args.max_tokens", Most(2)),
    ("completion_args", MostIn(0)),
    ("n", Choices(0)),
    ("best_of", Choices(1)),
    ("prompt[]", Prompt),
    ("messages[].content[].type", PartType),
    ("inputs[].content[].type", PartType),
];

const RESPONSES: Table = &[
    ("max_output_tokens", Most(0)),
    ("input[].content[].type", PartType),
    ("input[].output[].type", PartType),
    ("input[].output.type", PartType),
];

/// What clients of a WebSocket wrap in the message that asks.
const MESSAGE: Table = &[
    ("response.max_output_tokens", Most(1)),
    ("response.max_response_output_tokens", Most(2)),
    ("response", MostIn(1)),
    ("response.input[].content[].type", PartType),
    ("response.user", EndUser(1)),
    ("response.safety_identifier", EndUser(0)),
    ("response.metadata.user_id", EndUser(2)),
    ("response.service_tier", Tier),
];

const MESSAGES: Table = &[
    ("max_tokens", Most(0)),
    ("max_tokens_to_sample", Most(1)),
    ("metadata.user_id", EndUser(0)),
    ("service_tier", Tier),
    ("speed", Speed),
    ("messages[].content[].type", PartType),
    ("messages[].content[].content[].type", PartType),
    ("cache_control", Cache),
    ("cache_control.ttl", CacheTtl),
    ("system[].cache_control", Cache),
    ("system[].cache_control.ttl", CacheTtl),
    ("tools[].cache_control", Cache),
    ("tools[].cache_control.ttl", CacheTtl),
    ("messages[].content[].cache_control", Cache),
    ("messages[].content[].cache_control.ttl", CacheTtl),
    ("messages[].content[].content[].cache_control", Cache),
    ("messages[].content[].content[].cache_control.ttl", CacheTtl),
];

/// Google's servers take the names of JSON and those of protocol buffers.
const GEMINI: Table = &[
    ("generationConfig.maxOutputTokens", Most(0)),
    ("generationConfig.max_output_tokens", Most(1)),
    ("generation_config.maxOutputTokens", Most(2)),
    ("generation_config.max_output_tokens", Most(3)),
    ("generationConfig.candidateCount", Choices(0)),
    ("generationConfig.candidate_count", Choices(1)),
    ("generation_config.candidateCount", Choices(2)),
    ("generation_config.candidate_count", Choices(3)),
    ("generationConfig", MostIn(0)),
    ("generation_config", MostIn(1)),
    ("serviceTier", Tier),
    ("service_tier", Tier),
    ("contents[].parts[].inlineData.mimeType", MediaType),
    ("contents[].parts[].inline_data.mime_type", MediaType),
    ("contents[].parts[].fileData.mimeType", MediaType),
    ("contents[].parts[].file_data.mime_type", MediaType),
];

const PREDICT: Table = &[("parameters.sampleCount", Choices(0)), ("parameters.candidateCount", Choices(1))];

const CONVERSE: Table = &[
    ("inferenceConfig.maxTokens", Most(0)),
    ("inferenceConfig", MostIn(1)),
    ("serviceTier.type", Tier),
    ("messages[].content[].image.format", Image),
    ("messages[].content[].toolResult.content[].image.format", Image),
    ("messages[].content[].document.format", File),
    ("messages[].content[].toolResult.content[].document.format", File),
    ("messages[].content[].video.format", File),
    ("messages[].content[].audio.format", File),
    ("messages[].content[].cachePoint", Cache),
    ("messages[].content[].cachePoint.type", Cache),
    ("messages[].content[].cachePoint.ttl", CacheTtl),
    ("system[].cachePoint.type", Cache),
    ("system[].cachePoint.ttl", CacheTtl),
    ("toolConfig.tools[].cachePoint.type", Cache),
    ("toolConfig.tools[].cachePoint.ttl", CacheTtl),
];

/// Each vendor's own, in "Inference request parameters and response fields". Those of Claude and Converse stand in their tables.
const INVOKE: Table = &[
    ("max_completion_tokens", Most(2)),
    ("maxTokens", Most(3)),
    ("max_gen_len", Most(4)),
    ("textGenerationConfig.maxTokenCount", Most(5)),
    ("textGenerationConfig", MostIn(0)),
    ("inferenceConfig.maxTokens", Most(6)),
    ("inferenceConfig.max_new_tokens", Most(7)),
    ("inferenceConfig", MostIn(1)),
    ("n", Choices(0)),
    ("numResults", Choices(1)),
    ("num_generations", Choices(2)),
    ("imageGenerationConfig.numberOfImages", Choices(3)),
];

const COHERE: Table = &[("max_tokens", Most(0)), ("messages[].content[].type", PartType)];

const OLLAMA: Table =
    &[("options.num_predict", Most(0)), ("options", MostIn(0)), ("images[]", Image), ("messages[].images[]", Image)];

const NOTHING: Table = &[];

const IMAGES: Table = &[("n", Choices(0))];

/// Where the API's requests say what a policy asks for; `None` where they say nothing of it.
pub(super) fn table(api: Api) -> Option<&'static Paths<super::Field>> {
    macro_rules! tables {
        ($($apis:pat => $($table:ident)|+,)+) => {
            match api {
                $($apis => {
                    static PATHS: LazyLock<Paths<super::Field>> = LazyLock::new(|| build(&[$($table),+]));
                    Some(&*PATHS)
                })+
                Api::Unknown => None,
            }
        };
    }
    tables! {
        Api::ChatCompletions | Api::Completions | Api::Conversations => OPENAI | CHAT,
        Api::Responses | Api::Realtime => OPENAI | RESPONSES,
        Api::Embeddings | Api::Moderations | Api::Speech | Api::Transcription | Api::Ocr | Api::Rerank => OPENAI,
        Api::Images => OPENAI | IMAGES,
        Api::Messages => MESSAGES,
        Api::GenerateContent | Api::EmbedContent => GEMINI,
        Api::Predict => PREDICT,
        Api::BedrockConverse | Api::BedrockConverseStream => CONVERSE,
        Api::BedrockInvoke | Api::BedrockInvokeStream => MESSAGES | INVOKE,
        Api::CohereChat | Api::CohereEmbed => COHERE,
        Api::Ollama => OLLAMA,
        Api::CountTokens => NOTHING,
    }
}

/// Where a client's message on a WebSocket says it, which has the parameters of a request or wraps them.
pub(super) fn message() -> &'static Paths<super::Field> {
    static PATHS: LazyLock<Paths<super::Field>> = LazyLock::new(|| {
        let places = [OPENAI, RESPONSES, MESSAGE].into_iter().flatten();
        let places = places.map(|&(path, place)| (path, super::Field::Place(place)));
        Paths::new(super::BASE.into_iter().chain([("response.model", super::Field::Model)]).chain(places)).in_any_case()
    });
    &PATHS
}

fn build(tables: &[Table]) -> Paths<super::Field> {
    let places = tables.iter().copied().flatten().map(|&(path, place)| (path, super::Field::Place(place)));
    Paths::new(super::BASE.into_iter().chain(places)).in_any_case()
}

/// How many names there are for one thing.
const NAMES: usize = 8;

/// What a request has said of all that.
#[derive(Default)]
pub(super) struct Told {
    most: [Said; NAMES],
    /// How many objects there were for it.
    most_in: [u32; 2],
    choices: [Option<u64>; NAMES],
    prompts: u32,
    end_user: [Option<Arc<str>>; 3],
    images: u32,
    files: u32,
    tier: ServiceTier,
    is_fast: bool,
    caching: Option<Caching>,
}

/// A number under one name.
#[derive(Default, Clone, Copy, PartialEq)]
enum Said {
    #[default]
    Nothing,
    Null,
    Number(u64),
    /// It says that there is no bound, or says what no provider reads.
    NoNumber,
}

impl Said {
    /// Said again, perhaps in another case: servers differ in which they take, so it is the one that bounds least.
    fn and(self, again: Self) -> Self {
        match (self, again) {
            (Self::Nothing, other) | (other, Self::Nothing) => other,
            (Self::Null, Self::Null) => Self::Null,
            // Zero may bound nothing.
            (Self::Number(0), Self::Number(1..)) | (Self::Number(1..), Self::Number(0)) => Self::NoNumber,
            (Self::Number(one), Self::Number(other)) => Self::Number(one.max(other)),
            _ => Self::NoNumber,
        }
    }
}

impl Told {
    pub(super) fn field(&mut self, place: Place, value: Value<'_>) {
        match (place, value) {
            (Most(name), value) => {
                self.say(name, whole(value).map_or(Said::NoNumber, Said::Number));
            }
            (MostIn(name), Value::End) => {
                let count = &mut self.most_in[usize::from(name)];
                *count = count.saturating_add(1);
            }
            (Choices(name), value) => {
                let choices = &mut self.choices[usize::from(name)];
                *choices = whole(value).max(*choices);
            }
            // Prompts are texts, or arrays of tokens.
            (Prompt, Value::Text(_) | Value::End) => self.prompts = self.prompts.saturating_add(1),
            (EndUser(rank), Value::Text(name)) => self.end_user[usize::from(rank)] = end_user(name),
            (PartType, Value::Text(kind)) => self.part(kind),
            (MediaType, Value::Text(kind)) if kind.starts_with("image/") => self.image(),
            (MediaType | File, Value::Text(_)) => self.file(),
            (Image, Value::Text(_)) => self.image(),
            (Tier, Value::Text(word)) => self.tier = ServiceTier::named(word),
            (Speed, Value::Text(word)) => self.is_fast = word == "fast",
            (Cache, Value::End | Value::Text(_)) => self.caching = self.caching.max(Some(Caching::Minutes)),
            (CacheTtl, Value::Text("1h")) => self.caching = Some(Caching::Hour),
            _ => {}
        }
    }

    /// A `null`, or a text too long to be read: what it is about was said, and not what.
    pub(super) fn unread(&mut self, place: Place) {
        match place {
            Most(name) => self.say(name, Said::Null),
            EndUser(rank) => self.end_user[usize::from(rank)] = None,
            Prompt => self.prompts = self.prompts.saturating_add(1),
            Image => self.image(),
            _ => {}
        }
    }

    fn say(&mut self, name: u8, said: Said) {
        let most = &mut self.most[usize::from(name)];
        *most = most.and(said);
    }

    fn part(&mut self, kind: &str) {
        match kind {
            "image" | "image_url" | "input_image" | "computer_screenshot" => self.image(),
            "input_audio" | "audio_url" | "video_url" | "file" | "input_file" | "document" | "document_url" => {
                self.file();
            }
            _ => {}
        }
    }

    fn image(&mut self) {
        self.images = self.images.saturating_add(1);
    }

    fn file(&mut self) {
        self.files = self.files.saturating_add(1);
    }

    /// The largest of what was said under several names, as servers differ in which of them counts; nothing, where one of them
    /// bounds nothing or zero may mean that.
    fn most(&self, api: Api) -> Option<u64> {
        if self.most_in.iter().any(|count| *count > 1) {
            return None;
        }
        let mut most = None;
        for said in self.most {
            match said {
                Said::Nothing | Said::Null => {}
                // Claude is asked for nothing to have its cache filled.
                Said::Number(0) if api != Api::Messages => return None,
                Said::Number(number) => most = most.max(Some(number)),
                Said::NoNumber => return None,
            }
        }
        most
    }

    pub(super) fn tell(&self, api: Api, facts: &mut RequestFacts) {
        facts.max_output_tokens = self.most(api);
        let choices = self.choices.iter().copied().flatten().max();
        let prompts = u64::from(self.prompts.max(1));
        let all = choices.map(|choices| choices.saturating_mul(prompts)).or((prompts > 1).then_some(prompts));
        facts.choices = all.map(|all| u32::try_from(all).unwrap_or(u32::MAX));
        facts.end_user = self.end_user.iter().flatten().next().cloned();
        (facts.images, facts.files) = (self.images, self.files);
        facts.tier = if self.is_fast { ServiceTier::Fast } else { self.tier };
        facts.caching = self.caching;
    }
}

/// A number, also where it is written as text: Google's servers and lenient ones read that.
fn whole(value: Value<'_>) -> Option<u64> {
    match value {
        Value::Number(number) => Some(number),
        Value::Text(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Longer names are cut.
const LONGEST_USER: usize = 256;

/// A name as it may stand in records: bounded, in one line.
fn end_user(name: &str) -> Option<Arc<str>> {
    let name = name.trim();
    let is_plain = name.len() <= LONGEST_USER && !name.contains(char::is_control);
    if is_plain {
        return (!name.is_empty()).then(|| name.into());
    }
    let plain = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    let mut length = 0;
    let fits = |character: &char| {
        length += character.len_utf8();
        length <= LONGEST_USER
    };
    Some(name.chars().map(plain).take_while(fits).collect::<String>().into())
}

/// The fields of a form, which few APIs have.
pub(super) fn form_field(name: &str) -> Option<Place> {
    Some(match name {
        "n" => Choices(0),
        "user" => EndUser(1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
