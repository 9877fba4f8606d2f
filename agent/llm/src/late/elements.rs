use crate::json::closing_quote;

/// The state between two pieces of a JSON array of objects.
#[derive(Default)]
pub(super) struct Elements {
    state: State,
    /// How many containers of an element are open.
    depth: u32,
    escaping: bool,
    /// An element stands before, without a comma behind it.
    needs_comma: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Before,
    Between,
    Element,
    Text,
    /// The array has ended, or it is none.
    Over,
}

impl Elements {
    pub(super) fn is_between(&self) -> bool {
        matches!(self.state, State::Before | State::Between)
    }

    /// As [`Boundary::seek`](super::Boundary::seek).
    pub(super) fn seek(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            if self.state == State::Text {
                let end = closing_quote(&bytes[at..], &mut self.escaping)?;
                self.state = State::Element;
                at += end + 1;
                continue;
            }
            at += 1;
            match (self.state, byte) {
                (State::Before, b'[') => self.state = State::Between,
                (State::Before | State::Between, b' ' | b'\t' | b'\r' | b'\n') => {}
                (State::Between, b',') => self.needs_comma = false,
                (State::Between, b'{') => (self.state, self.depth) = (State::Element, 1),
                (State::Before | State::Between | State::Over, _) => self.state = State::Over,
                (State::Element, b'"') => self.state = State::Text,
                (State::Element, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
                (State::Element, b'}' | b']') => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        (self.state, self.needs_comma) = (State::Between, true);
                        return Some(at);
                    }
                }
                (State::Element | State::Text, _) => {}
            }
        }
        None
    }

    /// A last element, and the array's end.
    pub(super) fn end(&self, element: &str) -> String {
        match self.state {
            State::Before => format!("[{element}\n]\n"),
            State::Between if self.needs_comma => format!(",\n{element}\n]\n"),
            State::Between => format!("{element}\n]\n"),
            State::Element | State::Text | State::Over => String::new(),
        }
    }
}
