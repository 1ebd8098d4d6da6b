//! Credentials, good and otherwise, and that a change ends them at once.

use ems_core::role::{Grant, Permission};
use ems_crypto::{
    random,
    token::{Algorithm, Claims},
};

use super::*;
use crate::{
    accounts::{
        NewKey, UserPatch, change_user, new_key, new_user, remove_user, revoke_key, rotate_key,
    },
    sessions,
    testing::{
        DAY, HOUR, House, PEPPER_1, PEPPER_2, TOKEN_SECRET, act, at, expect, fault, new, token_keys,
    },
};

fn claims(sub: &str, jti: &str, seconds: i64) -> Claims {
    let now = u64::try_from(at(seconds).as_seconds()).unwrap();
    Claims {
        sub: sub.into(),
        role: "admin".into(),
        iat: now,
        exp: now + 3600,
        nbf: now,
        iss: "ems-agent".into(),
        aud: "ems-api".into(),
        jti: jti.into(),
    }
}

fn key(expires_at: Option<Timestamp>) -> NewKey {
    NewKey {
        name: "Head-end of plant 7".into(),
        role: Role::MeterReader,
        meters: vec![Pattern::parse("plant7-*").unwrap()],
        expires_at,
    }
}

#[tokio::test]
async fn a_token_names_its_user_and_what_the_record_now_allows() {
    let house = House::new();
    house.user("alice", Role::Viewer).await;
    let issued = house.login("alice", 0).await;
    let principal = house.bearer(&issued, 1).await.unwrap();
    assert_eq!(principal.name, "alice");
    assert_eq!(
        principal.scope.patterns(),
        [Pattern::parse("plant7-*").unwrap()]
    );
    assert!(principal.may(Permission::Read) && !principal.may(Permission::WriteMeterData));
    assert_eq!(principal.expires_at, Some(at(HOUR)));
    assert_eq!(issued.expires_in, 3600);
    // It is remembered now; the change must hold nevertheless.
    let patch = UserPatch {
        role: Some(Role::Analyst),
        meters: Some(None),
        grants: Some(vec![Grant::Audit, Grant::Audit]),
        ..UserPatch::default()
    };
    change_user(&house.identities, &act(2), "alice", patch)
        .await
        .unwrap();
    let principal = house.bearer(&issued, 2).await.unwrap();
    assert!(principal.may(Permission::Write) && principal.may(Permission::Audit));
    assert!(principal.scope.is_all());
    assert_eq!(principal.grants, [Grant::Audit]);
}

#[tokio::test]
async fn an_expired_token_is_no_failed_attempt_and_a_forged_one_is() {
    let house = House::new();
    house.user("alice", Role::Analyst).await;
    let issued = house.login("alice", 0).await;
    assert!(house.bearer(&issued, HOUR - 1).await.is_ok());
    let expired = fault(house.bearer(&issued, HOUR).await);
    assert_eq!(
        (expired, expired.is_failed_attempt()),
        (AuthFault::Expired, false)
    );
    let early = fault(house.bearer(&issued, -1).await);
    assert_eq!(
        (early, early.is_failed_attempt()),
        (AuthFault::NotYetValid, false)
    );
    let forge = token_keys(&[9; 32])
        .sign(&claims("alice", "x.y", 0))
        .unwrap();
    for token in [forge.as_str(), "", "a.b.c", "emsr_x"] {
        let forged = fault(house.identities.bearer(token, at(1)).await);
        assert_eq!(
            (forged, forged.is_failed_attempt()),
            (AuthFault::Forged, true)
        );
    }
}

