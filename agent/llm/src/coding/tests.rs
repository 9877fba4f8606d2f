use std::io::Read;

use flate2::Compression;
use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Log {
    bytes: Vec<u8>,
    largest: usize,
}

impl Consume for Log {
    fn consume(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.largest = self.largest.max(bytes.len());
    }
}

fn decode<'a>(codings: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Log, Option<Failure>) {
    let mut decoder = Decoder::new(Some(codings), Log::default());
    for piece in pieces {
        decoder.push(piece);
    }
    decoder.finish()
}

fn encode(coding: &str, mut bytes: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::new();
    match coding {
        "gzip" => flate2::read::GzEncoder::new(bytes, Compression::default()).read_to_end(&mut encoded).unwrap(),
        "zlib" => flate2::read::ZlibEncoder::new(bytes, Compression::default()).read_to_end(&mut encoded).unwrap(),
        "deflate" => {
            flate2::read::DeflateEncoder::new(bytes, Compression::default()).read_to_end(&mut encoded).unwrap()
        }
        "br" => ::brotli::CompressorReader::new(bytes, 4096, 5, 22).read_to_end(&mut encoded).unwrap(),
        "zstd" => zstd::stream::read::Encoder::new(bytes, 3).unwrap().read_to_end(&mut encoded).unwrap(),
        _ => bytes.read_to_end(&mut encoded).unwrap(),
    };
    encoded
}

const CODINGS: [(&str, &str); 6] =
    [("gzip", "gzip"), ("zlib", "deflate"), ("deflate", "deflate"), ("br", "br"), ("zstd", "zstd"), ("", "identity")];

fn text() -> Vec<u8> {
    (0..2000)
        .flat_map(|n: u64| format!("data: {{\"n\":{}}}\n\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes())
        .collect()
}

#[test]
fn every_coding_is_undone_however_it_is_cut() {
    let text = text();
    for (encoder, header) in CODINGS {
        let encoded = encode(encoder, &text);
        for size in [1, 2, 3, 7, 1000, encoded.len()] {
            let (log, failure) = decode(header, encoded.chunks(size));
            assert_eq!(failure, None, "{encoder} by {size}");
            assert!(log.bytes == text, "{encoder} by {size}");
        }
    }
}

#[test]
fn decoded_bytes_come_in_bounded_pieces() {
    let text = vec![b' '; 4 << 20];
    for (encoder, header) in &CODINGS[..5] {
        let (log, _) = decode(header, [&encode(encoder, &text)[..]]);
        assert_eq!(log.bytes.len(), text.len(), "{encoder}");
        assert!(log.largest <= 256 << 10, "{encoder}: {}", log.largest);
    }
}

#[test]
fn stacked_codings_are_undone_from_the_last() {
    let text = text();
    for header in ["gzip, br", "GZIP,BR", " gzip , identity, br"] {
        let (log, failure) = decode(header, encode("br", &encode("gzip", &text)).chunks(100));
        assert!(log.bytes == text && failure.is_none(), "{header}");
    }
    assert_eq!(decode("gzip, gzip, gzip", [&b"x"[..]]).1, Some(Failure::Unknown), "too many");
}

#[test]
fn a_cut_body_gives_what_came_before_the_cut() {
    let text = text();
    for (encoder, header) in CODINGS {
        let encoded = encode(encoder, &text);
        for cut in [0, 1, 3, 10, encoded.len() / 2, encoded.len() - 1] {
            let (log, failure) = decode(header, encoded[..cut].chunks(64));
            assert_eq!(failure, None, "{encoder} cut at {cut}");
            assert!(text.starts_with(&log.bytes), "{encoder} cut at {cut}");
        }
        let (log, _) = decode(header, [&encoded[..encoded.len() - 1]]);
        // zstd gives nothing of a block before its end, and this text is one block.
        assert!(encoder == "zstd" || log.bytes.len() > text.len() - 1000, "{encoder} gave {}", log.bytes.len());
    }
}

#[test]
fn plain_text_said_to_be_compressed_is_read_or_reported() {
    let text = text();
    for (header, readable) in [("gzip", true), ("zstd", true), ("x-gzip", true), ("br", false), ("deflate", false)] {
        for size in [1, text.len()] {
            let (log, failure) = decode(header, text.chunks(size));
            assert_eq!(failure, (!readable).then_some(Failure::Corrupt), "{header} by {size}");
            assert_eq!(log.bytes == text, readable, "{header} by {size}");
        }
    }
}

#[test]
fn unknown_codings_are_not_guessed() {
    for header in ["compress", "gzip, dcb", "aws-chunked", "br;q=1"] {
        let (log, failure) = decode(header, [&b"{}"[..]]);
        assert_eq!((log.bytes.len(), failure), (0, Some(Failure::Unknown)), "{header}");
    }
}

#[test]
fn bombs_are_given_up() {
    let zeros = vec![0; 24 << 20];
    for (encoder, header) in &CODINGS[..5] {
        let (log, failure) = decode(header, encode(encoder, &zeros).chunks(1000));
        assert_eq!(failure, Some(Failure::TooDense), "{encoder}");
        assert!((log.bytes.len() as u64) < 2 * FREE + RATIO * 70_000, "{encoder}: {}", log.bytes.len());
    }
    let twice = encode("gzip", &encode("gzip", &zeros));
    assert_eq!(decode("gzip, gzip", [&twice[..]]).1, Some(Failure::TooDense));
}

#[test]
fn windows_beyond_the_standards_are_refused() {
    // RFC 7932, § 9.1, ends at 2^24; 0x11 and then 0x1e asks for "large window" brotli's 2^30.
    assert_eq!(decode("br", [&[0x11, 0x1e, 0, 0, 0, 0, 0, 0][..]]).1, Some(Failure::Corrupt));
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&text()).unwrap();
    assert_eq!(decode("zstd", [&encoder.finish().unwrap()[..]]).1, Some(Failure::Corrupt));
}

#[test]
fn what_follows_the_end_does_not_undo_what_was_read() {
    let text = text();
    for (encoder, header) in &CODINGS[..5] {
        let body = [encode(encoder, &text), b"trailing garbage".to_vec()].concat();
        for size in [1, 100, body.len()] {
            let (log, _) = decode(header, body.chunks(size));
            assert!(log.bytes.starts_with(&text), "{encoder} by {size}: {} of {}", log.bytes.len(), text.len());
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(coding in prop::sample::select(&["gzip", "deflate", "br", "zstd", "gzip, br"][..]),
                      flip in any::<(usize, u8)>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(coding, bytes.chunks(7));
        let mut encoded = encode(coding, &text()[..1000]);
        let at = flip.0 % encoded.len();
        encoded[at] ^= flip.1;
        let _ = decode(coding, encoded.chunks(50));
    }
}
