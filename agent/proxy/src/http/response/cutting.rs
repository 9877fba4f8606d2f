//! Ends a stream on its way when a budget is spent that is to cut: at the end of an event, with the error in the stream's own form.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use tollgate_llm::{Boundary, Call};
use tollgate_policy::Refused;

use crate::admit::in_words;
use crate::exchange::{Exchange, is_stream};
use crate::http::headers::joined_lines;

/// After how many bytes it is asked again what was used: some five events of a stream of text.
const EACH: usize = 1024;

/// A stream that may be cut.
pub(in crate::http) struct Cutting {
    /// Where it can be ended in words; nowhere if it is compressed or has told its length. Then it is broken off.
    boundary: Option<Boundary>,
    /// Bytes since it was asked last.
    unasked: usize,
    /// The budget that is spent.
    spent: Option<Refused>,
}

/// What becomes of a piece of a stream.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// It goes on.
    Passes(Bytes),
    /// This is the last that is passed on, and then come our words.
    Last(Bytes, Bytes),
    /// The answer breaks off here.
    Broken,
}

impl Cutting {
    /// For an answer with these headers; none for what is no stream.
    pub(in crate::http) fn of(call: &Call, headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let coding = joined_lines(headers, &CONTENT_ENCODING);
        let has_length = headers.contains_key(CONTENT_LENGTH);
        let boundary = Boundary::new(call, content_type, coding.as_deref()).filter(|_| !has_length);
        let streams = boundary.is_some() || content_type.is_some_and(is_stream);
        streams.then_some(Self { boundary, unasked: 0, spent: None })
    }

    /// Whether the budgets have no room for what was used by now, with these bytes.
    pub(super) fn is_spent(&mut self, bytes: usize, exchange: &mut Exchange) -> bool {
        self.unasked += bytes;
        if self.spent.is_none() && self.unasked >= EACH {
            self.unasked = 0;
            self.spent = exchange.used().err();
        }
        self.spent.is_some()
    }

    /// What becomes of the next bytes that the client would get.
    pub(super) fn pass(&mut self, data: Bytes, exchange: Option<&mut Exchange>) -> Piece {
        let Some(exchange) = exchange else { return Piece::Passes(data) };
        if !self.is_spent(data.len(), exchange) {
            if let Some(boundary) = &mut self.boundary {
                boundary.follow(&data);
            }
            return Piece::Passes(data);
        }
        let Some(spent) = &self.spent else { return Piece::Passes(data) };
        let rest = match &mut self.boundary {
            None => None,
            Some(boundary) if boundary.is_here() => Some((boundary, 0)),
            Some(boundary) => match boundary.seek(&data) {
                None => return Piece::Passes(data),
                Some(rest) => Some((boundary, rest)),
            },
        };
        exchange.rule = Some(Arc::clone(&spent.name));
        let Some((boundary, rest)) = rest else { return Piece::Broken };
        Piece::Last(data.slice(..rest), boundary.end(&in_words(spent)))
    }
}
