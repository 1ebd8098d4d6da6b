//! `[sso]`: the settings of single sign-on, and what must hold of them.

use std::{fmt, path::PathBuf};

use ems_core::{
    role::{Grant, Role},
    scope::Pattern,
};
use reqwest::{Certificate, Url};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{ConfigErrors, settings::blank};

/// Where the provider sends users back to.
const CALLBACK: &str = "/api/v1/auth/sso/callback";

/// `[sso]`: single sign-on by OpenID Connect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Sso {
    pub issuer: String,
    pub client_id: String,
    pub client_secret: ClientSecret,
    pub redirect_url: String,
    pub scopes: Vec<String>,
    pub groups_claim: String,
    pub name_claim: String,
    #[serde(with = "blank")]
    pub ca_file: Option<PathBuf>,
    pub groups: Vec<SsoGroup>,
}

/// What a group of the provider stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SsoGroup {
    /// Its name there.
    pub group: String,
    /// The role of its members.
    pub role: Role,
    /// The meters that they are bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meters: Option<Vec<Pattern>>,
    /// Single permissions beside the role's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<Grant>,
}

/// The secret that this instance shows the provider. Shown and serialised without it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// The text; `None` for a client that has none.
    pub fn expose(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expose().map_or("", |_| "***"))
    }
}

impl From<String> for ClientSecret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<ClientSecret> for String {
    fn from(secret: ClientSecret) -> Self {
        format!("{secret:?}")
    }
}

impl Sso {
    /// Whether there is single sign-on.
    pub fn is_on(&self) -> bool {
        !self.issuer.is_empty()
    }

    /// The authorities of `ca_file`; none where those of the system are meant.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn authorities(&self) -> Result<Option<Vec<Certificate>>, String> {
        let Some(path) = &self.ca_file else {
            return Ok(None);
        };
        let pem = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let found = Certificate::from_pem_bundle(&pem);
        match found {
            Ok(found) if !found.is_empty() => Ok(Some(found)),
            _ => Err(format!("{} holds no certificate", path.display())),
        }
    }
}

/// Checks the settings, if single sign-on is on.
pub(super) fn check(sso: &Sso, errors: &mut ConfigErrors) {
    if !sso.is_on() {
        return;
    }
    for (key, address) in [
        ("sso.issuer", &sso.issuer),
        ("sso.redirect_url", &sso.redirect_url),
    ] {
        if let Err(problem) = address_of(address) {
            errors.add(key, problem);
        }
    }
    if Url::parse(&sso.redirect_url).is_ok_and(|url| !url.path().ends_with(CALLBACK)) {
        errors.add("sso.redirect_url", format!("does not end in {CALLBACK}"));
    }
    for (key, text) in [
        ("sso.client_id", &sso.client_id),
        ("sso.groups_claim", &sso.groups_claim),
        ("sso.name_claim", &sso.name_claim),
    ] {
        if text.trim().is_empty() {
            errors.add(key, "is empty, and sso.issuer is set");
        }
    }
    // RFC 6749 §3.3.
    let token = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    let is_scope = |scope: &String| !scope.is_empty() && scope.bytes().all(token);
    if !sso.scopes.iter().all(is_scope) {
        errors.add(
            "sso.scopes",
            "holds what is no scope: one name each, without spaces",
        );
    }
    groups(sso, errors);
}

fn groups(sso: &Sso, errors: &mut ConfigErrors) {
    if sso.groups.is_empty() {
        let problem = "is empty, and sso.issuer is set: nobody could log in";
        errors.add("sso.groups", problem);
    }
    for entry in &sso.groups {
        let (group, role) = (&entry.group, entry.role);
        if group.is_empty() {
            errors.add("sso.groups", "has an entry without the name of a group");
        }
        match entry.meters.as_deref() {
            None if role.needs_meters() => {
                let role = role.as_str();
                errors.add(
                    "sso.groups",
                    format!("'{group}': the role {role} needs meters"),
                );
            }
            Some([]) => errors.add("sso.groups", format!("'{group}': meters is empty")),
            _ => {}
        }
    }
}

/// An address that may be spoken to: over TLS, or on this machine.
///
/// # Errors
/// Why not.
pub(crate) fn address_of(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is no address: https://host/path")?;
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse();
    let loopback =
        address.is_ok_and(|ip: std::net::IpAddr| ip.is_loopback()) || host == "localhost";
    if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
        return Err("has to be https:// (http:// only on this machine)");
    }
    let plain = url.username().is_empty() && url.password().is_none();
    if !plain || url.query().is_some() || url.fragment().is_some() {
        return Err("has to be without user, query and fragment");
    }
    Ok(url)
}

