//! The second factor from enrolment to loss, and accounts that a provider vouches for.

use ems_core::{
    audit::AuditEvent,
    role::{Grant, Permission, Role},
    scope::Pattern,
};
use ems_crypto::{password::Password, totp::TotpSecret};

use super::*;
use crate::{
    AuthFault, Error, Principal,
    accounts::{self, Asserted, External},
    identify::Factor,
    sessions::{self, Issued},
    testing::{HOUR, House, PASSWORD, act, at, fault},
};

fn text(text: &str) -> Password {
    Password::new(text.to_owned())
}

/// Somebody with a second factor, the session that it was made in, and the time.
struct Enrolled {
    house: House,
    name: &'static str,
    secret: TotpSecret,
    recovery: Vec<String>,
    first: Issued,
}

impl Enrolled {
    /// Enrols at second 0 and confirms at second 1.
    async fn new(name: &'static str, role: Role) -> Self {
        let house = House::new();
        house.user(name, role).await;
        let first = house.login(name, 0).await;
        let principal = house.bearer(&first, 0).await.unwrap();
        let password = text(PASSWORD);
        let made = enrol(&house.identities, &act(0), &principal, &password)
            .await
            .unwrap();
        let secret = TotpSecret::try_from(made.secret.to_string()).unwrap();
        let code = text(&secret.code(seconds(1)));
        confirm(&house.identities, &act(1), &principal, &code)
            .await
            .unwrap();
        let recovery = made.recovery_codes.iter().map(|code| code.to_string());
        Self {
            house,
            name,
            secret,
            recovery: recovery.collect(),
            first,
        }
    }

    fn code(&self, second: i64) -> String {
        self.secret.code(seconds(second)).to_string()
    }

    async fn login(&self, code: Option<&str>, second: i64) -> crate::Result<Issued> {
        login_to(&self.house.identities, (self.name, PASSWORD), code, second).await
    }

    async fn principal(&self, issued: &Issued, second: i64) -> std::sync::Arc<Principal> {
        self.house.bearer(issued, second).await.unwrap()
    }

    async fn ledger(&self) -> Vec<AuditEvent> {
        let range = self.house.store.ledger.range(0, 1000).await.unwrap();
        range.into_iter().map(|(_, event)| event).collect()
    }
}

async fn login_to(
    identities: &Identities,
    (name, password): (&str, &str),
    code: Option<&str>,
    second: i64,
) -> crate::Result<Issued> {
    let (password, code) = (text(password), code.map(text));
    sessions::login(identities, &act(second), name, &password, code.as_ref()).await
}

fn seconds(second: i64) -> u64 {
    u64::try_from(at(second).as_seconds()).unwrap()
}

#[tokio::test]
async fn a_password_alone_no_longer_logs_in_and_a_code_beside_it_does() {
    let alice = Enrolled::new("alice", Role::Viewer).await;
    assert_eq!(fault(alice.login(None, 60).await), AuthFault::CodeRequired);
    let code = alice.code(60);
    let issued = alice.login(Some(&code), 60).await.unwrap();
    assert_eq!(issued.means, Means::Otp);
    assert_eq!(alice.principal(&issued, 60).await.factor, Factor::Present);
    // The password is asked first: without it nobody learns that there is a second factor.
    let identities = &alice.house.identities;
    let wrong = login_to(identities, ("alice", "wrong, all wrong"), None, 60).await;
    assert_eq!(fault(wrong), AuthFault::WrongPassword);
}

