//! The set itself: who gets in, and what it survives.

use std::{fs, process::Command};

use mongodb::{
    Client,
    bson::{Document, doc},
    error::{Error, ErrorKind},
};

use super::*;

mod apart;
mod roles;

/// An option of a connection that is not to come about.
const SOON: &str = "&serverSelectionTimeoutMS=2000";

/// The server's word for "not with your roles".
const UNAUTHORIZED: Option<i32> = Some(13);

fn code(error: &Error) -> Option<i32> {
    match error.kind.as_ref() {
        ErrorKind::Command(refused) => Some(refused.code),
        _ => None,
    }
}

#[test]
fn the_configuration_for_operators_is_one_that_the_server_takes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mongod.conf");
    let conf = include_str!("../../../../deploy/mongodb/mongod.conf");
    let taken = |conf: &str| {
        fs::write(&file, conf).unwrap();
        let mut command = Command::new(files::server().unwrap());
        let command = command.arg("--outputConfig").arg("--config").arg(&file);
        command.output().unwrap().status.success()
    };
    assert!(taken(conf));
    assert!(!taken(&conf.replace("keyFile:", "keyFiles:")));
}

#[tokio::test]
async fn a_connection_without_tls_is_refused() {
    let set = ReplicaSet::start().await;
    let port = set.port(0);
    let uri = format!("mongodb://127.0.0.1:{port}/?directConnection=true{SOON}");
    let client = Client::with_uri_str(uri).await.unwrap();
    client.list_database_names().await.unwrap_err();
    let why = "only allow SSL connections";
    assert!(set.log(0).contains(why), "{}", set.log(0));
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_so_is_none() {
    let set = ReplicaSet::start().await;
    let right = set.uri(set.admin()) + SOON;
    let (head, tail) = right.split_once('@').unwrap();
    let (user, _) = head.rsplit_once(':').unwrap();
    for uri in [format!("{user}:wrong@{tail}"), format!("mongodb://{tail}")] {
        let client = Client::with_uri_str(uri).await.unwrap();
        let error = client.list_database_names().await.unwrap_err();
        let refused = match error.kind.as_ref() {
            ErrorKind::Authentication { .. } => true,
            _ => code(&error) == UNAUTHORIZED,
        };
        assert!(refused, "{error}");
    }
    let client = Client::with_uri_str(right).await.unwrap();
    client.list_database_names().await.unwrap();
}

#[tokio::test]
async fn goes_on_without_any_one_member() {
    let set = ReplicaSet::start().await;
    let client = set.client(set.admin()).await;
    let things = client.database("ems").collection::<Document>("things");

    let first = set.primary().await;
    set.kill(first);
    let second = set.primary().await;
    assert_ne!(second, first, "killed");
    things.insert_one(doc! { "_id": 1 }).await.unwrap();
    set.restart(first).await;
    set.wait_for_primary().await;

    set.pause(second);
    let third = set.primary().await;
    assert_ne!(third, second, "paused");
    things.insert_one(doc! { "_id": 2 }).await.unwrap();
    set.resume(second);
    set.wait_for_primary().await;

    let before = set.primary().await;
    set.step_down().await;
    assert_ne!(set.primary().await, before, "stepped down");
    things.insert_one(doc! { "_id": 3 }).await.unwrap();
    assert_eq!(things.count_documents(doc! {}).await.unwrap(), 3);
}
