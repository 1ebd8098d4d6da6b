//! A request that is sent again under its name is answered as before, and done once.

use super::{Open, at, batch, counts, pairs};
use crate::{
    Batch, Error, Store, Table,
    answers::{self, Answered, Known, Repeatable},
};

fn name(digest: u8, until: i64) -> Repeatable {
    Repeatable {
        id: "key:a one".into(),
        digest: [digest; 32],
        answer: b"two rejected".to_vec(),
        until: at(until),
    }
}

fn named(name: Repeatable, rows: &[(&str, i64, f64)]) -> Batch {
    Batch {
        repeatable: Some(name),
        ..batch(rows)
    }
}

pub(crate) async fn a_request_sent_again_is_answered_as_before(open: Open<'_>) {
    const LATER: i64 = 1_000_000;
    let rows = [("a", 1, 1.0), ("a", 2, 2.0)];
    let send = async |store: &Store, digest, until| {
        let batch = named(name(digest, until), &rows);
        store.commit.commit(batch).await
    };
    let store = open();
    let first = send(&store, 1, LATER).await.unwrap();
    assert_eq!((first.counts, first.repeated), (counts(2, 0, 0), None));
    let ledger = *store.ledger.durable().borrow();
    store.commit.close().await.unwrap();
    drop(store);
    for _ in 0..2 {
        let store = open();
        // What came in between does not matter.
        store.commit.commit(batch(&[("a", 1, 7.0)])).await.unwrap();
        let again = send(&store, 1, LATER).await.unwrap();
        assert_eq!(again.counts, counts(2, 0, 0));
        assert_eq!(again.repeated.as_deref(), Some(b"two rejected".as_slice()));
        let known = name(1, 0)
            .look(store.records.as_ref(), at(5))
            .await
            .unwrap();
        assert_eq!(
            known,
            Known::Same(Answered {
                counts: counts(2, 0, 0),
                answer: b"two rejected".to_vec()
            })
        );
        assert!(matches!(
            send(&store, 2, LATER).await,
            Err(Error::NameTaken)
        ));
        assert_eq!(pairs(&store, "a").await, [(1, 7.0), (2, 2.0)]);
        store.commit.close().await.unwrap();
    }
    let store = open();
    assert_eq!(*store.ledger.durable().borrow(), ledger + 2);
    assert_eq!(answers::sweep(&store, at(LATER - 1)).await.unwrap(), 0);
    assert_eq!(answers::sweep(&store, at(LATER)).await.unwrap(), 1);
    assert_eq!(
        store
            .records
            .list(Table::Answers, "", None, 9)
            .await
            .unwrap(),
        []
    );
    // One that is over at once: the name is free for another.
    let new = send(&store, 2, 0).await.unwrap();
    assert_eq!((new.counts, new.repeated), (counts(0, 1, 1), None));
    let other = send(&store, 3, 0).await.unwrap();
    assert_eq!((other.counts, other.repeated), (counts(0, 2, 0), None));
    store.commit.close().await.unwrap();
}

pub(crate) async fn the_same_request_many_times_at_once_is_done_once(open: Open<'_>) {
    let store = open();
    let sent = (0..20).map(|_| {
        let commit = store.commit.clone();
        let batch = named(name(1, 1_000_000), &[("b", 1, 1.0)]);
        tokio::spawn(async move { commit.commit(batch).await.unwrap() })
    });
    let mut first = 0;
    for sent in sent.collect::<Vec<_>>() {
        let outcome = sent.await.unwrap();
        assert_eq!(outcome.counts, counts(1, 0, 0));
        first += u32::from(outcome.repeated.is_none());
    }
    assert_eq!((first, *store.ledger.durable().borrow()), (1, 1));
    store.commit.close().await.unwrap();
}
