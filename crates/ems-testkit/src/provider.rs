//! A provider of identities (OpenID Connect Core 1.0 and Discovery 1.0, RFC 7636): it grants at
//! once whoever a test names, checks all that a client has to send, and can be told to lie.
//!
//! It signs by another implementation than the product verifies by, so that the two check each
//! other.

use std::{collections::HashMap, sync::Arc};

use anyhow::{Context, Result};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use ems_crypto::{hash::sha256, random};
use openidconnect::{
    JsonWebKeyId, PrivateSigningKey,
    core::{CoreEdDsaPrivateSigningKey, CoreHmacKey, CoreJwsSigningAlgorithm},
};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the product is called at the provider, and the secret that it shows.
pub const CLIENT: (&str, &str) = ("ems", "a secret of the client's & its own");

/// What is wrong with an id token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    None,
    /// No signature: `alg` is `none`.
    Unsigned,
    /// A MAC under the client's secret, which the product knows too.
    Mac,
    /// A signature by a key that is not published, under the name of the one that is.
    OtherKey,
    /// A signature by a key whose name is not published.
    UnknownKey,
}

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// As it should.
    Well,
    /// With what is no JSON.
    Garbage,
    /// With more than anybody should read.
    Endless,
    /// Never.
    Silent,
    /// With a status of 500.
    Broken,
}

struct Grant {
    challenge: String,
    nonce: String,
    redirect_uri: String,
}

struct State {
    claims: Map<String, Value>,
    lie: Lie,
    manner: Manner,
    key: (String, CoreEdDsaPrivateSigningKey),
    grants: HashMap<String, Grant>,
    asked: HashMap<String, usize>,
}

/// A provider that answers until it is dropped.
pub struct Provider {
    issuer: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Provider({})", self.issuer)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Provider {
    /// Starts one on a port of its own.
    ///
    /// # Errors
    /// Where that fails.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let issuer = format!("http://{}", listener.local_addr()?);
        let state = State {
            claims: Map::new(),
            lie: Lie::None,
            manner: Manner::Well,
            key: signing_key()?,
            grants: HashMap::new(),
            asked: HashMap::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let (shared, name) = (Arc::clone(&state), issuer.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, issuer) = (Arc::clone(&shared), name.clone());
                tokio::spawn(async move { serve(stream, &issuer, &state).await });
            }
        });
        Ok(Self {
            issuer,
            state,
            task,
        })
    }

    /// Its name.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Who logs in from now on: the claims of the next id tokens, laid over those that it makes.
    pub fn log_in(&self, claims: &Value) {
        self.state.lock().claims = claims.as_object().cloned().unwrap_or_default();
    }

    /// What is wrong with id tokens from now on.
    pub fn lie(&self, lie: Lie) {
        self.state.lock().lie = lie;
    }

    /// How it answers from now on.
    pub fn behave(&self, manner: Manner) {
        self.state.lock().manner = manner;
    }

    /// Signs and publishes another key from now on.
    ///
    /// # Errors
    /// Where none can be made.
    pub fn rotate(&self) -> Result<()> {
        self.state.lock().key = signing_key()?;
        Ok(())
    }

    /// How often a path was asked for.
    pub fn asked(&self, path: &str) -> usize {
        self.state.lock().asked.get(path).copied().unwrap_or(0)
    }
}

fn signing_key() -> Result<(String, CoreEdDsaPrivateSigningKey)> {
    // RFC 8410 §7: what comes before the 32 bytes.
    let mut der = vec![
        0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04,
        0x20,
    ];
    der.extend_from_slice(&random::bytes::<32>());
    let label = "PRIVATE KEY";
    let pem = format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        BASE64.encode(&der)
    );
    let kid = random::base62(8);
    let name = Some(JsonWebKeyId::new(kid.clone()));
    let key =
        CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, name).map_err(anyhow::Error::msg)?;
    Ok((kid, key))
}

/// A request, as far as it matters here.
struct Asked {
    path: String,
    query: HashMap<String, String>,
    authorization: String,
    form: HashMap<String, String>,
}

/// A status, a header field, and a body.
type Reply = (u16, (&'static str, String), String);

async fn serve(mut stream: TcpStream, issuer: &str, state: &Mutex<State>) {
    let Ok(asked) = read(&mut stream).await else {
        return;
    };
    let manner = {
        let mut state = state.lock();
        *state.asked.entry(asked.path.clone()).or_default() += 1;
        state.manner
    };
    let json = || ("content-type", "application/json".to_owned());
    let (status, (name, value), body) = match manner {
        Manner::Well => reply(&asked, issuer, &mut state.lock()),
        Manner::Garbage => (200, json(), "<html>\"not what you asked for".to_owned()),
        Manner::Endless => (200, json(), "9".repeat(3 << 20)),
        Manner::Broken => (500, json(), json!({"error": "server_error"}).to_string()),
        Manner::Silent => {
            // Until the other side has had enough.
            let _ = stream.read(&mut [0; 1]).await;
            return;
        }
    };
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status} X\r\n{name}: {value}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Result<Asked> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            anyhow::bail!("the connection ended");
        }
    };
    let text = String::from_utf8_lossy(bytes.get(..head).unwrap_or_default()).into_owned();
    let mut lines = text.lines();
    let target = lines.next().and_then(|line| line.split(' ').nth(1));
    let target = target.context("no request line")?.to_owned();
    let fields: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = fields
        .get("content-length")
        .map_or("0", |text| text)
        .parse::<usize>()?;
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await? == 0 {
            anyhow::bail!("the connection ended");
        }
    }
    let body = String::from_utf8_lossy(bytes.get(head + 4..).unwrap_or_default()).into_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Ok(Asked {
        path: path.to_owned(),
        query: pairs(query),
        authorization: fields.get("authorization").cloned().unwrap_or_default(),
        form: pairs(&body),
    })
}

