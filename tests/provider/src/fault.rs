//! What should go wrong with a request, chosen by header, by model name, or for the next N requests.
//!
//! One grammar serves all three: words separated by `,` or `+`, some with `=value`. The header is
//! `x-provider-fault: 429,retry-after=2,once`; an SDK user names the model `gpt-4o-mini+stall=3`.

use std::str::FromStr;
use std::time::Duration;

use http::StatusCode;

use crate::coding::Coding;

/// The request header that chooses faults.
pub const FAULT_HEADER: &str = "x-provider-fault";

/// Faults of one exchange; the default is none. Made by parsing, see [`Faults::HELP`].
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, and any may meet any other")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub(crate) status: Option<StatusCode>,
    pub(crate) retry_after: Option<u64>,
    pub(crate) times: Option<u32>,
    pub(crate) stall_head: Option<Hold>,
    pub(crate) cut: Option<Cut>,
    pub(crate) split: Option<Split>,
    pub(crate) coding: Option<Coding>,
    pub(crate) delay: Option<Duration>,
    pub(crate) gate: Option<String>,
    pub(crate) early: bool,
    pub(crate) hang_up: bool,
    pub(crate) goaway: bool,
    pub(crate) huge_headers: Option<usize>,
    pub(crate) trailers: bool,
    pub(crate) odd_headers: bool,
    pub(crate) no_usage: bool,
    pub(crate) no_done: bool,
    pub(crate) crlf: bool,
    pub(crate) keepalive: bool,
    pub(crate) refuse_stream_options: bool,
    pub(crate) damage: Option<usize>,
    pub(crate) words: Option<usize>,
    pub(crate) tools: bool,
}

/// How long something is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    For(Duration),
    /// Until the client leaves.
    Forever,
}

impl Hold {
    pub(crate) async fn wait(self) {
        match self {
            Self::For(duration) => tokio::time::sleep(duration).await,
            Self::Forever => std::future::pending().await,
        }
    }
}

/// How an answer is cut off, after so many events (or eighths of a body that is not a stream).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) after: usize,
    pub(crate) how: CutHow,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CutHow {
    /// Sends nothing more until the client leaves.
    Stall,
    /// TCP reset; on HTTP/2 the stream alone.
    Reset,
    /// TCP reset of the whole connection.
    ResetConnection,
    /// Ends without the rest: FIN without the last chunk, or END_STREAM short of content-length.
    Truncate,
    /// The dialect's error event, then the end.
    Error,
}

/// How the bytes are cut into writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// Every so many bytes.
    Bytes(usize),
    /// Inside each multi-byte UTF-8 character.
    Characters,
}

/// A fault word that is not known, or a value that does not fit it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown fault {word:?}; known are:\n{help}", help = Faults::HELP)]
pub struct FaultError {
    word: String,
}

impl Faults {
    /// The grammar, for people.
    pub const HELP: &str = "  429 500 503 529 ...     answer with this status, in the dialect's error shape
  retry-after=SECONDS     with a status: the retry-after header
  once, times=N           fault only the first N tries of equal requests; later ones succeed
  stall-head[=MS]         send no response head (for MS milliseconds, else until the client leaves)
  stall[=N]               after N events (default 2) send nothing more
  reset[=N]               after N events: TCP reset; HTTP/2: RST_STREAM
  reset-connection[=N]    after N events: TCP reset of the whole connection
  truncate[=N]            after N events: end without the rest
  error[=N]               after N events: the dialect's error event, then the end
  split[=N]               write N bytes (default 1) at a time
  split-utf8              split inside each multi-byte character
  gzip br zstd deflate identity   this content coding, whatever the client accepts
  slow=MS                 wait before each event
  gate=NAME               wait before each event until the test lets one through
  early                   answer before reading the request body
  hang-up                 close the connection without an answer
  goaway                  HTTP/2: GOAWAY with this exchange; HTTP/1: connection: close
  huge-headers[=BYTES]    add response headers of this size (default 32768)
  trailers                add trailers (HTTP/1: where the request says te: trailers)
  odd-headers             HTTP/1: a head with unusual case, order, repeats and spacing
  no-usage no-done crlf keepalive   stream without usage, without [DONE], with CRLF, with ping comments
  refuse-stream-options   400 where the request has stream_options, as hosts do that do not know them
  damage[=N]              one wrong bit in event N (default 1)
  words=N                 answer with about N words
  tools                   call tools of coding agents too, which are answered in text otherwise";

    /// Whether nothing is to go wrong.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Splits `model+fault+fault` into the model a provider would see and its faults.
    pub(crate) fn of_model(model: &str) -> Result<(&str, Self), FaultError> {
        match model.split_once('+') {
            Some((model, faults)) => Ok((model, faults.parse()?)),
            None => Ok((model, Self::default())),
        }
    }

