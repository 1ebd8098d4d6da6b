//! Which meters a caller sees, and under which names the ledger knows them.
//!
//! A read of a meter outside the caller's scope is 404, as if it did not exist; a write outside it
//! is 403, since the caller named it himself.

use std::{collections::BTreeMap, sync::Arc};

use axum::extract::FromRequestParts;
use ems_api::ErrorCode;
use ems_core::{
    meter::MeterId,
    scope::{Pattern, Scope},
};
use ems_store::{Record, Records, Store, Table, subject::Subject};
use http::request::Parts;

use crate::{paging::PathPart, problem::Problem};

/// The meter that the path names. A text that can be no meter's id names nothing: 404.
#[derive(Debug, Clone)]
pub struct Named(pub(super) MeterId);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let PathPart(text) = PathPart::from_request_parts(parts, state).await?;
        MeterId::parse(&text)
            .map(Self)
            .map_err(|_| Problem::not_found())
    }
}

/// The record of a meter that the caller may see.
///
/// # Errors
/// 404 for one that is unknown or outside the scope.
pub(super) async fn seen(store: &Store, scope: &Scope, meter: &MeterId) -> Result<Record, Problem> {
    if !scope.contains(meter) {
        return Err(Problem::hidden(meter));
    }
    let record = store.records.get(Table::Meters, meter.as_str()).await?;
    record.ok_or_else(Problem::not_found)
}

/// Asks whether the caller may write a meter.
///
/// # Errors
/// 403 for one outside the scope.
pub(super) fn writable(scope: &Scope, meter: &MeterId) -> Result<(), Problem> {
    if scope.contains(meter) {
        return Ok(());
    }
    Err(out_of_scope("this meter is outside the caller's meters").probing(meter))
}

/// The answer to a write outside the caller's meters.
pub(super) fn out_of_scope(why: &'static str) -> Problem {
    Problem::with_detail(ErrorCode::OutOfScope, why)
}

/// The records of the meters of a scope whose ids begin with `prefix` and come after `after`, in
/// the order of their ids; at most `limit`.
pub(super) async fn meters(
    records: &dyn Records,
    scope: &Scope,
    (prefix, after): (&str, Option<&str>),
    limit: usize,
) -> ems_store::Result<Vec<Record>> {
    let mut found: BTreeMap<Arc<str>, Record> = BTreeMap::new();
    for pattern in scope.patterns() {
        if let Pattern::One(meter) = pattern {
            let id = meter.as_str();
            if id.starts_with(prefix) && after.is_none_or(|after| id > after) {
                let record = records.get(Table::Meters, id).await?;
                found.extend(record.map(|record| (Arc::clone(&record.id), record)));
            }
        } else if let Some(narrower) = narrower(pattern.prefix(), prefix) {
            let listed = records.list(Table::Meters, narrower, after, limit).await?;
            found.extend(
                listed
                    .into_iter()
                    .map(|record| (Arc::clone(&record.id), record)),
            );
        }
        // What is past the limit is in nobody's page: memory is bounded by it, not by the scope.
        while found.len() > limit {
            found.pop_last();
        }
    }
    Ok(found.into_values().collect())
}

/// The longer of two prefixes when it begins with the other: what begins with both.
fn narrower<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    if one.starts_with(other) {
        Some(one)
    } else {
        other.starts_with(one).then_some(other)
    }
}

/// The name of a meter in the ledger; none before it has a key.
pub(crate) async fn pseudonym(store: &Store, meter: &MeterId) -> ems_store::Result<Option<String>> {
    store
        .subjects
        .pseudonym(&Subject::Meter(meter.clone()))
        .await
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use proptest::prelude::*;

    use super::*;

    /// Records as a sorted list of ids.
    struct Listed(Vec<String>);

    #[async_trait]
    impl Records for Listed {
        async fn get(&self, _: Table, id: &str) -> ems_store::Result<Option<Record>> {
            Ok(self
                .0
                .iter()
                .find(|known| *known == id)
                .map(|id| record(id)))
        }

        async fn list(
            &self,
            _: Table,
            prefix: &str,
            after: Option<&str>,
            limit: usize,
        ) -> ems_store::Result<Vec<Record>> {
            let wanted = |id: &&String| {
                id.starts_with(prefix) && after.is_none_or(|after| id.as_str() > after)
            };
            Ok(self
                .0
                .iter()
                .filter(wanted)
                .take(limit)
                .map(|id| record(id))
                .collect())
        }
    }

    fn record(id: &str) -> Record {
        Record {
            id: id.into(),
            revision: 1,
            value: b"{}".as_slice().into(),
        }
    }

    proptest! {
        #[test]
        fn lists_what_the_scope_and_the_prefix_mean_in_order(
            ids in prop::collection::btree_set("[ab]{1,4}", 0..20),
            scope in prop::collection::vec("[ab]{0,3}\\*|[ab]{1,3}", 0..4),
            prefix in "[ab]{0,2}",
            after in prop::option::of("[ab]{1,3}"),
            limit in 1_usize..6,
        ) {
            let scope = Scope::of(scope.iter().map(|entry| Pattern::parse(entry).unwrap()).collect());
            let expected: Vec<&String> = ids.iter()
                .filter(|id| id.starts_with(&prefix) && after.as_ref().is_none_or(|after| *id > after))
                .filter(|id| scope.contains(&MeterId::parse(id).unwrap()))
                .take(limit)
                .collect();
            let listed = Listed(ids.iter().cloned().collect());
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let found = runtime
                .block_on(meters(&listed, &scope, (&prefix, after.as_deref()), limit))
                .unwrap();
            let found: Vec<&str> = found.iter().map(|record| &*record.id).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
