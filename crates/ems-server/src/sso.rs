//! Single sign-on by OpenID Connect: the authorization code flow, with PKCE, state and nonce.
//!
//! Between the two requests of a login nothing is kept here: what has to come back unchanged lies
//! in a cookie of the browser, sealed. The provider is asked for tokens directly; of its id token
//! all is checked, the signature by ems-crypto (ADR 0010).

mod cookie;
mod http;
mod jwks;
mod provider;

use ems_core::time::Timestamp;
use ems_crypto::{api_key::Pepper, hash::constant_time_eq};
use ems_guard::accounts::{Asserted, External, RESERVED, is_username};
use ems_store::shared::{Key, Shared, Step, Window};
use serde_json::{Map, Value};

use self::{
    cookie::{Cookies, Flow},
    provider::{Answer, Provider},
};
use crate::config::{Settings, SsoGroup, TlsMode};

/// Why a login by single sign-on fails. The texts are for the log.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The browser shows no login that it began, or one that has taken too long.
    #[error("no login is under way: {0}")]
    Over(&'static str),
    /// What came back does not hold.
    #[error("unproven: {0}")]
    Unproven(String),
    /// Who it is is known, and has no access.
    #[error("no access: {1}")]
    NoAccess(External, &'static str),
    /// The provider does not answer, or not as one does.
    #[error("the provider of identities: {0}")]
    Unavailable(String),
}

/// What a callback brings.
#[derive(Debug)]
pub struct Callback {
    /// What names the login.
    pub state: Option<String>,
    /// What is exchanged for tokens.
    pub code: Option<String>,
    /// Who sends it (RFC 9207), if it says so.
    pub issuer: Option<String>,
}

/// Single sign-on as the settings have it.
pub struct Sso {
    provider: Provider,
    cookies: Cookies,
    groups: Vec<SsoGroup>,
    groups_claim: String,
    name_claim: String,
    issuer: String,
}

impl Sso {
    /// Sets it up, if it is on. Asks nobody yet.
    ///
    /// # Errors
    /// What is wrong with the settings, which their check would have named.
    pub fn new(settings: &Settings, pepper: &Pepper) -> Result<Option<Self>, String> {
        let sso = &settings.sso;
        if !sso.is_on() {
            return Ok(None);
        }
        let server = &settings.server;
        // Elsewhere TLS ends here or in a proxy; the checks let nobody else but this machine in.
        let plain = server.tls == TlsMode::Off && !server.behind_proxy;
        Ok(Some(Self {
            provider: Provider::new(sso, settings.network.restricted)?,
            cookies: Cookies::new(&pepper.derive("sso cookies"), !plain),
            groups: sso.groups.clone(),
            groups_claim: sso.groups_claim.clone(),
            name_claim: sso.name_claim.clone(),
            issuer: sso.issuer.clone(),
        }))
    }

    /// Begins a login: where to send the browser, and the cookie to send with it.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    pub async fn begin(&self, now: Timestamp) -> Result<(String, String), Fault> {
        let flow = Flow::new(now);
        let place = self.provider.authorize(&flow, now).await?;
        Ok((place, self.cookies.set(&flow)))
    }

    /// The cookie that ends a login, however it ended.
    pub fn clear(&self) -> String {
        self.cookies.clear()
    }

    /// Ends a login: who it is, and what that stands for here. `cookies` is the browser's header. A
    /// state is good once.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn finish(
        &self,
        shared: &dyn Shared,
        cookies: Option<&str>,
        callback: Callback,
        now: Timestamp,
    ) -> Result<Asserted, Fault> {
        let flow = self.cookies.open(cookies.unwrap_or_default(), now)?;
        let state = callback.state.unwrap_or_default();
        if !constant_time_eq(flow.state.as_bytes(), state.as_bytes()) {
            return Err(Fault::Unproven("the state is another browser's".into()));
        }
        if callback.issuer.is_some_and(|issuer| issuer != self.issuer) {
            return Err(Fault::Unproven("another issuer answers".into()));
        }
        spend(shared, &state).await?;
        let code = callback.code.filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| Fault::Unproven("the provider gives no code".into()))?;
        let answer = self.provider.exchange(code, flow, now).await?;
        self.assert(answer)
    }

    /// What the provider's word stands for here.
    fn assert(&self, answer: Answer) -> Result<Asserted, Fault> {
        let external = External {
            issuer: self.issuer.clone(),
            subject: answer.subject,
        };
        let Some(group) = self.group(&answer.claims) else {
            return Err(Fault::NoAccess(external, "it is in no group with access"));
        };
        let name = answer.claims.get(&self.name_claim).and_then(Value::as_str);
        let name = name.filter(|name| is_username(name) && !RESERVED.contains(name));
        let Some(name) = name else {
            return Err(Fault::NoAccess(external, "its name can be none of a user"));
        };
        Ok(Asserted {
            external,
            username: name.to_owned(),
            role: group.role,
            meters: group.meters.clone(),
            grants: group.grants.clone(),
        })
    }

    /// The first of the groups with access that the claims name.
    fn group(&self, claims: &Map<String, Value>) -> Option<&SsoGroup> {
        let named = claims.get(&self.groups_claim)?;
        let is_in = |group: &str| match named {
            Value::String(one) => one == group,
            Value::Array(all) => all.iter().any(|one| one.as_str() == Some(group)),
            _ => false,
        };
        self.groups.iter().find(|entry| is_in(&entry.group))
    }
}

/// Lets a state pass once for as long as its cookie can be good.
async fn spend(shared: &dyn Shared, state: &str) -> Result<(), Fault> {
    let window = Window {
        key: Key::of_stranger(format!("sso:{state}")),
        limit: 1,
        length_micros: cookie::LIFE,
    };
    let answers = shared.ask(&[Step::take(window, 1)]).await;
    if answers.alone {
        let why = "the shared state cannot be asked";
        return Err(Fault::Unavailable(why.into()));
    }
    if answers.verdict(0).is_some_and(|verdict| verdict.allowed) {
        return Ok(());
    }
    Err(Fault::Unproven("the state was used before".into()))
}