    /// Both sets; where both speak, `self` wins.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            status: self.status.or(other.status),
            retry_after: self.retry_after.or(other.retry_after),
            times: self.times.or(other.times),
            stall_head: self.stall_head.or(other.stall_head),
            cut: self.cut.or(other.cut),
            split: self.split.or(other.split),
            coding: self.coding.or(other.coding),
            delay: self.delay.or(other.delay),
            gate: self.gate.or(other.gate),
            early: self.early || other.early,
            hang_up: self.hang_up || other.hang_up,
            goaway: self.goaway || other.goaway,
            huge_headers: self.huge_headers.or(other.huge_headers),
            trailers: self.trailers || other.trailers,
            odd_headers: self.odd_headers || other.odd_headers,
            no_usage: self.no_usage || other.no_usage,
            no_done: self.no_done || other.no_done,
            crlf: self.crlf || other.crlf,
            keepalive: self.keepalive || other.keepalive,
            refuse_stream_options: self.refuse_stream_options || other.refuse_stream_options,
            damage: self.damage.or(other.damage),
            words: self.words.or(other.words),
            tools: self.tools || other.tools,
        }
    }

    fn apply(&mut self, word: &str) -> Option<()> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        let count = |default: usize| value.map_or(Some(default), |value| value.parse().ok());
        let milliseconds = || value.and_then(|value| value.parse().ok()).map(Duration::from_millis);
        let cut = |how| count(2).map(|after| Some(Cut { after, how }));
        match name {
            "stall" => self.cut = cut(CutHow::Stall)?,
            "reset" => self.cut = cut(CutHow::Reset)?,
            "reset-connection" => self.cut = cut(CutHow::ResetConnection)?,
            "truncate" => self.cut = cut(CutHow::Truncate)?,
            "error" => self.cut = cut(CutHow::Error)?,
            "retry-after" => self.retry_after = Some(value?.parse().ok()?),
            "once" => self.times = Some(1),
            "times" => self.times = Some(value?.parse().ok()?),
            "stall-head" => {
                self.stall_head = Some(if value.is_some() { Hold::For(milliseconds()?) } else { Hold::Forever });
            }
            "split" => self.split = Some(Split::Bytes(count(1)?.max(1))),
            "split-utf8" => self.split = Some(Split::Characters),
            "slow" => self.delay = Some(milliseconds()?),
            "gate" => self.gate = Some(value?.to_owned()),
            "early" => self.early = true,
            "hang-up" => self.hang_up = true,
            "goaway" => self.goaway = true,
            "huge-headers" => self.huge_headers = Some(count(32 * 1024)?),
            "trailers" => self.trailers = true,
            "odd-headers" => self.odd_headers = true,
            "no-usage" => self.no_usage = true,
            "no-done" => self.no_done = true,
            "crlf" => self.crlf = true,
            "keepalive" => self.keepalive = true,
            "tools" => self.tools = true,
            "refuse-stream-options" => self.refuse_stream_options = true,
            "damage" => self.damage = Some(count(1)?),
            "words" => self.words = Some(count(0)?),
            name => match name.parse() {
                Ok(coding) => self.coding = Some(coding),
                Err(()) => self.status = Some(status(name)?),
            },
        }
        Some(())
    }
}

impl FromStr for Faults {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let mut faults = Self::default();
        for word in text.split([',', '+']).map(str::trim).filter(|word| !word.is_empty()) {
            faults.apply(word).ok_or_else(|| FaultError { word: word.to_owned() })?;
        }
        Ok(faults)
    }
}

fn status(name: &str) -> Option<StatusCode> {
    name.parse::<u16>().ok().filter(|code| (400..600).contains(code)).and_then(|code| StatusCode::from_u16(code).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_name_carries_faults() {
        let (model, faults) = Faults::of_model("gpt-4o-mini+429+retry-after=2+once").unwrap();
        assert_eq!(model, "gpt-4o-mini");
        assert_eq!(
            (faults.status, faults.retry_after, faults.times),
            (StatusCode::from_u16(429).ok(), Some(2), Some(1))
        );
        assert_eq!(Faults::of_model("gpt-4o-mini").unwrap(), ("gpt-4o-mini", Faults::default()));
    }

    proptest::proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "\\PC{0,40}", words in "[a-z0-9=,+-]{0,40}") {
            for text in [text, words] {
                if let Ok(faults) = text.parse::<Faults>() {
                    proptest::prop_assert_eq!(faults.clone().or(Faults::default()), faults);
                }
            }
        }
    }

    #[test]
    fn every_word_of_the_help_parses_and_others_are_refused() {
        for line in Faults::HELP.lines() {
            for word in line[2..].split("   ").next().unwrap_or_default().split([' ', ',']).filter(|w| !w.is_empty()) {
                let word = word.replace("NAME", "x").replace("SECONDS", "1").replace("MS", "1").replace("=N", "=1");
                let optional = word.split_once('[').map(|(name, _)| name.to_owned());
                let word = optional.unwrap_or(word);
                if word != "..." {
                    assert!(!word.parse::<Faults>().unwrap().is_none(), "{word}");
                }
            }
        }
        for bad in ["stal", "stall=x", "slow", "gate", "200", "retry-after", "times=-1"] {
            assert!(bad.parse::<Faults>().is_err(), "{bad}");
        }
    }
}
