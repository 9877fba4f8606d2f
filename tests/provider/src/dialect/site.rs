//! A plain web site that shares its addresses with the APIs, as sites on one CDN do.

use http::StatusCode;

use super::Ask;
use crate::answer::Answer;

pub(crate) fn answer(ask: &Ask) -> Answer {
    match ask.path.as_str() {
        "/" => Answer::new(
            StatusCode::OK,
            "text/html; charset=utf-8",
            "<!doctype html>\n<title>Other site</title>\n<p>Nothing to do with language models: naïve 漢字 🚦.\n",
        ),
        "/robots.txt" => Answer::new(StatusCode::OK, "text/plain", "User-agent: *\nDisallow:\n"),
        _ => Answer::new(StatusCode::NOT_FOUND, "text/plain", "not here\n"),
    }
}
