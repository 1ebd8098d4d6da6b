//! Which media type an answer has: the one that the client likes best of those a route can give
//! (RFC 9110 §12.5.1).

use ems_api::ErrorCode;
use http::{HeaderMap, header};

use crate::problem::Problem;

/// A part of an `Accept` field: a range and its weight in thousandths.
struct Preference<'a> {
    range: &'a str,
    weight: u16,
}

/// The best of `offered`, which are in the server's own order; the first where nothing is asked.
///
/// # Errors
/// 406 when the client takes none of them.
pub fn choose(headers: &HeaderMap, offered: &[&'static str]) -> Result<&'static str, Problem> {
    let ranges: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .flat_map(|value| value.to_str().unwrap_or("?").split(','))
        .filter(|range| !range.trim().is_empty())
        .collect();
    let preferences: Vec<Preference<'_>> = ranges.iter().copied().filter_map(preference).collect();
    let best = if ranges.is_empty() {
        offered.first().copied()
    } else {
        let weighed = offered
            .iter()
            .map(|offer| (weight(&preferences, offer), *offer));
        // `max_by_key` gives the last of equals, and the server's first is to win.
        let best = weighed.rev().max_by_key(|(weight, _)| *weight);
        best.filter(|(weight, _)| *weight > 0)
            .map(|(_, offer)| offer)
    };
    best.ok_or_else(|| {
        let detail = format!("media types given here: {}", offered.join(", "));
        Problem::with_detail(ErrorCode::NotAcceptable, detail)
    })
}

fn preference(text: &str) -> Option<Preference<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| range.contains('/'))?;
    let quality = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map(|(_, value)| thousandths(value.trim()));
    Some(Preference {
        range,
        weight: quality.unwrap_or(1000),
    })
}

/// A weight `0` to `1` with at most three decimals, in thousandths; what is no weight counts as 0.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let value = match whole {
        "0" | "1" if digits => format!("{whole}{fraction:0<3}").parse().unwrap_or(0),
        _ => 0,
    };
    value.min(1000)
}

/// The weight of an offer: that of the range that fits it most closely.
fn weight(preferences: &[Preference<'_>], offer: &str) -> u16 {
    let kind = offer.split('/').next().unwrap_or_default();
    let closeness = |range: &str| {
        if range.eq_ignore_ascii_case(offer) {
            Some(2)
        } else if range
            .strip_suffix("/*")
            .is_some_and(|range| range.eq_ignore_ascii_case(kind))
        {
            Some(1)
        } else {
            (range == "*/*").then_some(0)
        }
    };
    let fitting = preferences
        .iter()
        .filter_map(|preference| Some((closeness(preference.range)?, preference.weight)));
    fitting.max().map_or(0, |(_, weight)| weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFERED: [&str; 3] = ["application/json", "text/csv", "application/x-ndjson"];

    fn chosen(accept: &str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        choose(&headers, &OFFERED).ok()
    }

    #[test]
    fn gives_what_the_client_likes_best_and_the_first_of_equals() {
        assert_eq!(
            choose(&HeaderMap::new(), &OFFERED).unwrap(),
            "application/json"
        );
        for (accept, expected) in [
            (" ,", "application/json"),
            ("*/*", "application/json"),
            ("text/csv", "text/csv"),
            ("Text/CSV;q=0.1", "text/csv"),
            ("text/*, application/json;q=0.9", "text/csv"),
            ("application/json;q=0.2, */*;q=0.3", "text/csv"),
            (
                "text/html, application/xhtml+xml, */*;q=0.8",
                "application/json",
            ),
            ("text/csv;q=0, */*", "application/json"),
            (
                "application/*;q=0.5, application/json;q=0",
                "application/x-ndjson",
            ),
        ] {
            assert_eq!(chosen(accept), Some(expected), "{accept}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_give() {
        for accept in [
            "text/html",
            "image/*",
            "*/*;q=0",
            "application/json;q=0.000",
            "json",
        ] {
            assert_eq!(chosen(accept), None, "{accept}");
        }
    }
}
