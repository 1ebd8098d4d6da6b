//! What corrections replaced.

use ems_core::time::Timestamp;

use super::{Open, batch, meter, pairs};
use crate::Store;

pub(crate) async fn replaced_values_are_kept_with_their_time_out_of_the_way(open: Open<'_>) {
    let values = async |store: &Store| {
        let found = store.segments.superseded(&meter("a")).await.unwrap();
        let values = found.iter().map(|value| {
            let reading = &value.reading;
            (reading.at.as_micros(), reading.energy.get())
        });
        let mut values: Vec<(i64, f64)> = values.collect();
        // The test's clock begins anew when the store is opened anew.
        values.sort_by(|one, other| one.partial_cmp(other).unwrap());
        let times: Vec<Timestamp> = found.iter().map(|value| value.at).collect();
        assert!(times.is_sorted());
        values
    };
    let store = open();
    store
        .commit
        .commit(batch(&[("a", 1, 1.0), ("b", 1, 9.0)]))
        .await
        .unwrap();
    store
        .commit
        .commit(batch(&[("a", 1, 2.0), ("a", 2, 5.0)]))
        .await
        .unwrap();
    assert_eq!(values(&store).await, [(1, 1.0)]);
    store.segments.fold().await.unwrap();
    store
        .commit
        .commit(batch(&[("a", 1, 3.0), ("a", 2, 5.0)]))
        .await
        .unwrap();
    assert_eq!(values(&store).await, [(1, 1.0), (1, 2.0)]);
    store.commit.close().await.unwrap();
    drop(store);
    let store = open();
    store.commit.commit(batch(&[("a", 2, 6.0)])).await.unwrap();
    assert_eq!(values(&store).await, [(1, 1.0), (1, 2.0), (2, 5.0)]);
    assert_eq!(pairs(&store, "a").await, [(1, 3.0), (2, 6.0)]);
    let other = store.segments.superseded(&meter("b")).await.unwrap();
    assert!(other.is_empty());
    assert!(
        store
            .segments
            .superseded(&meter("c"))
            .await
            .unwrap()
            .is_empty()
    );
    store.commit.close().await.unwrap();
}
