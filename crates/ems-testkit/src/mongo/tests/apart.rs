//! Faults of the network and of the disk, and what a set apart makes of them.

use std::time::{Duration, Instant};

use ems_crypto::random;
use mongodb::{
    Collection,
    options::{CollectionOptions, WriteConcern},
};
use tokio::time::timeout;

use super::*;
use crate::attempt::until;

/// What each of these takes at most, elections and starts included.
const BOUND: Duration = Duration::from_secs(50);

/// A collection where what is written counts once two members have it.
fn things(client: &Client) -> Collection<Document> {
    let majority = WriteConcern::majority();
    let options = CollectionOptions::builder().write_concern(majority).build();
    let ems = client.database("ems");
    ems.collection_with_options("things", options)
}

/// Whether the primary hears of a member.
async fn is_heard(set: &ReplicaSet, primary: &Client, member: usize) -> bool {
    let admin = primary.database("admin");
    let status = admin.run_command(doc! { "replSetGetStatus": 1 });
    let status = status.await.unwrap();
    let name = set.address_of(member).to_string();
    let members = status.get_array("members").unwrap().iter();
    let mut members = members.map(|member| member.as_document().unwrap());
    let found = members.find(|member| member.get_str("name").unwrap() == name);
    found.unwrap().get_f64("health").unwrap() > 0.0
}

/// How long a member takes to answer.
async fn answers_in(client: &Client) -> Duration {
    let asked = Instant::now();
    run(client, doc! { "ping": 1 }).await.unwrap();
    asked.elapsed()
}

#[tokio::test]
async fn a_member_that_is_cut_off_is_missed_and_comes_back() {
    let test = async {
        let set = ReplicaSet::start_apart(Apart::default()).await;
        let primary = set.primary().await;
        let other = (primary + 1) % MEMBERS;
        let client = set.direct(primary, Some(set.admin())).await.unwrap();
        let heard = async |wanted| {
            let asked = async || Ok((is_heard(&set, &client, other).await == wanted).then_some(()));
            until("the primary's word", asked).await.unwrap();
        };
        heard(true).await;
        set.cut(other);
        heard(false).await;
        assert_eq!(set.is_primary(other).await, None);
        set.wait_for_primary().await;
        things(&client).insert_one(doc! { "_id": 1 }).await.unwrap();

        set.heal(other);
        heard(true).await;
        set.wait_for_primary().await;
        assert_eq!(set.is_primary(other).await, Some(false));
    };
    timeout(BOUND, test).await.unwrap();
}

#[tokio::test]
async fn a_primary_in_the_minority_steps_down_and_another_is_elected() {
    let test = async {
        let set = ReplicaSet::start_apart(Apart::default()).await;
        let first = set.primary().await;
        set.cut_with(&[first]);
        let second = set.primary().await;
        assert_ne!(second, first);
        let stepped_down = async || Ok((set.is_primary(first).await == Some(false)).then_some(()));
        until("a step down", stepped_down).await.unwrap();

        set.heal_all();
        set.wait_for_primary().await;
        assert_eq!(set.is_primary(first).await, Some(false));
    };
    timeout(BOUND, test).await.unwrap();
}

#[tokio::test]
async fn a_client_goes_on_writing_while_the_first_primary_is_in_the_minority() {
    let test = async {
        let set = ReplicaSet::start_apart(Apart::default()).await;
        let client = set.client(set.admin()).await;
        let things = things(&client);
        let write = async |id: i32| things.insert_one(doc! { "_id": id }).await.unwrap();
        write(0).await;
        let first = set.primary().await;
        set.cut_with(&[first]);
        // The member that is left tells its old primary how far it is, until it gives up on it after
        // half a minute; the new one hears of it by a heartbeat, so each of these takes up to one.
        for id in 1..5 {
            write(id).await;
        }
        assert_ne!(set.primary().await, first);
        set.heal(first);
        set.wait_for_primary().await;
        assert_eq!(things.count_documents(doc! {}).await.unwrap(), 5);
    };
    timeout(BOUND, test).await.unwrap();
}

#[tokio::test]
async fn a_member_whose_disk_is_full_ends_alone_and_comes_back_once_there_is_room() {
    let test = async {
        let small = 1;
        let set = ReplicaSet::start_apart(Apart {
            small_disk: Some((small, 400 << 20)),
        });
        let set = set.await;
        let client = set.client(set.admin()).await;
        let things = things(&client);
        // Random: else compression makes nothing of it.
        let text = random::base62(1 << 20);
        set.fill_disk(small);
        let mut written = 0;
        while !set.has_ended(small) {
            let thing = doc! { "_id": written, "text": &text };
            things.insert_one(thing).await.unwrap();
            written += 1;
        }
        let log = set.log(small);
        assert!(log.contains("No space left on device"), "{log}");
        set.wait_for_primary().await;
        for member in 0..MEMBERS {
            assert_eq!(set.has_ended(member), member == small, "{member}");
        }
        things.insert_one(doc! { "_id": written }).await.unwrap();

        set.free_disk(small);
        set.restart(small).await;
        set.wait_for_primary().await;
        let alone = set.direct(small, Some(set.admin())).await.unwrap();
        let alone = alone.database("ems").collection::<Document>("things");
        let all = u64::try_from(written).unwrap() + 1;
        let caught_up = async || Ok((alone.count_documents(doc! {}).await? == all).then_some(()));
        until("all that was written", caught_up).await.unwrap();
    };
    timeout(BOUND, test).await.unwrap();
}

#[tokio::test]
async fn a_slow_member_answers_late_until_it_is_slow_no_more() {
    let test = async {
        let set = ReplicaSet::start_apart(Apart::default()).await;
        let client = set.direct(2, Some(set.admin())).await.unwrap();
        let late = Duration::from_millis(150);
        set.slow(2, 300);
        let is_late = async || Ok((answers_in(&client).await >= late).then_some(()));
        until("a late answer", is_late).await.unwrap();
        set.wait_for_primary().await;

        set.unslow(2);
        // More than a member that stands still again and again answers at once.
        let all_soon = async || {
            let since = Instant::now();
            while since.elapsed() < Duration::from_millis(500) {
                if answers_in(&client).await >= late {
                    return Ok(None);
                }
            }
            Ok(Some(()))
        };
        until("only early answers", all_soon).await.unwrap();
    };
    timeout(BOUND, test).await.unwrap();
}
