//! What a user's record keeps of its second factor.

use ems_core::time::{SECOND, Timestamp};
use ems_crypto::{
    api_key::Pepper,
    totp::{self, RecoveryCode, TotpSecret},
};
use serde::{Deserialize, Serialize};

use crate::{digest::Digest, sessions::Means};

/// Recovery codes that are made at once.
const RECOVERY_CODES: usize = 10;
/// Wrong codes in a row after which codes are refused.
const MOST_WRONG: u32 = 10;
/// For how long, in microseconds.
const REFUSAL: i64 = 15 * 60 * SECOND;
/// For how long an enrolment can be confirmed, in microseconds.
const PATIENCE: i64 = 15 * 60 * SECOND;

/// Whether a text has the form of a code: 6 to 8 digits (of which 6 can be right), or a recovery
/// code.
pub fn is_code(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (6..=8).contains(&text.len()) || RecoveryCode::parse(text).is_some()
}

/// A second factor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecondFactor {
    secret: TotpSecret,
    /// The last step whose code was taken; none of it or before is taken again.
    spent: u64,
    /// The recovery codes that are left.
    recovery: Vec<Digest>,
    /// Wrong codes since the last right one, or the last refusal.
    #[serde(default)]
    wrong: u32,
    /// Until when every code is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused_until: Option<Timestamp>,
}

/// A second factor that its user has yet to show a code of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    factor: SecondFactor,
    since: Timestamp,
}

/// What a code was.
#[derive(Debug)]
pub(crate) enum Tried {
    /// Right: the factor as it is once the code is spent.
    Right(SecondFactor, Means),
    /// Wrong: the factor with that counted.
    Wrong(SecondFactor),
    /// Not looked at.
    Refused,
}

impl SecondFactor {
    fn generate((pepper, username): (&Pepper, &str)) -> (Self, Vec<RecoveryCode>) {
        let codes: Vec<RecoveryCode> = (0..RECOVERY_CODES)
            .map(|_| RecoveryCode::generate())
            .collect();
        let hashes = codes.iter().map(|code| code.hash(pepper, username).into());
        let factor = Self {
            secret: TotpSecret::generate(),
            spent: 0,
            recovery: hashes.collect(),
            wrong: 0,
            refused_until: None,
        };
        (factor, codes)
    }

    /// Whether every code is refused now.
    pub(super) fn refuses(&self, now: Timestamp) -> bool {
        self.refused_until.is_some_and(|until| now < until)
    }

    /// Tries a code of either kind.
    pub(crate) fn try_code(
        &self,
        code: &str,
        (pepper, username): (&Pepper, &str),
        now: Timestamp,
    ) -> Tried {
        if self.refuses(now) {
            return Tried::Refused;
        }
        let mut after = Self {
            wrong: 0,
            refused_until: None,
            ..self.clone()
        };
        if let Some(code) = RecoveryCode::parse(code) {
            after
                .recovery
                .retain(|stored| !code.matches(pepper, username, stored.as_bytes()));
            if after.recovery.len() < self.recovery.len() {
                return Tried::Right(after, Means::Recovery);
            }
        } else if let Some(step) = self.step_of(code, now) {
            after.spent = step;
            return Tried::Right(after, Means::Otp);
        }
        after.wrong = self.wrong.saturating_add(1);
        if after.wrong >= MOST_WRONG {
            after.wrong = 0;
            after.refused_until = Some(now.saturating_add_micros(REFUSAL));
        }
        Tried::Wrong(after)
    }

    fn step_of(&self, code: &str, now: Timestamp) -> Option<u64> {
        let seconds = u64::try_from(now.as_seconds()).unwrap_or(0);
        let fits = code.len() == totp::DIGITS;
        self.secret
            .step_of(code, seconds, self.spent)
            .filter(|_| fits)
    }
}

impl Pending {
    /// A new one, and its recovery codes.
    pub(super) fn new(whose: (&Pepper, &str), now: Timestamp) -> (Self, Vec<RecoveryCode>) {
        let (factor, codes) = SecondFactor::generate(whose);
        (Self { factor, since: now }, codes)
    }

    /// The secret, to be shown once.
    pub(super) fn secret(&self) -> &TotpSecret {
        &self.factor.secret
    }

    /// Whether it can still be confirmed.
    pub(super) fn is_live(&self, now: Timestamp) -> bool {
        now < self.since.saturating_add_micros(PATIENCE)
    }

    /// The factor, where the code is its present one, which is spent by that.
    pub(super) fn confirmed(&self, code: &str, now: Timestamp) -> Option<SecondFactor> {
        let spent = self.factor.step_of(code, now)?;
        Some(SecondFactor {
            spent,
            ..self.factor.clone()
        })
    }
}