#[tokio::test]
async fn a_code_is_good_once_within_its_step_also_the_one_that_confirmed() {
    let alice = Enrolled::new("alice", Role::Viewer).await;
    let confirmed = alice.code(1);
    assert_eq!(
        fault(alice.login(Some(&confirmed), 2).await),
        AuthFault::WrongCode
    );
    let code = alice.code(60);
    alice.login(Some(&code), 60).await.unwrap();
    assert_eq!(
        fault(alice.login(Some(&code), 61).await),
        AuthFault::WrongCode
    );
    // An earlier step is void too, and the next one is good.
    assert_eq!(
        fault(alice.login(Some(&alice.code(30)), 61).await),
        AuthFault::WrongCode
    );
    alice.login(Some(&alice.code(90)), 61).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_logins_with_one_code_exactly_one_gets_in() {
    let alice = Enrolled::new("alice", Role::Viewer).await;
    for (round, code) in [(300, alice.code(300)), (600, alice.recovery[0].clone())] {
        let attempts = (0..4).map(|_| alice.login(Some(&code), round));
        let mut results = Vec::new();
        let [a, b, c, d] = <[_; 4]>::try_from(attempts.collect::<Vec<_>>())
            .ok()
            .unwrap();
        let (a, b, c, d) = tokio::join!(a, b, c, d);
        results.extend([a, b, c, d]);
        let good = results.iter().filter(|result| result.is_ok()).count();
        assert_eq!(good, 1, "{results:?}");
        for lost in results.into_iter().filter(Result::is_err) {
            assert_eq!(fault(lost), AuthFault::WrongCode);
        }
    }
}

#[tokio::test]
async fn each_recovery_code_logs_in_once() {
    let alice = Enrolled::new("alice", Role::Viewer).await;
    assert_eq!(alice.recovery.len(), 10);
    for (code, second) in alice.recovery.iter().zip(60..) {
        let shouted = code.to_uppercase();
        let issued = alice.login(Some(&shouted), second).await.unwrap();
        assert_eq!(issued.means, Means::Recovery);
        assert_eq!(
            fault(alice.login(Some(code), second).await),
            AuthFault::WrongCode
        );
    }
}

#[tokio::test]
async fn after_ten_wrong_codes_none_is_taken_for_a_quarter_of_an_hour() {
    let alice = Enrolled::new("alice", Role::Viewer).await;
    let wrong = |at: i64| {
        let right = [alice.code(at - 30), alice.code(at), alice.code(at + 30)];
        let mut guesses = ["000000", "111111", "222222", "333333"].into_iter();
        guesses
            .find(|guess| right.iter().all(|code| code != guess))
            .unwrap()
    };
    for _ in 0..9 {
        assert_eq!(
            fault(alice.login(Some(wrong(60)), 60).await),
            AuthFault::WrongCode
        );
    }
    // A right one between begins the count anew.
    alice.login(Some(&alice.code(60)), 60).await.unwrap();
    for _ in 0..9 {
        assert_eq!(
            fault(alice.login(Some(wrong(90)), 90).await),
            AuthFault::WrongCode
        );
    }
    let tenth = alice.login(Some(wrong(90)), 90).await;
    assert_eq!(fault(tenth), AuthFault::CodesRefused);
    let end = 90 + 15 * 60;
    for code in [alice.code(end - 1), alice.recovery[0].clone()] {
        let refused = alice.login(Some(&code), end - 1).await;
        assert_eq!(fault(refused), AuthFault::CodesRefused);
    }
    alice.login(Some(&alice.recovery[0]), end).await.unwrap();
}

#[tokio::test]
async fn whoever_lacks_the_password_cannot_use_up_the_guesses() {
    let alice = Enrolled::new("alice", Role::Viewer).await;
    let identities = &alice.house.identities;
    for _ in 0..12 {
        let whose = ("alice", "wrong, all wrong");
        let refused = login_to(identities, whose, Some("000000"), 60).await;
        assert_eq!(fault(refused), AuthFault::WrongPassword);
    }
    alice.login(Some(&alice.code(60)), 60).await.unwrap();
}

#[tokio::test]
async fn confirming_ends_the_sessions_that_were_begun_without() {
    let house = House::new();
    house.user("alice", Role::Viewer).await;
    let (own, other) = (house.login("alice", 0).await, house.login("alice", 0).await);
    let principal = house.bearer(&own, 0).await.unwrap();
    let identities = &house.identities;
    let wrong = enrol(identities, &act(0), &principal, &text("wrong, all wrong")).await;
    assert_eq!(fault(wrong), AuthFault::WrongPassword);
    let none = confirm(identities, &act(0), &principal, &text("000000")).await;
    assert!(matches!(none, Err(Error::NotPending)), "{none:?}");

    let made = enrol(identities, &act(0), &principal, &text(PASSWORD))
        .await
        .unwrap();
    // It does not count before it is confirmed.
    house.login("alice", 0).await;
    let secret = TotpSecret::try_from(made.secret.to_string()).unwrap();
    let earlier = confirm(
        identities,
        &act(300),
        &principal,
        &text(&secret.code(seconds(0))),
    )
    .await;
    assert_eq!(fault(earlier), AuthFault::WrongCode);
    let code = text(&secret.code(seconds(300)));
    confirm(identities, &act(300), &principal, &code)
        .await
        .unwrap();
    assert_eq!(
        house.bearer(&own, 300).await.unwrap().factor,
        Factor::Present
    );
    assert_eq!(fault(house.bearer(&other, 300).await), AuthFault::Revoked);
    let again = enrol(identities, &act(300), &principal, &text(PASSWORD)).await;
    assert!(matches!(again, Err(Error::Enrolled)), "{again:?}");
}

#[tokio::test]
async fn an_enrolment_that_waits_too_long_is_void() {
    let house = House::new();
    house.user("alice", Role::Viewer).await;
    let own = house.login("alice", 0).await;
    let principal = house.bearer(&own, 0).await.unwrap();
    let identities = &house.identities;
    let made = enrol(identities, &act(0), &principal, &text(PASSWORD))
        .await
        .unwrap();
    let secret = TotpSecret::try_from(made.secret.to_string()).unwrap();
    let late = 15 * 60;
    let code = text(&secret.code(seconds(late)));
    let refused = confirm(identities, &act(late), &principal, &code).await;
    assert!(matches!(refused, Err(Error::NotPending)), "{refused:?}");
}

#[tokio::test]
async fn it_is_given_up_with_password_and_code_and_taken_away_by_an_admin() {
    let alice = Enrolled::new("alice", Role::Viewer).await;
    let identities = &alice.house.identities;
    let issued = alice.login(Some(&alice.code(60)), 60).await.unwrap();
    let principal = alice.principal(&issued, 60).await;
    let give_up = async |password: &str, code: &str, second: i64| {
        let (password, code) = (text(password), text(code));
        remove(identities, &act(second), &principal, &password, &code).await
    };
    let wrong = give_up("wrong, all wrong", &alice.code(90), 90).await;
    assert_eq!(fault(wrong), AuthFault::WrongPassword);
    let spent = give_up(PASSWORD, &alice.code(60), 61).await;
    assert_eq!(fault(spent), AuthFault::WrongCode);
    give_up(PASSWORD, &alice.code(90), 90).await.unwrap();
    assert_eq!(alice.login(None, 90).await.unwrap().means, Means::Password);
    assert_eq!(
        fault(alice.house.bearer(&alice.first, 90).await),
        AuthFault::Revoked
    );

    let bob = Enrolled::new("bob", Role::Viewer).await;
    let identities = &bob.house.identities;
    reset(identities, &act(60), "bob").await.unwrap();
    assert_eq!(
        fault(bob.house.bearer(&bob.first, 60).await),
        AuthFault::Revoked
    );
    bob.login(None, 60).await.unwrap();
    for name in ["bob", "nobody"] {
        let none = reset(identities, &act(60), name).await;
        assert!(matches!(none, Err(Error::NotFound)), "{none:?}");
    }
}

#[tokio::test]
async fn each_change_is_in_the_ledger_and_nothing_there_or_printed_tells_a_secret() {
    let alice = Enrolled::new("alice", Role::Viewer).await;
    alice.login(Some(&alice.code(60)), 60).await.unwrap();
    alice.login(Some(&alice.recovery[3]), 60).await.unwrap();
    let _ = alice.login(Some(&alice.code(60)), 60).await;
    reset(&alice.house.identities, &act(60), "alice")
        .await
        .unwrap();
    let ledger = alice.ledger().await;
    let done: Vec<_> = ledger.iter().map(|event| &*event.action).collect();
    assert_eq!(
        done,
        [
            "create",
            "login",
            "mfa_begin",
            "mfa_enable",
            "login",
            "login",
            "mfa_wrong_code",
            "mfa_reset"
        ]
    );
    let methods = ledger
        .iter()
        .filter_map(|event| event.filters["method"].as_str());
    assert_eq!(methods.collect::<Vec<_>>(), ["password", "otp", "recovery"]);
    let other = Enrolled::new("bob", Role::Viewer).await;
    let user = accounts::user(&other.house.identities, "bob")
        .await
        .unwrap();
    let shown = format!("{user:?} {ledger:?} {:?}", alice.first);
    for secret in [&alice.secret, &other.secret] {
        assert!(!shown.contains(&*secret.base32()));
    }
    for code in alice.recovery.iter().chain(&other.recovery) {
        assert!(!shown.contains(code) && !shown.contains(&code.replace('-', "").to_uppercase()));
    }
}

#[tokio::test]
async fn where_it_is_asked_for_an_admin_without_one_may_do_nothing_else_and_not_give_it_up() {
    let house = House::new();
    house.user("root", Role::Admin).await;
    house.user("alice", Role::Analyst).await;
    let strict = House::strict(&house.store);
    let login = async |name: &str| {
        let issued = login_to(&strict, (name, PASSWORD), None, 0).await.unwrap();
        strict.bearer(&issued.access_token, at(0)).await.unwrap()
    };
    let root = login("root").await;
    assert_eq!(root.factor, Factor::Missing);
    assert!(!root.may(Permission::Read) && !root.may(Permission::Admin));
    let alice = login("alice").await;
    assert!(alice.factor == Factor::Absent && alice.may(Permission::Read));

    let made = enrol(&strict, &act(0), &root, &text(PASSWORD))
        .await
        .unwrap();
    let secret = TotpSecret::try_from(made.secret.to_string()).unwrap();
    confirm(&strict, &act(0), &root, &text(&secret.code(seconds(0))))
        .await
        .unwrap();
    let code = secret.code(seconds(60));
    let kept = remove(&strict, &act(60), &root, &text(PASSWORD), &text(&code)).await;
    assert!(matches!(kept, Err(Error::FactorRequired)), "{kept:?}");
    let issued = login_to(&strict, ("root", PASSWORD), Some(&code), 60)
        .await
        .unwrap();
    let root = strict.bearer(&issued.access_token, at(60)).await.unwrap();
    assert!(root.factor == Factor::Present && root.may(Permission::Admin));
}

fn asserted(subject: &str, username: &str, role: Role) -> Asserted {
    Asserted {
        external: External {
            issuer: "https://id.example.org".into(),
            subject: subject.into(),
        },
        username: username.into(),
        role,
        meters: role.needs_meters().then(|| vec![Pattern::All]),
        grants: Vec::new(),
    }
}

#[tokio::test]
async fn a_provider_makes_an_account_once_and_changes_its_rights_in_every_session_at_once() {
    let house = House::new();
    house.user("root", Role::Admin).await;
    let login = async |asserted: &Asserted, second: i64| {
        sessions::login_external(&house.identities, &act(second), asserted).await
    };
    let first = login(&asserted("s1", "carol", Role::Admin), 0)
        .await
        .unwrap();
    assert_eq!((&*first.username, first.means), ("carol", Means::Sso));
    let principal = house.bearer(&first, 0).await.unwrap();
    assert_eq!(principal.factor, Factor::Present);
    assert!(principal.may(Permission::Admin));
    // A new name at the provider is still the same account.
    let mut demoted = asserted("s1", "caroline", Role::Viewer);
    demoted.grants = vec![Grant::Audit];
    let second = login(&demoted, 1).await.unwrap();
    assert_eq!(second.username, "carol");
    let principal = house.bearer(&first, 1).await.unwrap();
    assert!(!principal.may(Permission::Admin) && principal.may(Permission::Audit));
    // Neither it nor anybody can log in to it by a password, or give it one.
    let guess = sessions::login(&house.identities, &act(1), "carol", &text(PASSWORD), None).await;
    assert_eq!(fault(guess), AuthFault::WrongPassword);
    let patch = accounts::UserPatch {
        password: Some(text(PASSWORD)),
        ..accounts::UserPatch::default()
    };
    let given = accounts::change_user(&house.identities, &act(1), "carol", patch).await;
    assert!(matches!(given, Err(Error::External)), "{given:?}");
    let own = enrol(&house.identities, &act(1), &principal, &text(PASSWORD)).await;
    assert!(matches!(own, Err(Error::External)), "{own:?}");
    let users = accounts::users(&house.identities, None, 10).await.unwrap();
    let names: Vec<_> = users.iter().map(|user| &*user.username).collect();
    assert_eq!(names, ["carol", "root"]);
}

#[tokio::test]
async fn a_local_user_is_never_taken_over_and_a_disabled_one_stays_out() {
    let house = House::new();
    house.user("root", Role::Admin).await;
    let login = async |asserted: &Asserted| {
        sessions::login_external(&house.identities, &act(HOUR), asserted).await
    };
    let taken = login(&asserted("s1", "root", Role::Admin)).await;
    assert!(matches!(taken, Err(Error::Taken)), "{taken:?}");
    login(&asserted("s2", "dave", Role::Viewer)).await.unwrap();
    let other = login(&asserted("s3", "dave", Role::Viewer)).await;
    assert!(matches!(other, Err(Error::Taken)), "{other:?}");
    let disable = accounts::UserPatch {
        disabled: Some(true),
        ..accounts::UserPatch::default()
    };
    accounts::change_user(&house.identities, &act(HOUR), "dave", disable)
        .await
        .unwrap();
    for name in ["dave", "another-name"] {
        let refused = login(&asserted("s2", name, Role::Viewer)).await;
        assert_eq!(fault(refused), AuthFault::Revoked);
    }
    // Removed, it may come back as a new account, and the name is free for it alone.
    accounts::remove_user(&house.identities, &act(HOUR), "dave")
        .await
        .unwrap();
    login(&asserted("s2", "dave", Role::Viewer)).await.unwrap();
    let invalid = login(&asserted("s4", "two words", Role::Viewer)).await;
    assert!(matches!(invalid, Err(Error::Invalid(_))), "{invalid:?}");
}
