//! What a session's record lists and forgets.

use ems_core::role::Role;
use proptest::prelude::*;

use super::*;
use crate::{
    accounts::PasswordHash,
    testing::{DAY, at},
};

fn session() -> Session {
    let user = User {
        username: "alice".into(),
        password_hash: PasswordHash::new(String::new()),
        role: Role::Analyst,
        meters: None,
        customer_id: None,
        grants: Vec::new(),
        disabled: false,
        epoch: 1,
        created: at(0),
        second_factor: None,
        pending_factor: None,
        external: None,
    };
    Session::new(&user, at(0), DAY * SECOND)
}

#[test]
fn ids_have_sixteen_characters_and_those_of_a_user_begin_alike() {
    let (one, other) = (session().id, session().id);
    assert_eq!((one.len(), &one[..TAG]), (16, &other[..TAG]));
    assert_ne!(one, other);
    assert!(RefreshToken::parse(RefreshToken::generate(&one).expose()).is_some());
    for name in 0..2000 {
        assert_eq!(tag(&name.to_string()).len(), TAG);
    }
}

#[test]
fn access_tokens_that_are_over_are_not_kept_and_the_rest_is_bounded() {
    let mut session = session();
    let seconds = |seconds| u64::try_from(at(seconds).as_seconds()).unwrap();
    session.note_token("a".into(), seconds(10), at(0));
    session.note_token("b".into(), seconds(20), at(9));
    assert!(session.issued("a") && session.issued("b"));
    session.note_token("c".into(), seconds(30), at(10));
    assert!(!session.issued("a") && session.issued("b") && session.issued("c"));
    for number in 0..MOST_TOKENS {
        session.note_token(number.to_string(), seconds(30), at(10));
    }
    assert_eq!(session.tokens.len(), MOST_TOKENS);
    assert!(!session.issued("c") && session.issued("0"));
}

/// What the rules say of each token ever given, told without the session's own bookkeeping.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Good,
    /// Used last, then.
    Last(i64),
    Void,
}

proptest! {
    /// Tokens come in any order, at any pace: the session knows each as the rules have it.
    #[test]
    fn knows_every_token_as_the_rules_have_it(
        steps in prop::collection::vec((0_i64..8, any::<prop::sample::Index>()), 1..40),
    ) {
        let mut session = session();
        let first = RefreshToken::generate(&session.id);
        session.add(&first);
        let mut given = vec![(first, Fate::Good)];
        let mut now = 0;
        for (wait, which) in steps {
            now += wait;
            let which = which.index(given.len());
            let good = given.iter().filter(|(_, fate)| *fate == Fate::Good).count();
            let (token, fate) = given[which].clone();
            let expected = match fate {
                Fate::Good => Standing::Good,
                Fate::Last(used) if now - used > 10 => Standing::Spent,
                Fate::Last(_) if good < MOST_GOOD => Standing::Retry,
                Fate::Last(_) => Standing::Crowded,
                Fate::Void => Standing::Spent,
            };
            prop_assert_eq!(session.standing(&token, at(now)), expected);
            let next = RefreshToken::generate(&session.id);
            prop_assert_eq!(session.standing(&next, at(now)), Standing::Unknown);
            match expected {
                Standing::Good => {
                    session.rotate(&token, &next, at(now));
                    for (_, fate) in &mut given {
                        *fate = Fate::Void;
                    }
                    given[which].1 = Fate::Last(now);
                    given.push((next, Fate::Good));
                }
                Standing::Retry => {
                    session.add(&next);
                    given.push((next, Fate::Good));
                }
                // The session would be ended, or is left as it is.
                _ => {}
            }
            prop_assert!(session.good.len() <= MOST_GOOD && session.spent.len() <= MOST_SPENT);
        }
    }
}
