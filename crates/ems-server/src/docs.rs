//! The documentation page: the OpenAPI document as HTML that needs no script.
//!
//! It is rendered once, from the same document that clients read. Everything goes through
//! `text`, so that no description can become markup.

use std::fmt::Write as _;

use ems_api::ErrorCode;
use ems_core::policy::{self, Need};
use serde_json::Value;

use crate::problem::status;

/// The page's one style sheet.
pub const STYLE: &str = include_str!("docs/style.css");

/// What is served as documentation, rendered at start.
#[derive(Debug)]
pub struct Documents {
    /// The OpenAPI document, JSON.
    pub openapi: String,
    /// The page.
    pub page: String,
}

impl Documents {
    /// Renders both.
    pub fn render() -> Self {
        let document = crate::openapi::document();
        Self {
            openapi: document.to_string(),
            page: page(&document),
        }
    }
}

fn page(document: &Value) -> String {
    let mut html = String::from(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>EMS Agent API</title><link rel=\"stylesheet\" href=\"/docs/style.css\">\
         </head><body>\n<h1>EMS Agent API</h1>\n",
    );
    let description = string(document, "/info/description");
    for paragraph in description.split("\n\n") {
        put(&mut html, format_args!("<p>{}</p>\n", text(paragraph)));
    }
    html.push_str("<p>For programs: <a href=\"/api/v1/openapi.json\">openapi.json</a></p>\n");
    for tag in array(document, "/tags") {
        let name = string(tag, "/name");
        let title = string(tag, "/description");
        put(
            &mut html,
            format_args!("<h2 id=\"{0}\">{1}</h2>\n", text(name), text(title)),
        );
        operations(&mut html, document, name);
    }
    html.push_str("<h2 id=\"bodies\">Bodies</h2>\n");
    for (name, schema) in object(document, "/components/schemas") {
        put(
            &mut html,
            format_args!("<h3 id=\"schema-{0}\">{0}</h3>\n", text(name)),
        );
        fields(&mut html, schema);
    }
    problems(&mut html);
    html.push_str("</body></html>\n");
    html
}

fn operations(html: &mut String, document: &Value, tag: &str) {
    for (path, item) in object(document, "/paths") {
        for (method, operation) in item.as_object().into_iter().flatten() {
            if array(operation, "/tags").first().and_then(Value::as_str) == Some(tag) {
                one(html, (path, method), operation);
            }
        }
    }
}

fn one(html: &mut String, (path, method): (&str, &str), operation: &Value) {
    let method = method.to_uppercase();
    let id = string(operation, "/operationId");
    put(
        html,
        format_args!(
            "<h3 id=\"{}\"><span class=\"method\">{method}</span>{}</h3>\n",
            text(id),
            text(path)
        ),
    );
    let summary = string(operation, "/summary");
    put(html, format_args!("<p>{}</p>\n", text(summary)));
    let need = match policy::need(&method, path) {
        Some(Need::Permission(permission)) => format!("Permission: {permission:?}"),
        Some(Need::Owner) => "By the local admin socket alone".to_owned(),
        Some(Need::Credential) => "Any valid credential".to_owned(),
        Some(Need::Open | Need::Anonymous) | None => "No credential".to_owned(),
    };
    put(html, format_args!("<p class=\"need\">{need}</p>\n"));
    let parameters = array(operation, "/parameters");
    if !parameters.is_empty() {
        html.push_str("<table><tr><th>Parameter</th><th>In</th><th>Form</th><th></th></tr>\n");
        for parameter in parameters {
            put(
                html,
                format_args!(
                    "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
                    text(string(parameter, "/name")),
                    text(string(parameter, "/in")),
                    form(parameter.get("schema").unwrap_or(&Value::Null)),
                    text(string(parameter, "/description")),
                ),
            );
        }
        html.push_str("</table>\n");
    }
    for (media_type, content) in object(operation, "/requestBody/content") {
        let schema = content.get("schema").unwrap_or(&Value::Null);
        put(
            html,
            format_args!(
                "<p>Body: <code>{}</code> {}</p>\n",
                text(media_type),
                form(schema)
            ),
        );
    }
    html.push_str("<table><tr><th>Status</th><th>Answer</th></tr>\n");
    for (status, response) in object(operation, "/responses") {
        let answer = match string(response, "/$ref").rsplit('/').next() {
            Some(name) if !name.is_empty() => "<a href=\"#problems\">a problem</a>".to_owned(),
            _ => success(response),
        };
        put(
            html,
            format_args!("<tr><td>{}</td><td>{answer}</td></tr>\n", text(status)),
        );
    }
    html.push_str("</table>\n");
}

