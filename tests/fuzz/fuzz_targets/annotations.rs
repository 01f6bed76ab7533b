//! An image that says anything, judged by rules of every kind in every place: whatever it says, what
//! was never there is missing, and nothing is looked at beyond the bounds.
#![no_main]

use std::cell::Cell;
use std::sync::LazyLock;

use civ_annotations::verify_annotations;
use civ_oci::{
    Digest, NextPage, ReferrersPage, RegistryRead, Repository, Selector, StoredManifest, media_type,
};
use civ_policy::UtcTime;
use civ_policy::annotations::Policy;

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let matchers = [
        r#""equals":"a""#,
        r#""oneOf":["a","b"]"#,
        r#""matches":"(a+)+|[^b]{1,9}""#,
        r#""maxAge":"90d""#,
        r#""version":">=1.2, <2""#,
        r#""present":true"#,
        r#""absent":true"#,
    ];
    let places = [
        "",
        r#""from":"index","#,
        r#""from":"manifest","#,
        r#""from":"manifest","platforms":"node","#,
        r#""from":"labels","#,
    ];
    let rules = places.iter().flat_map(|place| {
        matchers.iter().map(move |matcher| format!(r#"{{"annotation":"a",{place}{matcher}}}"#))
    });
    let rules: Vec<String> = rules.collect();
    let statement = |name: &str, scope: &str, rules: &str| {
        format!(r#"{{"name":"{name}","registryScopes":["{scope}"],"rules":[{rules}]}}"#)
    };
    let any = format!(r#"{{"anyOf":[{}]}}"#, rules.join(","));
    let never = r#"{"annotation":"a","from":"labels","present":true},
                   {"annotation":"a","from":"labels","absent":true}"#;
    let statements = [statement("any", "r.io/any", &any), statement("never", "r.io/never", never)];
    let document = format!(r#"{{"version":"1.0","trustPolicies":[{}]}}"#, statements.join(","));
    Policy::parse(document.as_bytes()).unwrap()
});

/// Whatever is asked for, this is sent: first as the one, then as the other.
struct Anything<'a> {
    documents: [&'a [u8]; 3],
    requests: Cell<usize>,
}

impl Anything<'_> {
    fn next(&self) -> Vec<u8> {
        let request = self.requests.replace(self.requests.get() + 1);
        assert!(request < 1 + 16 + 16, "more documents than are looked at");
        self.documents[request.min(2)].to_vec()
    }
}

impl RegistryRead for Anything<'_> {
    type Error = std::convert::Infallible;

    fn manifest(
        &self,
        _: &Repository,
        selector: &Selector,
    ) -> Result<Option<StoredManifest>, Self::Error> {
        let Selector::Digest(digest) = selector else { panic!("asked for a tag") };
        let bytes = self.next();
        let is_index = bytes.windows(11).any(|part| part == b"\"manifests\"");
        let media_type = if is_index { media_type::OCI_INDEX } else { media_type::OCI_MANIFEST };
        let (media_type, digest) = (media_type.to_owned(), digest.clone());
        Ok(Some(StoredManifest { media_type, digest, bytes }))
    }

    fn blob(&self, _: &Repository, _: &Digest, _: u64) -> Result<Vec<u8>, Self::Error> {
        Ok(self.next())
    }

    fn referrers(
        &self,
        _: &Repository,
        _: &Digest,
        _: Option<&NextPage>,
    ) -> Result<Option<ReferrersPage>, Self::Error> {
        panic!("asked for referrers")
    }
}

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut documents = text.splitn(3, '\n').map(str::as_bytes);
    let documents = [(); 3].map(|()| documents.next().unwrap_or_default());
    let now: UtcTime = "2026-11-22T05:00:00Z".parse().unwrap();
    for (repository, may_pass) in [("r.io/any", true), ("r.io/never", false)] {
        let repository: Repository = repository.parse().unwrap();
        let image = repository.image(Digest::sha256(documents[0]));
        let statement = POLICY.statement_for(&image).unwrap();
        let registry = Anything { documents, requests: Cell::new(0) };
        let outcome = verify_annotations(statement, &image, now, &registry);
        assert!(may_pass || outcome.is_err(), "present and absent at once");
        if let Err(error) = outcome {
            assert!(!error.to_string().contains('\n'), "{error}");
        }
    }
});