#[tokio::test]
async fn a_token_that_we_signed_and_never_issued_is_refused() {
    let house = House::new();
    house.user("alice", Role::Analyst).await;
    house.user("bob", Role::Analyst).await;
    let issued = house.login("alice", 0).await;
    let session = &issued.session_id;
    let sign = |sub: &str, jti: String| {
        token_keys(TOKEN_SECRET)
            .sign(&claims(sub, &jti, 0))
            .unwrap()
    };
    let own = claims_of(&issued.access_token);
    for (sub, jti) in [
        ("alice", format!("{session}.{}", random::base62(22))),
        ("alice", session.clone()),
        ("bob", own.clone()),
    ] {
        let refused = fault(house.identities.bearer(&sign(sub, jti), at(1)).await);
        assert_eq!(
            (refused, refused.is_failed_attempt()),
            (AuthFault::NeverIssued, true)
        );
    }
    assert!(
        house
            .identities
            .bearer(&sign("alice", own), at(1))
            .await
            .is_ok()
    );
}

/// The `jti` of a token.
fn claims_of(token: &str) -> String {
    let now = u64::try_from(at(0).as_seconds()).unwrap();
    token_keys(TOKEN_SECRET)
        .verify(token, now, &expect())
        .unwrap()
        .jti
}

#[tokio::test]
async fn disabling_ends_every_session_for_good() {
    let house = House::new();
    house.user("root", Role::Admin).await;
    house.user("alice", Role::Analyst).await;
    let issued = house.login("alice", 0).await;
    house.bearer(&issued, 1).await.unwrap();
    for disabled in [true, false] {
        let patch = UserPatch {
            disabled: Some(disabled),
            ..UserPatch::default()
        };
        change_user(&house.identities, &act(1), "alice", patch)
            .await
            .unwrap();
        assert_eq!(fault(house.bearer(&issued, 1).await), AuthFault::Revoked);
        assert_eq!(fault(house.refresh(&issued, 1).await), AuthFault::Revoked);
    }
    assert!(
        house
            .bearer(&house.login("alice", 2).await, 2)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_later_user_of_the_same_name_does_not_inherit_a_session() {
    let house = House::new();
    let first = house.user("alice", Role::Analyst).await;
    let issued = house.login("alice", 0).await;
    house.bearer(&issued, 1).await.unwrap();
    let stored = house
        .store
        .records
        .get(Table::Sessions, &issued.session_id)
        .await;
    let stored = stored.unwrap().unwrap();
    remove_user(&house.identities, &act(1), "alice")
        .await
        .unwrap();
    assert_eq!(fault(house.bearer(&issued, 1).await), AuthFault::Revoked);
    let second = new_user(&house.identities, &act(2), new("alice", Role::Admin))
        .await
        .unwrap();
    assert_ne!(first.epoch, second.epoch);
    // Even where a login had slipped its record in behind the removal.
    let slipped = ems_store::RecordChange {
        table: Table::Sessions,
        id: issued.session_id.clone(),
        expect: ems_store::Expect::Absent,
        value: Some(stored.value.to_vec()),
    };
    let batch = Batch {
        records: vec![slipped],
        ..Batch::default()
    };
    house.store.commit.commit(batch).await.unwrap();
    assert_eq!(fault(house.bearer(&issued, 2).await), AuthFault::Revoked);
    assert_eq!(fault(house.refresh(&issued, 2).await), AuthFault::Revoked);
}

#[tokio::test]
async fn token_keys_rotate_without_logging_anyone_out_until_the_old_one_goes() {
    let house = House::new();
    house.user("alice", Role::Analyst).await;
    let issued = house.login("alice", 0).await;
    // TOKEN_SECRET in Base64.
    let previous = TokenKeys::parse_file("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=").unwrap();
    let both = TokenKeys::new(Algorithm::Hs256, &[8; 32], &previous).unwrap();
    house.identities.replace_token_keys(both);
    assert!(house.bearer(&issued, 1).await.is_ok());
    house.identities.replace_token_keys(token_keys(&[8; 32]));
    assert_eq!(fault(house.bearer(&issued, 1).await), AuthFault::Forged);
    assert!(house.refresh(&issued, 1).await.is_ok());
}

#[tokio::test]
async fn a_key_is_good_until_it_is_revoked_and_at_no_request_after() {
    let house = House::new();
    let (record, secret) = new_key(&house.identities, &act(0), key(None))
        .await
        .unwrap();
    let principal = house
        .identities
        .api_key(secret.expose(), at(1))
        .await
        .unwrap();
    assert_eq!(principal.name, format!("key:{}", record.id));
    assert!(principal.may(Permission::WriteMeterData) && !principal.may(Permission::Write));
    assert_eq!(
        (principal.expires_at, record.created_by.as_str()),
        (None, "root")
    );
    revoke_key(&house.identities, &act(1), &record.id)
        .await
        .unwrap();
    let refused = fault(house.identities.api_key(secret.expose(), at(1)).await);
    assert_eq!(
        (refused, refused.is_failed_attempt()),
        (AuthFault::Revoked, false)
    );
    let again = revoke_key(&house.identities, &act(1), &record.id).await;
    assert!(matches!(again, Err(Error::NotFound)));
}

#[tokio::test]
async fn a_key_of_a_known_id_and_another_secret_is_forged() {
    let house = House::new();
    let (record, secret) = new_key(&house.identities, &act(0), key(None))
        .await
        .unwrap();
    let stored = format!("{record:?}");
    assert!(!stored.contains(secret.expose()) && stored.contains("Digest(…)"));
    // Its checksum is right, so only the hash can tell.
    let other = ApiKey::generate();
    let other = with_checksum(&other.expose().replacen(other.id(), &record.id, 1));
    for text in [other.expose(), &secret.expose()[1..], "ems_", ""] {
        let refused = fault(house.identities.api_key(text, at(1)).await);
        assert_eq!(
            (refused, refused.is_failed_attempt()),
            (AuthFault::Forged, true)
        );
    }
}

/// The key whose body is that of a text, with the checksum that makes it one: CRC-32 in base62.
fn with_checksum(text: &str) -> ApiKey {
    let body = text.split_at(text.len() - 6).0;
    let bit = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let crc = !body
        .bytes()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(byte), bit));
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digit = |power: u32| digits[usize::try_from(crc / 62_u32.pow(power) % 62).unwrap()];
    let sum: String = (0..6).rev().map(|power| char::from(digit(power))).collect();
    ApiKey::parse(&format!("{body}{sum}")).unwrap()
}