/// Checks that the provider's authorities can be read.
pub(super) fn authority(sso: &Sso, errors: &mut ConfigErrors) {
    if !sso.is_on() {
        return;
    }
    if let Err(problem) = sso.authorities() {
        errors.add("sso.ca_file", problem);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Settings, *};

    fn sso() -> Sso {
        Sso {
            issuer: "https://id.example.org/realms/ems".into(),
            client_id: "ems".into(),
            client_secret: String::from("hunter2").into(),
            redirect_url: "https://ems.example.org/api/v1/auth/sso/callback".into(),
            scopes: vec!["profile".into()],
            groups_claim: "groups".into(),
            name_claim: "preferred_username".into(),
            ca_file: None,
            groups: vec![SsoGroup {
                group: "ems-admins".into(),
                role: Role::Admin,
                meters: None,
                grants: Vec::new(),
            }],
        }
    }

    fn keys(sso: &Sso) -> Vec<String> {
        let mut errors = ConfigErrors::default();
        check(sso, &mut errors);
        authority(sso, &mut errors);
        let named = errors.as_slice().iter();
        named.map(|error| error.key.clone()).collect()
    }

    #[test]
    fn settings_that_cannot_work_are_refused_by_their_key() {
        assert_eq!(keys(&sso()), [""; 0]);
        let changed = |change: fn(&mut Sso)| {
            let mut sso = sso();
            change(&mut sso);
            keys(&sso)
        };
        for issuer in [
            "http://id.example.org",
            "id.example.org",
            "https://u:p@id",
            "https://id?a",
        ] {
            let mut sso = sso();
            sso.issuer = issuer.into();
            assert_eq!(keys(&sso), ["sso.issuer"], "{issuer}");
        }
        for local in [
            "http://127.0.0.1:9000",
            "http://[::1]:9000/x",
            "http://localhost:1",
        ] {
            let mut sso = sso();
            sso.issuer = local.into();
            assert_eq!(keys(&sso), [""; 0], "{local}");
        }
        let elsewhere = |sso: &mut Sso| sso.redirect_url = "https://ems.example.org/".into();
        assert_eq!(changed(elsewhere), ["sso.redirect_url"]);
        assert_eq!(changed(|sso| sso.client_id = " ".into()), ["sso.client_id"]);
        assert_eq!(
            changed(|sso| sso.scopes = vec!["a b".into()]),
            ["sso.scopes"]
        );
        assert_eq!(changed(|sso| sso.groups = Vec::new()), ["sso.groups"]);
        assert_eq!(
            changed(|sso| sso.groups[0].role = Role::Viewer),
            ["sso.groups"]
        );
        assert_eq!(
            changed(|sso| sso.ca_file = Some("/no/such/file".into())),
            ["sso.ca_file"]
        );
        let off = |sso: &mut Sso| (sso.issuer, sso.groups) = (String::new(), Vec::new());
        assert_eq!(changed(off), [""; 0]);
    }

    #[test]
    fn the_clients_secret_is_not_shown() {
        let shown = format!("{:?} {}", sso(), toml::to_string(&sso()).unwrap());
        assert!(
            !shown.contains("hunter2") && shown.contains("***"),
            "{shown}"
        );
    }
    #[test]
    fn secret_and_groups_come_from_files_and_variables() {
        use std::{fs, os::unix::fs::PermissionsExt as _};

        let dir = tempfile::tempdir().unwrap();
        let (file, secret) = (dir.path().join("ems.toml"), dir.path().join("secret"));
        let mode = |mode| fs::set_permissions(&secret, fs::Permissions::from_mode(mode)).unwrap();
        fs::write(&secret, "hunter2\n").unwrap();
        mode(0o600);
        let read = |text: &str, env: &[(&str, &str)]| {
            fs::write(&file, text).unwrap();
            let flags = [("server.tls".to_owned(), "off".to_owned())];
            Settings::read(Some(&file), &env.iter().copied().collect(), &flags)
        };
        let named = "[sso]\nclient_secret_file = \"secret\"\n";
        let settings = read(named, &[]).unwrap();
        assert_eq!(settings.sso.client_secret.expose(), Some("hunter2"));
        let groups =
            r#"[{ group = "a b", role = "viewer", meters = ["p-*"], grants = ["audit"] }]"#;
        let env = [
            ("EMS_SSO__CLIENT_SECRET_FILE", secret.to_str().unwrap()),
            ("EMS_SSO__GROUPS", groups),
        ];
        let sso = read("", &env).unwrap().sso;
        assert_eq!(sso.client_secret.expose(), Some("hunter2"));
        assert_eq!(
            (&*sso.groups[0].group, sso.groups[0].role),
            ("a b", Role::Viewer)
        );
        let unknown = [(
            "EMS_SSO__GROUPS",
            r#"[{ group = "a", role = "admin", meter = "m" }]"#,
        )];
        let refused = read("", &unknown).unwrap_err().to_string();
        assert!(refused.contains("sso.groups: "), "{refused}");
        mode(0o640);
        let refused = read(named, &[]).unwrap_err().to_string();
        assert!(refused.contains("sso.client_secret_file: "), "{refused}");
    }
}
