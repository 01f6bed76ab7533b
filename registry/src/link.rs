//! `Link: <address>; rel="next"`: how registries say that a list goes on
//! ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288), as far as the distribution specification
//! uses it).

/// The target of the first link with the relation `next`, as written: an address or a path.
pub fn next_target(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let parameters = after.split('<').next().unwrap_or_default();
        if parameters.split(';').any(is_relation_next) && !target.is_empty() {
            return Some(target);
        }
        rest = after;
    }
    None
}

/// `rel="next"`, quoted or not, perhaps before the comma that ends this link.
fn is_relation_next(parameter: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    let value = value.trim().trim_end_matches(',').trim().trim_matches('"');
    name.trim().eq_ignore_ascii_case("rel")
        && value.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_next_page() {
        for (header, next) in [
            (r#"</v2/a/referrers/d?last=x>; rel="next""#, Some("/v2/a/referrers/d?last=x")),
            ("<https://r.io/v2/a/tags/list?n=2>;rel=next", Some("https://r.io/v2/a/tags/list?n=2")),
            (r#"</1>; rel="prev", </2>; title=x; REL="up next""#, Some("/2")),
            (r#"</1>; rel="prev""#, None),
            (r#"<>; rel="next""#, None),
            ("/v2/a", None),
            ("</1", None),
            ("", None),
        ] {
            assert_eq!(next_target(header), next, "{header}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_parser_panic(header in "[<>;=, \"a-z/]{0,40}|\\PC{0,40}") {
            let _ = next_target(&header);
        }
    }
}