#[tokio::test]
async fn a_key_ends_when_it_was_said_to() {
    let house = House::new();
    let (_, secret) = new_key(&house.identities, &act(0), key(Some(at(10))))
        .await
        .unwrap();
    assert!(
        house
            .identities
            .api_key(secret.expose(), at(9))
            .await
            .is_ok()
    );
    let refused = fault(house.identities.api_key(secret.expose(), at(10)).await);
    assert_eq!(
        (refused, refused.is_failed_attempt()),
        (AuthFault::Expired, false)
    );
    let past = new_key(&house.identities, &act(10), key(Some(at(10)))).await;
    assert!(matches!(past, Err(Error::Invalid(faults)) if faults[0].pointer == "/expires_at"));
}

#[tokio::test]
async fn after_a_rotation_both_keys_live_for_the_overlap() {
    let house = House::new();
    let (old, old_secret) = new_key(&house.identities, &act(0), key(Some(at(10 * DAY))))
        .await
        .unwrap();
    house
        .identities
        .api_key(old_secret.expose(), at(DAY))
        .await
        .unwrap();
    let rotated = rotate_key(&house.identities, &act(DAY), &old.id)
        .await
        .unwrap();
    assert_eq!(
        (rotated.replaces, rotated.replaced_valid_until),
        (old.id.clone(), at(2 * DAY))
    );
    assert_eq!(rotated.key.expires_at, Some(at(11 * DAY)));
    assert_eq!(
        (&rotated.key.name, &rotated.key.meters),
        (&old.name, &old.meters)
    );
    let good = async |secret: &ApiKey, seconds| {
        house
            .identities
            .api_key(secret.expose(), at(seconds))
            .await
            .is_ok()
    };
    assert!(good(&old_secret, 2 * DAY - 1).await && good(&rotated.secret, 2 * DAY - 1).await);
    assert!(!good(&old_secret, 2 * DAY).await && good(&rotated.secret, 2 * DAY).await);
    let again = rotate_key(&house.identities, &act(DAY), &old.id).await;
    assert!(matches!(again, Err(Error::NotRotatable)));
}

