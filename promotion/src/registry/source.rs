//! Reading a repository.

use civ_oci::manifest::MANIFEST_MAX;
use civ_oci::registry::{NextPage, ReferrersPage, Selector};
use civ_oci::{Descriptor, Digest, Repository, StoredManifest, media_type};
use civ_registry::link;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, Response, Url};

use super::RegistryError;
use super::body::Blob;
use super::error::{check_digest, is_busy};
use super::http::{self, Call, Http, Peer};

/// What registries call the digest of a manifest in an answer to HEAD.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A repository to read.
#[derive(Clone, Debug)]
pub struct Source {
    pub(super) http: Http,
    pub(super) peer: Peer,
    repository: Repository,
}

impl Source {
    pub(super) fn new(http: Http, peer: Peer, repository: Repository) -> Self {
        Self { http, peer, repository }
    }

    /// The same, with one attempt at everything.
    pub(crate) fn once(&self) -> Self {
        Self { http: self.http.once(), ..self.clone() }
    }

    /// The repository read.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The manifest or index that `selector` names; that there is none is an error, with what the
    /// registry says about it. Selected by digest, the bytes have that digest.
    pub async fn manifest(&self, selector: &Selector) -> Result<StoredManifest, RegistryError> {
        let call = self.manifest_call(Method::GET, selector)?;
        let response = http::expect(self.http.send(&self.peer, &call).await?, &[200]).await?;
        let media_type = header(response.headers(), CONTENT_TYPE.as_str()).unwrap_or_default();
        let media_type = media_type::essence(media_type).to_owned();
        let bytes = self.http.read_whole(response, MANIFEST_MAX).await?.to_vec();
        let digest = match selector {
            Selector::Digest(asked) => Digest::of(asked.algorithm(), &bytes),
            Selector::Tag(_) => Digest::sha256(&bytes),
        };
        if let Selector::Digest(asked) = selector {
            check_digest(asked, digest.clone())?;
        }
        Ok(StoredManifest { media_type, digest, bytes })
    }

