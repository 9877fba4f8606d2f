//! JSON (RFC 8259) as a stream of tokens with their places, cut anywhere, checked as strictly as providers check it.

use memchr::memchr2;

/// Containers within each other, as many as serde and others read.
const MAX_DEPTH: u32 = 127;

/// The longest key that is told.
const MAX_KEY: usize = 32;

/// What stands where. `depth` counts the containers around it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'a> {
    /// A key of an object; `None` where it is written with escapes. One that is longer than any of interest is cut.
    Key { depth: u32, name: Option<&'a [u8]> },
    /// A value begins here.
    Begin { depth: u32, at: usize, kind: Kind },
    /// A value has ended: at its closing bracket, or before this byte if it is a word.
    End { depth: u32, at: usize },
}

/// What a value is, as far as its first byte tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    Text,
    Number,
    True,
    False,
    Null,
}

/// The state between two pieces.
#[derive(Default)]
pub(crate) struct Grammar {
    /// Bytes taken before this piece.
    before: usize,
    depth: u32,
    /// Whether the containers are objects, the innermost in the lowest bit.
    objects: u128,
    state: State,
    key: [u8; MAX_KEY],
    key_length: usize,
    key_has_escape: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    Colon,
    CommaOrEnd,
    Text {
        is_key: bool,
    },
    Escape {
        is_key: bool,
    },
    Hex {
        is_key: bool,
        left: u8,
    },
    Word(&'static [u8]),
    Number(Number),
    /// After the one value of the text.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Number {
    /// What it is after another byte; `None` if the byte is none of a number.
    fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Whole, b'0'..=b'9') => Self::Whole,
            (Self::Zero | Self::Whole, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Whole | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            _ => return None,
        })
    }

    fn may_end(self) -> bool {
        matches!(self, Self::Zero | Self::Whole | Self::Fraction | Self::Power)
    }
}

/// The text is not JSON, or too deep.
struct Malformed;

impl Grammar {
    /// Takes the next bytes. `false` if they are not JSON; nothing more is to be pushed then.
    pub(crate) fn push(&mut self, bytes: &[u8], mut told: impl FnMut(Token<'_>)) -> bool {
        let mut at = 0;
        while at < bytes.len() {
            match self.step(bytes, at, &mut told) {
                Ok(next) => at = next,
                Err(Malformed) => return false,
            }
        }
        self.before += bytes.len();
        true
    }

    /// Whether the text is whole.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Over
    }