/// `application/x-www-form-urlencoded`.
fn pairs(text: &str) -> HashMap<String, String> {
    let decode = |part: &str| {
        let part = part.replace('+', " ");
        percent_decode_str(&part).decode_utf8_lossy().into_owned()
    };
    let parts = text.split('&').filter_map(|pair| pair.split_once('='));
    parts
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn reply(asked: &Asked, issuer: &str, state: &mut State) -> Reply {
    let json = |status, body: &Value| {
        let kind = ("content-type", "application/json".to_owned());
        (status, kind, body.to_string())
    };
    match asked.path.as_str() {
        "/.well-known/openid-configuration" => json(
            200,
            &json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"),
                "jwks_uri": format!("{issuer}/jwks"),
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["EdDSA"],
                "code_challenge_methods_supported": ["S256"],
            }),
        ),
        "/jwks" => {
            let key = state.key.1.as_verification_key();
            json(200, &json!({ "keys": [key, {"kty": "oct", "k": "AAAA"}] }))
        }
        "/authorize" => authorize(asked, state),
        "/token" => match token(asked, issuer, state) {
            Ok(body) => json(200, &body),
            Err(error) => json(400, &json!({ "error": error })),
        },
        _ => json(404, &Value::Null),
    }
}

/// Grants, where the client asks as it should.
fn authorize(asked: &Asked, state: &mut State) -> Reply {
    let given = |name: &str| asked.query.get(name).cloned().unwrap_or_default();
    let scopes = given("scope");
    let fits = given("response_type") == "code"
        && given("client_id") == CLIENT.0
        && given("code_challenge_method") == "S256"
        && scopes.split(' ').any(|scope| scope == "openid")
        && ["state", "nonce", "code_challenge"]
            .iter()
            .all(|name| given(name).len() >= 32);
    if !fits {
        let kind = ("content-type", "text/plain".to_owned());
        return (400, kind, "not as a client asks".to_owned());
    }
    let code = random::base62(24);
    let place = format!(
        "{}?code={code}&state={}&session_state=x",
        given("redirect_uri"),
        given("state")
    );
    let grant = Grant {
        challenge: given("code_challenge"),
        nonce: given("nonce"),
        redirect_uri: given("redirect_uri"),
    };
    state.grants.insert(code, grant);
    (302, ("location", place), String::new())
}

/// Tokens for a code, once.
fn token(asked: &Asked, issuer: &str, state: &mut State) -> Result<Value, &'static str> {
    let given = |name: &str| asked.form.get(name).map(String::as_str).unwrap_or_default();
    // RFC 6749 §2.3.1: name and secret are encoded as in a form before they are joined.
    let shown = asked
        .authorization
        .strip_prefix("Basic ")
        .unwrap_or_default();
    let shown = BASE64.decode(shown.as_bytes()).unwrap_or_default();
    let shown = pairs(&String::from_utf8_lossy(&shown).replacen(':', "=", 1));
    if shown.get(CLIENT.0).map(String::as_str) != Some(CLIENT.1) {
        return Err("invalid_client");
    }
    if given("grant_type") != "authorization_code" {
        return Err("unsupported_grant_type");
    }
    let grant = state.grants.remove(given("code")).ok_or("invalid_grant")?;
    let challenge = BASE64URL_NOPAD.encode(&sha256(given("code_verifier").as_bytes()));
    if grant.challenge != challenge || grant.redirect_uri != given("redirect_uri") {
        return Err("invalid_grant");
    }
    Ok(json!({
        "access_token": random::base62(32),
        "token_type": "Bearer",
        "expires_in": 60,
        "id_token": id_token(issuer, &grant.nonce, state).ok_or("server_error")?,
    }))
}

fn id_token(issuer: &str, nonce: &str, state: &State) -> Option<String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    let mut claims = json!({
        "iss": issuer,
        "aud": CLIENT.0,
        "iat": now,
        "exp": now + 300,
        "nonce": nonce,
    });
    claims.as_object_mut()?.extend(state.claims.clone());
    let (kid, key) = &state.key;
    let (alg, kid) = match state.lie {
        Lie::Unsigned => ("none", kid.as_str()),
        Lie::Mac => ("HS256", kid.as_str()),
        Lie::UnknownKey => ("EdDSA", "nobody's"),
        Lie::None | Lie::OtherKey => ("EdDSA", kid.as_str()),
    };
    let header = json!({ "alg": alg, "typ": "JWT", "kid": kid });
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let message = format!("{}.{}", part(&header), part(&claims));
    let eddsa = |key: &CoreEdDsaPrivateSigningKey| {
        key.sign(&CoreJwsSigningAlgorithm::EdDsa, message.as_bytes())
            .ok()
    };
    let signature = match state.lie {
        Lie::Unsigned => Vec::new(),
        Lie::Mac => CoreHmacKey::new(CLIENT.1)
            .sign(&CoreJwsSigningAlgorithm::HmacSha256, message.as_bytes())
            .ok()?,
        Lie::OtherKey | Lie::UnknownKey => eddsa(&signing_key().ok()?.1)?,
        Lie::None => eddsa(key)?,
    };
    Some(format!("{message}.{}", BASE64URL_NOPAD.encode(&signature)))
}
