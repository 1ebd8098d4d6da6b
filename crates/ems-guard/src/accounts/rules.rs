//! The rules that users and keys have to keep. Every broken one is named at once.

use std::ops::RangeInclusive;

use ems_core::{Fault, FaultCode, role::Role, scope::Pattern, time::Timestamp};
use ems_crypto::password::Password;

use super::guessable;

/// The length of a password, in characters.
const PASSWORD_LENGTH: RangeInclusive<usize> = 12..=128;
/// The most entries of a scope.
const MOST_METERS: usize = 1000;
/// The longest user name and customer id, in characters.
const LONGEST_NAME: usize = 64;
/// The longest name of a key, in characters.
const LONGEST_KEY_NAME: usize = 100;
/// Names that stand for nobody in the logs.
pub const RESERVED: [&str; 2] = ["anonymous", "system"];

/// Whether a text has the form of a user's name: 1 to 64 characters of `[A-Za-z0-9._@-]`.
pub fn is_username(text: &str) -> bool {
    is_name(text, b"._@-")
}

fn is_name(text: &str, punctuation: &[u8]) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || punctuation.contains(&byte))
}

/// The faults of a name for a new user.
pub(super) fn username(name: &str) -> Option<Fault> {
    if RESERVED.contains(&name) {
        let detail = "this name stands for nobody in the logs";
        return Some(Fault::new("/username", FaultCode::Reserved, detail));
    }
    if name.len() > LONGEST_NAME {
        let detail = "a user name has at most 64 characters";
        return Some(Fault::new("/username", FaultCode::TooLong, detail));
    }
    (!is_username(name)).then(|| {
        let detail = "a user name is 1 to 64 letters, digits, '.', '_', '@' and '-'";
        Fault::new("/username", FaultCode::InvalidFormat, detail)
    })
}

/// The fault of a new password of a user, which is at `pointer`.
pub fn password(pointer: &str, password: &Password, username: &str) -> Option<Fault> {
    let length = password.expose().chars().count();
    if length > *PASSWORD_LENGTH.end() {
        let detail = "a password has at most 128 characters";
        return Some(Fault::new(pointer, FaultCode::TooLong, detail));
    }
    if length < *PASSWORD_LENGTH.start() {
        let detail = "a password has at least 12 characters";
        return Some(Fault::new(pointer, FaultCode::OutOfRange, detail));
    }
    guessable::reason(password.expose(), username)
        .map(|detail| Fault::new(pointer, FaultCode::InvalidFormat, detail))
}

/// The faults of what a user is bound to.
pub(super) fn bounds(
    role: Role,
    patterns: Option<&[Pattern]>,
    customer_id: Option<&str>,
) -> Vec<Fault> {
    let mut faults: Vec<Fault> = patterns.and_then(meters).into_iter().collect();
    if patterns.is_none() && customer_id.is_none() && role.needs_meters() {
        let detail = "a viewer or meter reader is bound to meters, or to a customer";
        faults.push(Fault::new("/meters", FaultCode::MissingField, detail));
    }
    if let Some(id) = customer_id {
        if patterns.is_some() {
            let detail = "a user is bound to meters or to a customer, not to both";
            faults.push(Fault::new("/customer_id", FaultCode::InvalidFormat, detail));
        }
        if !is_name(id, b"._-") {
            let detail = "a customer id is 1 to 64 letters, digits, '.', '_' and '-'";
            faults.push(Fault::new("/customer_id", FaultCode::InvalidFormat, detail));
        }
    }
    faults
}

/// The fault of a scope's size.
pub(super) fn meters(patterns: &[Pattern]) -> Option<Fault> {
    (!(1..=MOST_METERS).contains(&patterns.len())).then(|| {
        let detail = "meters has 1 to 1000 entries";
        Fault::new("/meters", FaultCode::OutOfRange, detail)
    })
}

/// The fault of a key's name.
pub(super) fn key_name(name: &str) -> Option<Fault> {
    let length = name.chars().count();
    if length > LONGEST_KEY_NAME {
        let detail = "a key's name has at most 100 characters";
        return Some(Fault::new("/name", FaultCode::TooLong, detail));
    }
    (length == 0 || name.chars().any(char::is_control)).then(|| {
        let detail = "a key has a name, without control characters";
        Fault::new("/name", FaultCode::InvalidFormat, detail)
    })
}

/// The fault of an expiry that is over before it begins.
pub(super) fn expiry(expires_at: Option<Timestamp>, now: Timestamp) -> Option<Fault> {
    expires_at.filter(|at| *at <= now).map(|_| {
        let detail = "a key expires in the future";
        Fault::new("/expires_at", FaultCode::OutOfRange, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users_are_letters_digits_and_four_marks() {
        for good in ["a", "alice@example.org", "Bob_2-x", &"a".repeat(64)] {
            assert_eq!(username(good), None, "{good}");
        }
        let code = |name: &str| username(name).map(|fault| fault.code);
        for bad in [
            "",
            "a b",
            "~admins",
            "a\n",
            "käthe",
            "key:abcdefgh",
            "local:0",
        ] {
            assert_eq!(code(bad), Some(FaultCode::InvalidFormat), "{bad}");
        }
        assert_eq!(code(&"a".repeat(65)), Some(FaultCode::TooLong));
        assert_eq!(code("system"), Some(FaultCode::Reserved));
        assert_eq!(code("anonymous"), Some(FaultCode::Reserved));
    }

    #[test]
    fn passwords_are_measured_in_characters_not_bytes() {
        let code = |length: usize| {
            let text = "äöüßéèêçñåøæþðžšłđ".chars().cycle().take(length - 1);
            let text: String = text.chain(['x']).collect();
            password("/new", &Password::new(text), "alice").map(|fault| fault.code)
        };
        assert_eq!(code(11), Some(FaultCode::OutOfRange));
        assert_eq!(code(12), None);
        assert_eq!(code(128), None);
        assert_eq!(code(129), Some(FaultCode::TooLong));
    }

    #[test]
    fn a_viewer_is_bound_to_meters_or_a_customer_and_an_analyst_need_not_be() {
        let all = [Pattern::All];
        let codes = |role, meters: Option<&[Pattern]>, customer| -> Vec<_> {
            let faults = bounds(role, meters, customer);
            faults
                .into_iter()
                .map(|fault| (fault.pointer, fault.code))
                .collect()
        };
        assert_eq!(
            codes(Role::Viewer, None, None),
            [("/meters".to_owned(), FaultCode::MissingField)]
        );
        assert_eq!(codes(Role::Viewer, Some(&all), None), []);
        assert_eq!(codes(Role::Viewer, None, Some("c-1")), []);
        assert_eq!(codes(Role::Analyst, None, None), []);
        assert_eq!(
            codes(Role::Analyst, Some(&[]), None),
            [("/meters".to_owned(), FaultCode::OutOfRange)]
        );
        assert_eq!(codes(Role::Analyst, Some(&all), Some("c@1")).len(), 2);
    }
}
