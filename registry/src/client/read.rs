//! The questions of [`RegistryRead`], asked by this client.

use civ_oci::{
    Digest, NextPage, ReferrersPage, RegistryRead, Repository, Selector, StoredManifest, media_type,
};

use super::{Client, Query};
use crate::Error;
use crate::address::without_secrets;

impl RegistryRead for Client {
    type Error = Error;

    fn is_deadline(error: &Error) -> bool {
        matches!(error, Error::Deadline { .. })
    }

    fn is_out_of_requests(error: &Error) -> bool {
        matches!(error, Error::Requests { .. })
    }

    fn manifest(
        &self,
        repository: &Repository,
        selector: &Selector,
    ) -> Result<Option<StoredManifest>, Error> {
        let what = match selector {
            Selector::Tag(tag) => format!("{repository}:{tag}"),
            Selector::Digest(digest) => format!("{repository}@{digest}"),
        };
        let Some(answer) = self.get(&Query {
            repository,
            what: &what,
            url: &self.endpoint().manifest_url(repository, selector),
            accept: Some(media_type::MANIFESTS.join(", ")),
            limit: self.limits.manifest,
            may_be_unknown: false,
        })?
        else {
            return Ok(None);
        };
        let digest = match selector {
            Selector::Digest(expected) => {
                expected
                    .check(&answer.bytes)
                    .map_err(|source| Error::Digest { what: what.clone(), source })?;
                expected.clone()
            }
            Selector::Tag(_) => Digest::sha256(&answer.bytes),
        };
        Ok(Some(StoredManifest { media_type: answer.media_type, digest, bytes: answer.bytes }))
    }

    fn blob(&self, repository: &Repository, digest: &Digest, limit: u64) -> Result<Vec<u8>, Error> {
        let what = format!("blob {repository}@{digest}");
        let url = self.endpoint().blob_url(repository, digest);
        let query = Query {
            repository,
            what: &what,
            url: &url,
            accept: None,
            limit,
            may_be_unknown: false,
        };
        let answer = self.get(&query)?.ok_or_else(|| Error::Status {
            what: what.clone(),
            status: 404,
            code: None,
        })?;
        digest.check(&answer.bytes).map_err(|source| Error::Digest { what, source })?;
        Ok(answer.bytes)
    }

    fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        page: Option<&NextPage>,
    ) -> Result<Option<ReferrersPage>, Error> {
        let what = format!("referrers of {repository}@{subject}");
        let first = self.endpoint().referrers_url(repository, subject);
        let url = match page {
            Some(page) => self.next_page(&what, &first, page.address())?,
            None => first,
        };
        let query = Query {
            repository,
            what: &what,
            url: &url,
            accept: Some(media_type::OCI_INDEX.to_owned()),
            limit: self.limits.manifest,
            may_be_unknown: page.is_none(),
        };
        let Some(answer) = self.get(&query)? else { return Ok(None) };
        // Servers that know no such address answer 200 all the same, with a page for people.
        if answer.media_type != media_type::OCI_INDEX {
            return Ok(None);
        }
        // Where it leads is looked at when it is followed: this page counts all the same.
        Ok(Some(ReferrersPage { bytes: answer.bytes, next: answer.next.map(NextPage::new) }))
    }
}

impl Client {
    /// The page that `target` stands for, if it is one of the list that begins at `first`.
    fn next_page(&self, what: &str, first: &str, target: &str) -> Result<String, Error> {
        let address = match target.chars().next() {
            Some('/') => format!("{}{target}", self.endpoint()),
            Some('?') => format!("{first}{target}"),
            _ => target.to_owned(),
        };
        if address.strip_prefix(first).is_some_and(|rest| rest.starts_with('?')) {
            Ok(address)
        } else {
            let (what, target) = (what.to_owned(), without_secrets(&address));
            Err(Error::ForbiddenTarget { what, target })
        }
    }
}
