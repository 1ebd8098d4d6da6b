//! The OpenAPI document: made from the handlers and the wire types, then completed by rules.
//!
//! What holds for every operation of a kind is said here once, from the policy table: the
//! credential it needs, the refusals it can answer, the header fields of its answers. A handler
//! names only what is its own.

use ems_api::{ErrorCode, problem::MEDIA_TYPE};
use ems_core::policy::{self, Need, Row};
use http::StatusCode;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::{api, problem::status};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "EMS Agent",
        version = "1",
        description = "Meter readings in, encrypted at rest, and out to those allowed.\n\n\
            Instants are RFC 3339 with an offset and come back in UTC. In a query string `+` is a \
            plus sign, so that an offset needs no encoding. `HEAD` answers as `GET` does, without \
            a body; a method that a path does not have is answered 405 with `Allow`, `OPTIONS` \
            among them, since no other origin may call. Request bodies are JSON unless a route \
            says more.",
    ),
    paths(
        api::health::health,
        api::health::ready,
        api::docs::openapi,
        api::docs::page,
        api::docs::style,
        api::auth::token,
        api::auth::refresh,
        api::auth::logout,
        api::auth::me,
        api::auth::password,
        api::auth::secure,
        api::mfa::enrol,
        api::mfa::confirm,
        api::mfa::remove,
        api::mfa::reset,
        api::sso::login,
        api::sso::callback,
        api::users::create,
        api::users::list,
        api::users::get,
        api::users::change,
        api::users::remove,
        api::keys::create,
        api::keys::list,
        api::keys::revoke,
        api::keys::rotate,
        api::data::ingest::create,
        api::data::ingest::batch,
        api::data::ingest::validate,
        api::data::query::get,
        api::data::remove,
        api::meters::list,
        api::meters::get,
        api::meters::put,
        api::meters::remove,
        api::analytics::usage,
        api::bans::list,
        api::bans::add,
        api::bans::get,
        api::bans::lift,
        api::security::events,
        api::security::incident,
        api::alerts::list,
        api::alerts::test,
        api::keyring::status,
        api::keyring::rotate_pages,
        api::keyring::rotate_root,
        api::keyring::destroy,
    ),
    components(schemas(ems_api::Problem)),
    tags(
        (name = "sessions", description = "Logging in, staying in, going"),
        (name = "readings", description = "Readings in and out"),
        (name = "meters", description = "Meters and what is known of them"),
        (name = "analytics", description = "Usage by calendar buckets"),
        (name = "users", description = "Accounts of people"),
        (name = "keys", description = "API keys of devices and head-ends"),
        (name = "security", description = "Addresses that are shut out, what happened, and reports on it"),
        (name = "keyring", description = "The keys above all stored keys, by the admin socket alone"),
        (name = "security", description = "Who is told of security events"),
        (name = "operation", description = "Health and documentation"),
    ),
)]
struct Handlers;

/// The document.
pub fn document() -> Value {
    let mut document = serde_json::to_value(Handlers::openapi()).unwrap_or_default();
    for row in policy::TABLE {
        let method = row.method.to_ascii_lowercase();
        if let Some(operation) = document
            .pointer_mut(&format!("/paths/{}/{method}", escape(row.path)))
            .and_then(Value::as_object_mut)
        {
            complete(operation, row);
        }
    }
    if let Some(components) = document
        .get_mut("components")
        .and_then(Value::as_object_mut)
    {
        components.insert("securitySchemes".into(), security_schemes());
        components.insert("headers".into(), headers());
        components.insert("responses".into(), problem_responses());
    }
    if let Some(user) = document
        .pointer_mut("/components/schemas/NewUser")
        .and_then(Value::as_object_mut)
    {
        user.insert(
            "anyOf".into(),
            json!([
                {"properties": {"role": {"enum": ["admin", "analyst"]}}},
                {"required": ["meters"]},
                {"required": ["customer_id"]},
            ]),
        );
        user.insert("not".into(), json!({"required": ["meters", "customer_id"]}));
    }
    document
}