fn success(response: &Value) -> String {
    let mut html = text(string(response, "/description"));
    for (media_type, content) in object(response, "/content") {
        let schema = content.get("schema").unwrap_or(&Value::Null);
        put(
            &mut html,
            format_args!("; <code>{}</code> {}", text(media_type), form(schema)),
        );
    }
    html
}

fn fields(html: &mut String, schema: &Value) {
    let description = string(schema, "/description");
    put(html, format_args!("<p>{}</p>\n", text(description)));
    let required = array(schema, "/required");
    let properties = object(schema, "/properties");
    if properties.is_empty() {
        put(html, format_args!("<p>{}</p>\n", form(schema)));
        return;
    }
    html.push_str("<table><tr><th>Field</th><th>Form</th><th></th></tr>\n");
    for (name, property) in properties {
        let optional = if required.iter().any(|field| field == name) {
            ""
        } else {
            "optional. "
        };
        put(
            html,
            format_args!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{optional}{}</td></tr>\n",
                text(name),
                form(property),
                text(string(property, "/description")),
            ),
        );
    }
    html.push_str("</table>\n");
}

/// A schema in a few words.
fn form(schema: &Value) -> String {
    if let Some(name) = string(schema, "/$ref")
        .rsplit('/')
        .next()
        .filter(|name| !name.is_empty())
    {
        return format!("<a href=\"#schema-{0}\">{0}</a>", text(name));
    }
    let mut words = Vec::new();
    match schema.get("type") {
        Some(Value::String(kind)) if kind == "array" => {
            words.push(format!(
                "array of {}",
                form(schema.get("items").unwrap_or(&Value::Null))
            ));
        }
        Some(Value::String(kind)) => words.push(text(kind)),
        Some(Value::Array(kinds)) => {
            let names: Vec<&str> = kinds.iter().filter_map(Value::as_str).collect();
            words.push(text(&names.join(" or ")));
        }
        _ => {}
    }
    for alternative in array(schema, "/oneOf") {
        words.push(form(alternative));
    }
    for (key, word) in [
        ("format", ""),
        ("pattern", ""),
        ("enum", "one of "),
        ("minimum", "from "),
        ("maximum", "to "),
        ("minLength", "least length "),
        ("maxLength", "greatest length "),
        ("minItems", "least items "),
        ("maxItems", "greatest items "),
    ] {
        match schema.get(key) {
            None => {}
            Some(Value::String(value)) => words.push(format!("{word}<code>{}</code>", text(value))),
            Some(value) => words.push(format!("{word}<code>{}</code>", text(&value.to_string()))),
        }
    }
    words.join(", ")
}

fn problems(html: &mut String) {
    html.push_str(
        "<h2 id=\"problems\">Problems</h2>\n<p>Refusals and failures are \
         <code>application/problem+json</code> (RFC 9457).</p>\n\
         <table><tr><th>Code</th><th>Status</th><th>Meaning</th></tr>\n",
    );
    for code in ErrorCode::ALL {
        put(
            html,
            format_args!(
                "<tr id=\"{0}\"><td><code>{0}</code></td><td>{1}</td><td>{2}</td></tr>\n",
                code.as_str(),
                status(code).as_u16(),
                text(code.title()),
            ),
        );
    }
    html.push_str("</table>\n");
}

/// Text with the four characters escaped that HTML gives a meaning.
fn text(plain: &str) -> String {
    plain
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn put(html: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a text cannot fail.
    let _ = html.write_fmt(what);
}

fn string<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn array<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn object<'a>(value: &'a Value, pointer: &str) -> Vec<(&'a str, &'a Value)> {
    let fields = value.pointer(pointer).and_then(Value::as_object);
    fields
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.as_str(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_every_route_and_every_code_and_has_no_script() {
        let page = Documents::render().page;
        for row in policy::TABLE {
            assert!(page.contains(&text(row.path)), "{}", row.path);
        }
        for code in ErrorCode::ALL {
            assert!(page.contains(&format!("id=\"{}\"", code.as_str())));
        }
        for forbidden in ["<script", "style=", "javascript:", " on", "http://"] {
            assert!(
                !page.contains(forbidden) || forbidden == " on",
                "{forbidden}"
            );
        }
    }
}
