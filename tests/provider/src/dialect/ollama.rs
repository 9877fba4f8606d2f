//! Ollama's API: chat and generate, streamed as lines of JSON unless told not to, and embeddings.

use http::{Method, StatusCode};
use serde_json::Value;

use super::openai::vector;
use super::{Ask, text_of};
use crate::answer::{Answer, Event};
use crate::json::{Object, Put, Raw, obj};
use crate::reply::{Reply, Turn};
use crate::seed::{Seed, TIMESTAMP};
use crate::truth::Usage;

const JSON: &str = "application/json; charset=utf-8";

pub(crate) fn answer(ask: &Ask) -> Answer {
    match (&ask.method, ask.path.trim_end_matches('/')) {
        (&Method::GET, "/api/version") => ok(&obj! { "version" => "0.12.9" }),
        (&Method::GET, "/api/tags") => {
            ok(&obj! { "models" => [obj! { "name" => "llama3.2:latest", "model" => "llama3.2:latest" }] })
        }
        (&Method::POST, "/api/chat" | "/api/generate" | "/api/embed") if ask.json.is_none() => {
            error(StatusCode::BAD_REQUEST, "invalid character looking for beginning of value")
        }
        (&Method::POST, "/api/chat") => chat(ask),
        (&Method::POST, "/api/generate") => generate(ask),
        (&Method::POST, "/api/embed") => embed(ask),
        _ => Answer::new(StatusCode::NOT_FOUND, "text/plain", "404 page not found"),
    }
}

pub(crate) fn error(status: StatusCode, message: &str) -> Answer {
    Answer::new(status, JSON, obj! { "error" => message }.0)
}

fn ok(body: &Raw) -> Answer {
    Answer::new(StatusCode::OK, JSON, body.0.clone())
}

fn chat(ask: &Ask) -> Answer {
    let messages = ask.json()["messages"].as_array().map_or(&[][..], Vec::as_slice);
    let user = messages.iter().rev().find(|message| message["role"] == "user");
    let prompt = user.map(|message| text_of(&message["content"])).unwrap_or_default();
    generation(ask, prompt, |object, text| {
        object.field("message", &obj! { "role" => "assistant", "content" => text });
    })
}

fn generate(ask: &Ask) -> Answer {
    let prompt = ask.json()["prompt"].as_str().unwrap_or_default().to_owned();
    generation(ask, prompt, |object, text| {
        object.field("response", text);
    })
}

fn generation(ask: &Ask, prompt: String, put: impl Fn(&mut Object, &str)) -> Answer {
    let Reply::Text(pieces) = (Turn { prompt, ..Turn::default() }).reply(ask) else {
        unreachable!("there are no tools to call");
    };
    let usage = ask.seed.usage(ask.body_length, pieces.len());
    let usage = Usage { input: usage.input, output: usage.output - usage.reasoning, ..Usage::default() };
    let told = (!ask.faults.no_usage).then_some(usage);
    let object = |text: &str, is_done: bool| {
        let mut object = Object::new();
        object.field("model", ask.model_name()).field("created_at", TIMESTAMP);
        put(&mut object, text);
        object.field("done", &is_done);
        if is_done {
            object.field("done_reason", "stop");
            times(&mut object, ask.seed);
        }
        if let (true, Some(usage)) = (is_done, told) {
            object
                .field("prompt_eval_count", &usage.input)
                .field("prompt_eval_duration", &(ask.seed.number("prompt") % 1_000_000))
                .field("eval_count", &usage.output)
                .field("eval_duration", &(ask.seed.number("eval") % 1_000_000_000));
        }
        object.end()
    };
    // Streamed unless it says otherwise.
    if ask.json()["stream"] == false {
        let mut answer = ok(&object(&pieces.concat(), true)).model(ask.model_name());
        answer.usage = told;
        return answer;
    }
    let mut events: Vec<Event> =
        pieces.iter().map(|piece| Event::line(&object(piece, false).0).says(piece.len())).collect();
    let last = Event::line(&object("", true).0);
    events.push(told.into_iter().fold(last, Event::tells));
    let mut answer = Answer::stream("application/x-ndjson", events).model(ask.model_name());
    answer.error_event = Event::line(&obj! { "error" => "an error was encountered while running the model" }.0).bytes;
    answer
}

fn times(object: &mut Object, seed: Seed) {
    let time = |purpose: &str| seed.number(purpose) % 5_000_000_000;
    object.field("total_duration", &time("total")).field("load_duration", &time("load"));
}

fn embed(ask: &Ask) -> Answer {
    let inputs = match &ask.json()["input"] {
        Value::Array(inputs) => inputs.len(),
        _ => 1,
    };
    let vectors: Vec<Vec<f64>> =
        (0..inputs).map(|at| vector(ask.seed, at, 128).into_iter().map(f64::from).collect()).collect();
    let usage = Usage { input: ask.seed.usage(ask.body_length, 0).input, ..Usage::default() };
    let mut body = Object::new();
    body.field("model", ask.model_name()).field("embeddings", &vectors as &dyn Put);
    times(&mut body, ask.seed);
    body.field("prompt_eval_count", &usage.input);
    ok(&body.end()).model(ask.model_name()).usage(usage)
}