#[tokio::test]
async fn an_overlap_does_not_outlive_the_old_keys_own_expiry() {
    let house = House::new();
    let (old, _) = new_key(&house.identities, &act(0), key(Some(at(HOUR))))
        .await
        .unwrap();
    let rotated = rotate_key(&house.identities, &act(1), &old.id)
        .await
        .unwrap();
    assert_eq!(rotated.replaced_valid_until, at(HOUR));
}

#[tokio::test]
async fn a_key_made_under_an_older_pepper_is_known_as_long_as_that_is() {
    let house = House::new();
    let (_, secret) = new_key(&house.identities, &act(0), key(None))
        .await
        .unwrap();
    let both = House::identities(&house.store, &format!("{PEPPER_2}\n{PEPPER_1}"), Vec::new());
    assert!(both.api_key(secret.expose(), at(1)).await.is_ok());
    let without = House::identities(&house.store, PEPPER_2, Vec::new());
    assert_eq!(
        fault(without.api_key(secret.expose(), at(1)).await),
        AuthFault::Forged
    );
}

#[tokio::test]
async fn keys_that_ended_a_month_ago_leave_the_list() {
    let house = House::new();
    let (dead, _) = new_key(&house.identities, &act(0), key(None))
        .await
        .unwrap();
    let (alive, _) = new_key(&house.identities, &act(0), key(None))
        .await
        .unwrap();
    revoke_key(&house.identities, &act(5), &dead.id)
        .await
        .unwrap();
    let ids = async || -> Vec<String> {
        let keys = accounts::keys(&house.identities, None, 10).await.unwrap();
        keys.into_iter().map(|key| key.id).collect()
    };
    assert_eq!(
        accounts::sweep(&house.store, at(30 * DAY)).await.unwrap(),
        0
    );
    assert_eq!(ids().await.len(), 2);
    assert_eq!(
        accounts::sweep(&house.store, at(30 * DAY + 5))
            .await
            .unwrap(),
        1
    );
    assert_eq!(ids().await, [alive.id]);
}

/// Requests run while a logout happens; none that began after its answer gets through.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_that_begins_after_a_logout_gets_through() {
    let house = Arc::new(House::new());
    house.user("alice", Role::Analyst).await;
    for round in 0..20 {
        let issued = Arc::new(house.login("alice", round).await);
        let principal = house.bearer(&issued, round).await.unwrap();
        let over = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (house, issued, over) = (house.clone(), issued.clone(), over.clone());
                tokio::spawn(async move {
                    loop {
                        let began_after = over.load(std::sync::atomic::Ordering::SeqCst);
                        let passed = house.bearer(&issued, round).await.is_ok();
                        assert!(!(began_after && passed), "a dead token was taken");
                        if began_after {
                            return;
                        }
                        tokio::task::yield_now().await;
                    }
                })
            })
            .collect();
        sessions::logout(&house.identities, &act(round), &principal)
            .await
            .unwrap();
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        for caller in callers {
            caller.await.unwrap();
        }
    }
}

#[test]
fn the_local_administrator_may_everything_and_is_named_by_its_uid() {
    let local = Principal::local(1000);
    assert_eq!(local.name, "local:1000");
    assert!(local.may(Permission::Admin) && local.scope.is_all());
}
