//! Where the APIs that follow OpenAI's part from it: which tokens they count, under which names, and where in a stream.

use crate::answer::Event;
use crate::dialect::{Ask, Dialect};
use crate::json::{EMPTY, Object, Raw, obj};
use crate::truth::Usage;

/// Where a stream tells its usage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    /// In a chunk of its own at the end, and as null in all others, where it was asked for.
    Extra,
    /// In the chunk that says why the answer ended; asked for or not.
    LastContent,
    /// As null before that.
    LastContentAndNull,
    /// In that chunk, in a place of its own.
    Own,
    /// There, and in a chunk of its own, which was asked for.
    OwnAndExtra,
}

impl Place {
    pub(super) fn is_in_every_chunk(self) -> bool {
        matches!(self, Self::Extra | Self::LastContentAndNull)
    }

    pub(super) fn is_in_last_content(self) -> bool {
        matches!(self, Self::LastContent | Self::LastContentAndNull | Self::Own | Self::OwnAndExtra)
    }

    pub(super) fn is_extra_chunk(self) -> bool {
        matches!(self, Self::Extra | Self::OwnAndExtra)
    }
}

pub(super) fn place(ask: &Ask) -> Place {
    let is_asked = ask.json()["stream_options"]["include_usage"] == true;
    match ask.dialect {
        Dialect::Mistral => Place::LastContent,
        Dialect::DeepSeek => Place::LastContentAndNull,
        Dialect::Groq if is_asked => Place::OwnAndExtra,
        Dialect::Groq => Place::Own,
        _ if is_asked => Place::Extra,
        _ => Place::Nowhere,
    }
}

/// What this API counts of what a model with all features would.
pub(super) fn usage(dialect: Dialect, usage: Usage) -> Usage {
    let visible = usage.output - usage.reasoning;
    match dialect {
        Dialect::Mistral | Dialect::Groq | Dialect::Vertex => {
            Usage { input: usage.input, output: visible, ..Usage::default() }
        }
        Dialect::DeepSeek => Usage { cache_write: 0, ..usage },
        Dialect::Bedrock => Usage { cache_read: 0, cache_write: 0, ..usage },
        _ => usage,
    }
}

/// The counts under this API's names.
pub(super) fn usage_object(dialect: Dialect, usage: Usage) -> Raw {
    let mut object = Object::new();
    if dialect == Dialect::Groq {
        object.field("queue_time", &0.018);
    }
    object
        .field("prompt_tokens", &usage.input)
        .field("completion_tokens", &usage.output)
        .field("total_tokens", &(usage.input + usage.output));
    match dialect {
        Dialect::Mistral | Dialect::Vertex => {}
        Dialect::Groq => {
            object.field("prompt_time", &0.002).field("completion_time", &0.25).field("total_time", &0.252);
        }
        Dialect::DeepSeek => {
            object
                .field("prompt_tokens_details", &obj! { "cached_tokens" => usage.cache_read })
                .field("completion_tokens_details", &obj! { "reasoning_tokens" => usage.reasoning })
                .field("prompt_cache_hit_tokens", &usage.cache_read)
                .field("prompt_cache_miss_tokens", &(usage.input - usage.cache_read));
        }
        _ => {
            let read = obj! {
                "cached_tokens" => usage.cache_read, "cache_write_tokens" => usage.cache_write, "audio_tokens" => 0,
            };
            let written = obj! {
                "reasoning_tokens" => usage.reasoning, "audio_tokens" => 0,
                "accepted_prediction_tokens" => 0, "rejected_prediction_tokens" => 0,
            };
            object.field("prompt_tokens_details", &read).field("completion_tokens_details", &written);
        }
    }
    object.end()
}

/// What comes before the first chunk of an answer: Azure's verdict on the prompt, Groq's own id.
pub(super) fn first_event(ask: &Ask) -> Option<Event> {
    let mut chunk = Object::new();
    match ask.dialect {
        Dialect::Azure => {
            chunk
                .field("choices", &EMPTY)
                .field("created", &0)
                .field("id", "")
                .field("model", "")
                .field("object", "")
                .field("prompt_filter_results", &prompt_filter());
        }
        Dialect::Groq => {
            chunk
                .field("id", "")
                .field("object", "chat.completion.chunk")
                .field("model", super::snapshot(ask.model_name()))
                .field("choices", &EMPTY)
                .field("x_groq", &obj! { "id" => ask.seed.id("req_", 26) });
        }
        _ => return None,
    }
    Some(Event::sse(None, &chunk.end().0))
}

/// Puts the usage of a last chunk where this API has it.
pub(super) fn own_place(ask: &Ask, chunk: &mut Object, total: Option<&Raw>) {
    if ask.dialect == Dialect::Groq {
        chunk.field("x_groq", &obj! { "id" => ask.seed.id("req_", 26), "usage" => total });
    }
}

/// What a whole answer has besides.
pub(super) fn finish_body(ask: &Ask, body: &mut Object) {
    match ask.dialect {
        Dialect::Azure => {
            body.field("prompt_filter_results", &prompt_filter());
        }
        Dialect::Groq => {
            body.field("x_groq", &obj! { "id" => ask.seed.id("req_", 26) });
        }
        _ => {}
    }
}

pub(super) fn filter_results() -> Raw {
    let safe = || obj! { "filtered" => false, "severity" => "safe" };
    obj! { "hate" => safe(), "self_harm" => safe(), "sexual" => safe(), "violence" => safe() }
}

fn prompt_filter() -> [Raw; 1] {
    [obj! { "prompt_index" => 0, "content_filter_results" => filter_results() }]
}
