//! The provider of identities: what it publishes of itself, where it sends browsers, and what it
//! gives for a code.
//!
//! Its document and keys are kept for an hour, and asked for anew where a token names a key that is
//! not among them, at most once a minute: a stranger's token makes no flood of requests.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use data_encoding::BASE64URL_NOPAD;
use ems_core::time::{SECOND, Timestamp};
use http::{Method, StatusCode, header};
use openidconnect::{
    AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, ClientSecret, CsrfToken,
    EndpointNotSet, EndpointSet, IdTokenVerifier, IssuerUrl, JsonWebKeySet, Nonce,
    PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope,
    SignatureVerificationError, TokenResponse as _, TokenUrl,
    core::{
        CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreErrorResponseType,
        CoreIdToken, CoreProviderMetadata,
    },
};
use parking_lot::Mutex;
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    Fault,
    cookie::Flow,
    http::Http,
    jwks::{Key, TAKEN},
};
use crate::config::{self, address_of};

/// For how long what the provider publishes is kept, in microseconds.
const KEPT: i64 = 3600 * SECOND;
/// How long after it was asked it is not asked again for a key, in microseconds.
const PAUSE: i64 = 60 * SECOND;

type Client = CoreClient<EndpointSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// What the provider says of somebody, verified.
pub(super) struct Answer {
    /// Its name for the account, which never changes.
    pub(super) subject: String,
    /// All claims of the id token.
    pub(super) claims: Map<String, Value>,
}

/// What the provider publishes.
struct Published {
    metadata: CoreProviderMetadata,
    token_url: TokenUrl,
    keys: JsonWebKeySet<Key>,
    asked: Timestamp,
}

/// A provider.
pub(super) struct Provider {
    http: Http,
    issuer: IssuerUrl,
    client_id: ClientId,
    client_secret: Option<ClientSecret>,
    redirect_url: RedirectUrl,
    scopes: Vec<Scope>,
    /// Whether only the issuer's own host may be called.
    restricted: bool,
    published: Mutex<Option<Arc<Published>>>,
}

impl Provider {
    pub(super) fn new(sso: &config::Sso, restricted: bool) -> Result<Self, String> {
        let secret = sso.client_secret.expose();
        let scopes = sso.scopes.iter().filter(|scope| *scope != "openid");
        Ok(Self {
            http: Http::new(sso)?,
            issuer: IssuerUrl::new(sso.issuer.clone()).map_err(|error| error.to_string())?,
            client_id: ClientId::new(sso.client_id.clone()),
            client_secret: secret.map(|secret| ClientSecret::new(secret.to_owned())),
            redirect_url: RedirectUrl::new(sso.redirect_url.clone())
                .map_err(|error| error.to_string())?,
            scopes: scopes.cloned().map(Scope::new).collect(),
            restricted,
            published: Mutex::new(None),
        })
    }

    /// Where a browser is to go to log in.
    pub(super) async fn authorize(&self, flow: &Flow, now: Timestamp) -> Result<String, Fault> {
        let published = self.published(now).await?;
        let client = self.client(&published);
        let verifier = PkceCodeVerifier::new(flow.verifier.clone());
        let (state, nonce) = (flow.state.clone(), flow.nonce.clone());
        let (place, _, _) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scopes(self.scopes.iter().cloned())
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(place.into())
    }

