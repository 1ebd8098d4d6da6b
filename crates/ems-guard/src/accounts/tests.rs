//! Accounts and keys as changes: the rules hold, the last admin stays, a rotated key overlaps.

use std::sync::Arc;

use ems_core::{FaultCode, role::Role, scope::Pattern};
use ems_crypto::password::Password;

use super::*;
use crate::testing::{House, act, at, new};

async fn patch(house: &House, name: &str, patch: UserPatch) -> Result<User> {
    change_user(&house.identities, &act(1), name, patch).await
}

fn demote() -> UserPatch {
    UserPatch {
        role: Some(Role::Analyst),
        ..UserPatch::default()
    }
}

fn disable() -> UserPatch {
    UserPatch {
        disabled: Some(true),
        ..UserPatch::default()
    }
}

#[tokio::test]
async fn every_broken_rule_of_a_new_user_is_named() {
    let house = House::new();
    let mut user = new("a b", Role::Viewer);
    user.password = Password::new("short".into());
    user.meters = None;
    let Err(Error::Invalid(faults)) = new_user(&house.identities, &act(0), user).await else {
        panic!("it was taken");
    };
    let found: Vec<_> = faults
        .iter()
        .map(|fault| (fault.pointer.as_str(), fault.code))
        .collect();
    assert_eq!(
        found,
        [
            ("/username", FaultCode::InvalidFormat),
            ("/password", FaultCode::OutOfRange),
            ("/meters", FaultCode::MissingField),
        ]
    );
}

#[tokio::test]
async fn a_taken_name_is_a_conflict_even_among_many_at_once() {
    let house = Arc::new(House::new());
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                new_user(&house.identities, &act(0), new("alice", Role::Admin)).await
            })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert!(matches!(error, Error::Taken), "{error:?}"),
        }
    }
    assert_eq!(made, 1);
}

#[tokio::test]
async fn the_last_administrator_stays() {
    let house = House::new();
    house.user("root", Role::Admin).await;
    let mut shut_out = new("second", Role::Admin);
    shut_out.disabled = true;
    new_user(&house.identities, &act(0), shut_out)
        .await
        .unwrap();
    for change in [demote(), disable()] {
        assert!(matches!(
            patch(&house, "root", change).await,
            Err(Error::LastAdmin)
        ));
    }
    let removed = remove_user(&house.identities, &act(1), "root").await;
    assert!(matches!(removed, Err(Error::LastAdmin)));
    let enable = UserPatch {
        disabled: Some(false),
        ..UserPatch::default()
    };
    patch(&house, "second", enable).await.unwrap();
    remove_user(&house.identities, &act(1), "root")
        .await
        .unwrap();
    assert!(matches!(
        patch(&house, "second", demote()).await,
        Err(Error::LastAdmin)
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_concurrent_removals_of_all_administrators_one_fails() {
    for round in 0..10 {
        let house = Arc::new(House::new());
        let names = ["a", "b", "c"];
        for name in names {
            house.user(name, Role::Admin).await;
        }
        let tasks = names.map(|name| {
            let house = Arc::clone(&house);
            tokio::spawn(async move {
                match (round + name.len()) % 3 {
                    0 => remove_user(&house.identities, &act(1), name).await,
                    1 => patch(&house, name, demote()).await.map(|_| ()),
                    _ => patch(&house, name, disable()).await.map(|_| ()),
                }
            })
        });
        let mut refused = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(()) => {}
                Err(error) => {
                    assert!(matches!(error, Error::LastAdmin), "{error:?}");
                    refused += 1;
                }
            }
        }
        let users = users(&house.identities, None, 10).await.unwrap();
        let left = users.iter().filter(|user| user.is_active_admin()).count();
        assert_eq!((refused, left), (1, 1));
    }
}

#[tokio::test]
async fn concurrent_changes_of_one_user_are_all_kept() {
    let house = Arc::new(House::new());
    house.user("alice", Role::Analyst).await;
    let meters = UserPatch {
        meters: Some(Some(vec![Pattern::All])),
        ..UserPatch::default()
    };
    let grants = UserPatch {
        grants: Some(vec![ems_core::role::Grant::Privacy]),
        ..UserPatch::default()
    };
    let tasks = [meters, grants, disable()].map(|change| {
        let house = Arc::clone(&house);
        tokio::spawn(async move { patch(&house, "alice", change).await })
    });
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let user = user(&house.identities, "alice").await.unwrap().unwrap();
    assert_eq!(user.meters, Some(vec![Pattern::All]));
    assert_eq!((user.grants.len(), user.disabled), (1, true));
}

#[tokio::test]
async fn lists_leave_the_bookkeeping_out_and_page_by_name() {
    let house = House::new();
    for name in ["c", "a", "b"] {
        house.user(name, Role::Admin).await;
    }
    let page = async |after, limit| -> Vec<String> {
        let users = users(&house.identities, after, limit).await.unwrap();
        users.into_iter().map(|user| user.username).collect()
    };
    assert_eq!(page(None, 2).await, ["a", "b"]);
    assert_eq!(page(Some("b"), 2).await, ["c"]);
    assert_eq!(page(Some("c"), 2).await, Vec::<String>::new());
    assert_eq!(page(None, 100).await, ["a", "b", "c"]);
    assert!(user(&house.identities, "~admins").await.unwrap().is_none());
    let removed = remove_user(&house.identities, &act(1), "~admins").await;
    assert!(matches!(removed, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_change_must_leave_a_user_that_could_have_been_made() {
    let house = House::new();
    house.user("alice", Role::Viewer).await;
    let unbound = UserPatch {
        meters: Some(None),
        ..UserPatch::default()
    };
    assert!(matches!(
        patch(&house, "alice", unbound.clone()).await,
        Err(Error::Invalid(_))
    ));
    let moved = UserPatch {
        customer_id: Some(Some("c-1".into())),
        ..unbound
    };
    let user = patch(&house, "alice", moved).await.unwrap();
    assert!(user.scope().patterns().is_empty());
    let short = UserPatch {
        password: Some(Password::new("short".into())),
        ..UserPatch::default()
    };
    assert!(matches!(
        patch(&house, "alice", short).await,
        Err(Error::Invalid(_))
    ));
    assert!(matches!(
        patch(&house, "bob", disable()).await,
        Err(Error::NotFound)
    ));
}

#[tokio::test]
async fn each_change_is_in_the_ledger_with_what_it_was_and_names_no_meter() {
    let house = House::new();
    house.user("alice", Role::Viewer).await;
    patch(&house, "alice", demote()).await.unwrap();
    remove_user(&house.identities, &act(2), "alice")
        .await
        .unwrap();
    let entries = house.store.ledger.range(0, 10).await.unwrap();
    let actions: Vec<_> = entries
        .iter()
        .map(|(_, event)| event.action.as_str())
        .collect();
    assert_eq!(actions, ["create", "update", "delete"]);
    let update = entries[1].1.change.as_ref().unwrap();
    assert_eq!(update.component, "user:alice");
    assert!(update.old_value.contains("\"role\":\"viewer\""));
    assert!(update.new_value.contains("\"role\":\"analyst\""));
    assert_eq!(entries[2].1.timestamp, at(2));
    assert!(!format!("{entries:?}").contains("plant7"));
}
