//! What following a WebSocket costs: nanoseconds a message and megabytes a second, the median of several rounds.
//! Run it with `cargo bench -p tollgate-llm --bench websocket`; it prints, it does not judge.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use flate2::{Compress, Compression, FlushCompress};
use http::Method;
use tollgate_llm::{Catalogue, Sender, SocketMeter, identify};

const TEXT: &str = r#"{"type":"response.output_text.delta","sequence_number":17,"item_id":"msg_68a1c3f0d8a08196b1f2","output_index":1,"content_index":0,"delta":" token","logprobs":[],"obfuscation":"kX2nQ3vT"}"#;
const MESSAGES: usize = 2_000;
const DEFLATE: &str = "permessage-deflate";

fn main() {
    let sound = |kind: &str, bytes: usize| {
        let sound: String = (0..bytes).map(|at| char::from(b'A' + (at * 7919 % 26) as u8)).collect();
        format!(
            r#"{{"type":"{kind}","event_id":"event_1","response_id":"resp_1","item_id":"item_1","delta":"{sound}","audio":""}}"#
        )
    };
    let (delta, append) = (sound("response.output_audio.delta", 16_000), sound("input_audio_buffer.append", 6_400));
    for (name, path, sender, text) in [
        ("responses, text delta", "/v1/responses", Sender::Server, TEXT),
        ("realtime, text delta", "/v1/realtime", Sender::Server, TEXT),
        ("realtime, 16 kB of sound", "/v1/realtime", Sender::Server, &delta),
        ("realtime, 6 kB of sound from the client", "/v1/realtime", Sender::Client, &append),
    ] {
        for extensions in [None, Some(DEFLATE)] {
            follow(name, path, sender, text, extensions);
        }
    }
}

fn follow(name: &str, path: &str, sender: Sender, text: &str, extensions: Option<&str>) {
    let mut compress = Compress::new(Compression::default(), false);
    let frames: Vec<u8> = (0..MESSAGES).flat_map(|_| frame(text, sender, extensions.map(|_| &mut compress))).collect();
    let mut rounds: Vec<Duration> = (0..9).map(|_| round(path, sender, &frames, extensions)).collect();
    rounds.sort_unstable();
    let took = rounds[rounds.len() / 2];
    let nanoseconds = took.as_nanos() as f64 / MESSAGES as f64;
    let rate = (text.len() * MESSAGES) as f64 / 1e6 / took.as_secs_f64();
    let name = format!("{name}{}", if extensions.is_some() { ", deflated" } else { "" });
    println!("{name:52} {nanoseconds:10.0} ns/message {rate:8.0} MB/s of text");
}

fn round(path: &str, sender: Sender, frames: &[u8], extensions: Option<&str>) -> Duration {
    let catalogue = Catalogue::builtin();
    let call = identify(catalogue.find("api.openai.com").expect("built in"), &Method::GET, path);
    let mut meter = SocketMeter::new(&call, extensions).expect("it can be followed");
    meter.push(Sender::Client, &frame(r#"{"type":"response.create","model":"gpt-5"}"#, Sender::Client, None));
    let start = Instant::now();
    for piece in frames.chunks(8 * 1024) {
        meter.push(sender, black_box(piece));
        meter.events().for_each(drop);
    }
    let took = start.elapsed();
    assert!(black_box(meter.finish()).unmetered.is_none());
    took
}

fn frame(text: &str, sender: Sender, compress: Option<&mut Compress>) -> Vec<u8> {
    let (payload, first) = match compress {
        None => (text.as_bytes().to_vec(), 0x81),
        Some(compress) => {
            let mut payload = Vec::with_capacity(text.len() + 100);
            compress.compress_vec(text.as_bytes(), &mut payload, FlushCompress::Sync).expect("text compresses");
            payload.truncate(payload.len() - 4);
            (payload, 0xc1)
        }
    };
    let (masked, mask) = if sender == Sender::Client { (0x80, [1, 2, 3, 4]) } else { (0, [0; 4]) };
    let mut frame = vec![first];
    match payload.len() {
        length @ ..=125 => frame.push(masked | length as u8),
        length => {
            frame.push(masked | 0x7e);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend(mask.iter().take(if masked == 0 { 0 } else { 4 }));
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
