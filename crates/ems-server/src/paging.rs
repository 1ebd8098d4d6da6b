//! Pages of lists: `limit` and `cursor` in, `items` and `next_cursor` out.
//!
//! One item more than asked is fetched: whether it is there tells whether there is a next page.

use axum::extract::{FromRequestParts, Path};
use ems_api::Page;
use http::request::Parts;

use crate::{app::App, caller::Caller, cursor::Binding, problem::Problem, query::Query};

/// The page that was asked for.
#[derive(Debug)]
pub struct Paging {
    limit: usize,
    after: Option<String>,
    binding: Binding,
}

/// Items of a page when nothing is said.
pub const DEFAULT_LIMIT: usize = 100;
/// Items of a page at most.
pub const MAX_LIMIT: usize = 1000;

impl Paging {
    /// Takes `limit` and `cursor`. `parts` are the rest of the query, which a cursor is bound to.
    pub fn take<P>(
        app: &App,
        caller: &Caller<P>,
        query: &mut Query,
        parts: &[&str],
    ) -> Result<Self, Problem> {
        let limit = query.limit(DEFAULT_LIMIT, MAX_LIMIT)?;
        let binding = Binding::new(caller.facts().route, caller.name());
        let binding = parts.iter().fold(binding, Binding::with);
        let after = query.cursor(&binding, &app.cursor_key)?;
        let after = after
            .map(|bytes| String::from_utf8(bytes).map_err(|_| Problem::forged_cursor()))
            .transpose()?;
        Ok(Self {
            limit,
            after,
            binding,
        })
    }

    /// Takes the query of a list that knows nothing but `limit` and `cursor`.
    pub fn whole<P>(app: &App, caller: &Caller<P>, mut query: Query) -> Result<Self, Problem> {
        let paging = Self::take(app, caller, &mut query, &[])?;
        query.finish()?;
        Ok(paging)
    }

    /// The id after which the page begins.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// How many items to fetch.
    pub fn fetch(&self) -> usize {
        self.limit + 1
    }

    /// The page of what was fetched.
    pub fn page<T>(&self, app: &App, mut items: Vec<T>, id: impl Fn(&T) -> &str) -> Page<T> {
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let last = items.last().filter(|_| more);
        let next_cursor = last.map(|item| self.binding.seal(&app.cursor_key, id(item).as_bytes()));
        Page { items, next_cursor }
    }
}

/// The one variable part of a path, decoded. One that is not UTF-8 names nothing.
#[derive(Debug, Clone)]
pub struct PathPart(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathPart {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(part)| Self(part))
            .map_err(|_| Problem::not_found())
    }
}
