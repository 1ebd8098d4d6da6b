//! Keys of the guide's file: bcrypt is paid once a key, right or wrong.

use super::*;
use crate::testing::fault;

/// A published test vector of bcrypt, cost 6: the alphabet.
const KEY: &str = "abcdefghijklmnopqrstuvwxyz";
const HASH: &str = "$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC";

fn keys() -> FileKeys {
    FileKeys::new(vec![FileKey {
        prefix: "abcdefgh".into(),
        hash: HASH.into(),
        role: Role::MeterReader,
        meters: vec![Pattern::All],
    }])
}

async fn verify(keys: &FileKeys, text: &str) -> Result<Arc<Principal>> {
    keys.verify(text, ems_crypto::hash::sha256(text.as_bytes()))
        .await
}

#[tokio::test]
async fn a_key_of_the_file_is_named_by_its_first_eight_characters() {
    let keys = keys();
    let principal = verify(&keys, KEY).await.unwrap();
    assert_eq!(principal.name, "key:abcdefgh");
    assert_eq!(principal.role, Role::MeterReader);
    assert!(principal.scope.is_all());
}

#[tokio::test]
async fn wrong_unknown_short_and_overlong_keys_are_forged() {
    let keys = keys();
    let long = format!("{KEY}{}", "x".repeat(47));
    for text in [
        "abcdefghijklmnopqrstuvwxyZ",
        "abcdefgh",
        "abcdefg",
        "",
        "zyxwvuts",
        "äöüäöüäöü",
        &long,
    ] {
        assert_eq!(
            fault(verify(&keys, text).await),
            AuthFault::Forged,
            "{text}"
        );
    }
    // Of these only two had to be tried: right prefix, and not longer than bcrypt sees.
    assert_eq!(keys.attempts.lock().len(), 2);
}

#[tokio::test]
async fn bcrypt_is_paid_once_for_a_text_right_or_wrong() {
    let keys = keys();
    for text in [KEY, "abcdefgh-wrong"] {
        let all = futures(&keys, text, 32).await;
        assert!(all.iter().all(|right| *right == (text == KEY)));
    }
    assert_eq!(keys.attempts.lock().len(), 2);
    let digest = ems_crypto::hash::sha256(b"abcdefgh-wrong");
    let attempt = Arc::clone(keys.attempts.lock().get(&digest).unwrap());
    assert_eq!(attempt.get(), Some(&false));
    // No turn is free any more, so only what is remembered can answer.
    let turns = keys.slow.exhaust();
    assert!(verify(&keys, KEY).await.is_ok());
    assert_eq!(
        fault(verify(&keys, "abcdefgh-wrong").await),
        AuthFault::Forged
    );
    drop(turns);
}

/// The outcomes of many that come with the same text at the same moment.
async fn futures(keys: &FileKeys, text: &str, count: usize) -> Vec<bool> {
    let mut set = Vec::new();
    for _ in 0..count {
        set.push(Box::pin(verify(keys, text)));
    }
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        set.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(result) => {
                done.push(result.is_ok());
                false
            }
            std::task::Poll::Pending => true,
        });
        if set.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done
}

#[tokio::test]
async fn a_flood_of_wrong_keys_does_not_push_the_right_one_out() {
    let keys = keys();
    verify(&keys, KEY).await.unwrap();
    for number in 0..=ATTEMPTS.get() {
        let digest = ems_crypto::hash::sha256(&number.to_be_bytes());
        keys.attempts.lock().get_or_insert(digest, Arc::default);
    }
    assert_eq!(keys.attempts.lock().len(), ATTEMPTS.get());
    let turns = keys.slow.exhaust();
    assert!(verify(&keys, KEY).await.is_ok());
    drop(turns);
}

#[tokio::test]
async fn only_a_text_that_bcrypt_has_not_seen_is_costly() {
    let keys = keys();
    let costly = |text: &str| keys.is_costly(text, ems_crypto::hash::sha256(text.as_bytes()));
    assert!(!costly("zyxwvutsrqponm") && !costly("abcdefg"));
    assert!(costly(KEY) && costly("abcdefgh-wrong"));
    verify(&keys, KEY).await.unwrap();
    fault(verify(&keys, "abcdefgh-wrong").await);
    assert!(!costly(KEY) && !costly("abcdefgh-wrong"));
}
