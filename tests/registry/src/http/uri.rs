//! Percent-encoding in paths and queries.

use std::fmt::Write as _;

/// Decodes `%xx`; what is malformed stays as it is.
pub(crate) fn decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let escape = part.split_at_checked(2).and_then(|(hex, rest)| Some((byte(hex)?, rest)));
        let (byte, rest) = escape.unwrap_or((b'%', part));
        decoded.push(byte);
        decoded.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn byte(hex: &str) -> Option<u8> {
    let all_hex = hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    all_hex.then(|| u8::from_str_radix(hex, 16).ok()).flatten()
}

/// Decodes a value in a query, where `+` is a space, as HTML forms and Go's `net/url` have it.
fn decode_query(text: &str) -> String {
    decode(&text.replace('+', " "))
}

/// Encodes everything but letters, digits and `-._~`.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The decoded values of `name` in `query`.
pub(crate) fn query_values(query: &str, name: &str) -> Vec<String> {
    query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(key, _)| decode_query(key) == name)
        .map(|(_, value)| decode_query(value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_what_is_well_formed_and_keeps_the_rest() {
        for (text, decoded) in [
            ("", ""),
            ("sha256%3Aab", "sha256:ab"),
            ("a%2fb%2Fc", "a/b/c"),
            ("100%", "100%"),
            ("%zz%+1%4", "%zz%+1%4"),
            ("%C3%BC", "ü"),
            ("%ü", "%ü"),
        ] {
            assert_eq!(decode(text), decoded, "{text}");
        }
    }

    #[test]
    fn query_values_are_forms() {
        let query = "scope=a+b&scope=c%2Bd&empty&x=1=2";
        assert_eq!(query_values(query, "scope"), ["a b", "c+d"]);
        assert_eq!(query_values(query, "empty"), [""]);
        assert_eq!(query_values(query, "x"), ["1=2"]);
        assert!(query_values(query, "none").is_empty());
        assert_eq!(query_values(&format!("x={}", encode("a/b+c d")), "x"), ["a/b+c d"]);
    }
}
