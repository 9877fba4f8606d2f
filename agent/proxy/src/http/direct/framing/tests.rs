use proptest::prelude::*;

use super::*;

/// What a body's bytes are found to be: the content, and what follows the body. The bytes come in pieces of so many.
fn read(mut framing: Framing, bytes: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>, bool), Malformed> {
    let (mut content, mut rest) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        let mut ahead = framing;
        let used = framing.pass(piece, |bytes| content.extend_from_slice(bytes))?;
        assert_eq!(ahead.skip(piece), Ok(used), "a copy sees the same end");
        assert_eq!(ahead, framing);
        assert!(used == piece.len() || framing.is_done(), "it takes all there is until it is done");
        rest.extend_from_slice(&piece[used..]);
    }
    Ok((content, rest, framing.is_done()))
}

#[test]
fn a_chunked_body_ends_where_its_last_line_does() {
    let bytes = b"5;name=value\r\nhello\r\n006  \r\n world\r\n0\r\nx-sum: 11\r\nx: y\r\n\r\nGET / HTTP/1.1\r\n";
    for piece in 1..=bytes.len() {
        let (content, rest, done) = read(Framing::CHUNKED, bytes, piece).expect("well-formed");
        assert_eq!(
            (content.as_slice(), rest.as_slice(), done),
            (&b"hello world"[..], &b"GET / HTTP/1.1\r\n"[..], true)
        );
    }
}

#[test]
fn whatever_two_readers_could_read_in_two_ways_is_malformed() {
    for odd in [
        "\r\n",
        ";x\r\n",
        " 5\r\nhello\r\n",
        "-5\r\n",
        "0x5\r\nhello\r\n",
        "5\nhello\n",
        "5\r\nhello\n",
        "5\r\nhelloX\r\n",
        "5\r\nhello\r\n0\r\n\nGET",
        "5;a\nb\r\nhello\r\n",
        "5\rX",
        "00000000000000005\r\nhello\r\n",
        "0\r\na: b\nc: d\r\n\r\n",
        "0\r\na: b\r\n\rX",
    ] {
        for piece in [1, 2, 3, odd.len()] {
            assert_eq!(read(Framing::CHUNKED, odd.as_bytes(), piece), Err(Malformed), "{odd:?} by {piece}");
        }
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(MAX_EXTENSION as usize + 2));
    let trailer = format!("0\r\nx: {}\r\n\r\n", "x".repeat(MAX_TRAILERS as usize));
    let trailers = format!("0\r\n{}\r\n", "x: y\r\n".repeat(MAX_TRAILERS as usize));
    for endless in [extension, trailer, trailers] {
        for piece in [1, 1000, endless.len()] {
            assert_eq!(read(Framing::CHUNKED, endless.as_bytes(), piece), Err(Malformed));
        }
    }
}

#[test]
fn lengths_end_by_count_and_others_with_the_connection() {
    assert!(Framing::EMPTY.is_done());
    assert_eq!(read(Framing::length(3), b"abcdef", 2), Ok((b"abc".to_vec(), b"def".to_vec(), true)));
    assert_eq!(read(Framing::length(u64::MAX), b"abc", 2), Ok((b"abc".to_vec(), Vec::new(), false)));
    assert_eq!(read(Framing::UNTIL_CLOSE, b"abc", 2), Ok((b"abc".to_vec(), Vec::new(), false)));
    assert!(Framing::UNTIL_CLOSE.is_until_close() && !Framing::CHUNKED.is_until_close());
}

proptest! {
    #[test]
    fn any_body_in_any_chunks_and_any_pieces_is_read_whole(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20),
        piece in 1..400_usize,
        behind in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let mut bytes = Vec::new();
        for chunk in &chunks {
            bytes.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes.extend_from_slice(&behind);
        let (content, rest, done) = read(Framing::CHUNKED, &bytes, piece).expect("well-formed");
        prop_assert_eq!((content, rest, done), (chunks.concat(), behind, true));
    }

    #[test]
    fn no_bytes_panic_and_pieces_make_no_difference(bytes in "[0-9a-f;x \r\n]{0,60}", piece in 1..20_usize) {
        prop_assert_eq!(read(Framing::CHUNKED, bytes.as_bytes(), piece), read(Framing::CHUNKED, bytes.as_bytes(), 1));
    }
}

#[test]
fn what_was_malformed_stays_so() {
    let mut framing = Framing::CHUNKED;
    assert_eq!(framing.skip(b"2\r\na"), Ok(4));
    // Read again from where it broke off, this is the end of a trailer.
    for _ in 0..2 {
        assert_eq!(framing.skip(b"\n\r\n0\r\nab\rX"), Err(Malformed));
    }
    assert!(!framing.is_done());
}
