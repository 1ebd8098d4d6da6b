//! Reads a query string strictly: an unknown parameter, or one given twice, is an error.
//!
//! `+` stays a plus sign: no parameter of ours holds a space, while offsets (`+01:00`) and zones
//! (`Etc/GMT+5`) hold a plus that few people think of encoding.

use axum::extract::FromRequestParts;
use ems_crypto::hash::IndexKey;
use http::request::Parts;
use percent_encoding::percent_decode_str;

use crate::{cursor::Binding, problem::Problem};

/// The parameters that were given and not yet taken.
#[derive(Debug, Default)]
pub struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    /// Reads a query string, without its `?`.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let mut pairs = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let decode = |text| percent_decode_str(text).decode_utf8().ok();
            let (Some(decoded), Some(value)) = (decode(name), decode(value)) else {
                return Err(Problem::parameter(name, "is not UTF-8 text"));
            };
            pairs.push((decoded.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs })
    }

    /// Takes a parameter that may be given once.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut all = self.many(name);
        let value = all.pop();
        if all.is_empty() {
            Ok(value)
        } else {
            Err(Problem::parameter(name, "is given more than once"))
        }
    }

    /// Takes every value of a parameter that may repeat.
    pub fn many(&mut self, name: &str) -> Vec<String> {
        let taken = self.pairs.extract_if(.., |(given, _)| given == name);
        taken.map(|(_, value)| value).collect()
    }

    /// Takes a parameter and reads it; `read` says why it cannot.
    pub fn read<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.one(name)? else {
            return Ok(None);
        };
        read(&text)
            .map(Some)
            .map_err(|why| Problem::parameter(name, &why))
    }

    /// Takes `cursor`, which has to be of this list: the position that it holds.
    pub fn cursor(&mut self, list: &Binding, key: &IndexKey) -> Result<Option<Vec<u8>>, Problem> {
        let Some(text) = self.one("cursor")? else {
            return Ok(None);
        };
        let position = list.open(key, &text);
        position.map(Some).ok_or_else(Problem::forged_cursor)
    }

    /// Takes `limit`: a whole number from 1 to `most`.
    pub fn limit(&mut self, default: usize, most: usize) -> Result<usize, Problem> {
        let limit = self.read("limit", |text| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let number = text
                .parse()
                .ok()
                .filter(|limit| digits && (1..=most).contains(limit));
            number.ok_or_else(|| format!("has to be a whole number from 1 to {most}"))
        })?;
        Ok(limit.unwrap_or(default))
    }

    /// Ends the reading: whatever was not taken is unknown.
    pub fn finish(self) -> Result<(), Problem> {
        match self.pairs.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::parameter(name, "there is no such parameter here")),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

/// A request whose route takes no query parameters.
#[derive(Debug)]
pub struct NoQuery;

impl<S: Send + Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Query::from_request_parts(parts, state).await?.finish()?;
        Ok(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_is_known_and_names_the_rest() {
        let mut query = Query::parse("a=1%262&b=x&b=y&start=2013-03-31T00:00:00+01:00&c").unwrap();
        assert_eq!(query.one("a").unwrap().unwrap(), "1&2");
        assert_eq!(query.many("b"), ["x", "y"]);
        assert_eq!(
            query.one("start").unwrap().unwrap(),
            "2013-03-31T00:00:00+01:00"
        );
        let problem = query.finish().unwrap_err();
        assert!(problem.detail().contains("'c'"), "{problem:?}");
    }

    #[test]
    fn refuses_a_repeated_parameter_and_a_limit_out_of_bounds() {
        assert!(Query::parse("a=1&a=1").unwrap().one("a").is_err());
        for text in [
            "limit=0",
            "limit=11",
            "limit=-1",
            "limit=1.0",
            "limit=",
            "limit=+1",
            "limit=9e1",
        ] {
            assert!(Query::parse(text).unwrap().limit(5, 10).is_err(), "{text}");
        }
        assert_eq!(Query::parse("limit=10").unwrap().limit(5, 10).unwrap(), 10);
        assert_eq!(Query::parse("").unwrap().limit(5, 10).unwrap(), 5);
        assert!(Query::parse("a=%ff").is_err());
    }
}
