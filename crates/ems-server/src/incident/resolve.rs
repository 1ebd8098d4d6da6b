//! Which meters the ledger's pseudonyms mean: a pseudonym can be made from a meter's key and not be
//! undone, so those of all meters are made and looked up. One of an erased meter stays unnamed.

use ems_api::incident::Meter;
use ems_core::meter::{MeterId, MeterProfile};
use ems_store::{Store, Table};

use super::touched::Touched;
use crate::{api::sight, problem::Problem};

/// Records read at a time.
const PAGE: usize = 1000;

/// Names the meters, as far as they exist.
pub(super) async fn meters(store: &Store, touched: Touched) -> Result<Vec<Meter>, Problem> {
    let mut unnamed = touched.meters;
    let mut named = Vec::with_capacity(unnamed.len());
    let mut after: Option<String> = None;
    while !unnamed.is_empty() {
        let page = store
            .records
            .list(Table::Meters, "", after.as_deref(), PAGE)
            .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.to_string());
        for record in &page {
            let Ok(meter) = MeterId::parse(&record.id) else {
                continue;
            };
            let Some(pseudonym) = sight::pseudonym(store, &meter).await? else {
                continue;
            };
            let Some(acts) = unnamed.remove(&pseudonym) else {
                continue;
            };
            let profile: MeterProfile = serde_json::from_slice(&record.value)
                .map_err(|error| Problem::internal(format!("a meter's record: {error}")))?;
            named.push(Meter {
                meter_id: Some(meter.as_str().to_owned()),
                pseudonym,
                customer_id: profile.customer_id,
                acts,
            });
        }
    }
    named.extend(unnamed.into_iter().map(|(pseudonym, acts)| Meter {
        meter_id: None,
        pseudonym,
        customer_id: None,
        acts,
    }));
    Ok(named)
}
