//! The events of `security.log`, field for field as the security guide names them.

use ems_core::time::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::line::shortened;
use crate::{Act, alert::Occurrence};

/// The longest text of an event that may come from outside, in characters.
const LONGEST: usize = 256;

/// The kinds of violation, by the names they have in `violation_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Violation {
    /// `ip_blocked`: an address was shut out; `details.reason` says why, such as
    /// `too_many_failed_attempts`.
    IpBlocked,
    /// `suspicious_pattern`: a request looked like an attack.
    SuspiciousPattern,
    /// `gdpr_deletion_request`: somebody asked to be erased.
    GdprDeletionRequest,
    /// `forged_credential`: a token or key that we did not make, or a token that we signed and
    /// never issued.
    ForgedCredential,
    /// `refresh_token_reuse`: a refresh token was used twice; its session was ended.
    RefreshTokenReuse,
    /// `rate_limit_exceeded`: a window was full.
    RateLimitExceeded,
    /// `permission_denied`: a valid credential came for what it may not do.
    PermissionDenied,
    /// `out_of_scope`: a write of meters that are not the caller's.
    OutOfScope,
    /// `forged_cursor`: a cursor that we did not make, or made for another list or caller.
    ForgedCursor,
    /// `unlisted_route`: a route without a row in the policy was asked for, and refused.
    UnlistedRoute,
    /// `damaged_data`: something stored did not open when it was asked for; `details.fault` names
    /// it.
    DamagedData,
    /// `ip_released`: an administrator let an address in again.
    IpReleased,
    /// `many_accounts`: logins of many accounts failed from one address.
    ManyAccounts,
    /// `many_addresses`: logins of one account failed from many addresses.
    ManyAddresses,
    /// `burst_unauthorized`: many answers of 401 to one caller within a minute.
    BurstUnauthorized,
    /// `burst_forbidden`: many answers of 403 to one caller within a minute.
    BurstForbidden,
    /// `burst_not_found`: many answers of 404 to one caller within a minute.
    BurstNotFound,
    /// `new_network`: an API key was used from a network that it was not used from before.
    NewNetwork,
    /// `scope_probing`: a principal asked for many meters that are not its own.
    ScopeProbing,
    /// `reading_jump`: a reading is many times the largest that its meter ever had.
    ReadingJump,
    /// `undeclared_proxy`: so many principals come from one address that it must be a proxy which
    /// `server.trusted_proxies` does not name; a block of it would hit many.
    UndeclaredProxy,
    /// `protocol_abuse`: a connection was given up; `details` has the reason: `flood` (frames that
    /// cost work and bring nothing), `ambiguous` (a request that two readers might read differently),
    /// `crowded` (its address holds as many as one may).
    ProtocolAbuse,
    /// `too_many_wrong_codes`: codes of a user's second factor were guessed at, and are refused for
    /// a while.
    TooManyWrongCodes,
    /// `logs_not_shipped`: lines were removed before they were shipped; `details` has the log and
    /// how many.
    LogsNotShipped,
}

impl Violation {
    /// All of them.
    pub const ALL: [Self; 24] = [
        Self::IpBlocked,
        Self::SuspiciousPattern,
        Self::GdprDeletionRequest,
        Self::ForgedCredential,
        Self::RefreshTokenReuse,
        Self::RateLimitExceeded,
        Self::PermissionDenied,
        Self::OutOfScope,
        Self::ForgedCursor,
        Self::UnlistedRoute,
        Self::DamagedData,
        Self::IpReleased,
        Self::ManyAccounts,
        Self::ManyAddresses,
        Self::BurstUnauthorized,
        Self::BurstForbidden,
        Self::BurstNotFound,
        Self::NewNetwork,
        Self::ScopeProbing,
        Self::ReadingJump,
        Self::UndeclaredProxy,
        Self::ProtocolAbuse,
        Self::TooManyWrongCodes,
        Self::LogsNotShipped,
    ];

