//! Whoever may write to the database can edit, remove and copy documents, and nothing of it passes for
//! what was stored: a verification names it, and it is not served.

use mongodb::{
    Collection, Database,
    bson::{Bson, Document, doc},
};

use super::{Home, run};
use crate::{
    Expect, RecordChange, Store, Table,
    contract::{batch, event},
};

/// What is done to one document, and undone after.
#[derive(Debug, Clone, Copy)]
enum Tamper {
    /// A bit of its value is turned.
    Edit,
    /// It goes.
    Remove,
    /// It holds the value of another of its collection.
    Copy,
}

/// The field of a document that holds its sealed value.
const VALUE: &str = "d";

async fn all(table: &Collection<Document>) -> Vec<Document> {
    let mut found = table.find(doc! {}).sort(doc! { "_id": 1 }).await.unwrap();
    let mut docs = Vec::new();
    while found.advance().await.unwrap() {
        docs.push(found.deserialize_current().unwrap());
    }
    docs
}

fn flipped(document: &Document) -> Document {
    let mut document = document.clone();
    if let Some(Bson::Binary(value)) = document.get_mut(VALUE) {
        *value.bytes.last_mut().unwrap() ^= 1;
    }
    document
}

async fn put(table: &Collection<Document>, document: &Document) {
    let this = doc! { "_id": document.get("_id").cloned() };
    table
        .replace_one(this, document)
        .upsert(true)
        .await
        .unwrap();
}

/// Does something to a document, verifies, undoes it; what the verification said.
async fn named(
    (home, database): (&Home, &str),
    table: &Collection<Document>,
    (documents, at): (&[Document], usize),
    tamper: Tamper,
) -> String {
    let document = &documents[at];
    match tamper {
        Tamper::Edit => put(table, &flipped(document)).await,
        Tamper::Remove => {
            let this = doc! { "_id": document.get("_id").cloned() };
            table.delete_one(this).await.unwrap();
        }
        Tamper::Copy => {
            let mut copied = document.clone();
            let other = &documents[(at + 1) % documents.len()];
            for field in ["s", VALUE] {
                if let Some(value) = other.get(field) {
                    copied.insert(field, value.clone());
                }
            }
            put(table, &copied).await;
        }
    }
    let options = home.options(database, false);
    let verified = super::verify(
        options,
        home.root.clone(),
        crate::contract::clock(),
        &|_| {},
    );
    put(table, document).await;
    match verified {
        Ok(report) => report.faults.join("; "),
        Err(error) => error.to_string(),
    }
}

/// Puts something of each kind into a store, folded and not, and closes it.
async fn fill(store: &Store) {
    for round in 0..3_i64 {
        for step in 0..4 {
            let micros = (round * 4 + step) * 1_000_000;
            let mut commit = batch(&[("d1", micros, 1.0), ("d2", micros, 2.0)]);
            commit.records = vec![RecordChange {
                table: Table::Users,
                id: format!("u{step}"),
                expect: Expect::Any,
                value: Some(vec![7; 40]),
            }];
            store.commit.commit(commit).await.unwrap();
        }
        store
            .commit
            .commit(batch(&[(
                "d1",
                0,
                f64::from(5 + i32::try_from(round).unwrap()),
            )]))
            .await
            .unwrap();
        store.segments.fold().await.unwrap();
    }
    store
        .commit
        .commit(batch(&[("d1", 90_000_000, 1.0)]))
        .await
        .unwrap();
    store
        .commit
        .commit(crate::Batch::note(event("last")))
        .await
        .unwrap();
    store.commit.close().await.unwrap();
}

#[test]
fn every_document_edited_removed_or_put_in_anothers_place_is_named() {
    run(async |home: &Home| {
        let database = home.make();
        fill(&home.open(&database)).await;
        assert_eq!(home.verify(&database).faults, Vec::<String>::new());
        let client = home.set.client(home.set.admin()).await;
        let data: Database = client.database(&database);
        let keys = client.database(&format!("{database}_keys"));
        let mut tried = 0;
        for (of, name) in [
            (&data, "segments"),
            (&data, "manifests"),
            (&data, "young"),
            (&data, "superseded"),
            (&data, "meters"),
            (&data, "users"),
            (&data, "ledger"),
            (&data, "journal"),
            (&keys, "keyring"),
            (&keys, "wrapped"),
        ] {
            let table = of.collection::<Document>(name);
            let documents = all(&table).await;
            // Those that a newer version replaced, or whose journal is folded, nobody reads.
            let live: Vec<usize> = (0..documents.len())
                .filter(|at| documents[*at].get("x").is_none())
                .collect();
            let epoch = |at: &usize| documents[*at].get_i64("e").unwrap_or(0);
            let open = live.iter().map(epoch).max();
            let live: Vec<usize> = match name {
                "journal" => live
                    .into_iter()
                    .filter(|at| Some(epoch(at)) == open)
                    .collect(),
                // Of the last nothing later tells that it is gone.
                "ledger" => live.into_iter().rev().skip(1).take(4).collect(),
                _ => live.into_iter().take(4).collect(),
            };
            assert!(
                name == "superseded" || name == "young" || !live.is_empty(),
                "{name}"
            );
            for at in live {
                for tamper in [Tamper::Edit, Tamper::Remove, Tamper::Copy] {
                    if matches!(tamper, Tamper::Copy) && documents.len() < 2 {
                        continue;
                    }
                    let of = (home, database.as_str());
                    let said = named(of, &table, (&documents, at), tamper).await;
                    assert!(!said.is_empty(), "{name} {at} {tamper:?}");
                    tried += 1;
                }
            }
        }
        assert_eq!(home.verify(&database).faults, Vec::<String>::new());
        println!("{tried} changes, each named");
        assert!(tried > 50, "{tried}");
    });
}
