//! Load generators, and what they report.

pub mod bulk;
pub mod connects;
pub mod h2load;
pub mod paced;
pub mod streams;
pub mod wrk;

use crate::contender::{Running, Scheme};
use crate::stage::HOST;

/// The URL of the chat endpoint, as a client of this contender writes it.
pub fn chat_url(target: &Running) -> String {
    format!("{}{}/chat/completions", base_url(target), target.path_prefix)
}

/// The part before the path. Over TLS it has the provider's name, whose certificate everybody presents.
pub fn base_url(target: &Running) -> String {
    match (target.scheme, target.address) {
        (Scheme::Https, _) => format!("https://{HOST}"),
        (Scheme::Http, Some(address)) => format!("http://{address}"),
        (Scheme::Http, None) => format!("http://{HOST}"),
    }
}

/// A chat request of about `size` bytes, not streamed.
pub fn chat_body(model: &str, size: usize) -> String {
    let head = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":""#);
    let tail = r#""}],"temperature":0.2}"#;
    let words = "Tell me of the toll roads of old and who kept their gates. ";
    let text: String = words.chars().cycle().take(size.saturating_sub(head.len() + tail.len())).collect();
    format!("{head}{text}{tail}")
}