    /// The name in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::IpBlocked => "ip_blocked",
            Self::SuspiciousPattern => "suspicious_pattern",
            Self::GdprDeletionRequest => "gdpr_deletion_request",
            Self::ForgedCredential => "forged_credential",
            Self::RefreshTokenReuse => "refresh_token_reuse",
            Self::RateLimitExceeded => "rate_limit_exceeded",
            Self::PermissionDenied => "permission_denied",
            Self::OutOfScope => "out_of_scope",
            Self::ForgedCursor => "forged_cursor",
            Self::UnlistedRoute => "unlisted_route",
            Self::DamagedData => "damaged_data",
            Self::IpReleased => "ip_released",
            Self::ManyAccounts => "many_accounts",
            Self::ManyAddresses => "many_addresses",
            Self::BurstUnauthorized => "burst_unauthorized",
            Self::BurstForbidden => "burst_forbidden",
            Self::BurstNotFound => "burst_not_found",
            Self::NewNetwork => "new_network",
            Self::ScopeProbing => "scope_probing",
            Self::ReadingJump => "reading_jump",
            Self::UndeclaredProxy => "undeclared_proxy",
            Self::ProtocolAbuse => "protocol_abuse",
            Self::TooManyWrongCodes => "too_many_wrong_codes",
            Self::LogsNotShipped => "logs_not_shipped",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Event {
    timestamp: Timestamp,
    level: &'static str,
    #[serde(flatten)]
    body: Body,
    request_id: String,
    /// For the summary of a flood: how many like this one were counted and not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event_type", rename_all = "snake_case")]
pub(super) enum Body {
    Authentication {
        action: String,
        user: String,
        ip_address: String,
        success: bool,
        additional_data: Map<String, Value>,
    },
    ApiAccess {
        endpoint: String,
        method: String,
        user: String,
        ip_address: String,
        status_code: u16,
    },
    SecurityViolation(ViolationBody),
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ViolationBody {
    pub(super) violation_type: &'static str,
    pub(super) user: String,
    pub(super) ip_address: String,
    pub(super) details: Map<String, Value>,
}

impl ViolationBody {
    pub(super) fn new(act: &Act, violation: Violation, details: Map<String, Value>) -> Self {
        let ip_address = text(&act.source_ip);
        // The guide has the address among the details.
        let mut details = bounded(details);
        details
            .entry("ip_address")
            .or_insert_with(|| Value::String(ip_address.clone()));
        Self {
            violation_type: violation.as_str(),
            user: text(&act.user),
            ip_address,
            details,
        }
    }
}

impl Body {
    pub(super) fn authentication(
        act: &Act,
        action: &str,
        success: bool,
        additional: Map<String, Value>,
    ) -> Self {
        Self::Authentication {
            action: text(action),
            user: text(&act.user),
            ip_address: text(&act.source_ip),
            success,
            additional_data: bounded(additional),
        }
    }

    pub(super) fn api_access(act: &Act, endpoint: &str, method: &str, status_code: u16) -> Self {
        Self::ApiAccess {
            endpoint: text(endpoint),
            method: text(method),
            user: text(&act.user),
            ip_address: text(&act.source_ip),
            status_code,
        }
    }

    fn level(&self) -> &'static str {
        match self {
            Self::Authentication { success: true, .. } => "INFO",
            Self::ApiAccess { status_code, .. } if *status_code < 400 => "INFO",
            Self::Authentication { .. } | Self::ApiAccess { .. } => "WARNING",
            Self::SecurityViolation(_) => "ERROR",
        }
    }

    /// Whose and from where it was, to be made nobody's.
    fn whose(&mut self) -> (&mut String, &mut String) {
        match self {
            Self::Authentication {
                user, ip_address, ..
            }
            | Self::ApiAccess {
                user, ip_address, ..
            } => (user, ip_address),
            Self::SecurityViolation(body) => (&mut body.user, &mut body.ip_address),
        }
    }
}

impl Event {
    pub(super) fn of(act: &Act, body: Body) -> Self {
        Self {
            timestamp: act.at,
            level: body.level(),
            body,
            request_id: text(&act.request_id),
            suppressed: None,
        }
    }

    pub(super) fn body(&self) -> &Body {
        &self.body
    }

    pub(super) fn at(&self) -> Timestamp {
        self.timestamp
    }

    pub(super) fn level(&self) -> &'static str {
        self.level
    }

    pub(super) fn request_id(&self) -> &str {
        &self.request_id
    }

    pub(super) fn suppressed(&self) -> Option<u64> {
        self.suppressed
    }

    /// What rules look at; nothing of an access.
    pub(super) fn occurrence(&self) -> Option<Occurrence> {
        let (event, user, address) = match &self.body {
            Body::ApiAccess { .. } => return None,
            Body::Authentication {
                action,
                user,
                ip_address,
                success,
                ..
            } => {
                let failed = if *success { "" } else { "_failed" };
                (format!("{action}{failed}"), user, ip_address)
            }
            Body::SecurityViolation(body) => {
                (body.violation_type.to_owned(), &body.user, &body.ip_address)
            }
        };
        Some(Occurrence {
            event,
            at: self.timestamp,
            count: self.suppressed.unwrap_or(1),
            address: address.clone(),
            user: user.clone(),
            request_id: self.request_id.clone(),
        })
    }

    /// The summary of `count` events like this one.
    pub(super) fn summary(mut self, count: u64) -> Self {
        self.suppressed = Some(count);
        self.request_id.clear();
        self
    }

    /// The same of many callers: the addresses of a flood that comes from everywhere.
    pub(super) fn of_many(mut self) -> Self {
        let (user, address) = self.body.whose();
        "anonymous".clone_into(user);
        "various".clone_into(address);
        if let Body::SecurityViolation(body) = &mut self.body {
            body.details.clear();
        }
        self
    }
}

fn text(given: &str) -> String {
    shortened(given, LONGEST)
}

/// A map whose texts are short, and which is not deep or wide.
fn bounded(map: Map<String, Value>) -> Map<String, Value> {
    let short = |(name, value): (String, Value)| {
        let value = match value {
            Value::String(given) => Value::String(text(&given)),
            Value::Array(_) | Value::Object(_) => Value::String(text(&value.to_string())),
            plain => plain,
        };
        (text(&name), value)
    };
    map.into_iter().take(32).map(short).collect()
}
