//! What refers to an image: the registry's list, or the index that stands in for one.

use civ_oci::{Descriptor, Digest, Selector, Tag, strict_json};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::registry::{RegistryError, Source};
use crate::sign::referrers_index;

/// The most pages of a list read.
const PAGES_MAX: usize = 50;

/// What refers to an image.
#[derive(Debug)]
pub(crate) struct Referrers {
    /// The descriptors, in the list's order. What is no descriptor is passed over.
    pub(crate) list: Vec<Descriptor>,
    /// Where the list is from.
    pub(crate) from: ListedBy,
}

/// Where a list of referrers is.
#[derive(Debug)]
pub(crate) enum ListedBy {
    /// The registry keeps it.
    Registry,
    /// Clients do, under a tag, which holds an index or nothing yet.
    Tag,
    /// They would, but the tag holds something else.
    Nobody,
}

#[derive(Deserialize)]
struct UntrustedPage {
    manifests: Vec<Box<RawValue>>,
}

/// Lists what refers to `subject`.
pub(crate) async fn list(source: &Source, subject: &Digest) -> Result<Referrers, RegistryError> {
    let Some(mut page) = source.referrers(subject, None).await? else {
        return list_by_tag(source, subject).await;
    };
    let mut list = Vec::new();
    for _ in 0..PAGES_MAX {
        // A list that cannot be read is treated by the gate as one with nothing in it.
        if let Ok(UntrustedPage { manifests }) = strict_json::from_slice(&page.bytes) {
            list.extend(manifests.iter().filter_map(|entry| referrers_index::describe(entry)));
        }
        let Some(next) = page.next else { break };
        let Some(following) = source.referrers(subject, Some(&next)).await? else { break };
        page = following;
    }
    Ok(Referrers { list, from: ListedBy::Registry })
}

async fn list_by_tag(source: &Source, subject: &Digest) -> Result<Referrers, RegistryError> {
    let tag = Selector::Tag(Tag::of_referrers(subject));
    let Some(index) = source.find_manifest(&tag).await? else {
        return Ok(Referrers { list: Vec::new(), from: ListedBy::Tag });
    };
    Ok(match referrers_index::entries(&index, subject) {
        Ok(entries) => {
            let described = |entry: &_| referrers_index::describe(entry);
            let list = entries.iter().filter_map(|entry| described(&entry.text)).collect();
            Referrers { list, from: ListedBy::Tag }
        }
        Err(_) => Referrers { list: Vec::new(), from: ListedBy::Nobody },
    })
}