    /// Exchanges a code for an id token, and verifies that.
    pub(super) async fn exchange(
        &self,
        code: String,
        flow: Flow,
        now: Timestamp,
    ) -> Result<Answer, Fault> {
        let published = self.published(now).await?;
        let http = self.http.clone();
        let send = move |request| http.clone().send(request);
        let tokens = self
            .client(&published)
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(flow.verifier.clone()))
            .request_async(&send)
            .await
            .map_err(|error| exchange_fault(&error))?;
        let token = tokens.id_token();
        let token = token.ok_or_else(|| unavailable("it gives no id token"))?;
        let nonce = Nonce::new(flow.nonce.clone());
        let mut verified = self.verify(&published, token, &nonce, now);
        if is_unknown_key(&verified) && now >= published.asked.saturating_add_micros(PAUSE) {
            let published = self.ask(now).await?;
            verified = self.verify(&published, token, &nonce, now);
        }
        verified.map_err(|error| Fault::Unproven(format!("the id token: {error}")))
    }

    fn verify(
        &self,
        published: &Published,
        token: &CoreIdToken,
        nonce: &Nonce,
        now: Timestamp,
    ) -> Result<Answer, ClaimsVerificationError> {
        let micros = u64::try_from(now.as_micros()).unwrap_or(0);
        let instant = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
        let verifier = IdTokenVerifier::new_public_client(
            self.client_id.clone(),
            self.issuer.clone(),
            published.keys.clone(),
        )
        .set_allowed_algs(TAKEN)
        .set_time_fn(move || instant.into());
        let claims = token.claims(&verifier, nonce)?;
        Ok(Answer {
            subject: claims.subject().as_str().to_owned(),
            claims: all_claims(token).unwrap_or_default(),
        })
    }

    fn client(&self, published: &Published) -> Client {
        let client = CoreClient::new(
            self.client_id.clone(),
            self.issuer.clone(),
            JsonWebKeySet::default(),
        )
        .set_auth_uri(published.metadata.authorization_endpoint().clone())
        .set_token_uri(published.token_url.clone())
        .set_redirect_uri(self.redirect_url.clone())
        .set_auth_type(auth_type(&published.metadata));
        match &self.client_secret {
            Some(secret) => client.set_client_secret(secret.clone()),
            None => client,
        }
    }

    async fn published(&self, now: Timestamp) -> Result<Arc<Published>, Fault> {
        let known = self.published.lock().clone();
        let known = known.filter(|known| now < known.asked.saturating_add_micros(KEPT));
        match known {
            Some(known) => Ok(known),
            None => self.ask(now).await,
        }
    }

    async fn ask(&self, now: Timestamp) -> Result<Arc<Published>, Fault> {
        let issuer = self.issuer.url().as_str().trim_end_matches('/');
        let place = format!("{issuer}/.well-known/openid-configuration");
        let metadata: CoreProviderMetadata = self.get(&place).await?;
        if metadata.issuer() != &self.issuer {
            return Err(unavailable("its document names another issuer"));
        }
        let token_url = metadata.token_endpoint().cloned();
        let token_url =
            token_url.ok_or_else(|| unavailable("its document names no token endpoint"))?;
        address_of(metadata.authorization_endpoint().url().as_str())
            .map_err(|problem| unavailable(&format!("its authorization endpoint {problem}")))?;
        for endpoint in [token_url.url(), metadata.jwks_uri().url()] {
            self.may_call(endpoint)?;
        }
        let keys = self.get(metadata.jwks_uri().url().as_str()).await?;
        let published = Arc::new(Published {
            metadata,
            token_url,
            keys,
            asked: now,
        });
        *self.published.lock() = Some(Arc::clone(&published));
        Ok(published)
    }

    /// Whether an endpoint that the document names may be called.
    fn may_call(&self, endpoint: &Url) -> Result<(), Fault> {
        address_of(endpoint.as_str())
            .map_err(|problem| unavailable(&format!("its endpoint {endpoint} {problem}")))?;
        if self.restricted && endpoint.origin() != self.issuer.url().origin() {
            return Err(unavailable(&format!(
                "its endpoint {endpoint} is on another host than sso.issuer, and network.restricted is true"
            )));
        }
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, place: &str) -> Result<T, Fault> {
        let request = http::Request::builder()
            .method(Method::GET)
            .uri(place)
            .header(header::ACCEPT, "application/json")
            .body(Vec::new())
            .map_err(|error| unavailable(&error.to_string()))?;
        let answer = self.http.clone().send(request).await;
        let answer = answer.map_err(|error| unavailable(&error.to_string()))?;
        if answer.status() != StatusCode::OK {
            let status = answer.status();
            return Err(unavailable(&format!("{place} answers {status}")));
        }
        serde_json::from_slice(answer.body())
            .map_err(|error| unavailable(&format!("{place} cannot be read: {error}")))
    }
}

fn unavailable(why: &str) -> Fault {
    Fault::Unavailable(why.to_owned())
}

/// How the provider wants to be shown the secret: as its document says, by header where both go.
fn auth_type(metadata: &CoreProviderMetadata) -> AuthType {
    let methods = metadata.token_endpoint_auth_methods_supported();
    let body = methods.is_some_and(|methods| {
        methods.contains(&CoreClientAuthMethod::ClientSecretPost)
            && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic)
    });
    if body {
        AuthType::RequestBody
    } else {
        AuthType::BasicAuth
    }
}

fn is_unknown_key(verified: &Result<Answer, ClaimsVerificationError>) -> bool {
    let unknown =
        ClaimsVerificationError::SignatureVerification(SignatureVerificationError::NoMatchingKey);
    verified.as_ref().is_err_and(|error| *error == unknown)
}

/// All claims of a token that was verified.
fn all_claims(token: &CoreIdToken) -> Option<Map<String, Value>> {
    let text = token.to_string();
    let payload = BASE64URL_NOPAD.decode(text.split('.').nth(1)?.as_bytes());
    serde_json::from_slice(&payload.ok()?).ok()
}

/// A code that the provider does not take is the caller's fault; anything else is none of theirs.
fn exchange_fault<E: std::error::Error + 'static>(
    error: &RequestTokenError<E, openidconnect::StandardErrorResponse<CoreErrorResponseType>>,
) -> Fault {
    match error {
        RequestTokenError::ServerResponse(said)
            if *said.error() == CoreErrorResponseType::InvalidGrant =>
        {
            Fault::Unproven("the provider does not take the code".to_owned())
        }
        RequestTokenError::ServerResponse(said) => {
            Fault::Unavailable(format!("the code is not exchanged: {}", said.error()))
        }
        RequestTokenError::Request(error) => unavailable(&error.to_string()),
        // What could not be read is not repeated: it may hold tokens.
        RequestTokenError::Parse(error, _) => Fault::Unavailable(format!(
            "the answer to the code cannot be read, at {}",
            error.path()
        )),
        RequestTokenError::Other(_) => unavailable("the answer to the code is none"),
    }
}