/// A path as one part of a JSON pointer.
fn escape(path: &str) -> String {
    path.replace('~', "~0").replace('/', "~1")
}

fn complete(operation: &mut Map<String, Value>, row: &Row) {
    let security = match row.need {
        Need::Open | Need::Anonymous => json!([]),
        Need::Credential | Need::Permission(_) | Need::Owner => {
            json!([{"bearer": []}, {"apiKey": []}])
        }
    };
    operation.insert("security".into(), security);
    bound_parameters(operation);
    loosen_rows(operation);
    let has_body = operation.contains_key("requestBody");
    let statuses = statuses(row, has_body);
    let Some(responses) = operation
        .get_mut("responses")
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    for (code, response) in responses.iter_mut() {
        if code.starts_with(['4', '5']) && response.get("content").is_none() {
            *response = reference(code);
        } else {
            name_headers(response, row.need);
        }
    }
    for status in statuses {
        let code = status.as_str();
        responses.entry(code).or_insert_with(|| reference(code));
    }
}

/// Bounds of query parameters, by their names, which mean the same everywhere.
fn bound_parameters(operation: &mut Map<String, Value>) {
    let parameters = operation
        .get_mut("parameters")
        .and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        let bounds = match (
            parameter.get("in").and_then(Value::as_str),
            parameter.get("name").and_then(Value::as_str),
        ) {
            (Some("query"), Some("cursor")) => json!({"pattern": "^[A-Za-z0-9_-]{22,256}$"}),
            (Some("query"), Some("prefix")) => json!({"pattern": "^[A-Za-z0-9_-]{0,50}$"}),
            (Some("query"), Some("timezone")) => json!({"pattern": "^[A-Za-z0-9_+/-]{1,64}$"}),
            (Some("query"), Some("meter_id")) => {
                json!({"maxItems": 200, "items": {"$ref": "#/components/schemas/ScopeEntry"}})
            }
            _ => continue,
        };
        let schema = parameter.get_mut("schema").and_then(Value::as_object_mut);
        if let (Some(schema), Value::Object(bounds)) = (schema, bounds) {
            schema.extend(bounds);
        }
    }
}

/// A batch takes any row, since it names the bad ones in its answer instead of refusing them all.
fn loosen_rows(operation: &mut Map<String, Value>) {
    let schema = operation
        .get_mut("requestBody")
        .and_then(|body| body.pointer_mut("/content/application~1json/schema"))
        .and_then(Value::as_object_mut);
    if let Some(schema) = schema
        && let Some(row) = schema.get("items").cloned()
    {
        let anything = json!({"description": "What is no reading is rejected, by its index."});
        schema.insert("items".into(), json!({"anyOf": [row, anything]}));
    }
}

/// The refusals that an operation can answer by its kind.
fn statuses(row: &Row, has_body: bool) -> Vec<StatusCode> {
    let mut all = vec![
        // An address that is shut out, or what looks like an attack, on whatever route.
        StatusCode::FORBIDDEN,
        StatusCode::NOT_ACCEPTABLE,
        StatusCode::URI_TOO_LONG,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if row.need != Need::Open {
        all.extend([
            StatusCode::BAD_REQUEST,
            StatusCode::UNAUTHORIZED,
            StatusCode::TOO_MANY_REQUESTS,
        ]);
    }
    // A meter that is named in the query is found or not just as one in the path.
    if row.path.contains('{') || row.path.starts_with("/api/v1/analytics/") {
        all.push(StatusCode::NOT_FOUND);
    }
    if row.method != "GET" && row.need != Need::Anonymous {
        all.push(StatusCode::CONFLICT);
    }
    if has_body {
        all.extend([
            StatusCode::REQUEST_TIMEOUT,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            StatusCode::UNPROCESSABLE_ENTITY,
        ]);
    }
    all
}

fn reference(code: &str) -> Value {
    json!({"$ref": format!("#/components/responses/Problem{code}")})
}

fn name_headers(response: &mut Value, need: Need) {
    let Some(response) = response.as_object_mut() else {
        return;
    };
    let headers = response.entry("headers").or_insert_with(|| json!({}));
    let mut names = vec!["X-Request-Id"];
    if need != Need::Open {
        names.extend(["RateLimit", "RateLimit-Policy"]);
    }
    if let Some(headers) = headers.as_object_mut() {
        for name in names {
            headers.insert(
                name.into(),
                json!({"$ref": format!("#/components/headers/{name}")}),
            );
        }
    }
}

fn security_schemes() -> Value {
    json!({
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The access token of a session, from /api/v1/auth/token.",
        },
        "apiKey": {
            "type": "apiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "An API key, from /api/v1/keys.",
        },
    })
}