    /// Takes at least one byte, or changes the state so that the next step does.
    fn step(&mut self, bytes: &[u8], at: usize, told: &mut impl FnMut(Token<'_>)) -> Result<usize, Malformed> {
        match self.state {
            State::Text { is_key } => return self.text(bytes, at, is_key, told),
            State::Escape { is_key } => self.escape(bytes[at], is_key)?,
            State::Hex { is_key, left } => {
                if !bytes[at].is_ascii_hexdigit() {
                    return Err(Malformed);
                }
                self.state = if left > 1 { State::Hex { is_key, left: left - 1 } } else { State::Text { is_key } };
            }
            State::Word(rest) => {
                let [first, rest @ ..] = rest else { return Err(Malformed) };
                if bytes[at] != *first {
                    return Err(Malformed);
                }
                self.state = State::Word(rest);
                if rest.is_empty() {
                    self.end(self.before + at + 1, told);
                }
            }
            State::Number(number) => match number.next(bytes[at]) {
                Some(next) => self.state = State::Number(next),
                None if number.may_end() => {
                    self.end(self.before + at, told);
                    return Ok(at);
                }
                None => return Err(Malformed),
            },
            _ if matches!(bytes[at], b' ' | b'\t' | b'\r' | b'\n') => {}
            _ => self.structure(bytes[at], self.before + at, told)?,
        }
        Ok(at + 1)
    }

    fn structure(&mut self, byte: u8, at: usize, told: &mut impl FnMut(Token<'_>)) -> Result<(), Malformed> {
        match (self.state, byte) {
            (State::ValueOrEnd, b']') | (State::KeyOrEnd, b'}') => self.close(at, told),
            (State::CommaOrEnd, b']') if !self.is_in_object() => self.close(at, told),
            (State::CommaOrEnd, b'}') if self.is_in_object() => self.close(at, told),
            (State::CommaOrEnd, b',') => self.state = if self.is_in_object() { State::Key } else { State::Value },
            (State::Key | State::KeyOrEnd, b'"') => {
                self.key_length = 0;
                self.key_has_escape = false;
                self.state = State::Text { is_key: true };
            }
            (State::Colon, b':') => self.state = State::Value,
            (State::Value | State::ValueOrEnd, _) => self.begin(byte, at, told)?,
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn begin(&mut self, byte: u8, at: usize, told: &mut impl FnMut(Token<'_>)) -> Result<(), Malformed> {
        let (kind, state) = match byte {
            b'{' => (Kind::Object, State::KeyOrEnd),
            b'[' => (Kind::Array, State::ValueOrEnd),
            b'"' => (Kind::Text, State::Text { is_key: false }),
            b't' => (Kind::True, State::Word(b"rue")),
            b'f' => (Kind::False, State::Word(b"alse")),
            b'n' => (Kind::Null, State::Word(b"ull")),
            b'-' => (Kind::Number, State::Number(Number::Minus)),
            b'0' => (Kind::Number, State::Number(Number::Zero)),
            b'1'..=b'9' => (Kind::Number, State::Number(Number::Whole)),
            _ => return Err(Malformed),
        };
        told(Token::Begin { depth: self.depth, at, kind });
        if matches!(kind, Kind::Object | Kind::Array) {
            if self.depth == MAX_DEPTH {
                return Err(Malformed);
            }
            self.depth += 1;
            self.objects = self.objects << 1 | u128::from(kind == Kind::Object);
        }
        self.state = state;
        Ok(())
    }

    fn close(&mut self, at: usize, told: &mut impl FnMut(Token<'_>)) {
        self.depth -= 1;
        self.objects >>= 1;
        self.end(at, told);
    }

    fn end(&mut self, at: usize, told: &mut impl FnMut(Token<'_>)) {
        told(Token::End { depth: self.depth, at });
        self.state = if self.depth == 0 { State::Over } else { State::CommaOrEnd };
    }

    fn is_in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn text(
        &mut self,
        bytes: &[u8],
        at: usize,
        is_key: bool,
        told: &mut impl FnMut(Token<'_>),
    ) -> Result<usize, Malformed> {
        let rest = &bytes[at..];
        let found = memchr2(b'"', b'\\', rest);
        let piece = &rest[..found.unwrap_or(rest.len())];
        // The least byte, found with no branch for each. By value: a least reference is looked for one byte at a time.
        if piece.iter().copied().fold(u8::MAX, u8::min) < 0x20 {
            return Err(Malformed);
        }
        if is_key {
            let taken = piece.len().min(MAX_KEY - self.key_length);
            self.key[self.key_length..self.key_length + taken].copy_from_slice(&piece[..taken]);
            self.key_length += taken;
        }
        let Some(found) = found else { return Ok(bytes.len()) };
        let here = at + found;
        if bytes[here] == b'\\' {
            self.state = State::Escape { is_key };
        } else if is_key {
            let name = (!self.key_has_escape).then_some(&self.key[..self.key_length]);
            told(Token::Key { depth: self.depth, name });
            self.state = State::Colon;
        } else {
            self.end(self.before + here, told);
        }
        Ok(here + 1)
    }

    fn escape(&mut self, byte: u8, is_key: bool) -> Result<(), Malformed> {
        self.key_has_escape |= is_key;
        self.state = match byte {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text { is_key },
            b'u' => State::Hex { is_key, left: 4 },
            _ => return Err(Malformed),
        };
        Ok(())
    }
}
