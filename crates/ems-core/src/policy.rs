//! The whole policy: route by permission, in one table. A route without a row is refused.

use crate::role::Permission;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing, and no rate window either (liveness, static documents).
    Open,
    /// No credential; counted in the address window (token, refresh).
    Anonymous,
    /// Any valid credential.
    Credential,
    /// A credential that carries this permission.
    Permission(Permission),
    /// To be whoever owns the server's process: by its local admin socket alone, never over the
    /// network.
    Owner,
}

/// One row: a method and a route template, and what it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The HTTP method.
    pub method: &'static str,
    /// The route's template, with `{…}` for its parts.
    pub path: &'static str,
    /// What it asks.
    pub need: Need,
}

const fn row(method: &'static str, path: &'static str, need: Need) -> Row {
    Row { method, path, need }
}

const fn may(permission: Permission) -> Need {
    Need::Permission(permission)
}

/// The table.
pub const TABLE: &[Row] = &[
    row("GET", "/health", Need::Open),
    row("GET", "/ready", Need::Open),
    row("GET", "/docs", Need::Open),
    row("GET", "/docs/style.css", Need::Open),
    row("GET", "/api/v1/openapi.json", Need::Open),
    row("POST", "/api/v1/auth/token", Need::Anonymous),
    row("POST", "/api/v1/auth/refresh", Need::Anonymous),
    row("POST", "/api/v1/auth/logout", Need::Credential),
    row("GET", "/api/v1/auth/me", Need::Credential),
    row("PUT", "/api/v1/auth/password", Need::Credential),
    row("POST", "/api/v1/auth/mfa", Need::Credential),
    row("DELETE", "/api/v1/auth/mfa", Need::Credential),
    row("POST", "/api/v1/auth/mfa/confirm", Need::Credential),
    row("GET", "/api/v1/auth/sso/login", Need::Anonymous),
    row("GET", "/api/v1/auth/sso/callback", Need::Anonymous),
    row("POST", "/api/v1/users", may(Permission::Admin)),
    row("GET", "/api/v1/users", may(Permission::Admin)),
    row("GET", "/api/v1/users/{username}", may(Permission::Admin)),
    row("PATCH", "/api/v1/users/{username}", may(Permission::Admin)),
    row("DELETE", "/api/v1/users/{username}", may(Permission::Admin)),
    row(
        "DELETE",
        "/api/v1/users/{username}/mfa",
        may(Permission::Admin),
    ),
    row("POST", "/api/v1/keys", may(Permission::Admin)),
    row("GET", "/api/v1/keys", may(Permission::Admin)),
    row("DELETE", "/api/v1/keys/{id}", may(Permission::Admin)),
    row("POST", "/api/v1/keys/{id}/rotate", may(Permission::Admin)),
    row("GET", "/api/v1/data/secure", Need::Credential),
    row("POST", "/api/v1/data", may(Permission::WriteMeterData)),
    row(
        "POST",
        "/api/v1/data/batch",
        may(Permission::WriteMeterData),
    ),
    row(
        "POST",
        "/api/v1/data/validate",
        may(Permission::WriteMeterData),
    ),
    row("GET", "/api/v1/data/{meter_id}", may(Permission::Read)),
    row("DELETE", "/api/v1/data/{meter_id}", may(Permission::Delete)),
    row("GET", "/api/v1/meters", may(Permission::Read)),
    row("GET", "/api/v1/meters/{meter_id}", may(Permission::Read)),
    row("PUT", "/api/v1/meters/{meter_id}", may(Permission::Write)),
    row(
        "DELETE",
        "/api/v1/meters/{meter_id}",
        may(Permission::Delete),
    ),
    row("GET", "/api/v1/analytics/usage", may(Permission::Analyze)),
    row("GET", "/api/v1/security/bans", may(Permission::Admin)),
    row("POST", "/api/v1/security/bans", may(Permission::Admin)),
    row("GET", "/api/v1/security/bans/{ip}", may(Permission::Admin)),
    row(
        "DELETE",
        "/api/v1/security/bans/{ip}",
        may(Permission::Admin),
    ),
    row("GET", "/api/v1/security/events", may(Permission::Audit)),
    row("GET", "/api/v1/security/incident", Need::Owner),
    row("GET", "/api/v1/security/alerts", may(Permission::Admin)),
    row(
        "POST",
        "/api/v1/security/alerts/test",
        may(Permission::Admin),
    ),
    row("GET", "/api/v1/keyring", Need::Owner),
    row("POST", "/api/v1/keyring/pages", Need::Owner),
    row("POST", "/api/v1/keyring/root", Need::Owner),
    row("DELETE", "/api/v1/keyring/meters/{meter_id}", Need::Owner),
];

/// What a route asks; `None` for one without a row, which is to be refused. `HEAD` asks what
/// `GET` does.
pub fn need(method: &str, path: &str) -> Option<Need> {
    let method = if method == "HEAD" { "GET" } else { method };
    TABLE
        .iter()
        .find(|row| row.method == method && row.path == path)
        .map(|row| row.need)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_route_has_two_rows() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(
                !TABLE[index + 1..]
                    .iter()
                    .any(|other| (other.method, other.path) == (row.method, row.path)),
                "{row:?}"
            );
        }
    }

    #[test]
    fn a_route_without_a_row_has_no_answer() {
        assert_eq!(need("GET", "/api/v1/secrets"), None);
        assert_eq!(need("TRACE", "/health"), None);
        assert_eq!(need("HEAD", "/health"), Some(Need::Open));
    }
}