fn headers() -> Value {
    let text = |description: &str, example: &str| json!({"description": description, "schema": {"type": "string"}, "example": example});
    json!({
        "X-Request-Id": text("The request's id, to be named in a report.", "5f0c0b7e9a3d4c21"),
        "RateLimit": text(
            "What is left of the window; absent where nothing limits.",
            "\"default\";r=999;t=3600",
        ),
        "RateLimit-Policy": text("The window's bound and seconds.", "\"default\";q=1000;w=3600"),
        "Retry-After": text("Seconds after which to try again.", "5"),
        "WWW-Authenticate": text("How to authenticate.", "Bearer"),
        "Allow": text("The methods there are.", "GET, HEAD"),
    })
}

fn problem_responses() -> Value {
    let mut responses = Map::new();
    for code in ErrorCode::ALL {
        let status = status(code);
        let name = format!("Problem{}", status.as_str());
        let names = responses
            .entry(name)
            .or_insert_with(|| problem_response(status))
            .get_mut("description");
        if let Some(Value::String(text)) = names {
            let separator = if text.ends_with(':') { " " } else { ", " };
            *text = format!("{text}{separator}`{}`", code.as_str());
        }
    }
    Value::Object(responses)
}

fn problem_response(status: StatusCode) -> Value {
    let reason = status.canonical_reason().unwrap_or_default();
    let mut names = vec!["X-Request-Id"];
    match status {
        StatusCode::UNAUTHORIZED => names.push("WWW-Authenticate"),
        StatusCode::METHOD_NOT_ALLOWED => names.push("Allow"),
        StatusCode::TOO_MANY_REQUESTS => {
            names.extend(["Retry-After", "RateLimit", "RateLimit-Policy"]);
        }
        StatusCode::SERVICE_UNAVAILABLE => names.push("Retry-After"),
        _ => {}
    }
    let headers: Map<String, Value> = names
        .into_iter()
        .map(|name| {
            (
                name.into(),
                json!({"$ref": format!("#/components/headers/{name}")}),
            )
        })
        .collect();
    json!({
        "description": format!("{reason}:"),
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn describes_every_route_of_the_policy_and_no_other() {
        let document = document();
        let mut described: Vec<(String, String)> = Vec::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys() {
                described.push((method.to_uppercase(), path.clone()));
            }
        }
        let mut asked: Vec<(String, String)> = policy::TABLE
            .iter()
            .map(|row| (row.method.into(), row.path.into()))
            .collect();
        described.sort();
        asked.sort();
        assert_eq!(described, asked);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn walk(value: &Value, document: &Value) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(to)) = fields.get("$ref") {
                        let pointer = to.strip_prefix('#').unwrap();
                        assert!(document.pointer(pointer).is_some(), "{to}");
                    }
                    fields.values().for_each(|value| walk(value, document));
                }
                Value::Array(items) => items.iter().for_each(|value| walk(value, document)),
                _ => {}
            }
        }
        let document = document();
        walk(&document, &document);
    }

    #[test]
    fn every_input_refuses_what_it_does_not_know() {
        let document = document();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let Some(content) = operation.pointer("/requestBody/content") else {
                    continue;
                };
                let Some(reference) = content.pointer("/application~1json/schema/$ref") else {
                    continue;
                };
                let schema = document.pointer(&reference.as_str().unwrap()[1..]).unwrap();
                assert_eq!(
                    schema["additionalProperties"],
                    json!(false),
                    "{method} {path}"
                );
            }
        }
    }
}
