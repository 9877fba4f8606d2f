//! Reads short fields out of a form that passes by (RFC 7578, RFC 2046 § 5.1), cut anywhere, without holding its files.
//!
//! Transcriptions and edits of images are asked for as forms, with the model in one field and megabytes of sound or
//! pixels in another. What is kept is one line of a part's head, or one short value.

use memchr::memchr;

/// The longest value that is read; longer ones count as absent.
const MAX_VALUE: usize = 1024;
/// The longest line of a part's head that is read.
const MAX_LINE: usize = 1024;
/// The length of the line end that a delimiter begins with.
const LINE_END: usize = 2;
/// RFC 2046 allows 70.
const MAX_BOUNDARY: usize = 200;

/// The state between two pieces of a form.
pub(crate) struct Parser {
    /// CR LF, two hyphens and the boundary. A CR is at its start only, so what fails to match can only begin anew there.
    delimiter: Vec<u8>,
    /// How much of it was seen.
    matched: usize,
    /// How much of that was not there: at the very start, and after a head, no line end is needed.
    assumed: usize,
    state: State,
    /// The line of the head or the value that is being read.
    text: Vec<u8>,
    too_long: bool,
    /// What the head said the part is called, unless it is a file.
    name: Option<String>,
    is_file: bool,
    /// Another reader may find other fields in it.
    is_odd: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Before the first delimiter.
    Preamble,
    /// After a delimiter, to the end of its line; so many hyphens were seen.
    Delimiter(u8),
    /// In the lines that describe a part.
    Head,
    /// In a value that is wanted.
    Value,
    /// In a file, or a value that is not.
    Skip,
    /// After the last delimiter.
    End,
}

/// Takes the fields of a form.
pub(crate) trait Fields {
    /// Whether the value of the field is to be kept.
    fn wants(&self, name: &str) -> bool;

    /// A field that is wanted, and its whole value.
    fn field(&mut self, name: &str, value: &str);
}

impl Parser {
    /// For a body with this `content-type`; `None` if that is no form or names no sound boundary.
    pub(crate) fn new(content_type: &str) -> Option<Self> {
        let (essence, parameters) = content_type.split_once(';')?;
        if !essence.trim().eq_ignore_ascii_case("multipart/form-data") {
            return None;
        }
        let boundary = parameter(parameters, "boundary")?;
        let is_odd = occurrences(parameters, "boundary") != 1;
        let is_sound = (1..=MAX_BOUNDARY).contains(&boundary.len()) && !boundary.contains(['\r', '\n']);
        is_sound.then(|| Self {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            matched: LINE_END,
            assumed: LINE_END,
            state: State::Preamble,
            text: Vec::new(),
            too_long: false,
            name: None,
            is_file: false,
            is_odd,
        })
    }

