//! What a registry says for itself, on one line.

use civ_oci::text::one_line;
use serde::Deserialize;

/// The most of a registry's own words that is shown, in bytes.
pub(super) const MESSAGE_MAX: usize = 300;

/// The first error of an [OCI error body](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes),
/// displayed as `: CODE message`, or as nothing where there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostic {
    /// The code, such as `NAME_UNKNOWN`.
    pub code: Option<String>,
    /// The message, on one line.
    pub message: Option<String>,
}

impl Diagnostic {
    /// Reads the body of an error answer: of a registry, or of a token service (which says `error`
    /// and `error_description`, or `details`).
    pub fn parse(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default)]
            errors: Vec<Item>,
            error: Option<serde_json::Value>,
            error_description: Option<String>,
            details: Option<String>,
        }
        #[derive(Deserialize)]
        struct Item {
            code: Option<String>,
            message: Option<String>,
        }
        let line = |text: &String| one_line(text.trim(), MESSAGE_MAX);
        let Ok(body) = serde_json::from_slice::<Body>(body) else {
            return Self::of_text(body);
        };
        match body.errors.first() {
            Some(item) => Self {
                code: item.code.as_ref().map(line),
                message: item.message.as_ref().filter(|text| !text.trim().is_empty()).map(line),
            },
            None => Self {
                code: body.error.as_ref().and_then(|error| error.as_str().map(str::to_owned)),
                message: body.error_description.or(body.details).as_ref().map(line),
            },
        }
    }

    /// A body that is not JSON is shown if it is one short line; an HTML page says nothing.
    fn of_text(body: &[u8]) -> Self {
        let message = std::str::from_utf8(body)
            .ok()
            .map(str::trim)
            .filter(|text| !text.is_empty() && !text.starts_with('<') && text.lines().count() == 1)
            .map(|text| one_line(text, MESSAGE_MAX));
        Self { code: None, message }
    }
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.code, &self.message) {
            (Some(code), Some(message)) => write!(f, ": {} {message}", one_line(code, 64)),
            (Some(text), None) | (None, Some(text)) => write!(f, ": {text}"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_the_registry_says_on_one_line() {
        for (body, shown) in [
            (
                r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such\nrepository"}]}"#,
                r": NAME_UNKNOWN no such\u{a}repository",
            ),
            (
                r#"{"errors":[{"code":"DENIED","message":"","detail":{"a":1}},{"code":"X"}]}"#,
                ": DENIED",
            ),
            (r#"{"errors":[{"message":"only words"}]}"#, ": only words"),
            (
                r#"{"error":"invalid_grant","error_description":"expired"}"#,
                ": invalid_grant expired",
            ),
            (r#"{"details":"incorrect username or password"}"#, ": incorrect username or password"),
            ("not found", ": not found"),
            ("", ""),
            ("<html>\u{1b}[2J</html>", ""),
            ("{}", ""),
        ] {
            assert_eq!(Diagnostic::parse(body.as_bytes()).to_string(), shown, "{body}");
        }
        assert_eq!(Diagnostic::parse(b"\xff\xfe"), Diagnostic::default());
    }

    #[test]
    fn a_long_message_is_cut() {
        let body = format!(r#"{{"errors":[{{"code":"X","message":"{}"}}]}}"#, "m".repeat(10_000));
        assert!(Diagnostic::parse(body.as_bytes()).to_string().len() < 400);
    }
}
