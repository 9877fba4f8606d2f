//! Vertex AI: `projects/…/publishers/{publisher}/models/{model}:{method}`, each publisher in its own shape.

use http::StatusCode;

use super::{Ask, anthropic, gemini, openai};
use crate::answer::Answer;

pub(crate) fn answer(ask: &Ask) -> Answer {
    let verb = ask.path.rsplit_once(':').map(|(_, verb)| verb);
    match (publisher(&ask.path), verb) {
        (Some("google"), _) => gemini::answer(ask),
        (Some(_), Some("rawPredict" | "streamRawPredict")) if ask.json.is_none() => {
            gemini::error(StatusCode::BAD_REQUEST, "Invalid JSON payload received.", None)
        }
        // The path decides who answers, the body whether it is a stream.
        (Some("anthropic"), Some("rawPredict" | "streamRawPredict")) => anthropic::messages::answer(ask),
        (Some("mistralai"), Some("rawPredict" | "streamRawPredict")) => openai::chat(ask),
        _ => {
            let message = format!("The requested URL {} was not found on this server.", ask.path);
            gemini::error(StatusCode::NOT_FOUND, &message, None)
        }
    }
}

fn publisher(path: &str) -> Option<&str> {
    path.split_once("/publishers/")?.1.split('/').next()
}
