//! `WWW-Authenticate`: what a registry asks for before it answers (RFC 9110, 11.6.1, and the
//! [token scheme](https://distribution.github.io/distribution/spec/auth/token/) of registries).

/// A challenge that civ can meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// User name and password with each request.
    Basic,
    /// A token, to be had from a token server.
    Bearer {
        /// The token server's address, as the registry states it.
        realm: String,
        /// What the token server calls the registry.
        service: Option<String>,
        /// The access that the request needed.
        scope: Option<String>,
    },
}

impl Challenge {
    /// The first challenge in a `WWW-Authenticate` header that civ can meet: Bearer before Basic.
    pub fn parse(header: &str) -> Option<Self> {
        let challenges = parse_challenges(header)?;
        let bearer = challenges.iter().find_map(|(scheme, parameters)| {
            let get = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone())
            };
            let realm = scheme.eq_ignore_ascii_case("bearer").then(|| get("realm"))??;
            Some(Self::Bearer { realm, service: get("service"), scope: get("scope") })
        });
        let basic = || challenges.iter().any(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        bearer.or_else(|| basic().then_some(Self::Basic))
    }

    /// The address at which a token is to be had for this challenge, if it asks for one. `scope`
    /// overrides the one stated.
    pub fn token_url(&self, scope: &str) -> Option<String> {
        let Self::Bearer { realm, service, .. } = self else { return None };
        let mut url = realm.clone();
        let mut separator = if realm.contains('?') { '&' } else { '?' };
        let mut push = |name: &str, value: &str| {
            url.push(separator);
            url.push_str(name);
            url.push('=');
            push_percent_encoded(&mut url, value);
            separator = '&';
        };
        if let Some(service) = service {
            push("service", service);
        }
        push("scope", scope);
        Some(url)
    }
}

type Parameters = Vec<(String, String)>;

/// `scheme [token68 | name=value, …] [, scheme …]`. A scheme is a token that no `=` follows.
fn parse_challenges(header: &str) -> Option<Vec<(String, Parameters)>> {
    let mut challenges: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (token, after) = take_token(rest)?;
        let after = after.trim_start_matches([' ', '\t']);
        rest = if let Some(value) = after.strip_prefix('=') {
            let (value, after) = take_value(value.trim_start_matches([' ', '\t']))?;
            challenges.last_mut()?.1.push((token.to_owned(), value));
            after
        } else {
            challenges.push((token.to_owned(), Vec::new()));
            after
        };
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    Some(challenges)
}

fn take_token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c: char| !is_token(c)).unwrap_or(text.len());
    if end == 0 { None } else { text.split_at_checked(end) }
}

fn take_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (token, rest) = take_token(text)?;
        return Some((token.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

fn push_percent_encoded(url: &mut String, value: &str) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/,*".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push('%');
            for nibble in [byte >> 4, byte & 0xf] {
                let digit = char::from_digit(u32::from(nibble), 16).unwrap_or_default();
                url.push(digit.to_ascii_uppercase());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let (service, scope) = (service.map(str::to_owned), scope.map(str::to_owned));
        Challenge::Bearer { realm: realm.to_owned(), service, scope }
    }

    #[test]
    fn reads_what_registries_send() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull""#,
                Some(bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:library/busybox:pull"),
                )),
            ),
            (
                r#"bearer  Realm = "https://r/t" , SERVICE=r"#,
                Some(bearer("https://r/t", Some("r"), None)),
            ),
            (r#"Bearer realm="a\"b""#, Some(bearer("a\"b", None, None))),
            (
                r#"Basic realm="x", Bearer realm="https://r/t""#,
                Some(bearer("https://r/t", None, None)),
            ),
            (
                r#"Basic realm="https://1.dkr.ecr.us-east-1.amazonaws.com/",service="ecr.amazonaws.com""#,
                Some(Challenge::Basic),
            ),
            ("Basic", Some(Challenge::Basic)),
            (r#"Negotiate, Basic realm="x""#, Some(Challenge::Basic)),
            ("Bearer", None),
            (r#"Bearer realm="unterminated"#, None),
            (r#"Bearer realm="x\"#, None),
            ("", None),
            ("=", None),
            ("realm=x", None),
        ] {
            assert_eq!(Challenge::parse(header), expected, "{header}");
        }
    }

    #[test]
    fn a_scope_cannot_add_parameters_to_the_token_address() {
        let challenge =
            Challenge::parse(r#"Bearer realm="https://r/t?x=1",service="a&b c""#).unwrap();
        assert_eq!(
            challenge.token_url("repository:a/b:pull&c").unwrap(),
            "https://r/t?x=1&service=a%26b%20c&scope=repository:a/b:pull%26c"
        );
        assert_eq!(Challenge::Basic.token_url("x"), None);
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(header in "\\PC{0,80}|[Bb]earer [a-z=,\"\\\\ ]{0,60}") {
            let _ = Challenge::parse(&header);
        }
    }
}