    /// Whether all of it has come, and there is one way to read it: nothing before the first part or behind the last, and no head
    /// that says something twice, in a coding, or at length.
    pub(crate) fn is_clear(&self) -> bool {
        self.state == State::End && !self.is_odd
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8], fields: &mut impl Fields) {
        while !bytes.is_empty() {
            let used = match self.state {
                State::Preamble | State::Value | State::Skip => self.data(bytes, fields),
                State::Delimiter(hyphens) => self.after_delimiter(hyphens, bytes[0]),
                State::Head => self.head(bytes, fields),
                State::End => {
                    self.is_odd |= bytes.iter().any(|byte| !byte.is_ascii_whitespace());
                    bytes.len()
                }
            };
            bytes = &bytes[used..];
        }
    }

    /// Looks for the delimiter; what is before it is the part's.
    fn data(&mut self, bytes: &[u8], fields: &mut impl Fields) -> usize {
        if self.matched == 0 {
            let start = memchr(b'\r', bytes).unwrap_or(bytes.len());
            self.is_odd |= self.state == State::Preamble && !bytes[..start].trim_ascii().is_empty();
            self.keep(&bytes[..start]);
            self.matched = usize::from(start < bytes.len());
            return start + self.matched;
        }
        let rest = &self.delimiter[self.matched..];
        let same = rest.iter().zip(bytes).take_while(|(wanted, byte)| wanted == byte).count();
        self.matched += same;
        if self.matched == self.delimiter.len() {
            self.matched = 0;
            self.assumed = 0;
            self.end_part(fields);
            self.state = State::Delimiter(0);
        } else if same < bytes.len() {
            // What looked like a delimiter was data; the byte that broke it is looked at again.
            let (seen, assumed) = (std::mem::take(&mut self.matched), std::mem::take(&mut self.assumed));
            self.is_odd |= self.state == State::Preamble && seen > assumed.max(LINE_END);
            if self.state == State::Value {
                let delimiter = std::mem::take(&mut self.delimiter);
                self.keep(&delimiter[assumed..seen]);
                self.delimiter = delimiter;
            }
        }
        same
    }

    /// Two hyphens end the form; blanks may stand before the end of the line. Anything else, and it was no delimiter.
    fn after_delimiter(&mut self, hyphens: u8, byte: u8) -> usize {
        match byte {
            b'-' if hyphens == 1 => self.state = State::End,
            b'-' if hyphens == 0 => self.state = State::Delimiter(1),
            b' ' | b'\t' | b'\r' if hyphens == 0 => {}
            b'\n' if hyphens == 0 => {
                self.state = State::Head;
                self.name = None;
                self.is_file = false;
                self.clear();
            }
            _ => {
                self.is_odd = true;
                self.state = State::Skip;
                return 0;
            }
        }
        1
    }

    fn head(&mut self, bytes: &[u8], fields: &impl Fields) -> usize {
        let end = memchr(b'\n', bytes);
        let taken = end.unwrap_or(bytes.len());
        self.keep(&bytes[..taken]);
        if end.is_none() {
            return taken;
        }
        if self.text.last() == Some(&b'\r') {
            self.text.pop();
        }
        if self.text.is_empty() && !self.too_long {
            let is_wanted = !self.is_file && self.name.as_deref().is_some_and(|name| fields.wants(name));
            self.state = if is_wanted { State::Value } else { State::Skip };
            self.matched = LINE_END;
            self.assumed = LINE_END;
        } else if self.too_long {
            self.is_odd = true;
        } else {
            self.disposition();
        }
        self.clear();
        taken + 1
    }

    /// Takes the field's name from `content-disposition: form-data; name="model"`.
    fn disposition(&mut self) {
        let line = std::str::from_utf8(&self.text).ok().filter(|line| !line.starts_with([' ', '\t']));
        let Some((name, value)) = line.and_then(|line| line.split_once(':')) else {
            self.is_odd = true;
            return;
        };
        // Some undo it, and most do not.
        self.is_odd |= name.trim().eq_ignore_ascii_case("content-transfer-encoding")
            && !["7bit", "8bit", "binary"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain));
        if !name.trim().eq_ignore_ascii_case("content-disposition") {
            return;
        }
        let Some((_, parameters)) = value.split_once(';') else { return };
        self.is_file = parameter(parameters, "filename").or_else(|| parameter(parameters, "filename*")).is_some();
        self.is_odd |= self.name.is_some() || occurrences(parameters, "name") + occurrences(parameters, "name*") != 1;
        self.name = parameter(parameters, "name");
    }

    fn end_part(&mut self, fields: &mut impl Fields) {
        if self.state == State::Value
            && !self.too_long
            && let (Some(name), Ok(value)) = (&self.name, std::str::from_utf8(&self.text))
        {
            fields.field(name, value);
        }
        self.clear();
    }

    fn keep(&mut self, bytes: &[u8]) {
        let limit = match self.state {
            State::Head => MAX_LINE,
            State::Value => MAX_VALUE,
            _ => return,
        };
        if self.too_long || self.text.len() + bytes.len() > limit {
            self.too_long = true;
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.too_long = false;
    }
}

/// How often a parameter is said.
fn occurrences(parameters: &str, wanted: &str) -> usize {
    let mut count = 0;
    walk(parameters, |name, _| {
        count += usize::from(name.eq_ignore_ascii_case(wanted));
        false
    });
    count
}

/// The value of a parameter, plain or quoted (RFC 9110, § 5.6.6). A `;` in quotes is part of the value.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut found = None;
    walk(parameters, |name, value| {
        let is_it = name.eq_ignore_ascii_case(wanted);
        if is_it {
            found = Some(value);
        }
        is_it
    });
    found
}

/// Shows one parameter after the other, until `is_enough` says so.
fn walk(mut parameters: &str, mut is_enough: impl FnMut(&str, String) -> bool) -> Option<()> {
    loop {
        let (name, rest) = parameters.split_once('=')?;
        let rest = rest.trim_start();
        let (value, after) = if let Some(quoted) = rest.strip_prefix('"') {
            unquote(quoted)?
        } else {
            let end = rest.find(';').unwrap_or(rest.len());
            (rest[..end].trim().to_owned(), &rest[end..])
        };
        // Parameters without a value, before this one.
        let name = name.rsplit(';').next().unwrap_or(name);
        if is_enough(name.trim(), value) {
            return Some(());
        }
        parameters = after;
    }
}

/// The text up to the closing quote, and what is after it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests;
