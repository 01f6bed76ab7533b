//! The index that stands in for a registry's list of referrers, under the tag `sha256-<hex>`
//! ([distribution specification, "Referrers Tag Schema"](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema)).
//!
//! Every other entry is kept as it stands, to the byte. No I/O.

use civ_oci::manifest::MANIFEST_MAX;
use civ_oci::strict_json::{self, JsonError};
use civ_oci::{Descriptor, Digest, StoredManifest, media_type};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::merge::{Entry, Rendered};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u8,
    #[serde(default)]
    media_type: String,
    manifests: Vec<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<Box<RawValue>>,
}

/// An entry for `referrer`.
pub(crate) fn entry(referrer: &Descriptor) -> Result<Entry, ReferrersIndexError> {
    Ok(Entry { key: referrer.digest.to_string(), text: serde_json::value::to_raw_value(referrer)? })
}

/// What `stored`, found under the tag for referrers of `subject`, lists.
pub(crate) fn entries(
    stored: &StoredManifest,
    subject: &Digest,
) -> Result<Vec<Entry>, ReferrersIndexError> {
    let entry = |text: Box<RawValue>| Entry {
        key: describe(&text)
            .map_or_else(|| text.get().to_owned(), |found| found.digest.to_string()),
        text,
    };
    Ok(read(stored, subject)?.manifests.into_iter().map(entry).collect())
}

/// An index of these entries, otherwise like `base`.
pub(crate) fn render(
    base: Option<&StoredManifest>,
    subject: &Digest,
    entries: &[Entry],
) -> Result<Rendered, ReferrersIndexError> {
    let mut index = base.map_or_else(|| Ok(Index::new()), |base| read(base, subject))?;
    index.manifests = entries.iter().map(|entry| entry.text.clone()).collect();
    let bytes = serde_json::to_vec(&index)?;
    if bytes.len() as u64 > MANIFEST_MAX {
        return Err(ReferrersIndexError::Full { limit: MANIFEST_MAX });
    }
    Ok(Rendered { media_type: index.media_type, bytes, blobs: Vec::new() })
}

/// What an entry says, if it is a descriptor.
pub(crate) fn describe(entry: &RawValue) -> Option<Descriptor> {
    strict_json::from_part(entry).ok()
}

/// `cosign copy` puts the image itself under this tag.
fn read(stored: &StoredManifest, subject: &Digest) -> Result<Index, ReferrersIndexError> {
    if stored.digest == *subject {
        return Err(ReferrersIndexError::Image);
    }
    if media_type::essence(&stored.media_type) != media_type::OCI_INDEX {
        return Err(ReferrersIndexError::NoIndex);
    }
    let mut index: Index = strict_json::from_slice(&stored.bytes)?;
    media_type::OCI_INDEX.clone_into(&mut index.media_type);
    Ok(index)
}

impl Index {
    fn new() -> Self {
        Self {
            schema_version: 2,
            media_type: media_type::OCI_INDEX.to_owned(),
            manifests: Vec::new(),
            annotations: None,
            subject: None,
            artifact_type: None,
        }
    }
}

/// Why nothing can be added to a list of referrers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferrersIndexError {
    /// The document would be larger than registries take.
    #[error("the list of referrers would have more than {limit} bytes")]
    Full {
        /// The most it may have.
        limit: u64,
    },
    /// The tag names the image.
    #[error("the tag for the list of referrers names the image itself, as cosign copy leaves it")]
    Image,
    /// What the tag holds is not what it says.
    #[error("the list of referrers is malformed: {0}")]
    Json(#[from] JsonError),
    /// What the tag holds is not an index.
    #[error("the tag for the list of referrers holds something that is no list")]
    NoIndex,
    /// An entry cannot be written.
    #[error("the list of referrers cannot be written: {0}")]
    Write(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stored(media_type: &str, text: &str) -> StoredManifest {
        let bytes = text.as_bytes().to_vec();
        StoredManifest { media_type: media_type.to_owned(), digest: Digest::sha256(&bytes), bytes }
    }

    #[test]
    fn every_other_entry_is_kept_to_the_byte() {
        let subject = Digest::sha256(b"image");
        let other = r#"{ "digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "x": 1, "size":3,"mediaType":"a/b"}"#;
        let base = format!(
            r#"{{"manifests":[{other},"odd"],"annotations":{{"z":"1","a":""}},"schemaVersion":2}}"#
        );
        let base = stored("application/vnd.oci.image.index.v1+json; charset=utf-8", &base);
        let mut all = entries(&base, &subject).unwrap();
        all.push(entry(&Descriptor::of(media_type::OCI_MANIFEST, b"ours")).unwrap());
        let written = render(Some(&base), &subject, &all).unwrap();
        let text = String::from_utf8(written.bytes).unwrap();
        assert!(text.contains(&format!(r#""manifests":[{other},"odd",{{"mediaType""#)), "{text}");
        assert!(text.ends_with(r#""annotations":{"z":"1","a":""}}"#), "{text}");
        assert_eq!(all[0].key, describe(&all[0].text).unwrap().digest.to_string());
    }

    #[test]
    fn refuses_to_add_to_what_is_no_list() {
        let list = r#"{"schemaVersion":2,"manifests":[]}"#;
        let subject = Digest::sha256(list.as_bytes());
        let other = Digest::sha256(b"");
        for (stored, subject) in [
            (stored(media_type::OCI_INDEX, list), &subject),
            (stored(media_type::OCI_MANIFEST, list), &other),
            (stored(media_type::DOCKER_LIST, list), &other),
            (stored(media_type::OCI_INDEX, "{}"), &other),
            (stored(media_type::OCI_INDEX, r#"{"manifests":[],"manifests":[]}"#), &other),
        ] {
            assert!(entries(&stored, subject).is_err(), "{stored:?}");
            assert!(render(Some(&stored), subject, &[]).is_err(), "{stored:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let digest = Digest::sha256(&bytes);
            let stored = StoredManifest { media_type: media_type::OCI_INDEX.to_owned(), digest, bytes };
            let _ = entries(&stored, &Digest::sha256(b"image"));
        }

        #[test]
        fn what_is_listed_is_written_again_as_it_is(
            texts in proptest::collection::vec("\"[a-z ]{0,9}\"|[1-9][0-9]{0,8}|\\{\"digest\": ?\"x\"\\}", 0..9)
        ) {
            let list = texts.join(", ");
            let list = format!(r#"{{"schemaVersion":2,"manifests":[{list}]}}"#);
            let stored = stored(media_type::OCI_INDEX, &list);
            let subject = Digest::sha256(b"image");
            let read = entries(&stored, &subject).unwrap();
            let written = render(Some(&stored), &subject, &read).unwrap();
            let expected = format!(r#""manifests":[{}]"#, texts.join(","));
            prop_assert!(String::from_utf8(written.bytes).unwrap().contains(&expected));
        }
    }
}
