//! Content codings: whole bodies, and streams whose every event can be decoded when it arrives.

use std::io::Write;
use std::str::FromStr;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

/// A content coding of RFC 9110 §8.4.1, RFC 7932 or RFC 8878.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    Brotli,
    Zstd,
    /// The zlib format, as RFC 9110 says, not raw deflate.
    Deflate,
}

impl Coding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }

    /// The first of `preferred` that `accept_encoding` names without `q=0`.
    pub(crate) fn negotiate(accept_encoding: Option<&str>, preferred: &[Self]) -> Self {
        let accepts = |coding: &Self| {
            accept_encoding.is_some_and(|header| {
                header.split(',').any(|item| {
                    let mut parts = item.split(';').map(str::trim);
                    parts.next() == Some(coding.name()) && !parts.any(|q| matches!(q, "q=0" | "q=0.0" | "q=0.000"))
                })
            })
        };
        preferred.iter().copied().find(accepts).unwrap_or(Self::Identity)
    }

    pub(crate) fn encoder(self) -> Encoder {
        match self {
            Self::Identity => Encoder::Identity,
            Self::Gzip => Encoder::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Self::Brotli => Encoder::Brotli(Box::new(brotli::CompressorWriter::new(Vec::new(), 4096, 4, 18))),
            Self::Zstd => {
                Encoder::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 3).expect("level 3 is a valid level"))
            }
            Self::Deflate => Encoder::Deflate(ZlibEncoder::new(Vec::new(), Compression::fast())),
        }
    }
}

impl FromStr for Coding {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::Identity, Self::Gzip, Self::Brotli, Self::Zstd, Self::Deflate]
            .into_iter()
            .find(|coding| coding.name() == name)
            .ok_or(())
    }
}

/// A coding in progress.
pub(crate) enum Encoder {
    Identity,
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
}

impl Encoder {
    /// Codes `data` and flushes, so that the receiver can decode all of it at once.
    pub(crate) fn push(&mut self, data: &Bytes) -> Bytes {
        const MEMORY: &str = "writing to memory cannot fail";
        let coded = match self {
            Self::Identity => return data.clone(),
            Self::Gzip(encoder) => {
                encoder.write_all(data).and_then(|()| encoder.flush()).expect(MEMORY);
                std::mem::take(encoder.get_mut())
            }
            Self::Brotli(encoder) => {
                encoder.write_all(data).and_then(|()| encoder.flush()).expect(MEMORY);
                std::mem::take(encoder.get_mut())
            }
            Self::Zstd(encoder) => {
                encoder.write_all(data).and_then(|()| encoder.flush()).expect(MEMORY);
                std::mem::take(encoder.get_mut())
            }
            Self::Deflate(encoder) => {
                encoder.write_all(data).and_then(|()| encoder.flush()).expect(MEMORY);
                std::mem::take(encoder.get_mut())
            }
        };
        coded.into()
    }

    /// The coding's last bytes: checksums and end marks.
    pub(crate) fn finish(self) -> Bytes {
        const MEMORY: &str = "writing to memory cannot fail";
        match self {
            Self::Identity => Bytes::new(),
            Self::Gzip(encoder) => encoder.finish().expect(MEMORY).into(),
            Self::Brotli(encoder) => encoder.into_inner().into(),
            Self::Zstd(encoder) => encoder.finish().expect(MEMORY).into(),
            Self::Deflate(encoder) => encoder.finish().expect(MEMORY).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decode(coding: Coding, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Identity => out.extend_from_slice(data),
            Coding::Gzip => drop(flate2::read::MultiGzDecoder::new(data).read_to_end(&mut out)),
            Coding::Deflate => drop(flate2::read::ZlibDecoder::new(data).read_to_end(&mut out)),
            Coding::Brotli => drop(brotli::Decompressor::new(data, 4096).read_to_end(&mut out)),
            Coding::Zstd => drop(zstd::stream::read::Decoder::new(data).unwrap().read_to_end(&mut out)),
        }
        out
    }

    #[test]
    fn each_pushed_piece_can_be_decoded_before_the_next() {
        for coding in [Coding::Identity, Coding::Gzip, Coding::Brotli, Coding::Zstd, Coding::Deflate] {
            let mut encoder = coding.encoder();
            let (mut wire, mut plain) = (Vec::new(), Vec::new());
            for piece in ["data: one\n\n", "data: naïve 漢字\n\n", "data: [DONE]\n\n"] {
                wire.extend_from_slice(&encoder.push(&Bytes::from(piece)));
                plain.extend_from_slice(piece.as_bytes());
                assert_eq!(decode(coding, &wire), plain, "{coding:?}");
            }
            wire.extend_from_slice(&encoder.finish());
            assert_eq!(decode(coding, &wire), plain, "{coding:?}");
        }
    }

    #[test]
    fn negotiation_takes_the_servers_first_choice_the_client_accepts() {
        let preferred = [Coding::Brotli, Coding::Gzip];
        assert_eq!(Coding::negotiate(Some("gzip, deflate, br"), &preferred), Coding::Brotli);
        assert_eq!(Coding::negotiate(Some("gzip;q=0.5, br;q=0"), &preferred), Coding::Gzip);
        assert_eq!(Coding::negotiate(Some("identity"), &preferred), Coding::Identity);
        assert_eq!(Coding::negotiate(None, &preferred), Coding::Identity);
    }
}
