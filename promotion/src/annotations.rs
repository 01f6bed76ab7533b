//! Annotations that go into the signature, where the gate can ask for them.

use std::collections::BTreeMap;

use civ_oci::text::one_line;

/// Reads `key=value` texts, split at the first `=`.
pub fn parse<T: AsRef<str>>(
    texts: impl IntoIterator<Item = T>,
) -> Result<BTreeMap<String, String>, AnnotationError> {
    let mut annotations = BTreeMap::new();
    for text in texts {
        let text = text.as_ref();
        let named = || one_line(text, 100);
        let (key, value) =
            text.split_once('=').ok_or_else(|| AnnotationError::NoValue { text: named() })?;
        if key.is_empty() {
            return Err(AnnotationError::NoKey { text: named() });
        }
        if matches!(key, "creator" | "timestamp") {
            return Err(AnnotationError::Reserved { key: key.to_owned() });
        }
        if annotations.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(AnnotationError::Repeated { key: one_line(key, 100) });
        }
    }
    Ok(annotations)
}

/// Why a text is no annotation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AnnotationError {
    /// Nothing before the `=`.
    #[error("annotation {text:?} has no key before the '='")]
    NoKey {
        /// The text.
        text: String,
    },
    /// No `=`.
    #[error("annotation {text:?} has no '=': write key=value")]
    NoValue {
        /// The text.
        text: String,
    },
    /// The key twice.
    #[error("annotation {key:?} is given twice")]
    Repeated {
        /// The key.
        key: String,
    },
    /// A key that has another meaning in a signature.
    #[error(
        "annotation {key:?} is reserved: podman and skopeo reject signatures in which it is a plain \
         annotation"
    )]
    Reserved {
        /// The key.
        key: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_the_first_equals_sign() {
        let annotations = parse(["a=b=c", "empty=", "k/x.y=v w"]).unwrap();
        let expected = [("a", "b=c"), ("empty", ""), ("k/x.y", "v w")];
        assert_eq!(annotations, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }

    #[test]
    fn refuses_what_would_not_mean_what_it_says() {
        for (texts, part) in [
            (vec!["a"], "no '='"),
            (vec!["=v"], "no key"),
            (vec!["a=1", "a=2"], "twice"),
            (vec!["creator=me"], "reserved"),
            (vec!["timestamp=1"], "reserved"),
        ] {
            let error = parse(&texts).unwrap_err().to_string();
            assert!(error.contains(part), "{texts:?}: {error}");
        }
    }
}
