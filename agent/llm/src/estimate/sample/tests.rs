use proptest::prelude::*;

use super::*;

fn sample(text: &[u8], cut: usize) -> Sample {
    let mut sampler = Sampler::default();
    text.chunks(cut).for_each(|piece| sampler.push(piece));
    sampler.finish()
}

/// Words of many lengths, numbered so that no two parts are alike.
fn prose(words: usize) -> String {
    let word = |n: usize| ["abcdefghijklmnop"[n * 7 % 16..].to_owned(), n.to_string()].join(" ");
    (0..words).map(word).collect::<Vec<_>>().join(" ")
}

fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

proptest! {
    #[test]
    fn the_same_text_gives_the_same_sample_whatever_the_cuts(
        length in 0..30_000_usize,
        cuts in prop::collection::vec(1..3_000_usize, 1..60),
    ) {
        let text: Vec<u8> = (0..length).map(|n| (n * n / 7 % 251) as u8).collect();
        let whole = sample(&text, text.len().max(1));
        let mut sampler = Sampler::default();
        let mut rest = &text[..];
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(rest.len().min(*cut));
            sampler.push(piece);
            rest = after;
        }
        let cut = sampler.finish();
        prop_assert_eq!(&cut.kept, &whole.kept);
        prop_assert_eq!((cut.thinning, cut.total), (whole.thinning, length as u64));
        prop_assert!(whole.kept.len() <= BLOCK * BLOCKS && whole.kept.capacity() <= BLOCK * BLOCKS);
        prop_assert!(length == 0 || whole.kept.len() >= length.min(BLOCK * BLOCKS / 2));
    }

    #[test]
    fn strings_are_read_as_json_reads_them(text in ".{0,60}", escape in any::<bool>()) {
        let mut written = serde_json::to_string(&text).expect("a string");
        if escape {
            written = written.chars().flat_map(|c| {
                let mut units = [0; 2];
                let units = c.encode_utf16(&mut units).to_vec();
                if c.is_ascii() { vec![c.to_string()] } else { units.iter().map(|unit| format!("\\u{unit:04x}")).collect() }
            }).collect();
        }
        let read = unescape(&written.as_bytes()[1..written.len() - 1]);
        prop_assert_eq!(read.as_str(), text);
    }

    #[test]
    fn any_bytes_are_sampled_and_counted(bytes in prop::collection::vec(any::<u8>(), 0..6_000), cut in 1..700_usize) {
        let counted = sample(&bytes, cut).scale(|text| text.len() as u64);
        prop_assert!(counted <= 3 * bytes.len() as u64);
    }
}

#[test]
fn a_text_that_fits_is_counted_exactly() {
    let text = prose(300);
    assert!(text.len() < BLOCK * BLOCKS);
    assert_eq!(sample(text.as_bytes(), 100).scale(words), words(&text));
}

#[test]
fn a_long_text_is_counted_from_all_of_its_parts() {
    // The second half has words of another length than the first.
    let text = prose(20_000) + &"it is so ".repeat(40_000);
    let (counted, all) = (sample(text.as_bytes(), 1000).scale(words) as f64, words(&text) as f64);
    assert!((counted / all - 1.0).abs() < 0.05, "{counted} of {all}");
}

#[test]
fn escapes_that_are_cut_off_are_left_out() {
    for (written, text) in [
        (&b"a\\u4f60b"[..], "a你b"),
        (b"a\\ud83d\\ude00b", "a😀b"),
        (b"a\\ud83dx", "a\u{fffd}x"),
        (b"a\\ud83d\\u0041", "a\u{fffd}A"),
        (b"a\\u4f", "a"),
        (b"a\\", "a"),
        (b"a\\n\\\"\\/\\\\b", "a\n\"/\\b"),
        (b"a\xe4\xbd", "a\u{fffd}"),
    ] {
        assert_eq!(unescape(written).as_str(), text);
    }
}

#[test]
fn a_sample_shows_nothing_of_its_text() {
    let sample = sample(b"my secret", 4);
    assert_eq!(format!("{sample:?}"), "Sample { total: 9, .. }");
}
