//! Which verifier a document is written for. Four documents have the same outline, and an operator who
//! gives one to the wrong verifier should read that, not a list of unknown fields.

use std::fmt;

use serde_json::Value;

/// A verifier, as far as its document goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `annotations-image-verifier`.
    Annotations,
    /// `cosign-image-verifier`.
    Cosign,
    /// `digestion-image-verifier`.
    Digestion,
    /// `notation-image-verifier`.
    Notation,
}

/// The members by which a document or one of its statements is known.
const MARKS: [(Kind, &[&str]); 4] = [
    (Kind::Digestion, &["trustedDigests", "images", "children"]),
    (Kind::Annotations, &["rules"]),
    (Kind::Notation, &["trustStores", "trustedIdentities"]),
    (Kind::Cosign, &["keys", "threshold", "annotations", "signedIdentity", "kmsCache"]),
];

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Annotations, Self::Cosign, Self::Digestion, Self::Notation];

    /// The name of the plugin as it is released. A copy of the executable may have any other.
    pub fn name(self) -> &'static str {
        match self {
            Self::Annotations => "annotations",
            Self::Cosign => "cosign",
            Self::Digestion => "digestion",
            Self::Notation => "notation",
        }
    }

    /// The kind whose plugin is called `name` as released.
    pub fn of_plugin(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind that a document looks like, as far as it is JSON: the one of which it has most members.
    /// `None` for one that could be of several kinds, such as a document that only skips.
    pub fn of_document(bytes: &[u8]) -> Option<Self> {
        let document: Value = serde_json::from_slice(bytes).ok()?;
        let statements = document.get("trustPolicies").and_then(Value::as_array);
        let places: Vec<&Value> =
            [&document].into_iter().chain(statements.into_iter().flatten()).collect();
        let has = |member: &str| places.iter().any(|place| place.get(member).is_some());
        let count = |marks: &[&str]| marks.iter().filter(|mark| has(mark)).count();
        let most = MARKS.iter().map(|(_, marks)| count(marks)).max().filter(|most| *most > 0)?;
        let mut likely = MARKS.iter().filter(|(_, marks)| count(marks) == most);
        let (kind, _) = likely.next()?;
        likely.next().is_none().then_some(*kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_known_by_what_only_its_kind_says() {
        for (document, kind) in [
            (r#"{"trustedDigests":[]}"#, Some(Kind::Digestion)),
            (r#"{"trustPolicies":[{"trustedDigests":[]}]}"#, Some(Kind::Digestion)),
            (r#"{"trustPolicies":[{"name":"a"},{"keys":[]}]}"#, Some(Kind::Cosign)),
            (r#"{"trustPolicies":[{"trustStores":["ca:x"]}]}"#, Some(Kind::Notation)),
            (r#"{"trustPolicies":[{"rules":[]}]}"#, Some(Kind::Annotations)),
            (r#"{"trustPolicies":[{"keys":[],"annotations":{},"images":[]}]}"#, Some(Kind::Cosign)),
            (r#"{"trustPolicies":[{"keys":[]},{"rules":[]}]}"#, None),
            (r#"{"trustPolicies":[{"name":"a"}]}"#, None),
            (r#"{"trustPolicies":{}}"#, None),
            ("[]", None),
            ("x", None),
        ] {
            assert_eq!(Kind::of_document(document.as_bytes()), kind, "{document}");
        }
        assert_eq!(Kind::of_plugin("cosign"), Some(Kind::Cosign));
        assert_eq!(Kind::of_plugin("team-a"), None);
    }
}