    /// The same, or `None` where the registry says that there is none.
    pub async fn find_manifest(
        &self,
        selector: &Selector,
    ) -> Result<Option<StoredManifest>, RegistryError> {
        match self.manifest(selector).await {
            Err(RegistryError::Answer { status: 404, .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// The digest that `selector` stands for today, by HEAD. Only a registry that does not say is
    /// asked for the whole manifest.
    pub async fn find_digest(&self, selector: &Selector) -> Result<Option<Digest>, RegistryError> {
        let call = self.manifest_call(Method::HEAD, selector)?;
        let response = self.http.send(&self.peer, &call).await?;
        match response.status().as_u16() {
            404 => Ok(None),
            200 => match header(response.headers(), CONTENT_DIGEST).map(str::parse) {
                Some(Ok(digest)) => Ok(Some(digest)),
                _ => Ok(self.find_manifest(selector).await?.map(|manifest| manifest.digest)),
            },
            // HEAD has no body; GET says why not, and need not be patient again.
            status if is_busy(status) => {
                Ok(self.once().find_manifest(selector).await?.map(|manifest| manifest.digest))
            }
            _ => Ok(self.find_manifest(selector).await?.map(|manifest| manifest.digest)),
        }
    }

    /// Whether the repository has `blob`, as far as the registry says: one of another length is not
    /// it, and one that may not be looked at counts as missing, since writing it will say why.
    pub async fn has_blob(&self, blob: &Descriptor) -> Result<bool, RegistryError> {
        let call = Call::new(Method::HEAD, self.url(&["blobs", &blob.digest.to_string()])?);
        let response = self.http.send(&self.peer, &call).await?;
        match response.status().as_u16() {
            403 | 404 => Ok(false),
            _ => {
                let found = length(&http::expect(response, &[200]).await?);
                Ok(found.is_none_or(|found| found == blob.size))
            }
        }
    }

    /// The bytes of a small blob, which have its digest and are at most `limit`.
    pub async fn blob_bytes(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let response = self.open_blob(digest).await?;
        let bytes = self.http.read_whole(response, limit).await?.to_vec();
        check_digest(digest, Digest::of(digest.algorithm(), &bytes))?;
        Ok(bytes)
    }

    /// A page of the list of manifests that refer to `subject`, the first one or the one that
    /// `page` leads to. `None` where the registry offers no such list.
    pub async fn referrers(
        &self,
        subject: &Digest,
        page: Option<&NextPage>,
    ) -> Result<Option<ReferrersPage>, RegistryError> {
        let first = self.url(&["referrers", &subject.to_string()])?;
        let url = match page {
            None => first.clone(),
            Some(page) => next_page(&first, page.address())?,
        };
        let mut call = Call::new(Method::GET, url);
        call.headers.push((ACCEPT, HeaderValue::from_static(media_type::OCI_INDEX)));
        let response = self.http.send(&self.peer, &call).await?;
        if page.is_none() && matches!(response.status().as_u16(), 400 | 404 | 405 | 406 | 410 | 501)
        {
            return Ok(None);
        }
        let response = http::expect(response, &[200]).await?;
        let stated = header(response.headers(), CONTENT_TYPE.as_str()).unwrap_or_default();
        if media_type::essence(stated) != media_type::OCI_INDEX {
            return Ok(None);
        }
        let mut links = response.headers().get_all(LINK).iter();
        let next = links.find_map(|link| link::next_target(link.to_str().ok()?));
        let next = next.map(|target| NextPage::new(target.to_owned()));
        let bytes = self.http.read_whole(response, MANIFEST_MAX).await?.to_vec();
        Ok(Some(ReferrersPage { bytes, next }))
    }

    /// A blob as a stream.
    pub(crate) async fn blob(&self, blob: &Descriptor) -> Result<Blob, RegistryError> {
        let response = self.open_blob(&blob.digest).await?;
        if let Some(actual) = length(&response).filter(|actual| *actual != blob.size) {
            return Err(RegistryError::WrongLength { stated: blob.size, actual });
        }
        let (digest, size, http) = (blob.digest.clone(), blob.size, self.http.clone());
        Ok(Blob { response, digest, size, http })
    }

    async fn open_blob(&self, digest: &Digest) -> Result<Response, RegistryError> {
        let call = Call::new(Method::GET, self.url(&["blobs", &digest.to_string()])?);
        http::expect(self.http.send(&self.peer, &call).await?, &[200]).await
    }

    fn manifest_call(&self, method: Method, selector: &Selector) -> Result<Call, RegistryError> {
        let mut call = Call::new(method, self.url(&["manifests", &selector.to_string()])?);
        let accept = HeaderValue::from_str(&media_type::MANIFESTS.join(", "));
        call.headers.extend(accept.map(|accept| (ACCEPT, accept)));
        Ok(call)
    }

    /// `/v2/<repository>/<rest>`.
    pub(super) fn url(&self, rest: &[&str]) -> Result<Url, RegistryError> {
        let (endpoint, path) = (&self.peer.endpoint, self.repository.path());
        Url::parse(&format!("{endpoint}/v2/{path}/{}", rest.join("/")))
            .map_err(|_| RegistryError::NoAddress { host: self.repository.host().to_owned() })
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The length that the answer's head states; reqwest's own accessor says 0 for HEAD.
fn length(response: &Response) -> Option<u64> {
    header(response.headers(), CONTENT_LENGTH.as_str())?.trim().parse().ok()
}

/// The page that `target` stands for, if it is one of the list that begins at `first`.
fn next_page(first: &Url, target: &str) -> Result<Url, RegistryError> {
    let url = first.join(target).ok();
    url.filter(|url| url.origin() == first.origin() && url.path() == first.path())
        .ok_or(RegistryError::NoHeader { header: "Link" })
}
