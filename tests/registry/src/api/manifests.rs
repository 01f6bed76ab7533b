//! Manifests: by tag or by digest, kept and served byte for byte.

use std::sync::Arc;

use civ_oci::manifest::MANIFEST_MAX;
use civ_oci::{Digest, Tag, media_type};
use serde_json::Value;

use super::{Answer, Call, parse_digest, unknown_name, wrong_method};
use crate::Response;
use crate::store::{Contents, Store, StoredManifest};
use crate::wire::lock;

impl Call<'_, '_> {
    pub(super) fn manifest(&mut self, name: &str, reference: &str) -> Answer {
        match self.request.method.as_str() {
            "GET" | "HEAD" => self.get_manifest(name, reference),
            "PUT" => self.put_manifest(name, reference),
            "DELETE" => self.delete_manifest(name, reference),
            _ => Err(wrong_method()),
        }
    }

    fn get_manifest(&self, name: &str, reference: &str) -> Answer {
        let store = lock(&self.shared.store);
        let contents = store.repository(name).ok_or_else(unknown_name)?;
        let digest = contents.resolve(reference).ok_or_else(unknown_manifest)?;
        let manifest = contents.manifests.get(&digest).ok_or_else(unknown_manifest)?;
        let length = manifest.bytes.len();
        Ok(Response::new(200)
            .with_header("Content-Type", &manifest.media_type)
            .with_header("Docker-Content-Digest", digest.to_string())
            .with_header("ETag", format!("\"{digest}\""))
            .with_shared_body(Arc::clone(&manifest.bytes), 0..length))
    }

    fn put_manifest(&mut self, name: &str, reference: &str) -> Answer {
        let Some(bytes) = self.body.read_at_most(MANIFEST_MAX)? else {
            return Err(Response::error(413, "SIZE_INVALID", "the manifest is too large").into());
        };
        let (digest, tag) = if reference.contains(':') {
            let digest = parse_digest(reference)?;
            digest.check(&bytes).map_err(|mismatch| {
                Response::error(400, "DIGEST_INVALID", &mismatch.to_string())
            })?;
            (digest, None)
        } else {
            let tag: Tag = reference
                .parse()
                .map_err(|_| Response::error(400, "TAG_INVALID", "this is not a tag"))?;
            (Digest::sha256(&bytes), Some(tag))
        };
        let document = parse(&bytes)?;
        let media_type = self.media_type(&document)?;
        let mut store = lock(&self.shared.store);
        let contents = store.repository_or_new(name);
        check_references(contents, &document)?;
        if let Some(tag) = &tag {
            let current = contents.tags.get(tag.as_str());
            if self.shared.options.immutable_tags && current.is_some_and(|old| *old != digest) {
                return Err(tag_is_immutable(name, tag).into());
            }
            contents.tags.insert(tag.as_str().to_owned(), digest.clone());
        }
        let manifest = StoredManifest::new(&digest, media_type, bytes);
        contents.manifests.insert(digest.clone(), manifest);
        let location = self.location(&format!("/v2/{name}/manifests/{digest}"));
        let response = Response::new(201)
            .with_header("Location", location)
            .with_header("Docker-Content-Digest", digest.to_string());
        let subject = document.pointer("/subject/digest").and_then(Value::as_str);
        Ok(match subject {
            Some(subject) if self.shared.options.referrers => {
                response.with_header("OCI-Subject", subject)
            }
            _ => response,
        })
    }

    /// The type that the request states, which the document must not contradict.
    fn media_type(&self, document: &Value) -> Result<String, Response> {
        let stated = document.get("mediaType").and_then(Value::as_str);
        let header = self.request.header("content-type");
        match (header.map(media_type::essence), stated) {
            (Some(header), Some(stated)) if header != stated => {
                Err(invalid("the document states another media type than Content-Type"))
            }
            (Some(header), _) => Ok(header.to_owned()),
            (None, Some(stated)) => Ok(stated.to_owned()),
            (None, None) => Err(invalid("no media type is stated")),
        }
    }

    fn delete_manifest(&self, name: &str, reference: &str) -> Answer {
        let mut store = lock(&self.shared.store);
        let contents = store.repository_mut(name).ok_or_else(unknown_name)?;
        let deleted = match reference.parse() {
            Ok(digest) => contents.delete_manifest(&digest),
            Err(_) => contents.tags.remove(reference).is_some(),
        };
        if deleted { Ok(Response::new(202)) } else { Err(unknown_manifest().into()) }
    }
}

/// Keeps any bytes as a manifest.
pub(crate) fn put_unchecked(
    store: &mut Store,
    name: &str,
    tag: Option<&str>,
    media_type: &str,
    bytes: Vec<u8>,
) -> Digest {
    let digest = Digest::sha256(&bytes);
    let contents = store.repository_or_new(name);
    let manifest = StoredManifest::new(&digest, media_type.to_owned(), bytes);
    contents.manifests.insert(digest.clone(), manifest);
    if let Some(tag) = tag {
        contents.tags.insert(tag.to_owned(), digest.clone());
    }
    digest
}

fn parse(bytes: &[u8]) -> Result<Value, Response> {
    match serde_json::from_slice(bytes) {
        Ok(document @ Value::Object(_)) => Ok(document),
        Ok(_) => Err(invalid("the manifest is not a JSON object")),
        Err(error) => Err(invalid(&format!("the manifest is not JSON: {error}"))),
    }
}

/// Everything that the document points to must be there, except what says where else it is, and the
/// subject, which may come later.
fn check_references(contents: &Contents, document: &Value) -> Result<(), Response> {
    let array = |key| document.get(key).and_then(Value::as_array).into_iter().flatten();
    let blobs = document.get("config").into_iter().chain(array("layers"));
    for descriptor in blobs.filter(|descriptor| descriptor.get("urls").is_none()) {
        let digest = digest_of(descriptor)?;
        if !contents.blobs.contains_key(&digest) {
            return Err(unknown_reference("blob", &digest));
        }
    }
    for descriptor in array("manifests") {
        let digest = digest_of(descriptor)?;
        if !contents.manifests.contains_key(&digest) {
            return Err(unknown_reference("manifest", &digest));
        }
    }
    Ok(())
}

fn digest_of(descriptor: &Value) -> Result<Digest, Response> {
    let digest = descriptor.get("digest").and_then(Value::as_str);
    let digest = digest.and_then(|digest| digest.parse().ok());
    digest.ok_or_else(|| invalid("a descriptor has no valid digest"))
}

fn unknown_reference(kind: &str, digest: &Digest) -> Response {
    let message = format!("the manifest references a {kind} unknown to the registry: {digest}");
    Response::error(400, "MANIFEST_BLOB_UNKNOWN", &message)
}

fn invalid(message: &str) -> Response {
    Response::error(400, "MANIFEST_INVALID", message)
}

fn unknown_manifest() -> Response {
    Response::error(404, "MANIFEST_UNKNOWN", "manifest unknown")
}

/// The words of Amazon ECR.
fn tag_is_immutable(name: &str, tag: &Tag) -> Response {
    let message = format!(
        "The image tag '{tag}' already exists in the '{name}' repository and cannot be \
         overwritten because the tag is immutable."
    );
    Response::error(400, "TAG_INVALID", &message)
}
