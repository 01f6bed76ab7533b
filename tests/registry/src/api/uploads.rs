//! Uploads: in one request, in two, in chunks, or not at all because the blob is mounted.

use std::io;
use std::sync::Arc;

use civ_oci::Digest;

use super::{Answer, Call, parse_digest, wrong_method};
use crate::Response;
use crate::store::{Received, Upload};
use crate::wire::lock;

impl Call<'_, '_> {
    /// `POST …/blobs/uploads/`
    pub(super) fn start_upload(&mut self, name: &str) -> Answer {
        if self.request.method != "POST" {
            return Err(wrong_method());
        }
        if let Some(digest) = self.request.query_value("digest") {
            let digest = parse_digest(&digest)?;
            let mut received = Received::new(self.shared.options.check_digests);
            self.receive(&mut received)?;
            return self.keep(name, received, &digest);
        }
        if let (Some(digest), Some(from)) =
            (self.request.query_value("mount"), self.request.query_value("from"))
        {
            let digest = parse_digest(&digest)?;
            if self.mount(name, &from, &digest) {
                return Ok(self.created(name, &digest));
            }
        }
        let received = Received::new(self.shared.options.check_digests);
        let id = lock(&self.shared.store).start_upload(name, received);
        Ok(self.progress(202, name, &id, 0))
    }

    fn mount(&self, name: &str, from: &str, digest: &Digest) -> bool {
        let mut store = lock(&self.shared.store);
        let Some(blob) = store.repository(from).and_then(|from| from.blobs.get(digest)) else {
            return false;
        };
        let blob = Arc::clone(blob);
        store.repository_or_new(name).blobs.insert(digest.clone(), blob);
        true
    }

    /// `…/blobs/uploads/ID`
    pub(super) fn upload(&mut self, name: &str, id: &str) -> Answer {
        let upload = lock(&self.shared.store).upload(name, id).ok_or_else(|| {
            Response::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        })?;
        match self.request.method.as_str() {
            "GET" => {
                let length = lock(&upload.received).len();
                Ok(self.progress(204, name, id, length))
            }
            "PATCH" => self.patch_upload(name, id, &upload),
            "PUT" => self.finish_upload(name, id, &upload),
            "DELETE" => {
                lock(&self.shared.store).end_upload(id);
                Ok(Response::new(204))
            }
            _ => Err(wrong_method()),
        }
    }

    fn patch_upload(&mut self, name: &str, id: &str, upload: &Upload) -> Answer {
        let mut received = lock(&upload.received);
        self.check_offset(name, id, received.len())?;
        self.receive(&mut received)?;
        Ok(self.progress(202, name, id, received.len()))
    }

    fn finish_upload(&mut self, name: &str, id: &str, upload: &Upload) -> Answer {
        let digest = self
            .request
            .query_value("digest")
            .ok_or_else(|| Response::error(400, "DIGEST_INVALID", "the query states no digest"))?;
        let digest = parse_digest(&digest)?;
        let received = {
            let mut received = lock(&upload.received);
            self.check_offset(name, id, received.len())?;
            self.receive(&mut received)?;
            std::mem::take(&mut *received)
        };
        lock(&self.shared.store).end_upload(id);
        self.keep(name, received, &digest)
    }

    fn receive(&mut self, received: &mut Received) -> io::Result<()> {
        let stated_length = self.body.stated_length();
        received.append(&mut *self.body, stated_length)
    }

    /// A chunk that says where it belongs must belong at the end.
    fn check_offset(&self, name: &str, id: &str, length: usize) -> Result<(), Response> {
        let Some(range) = self.request.header("content-range") else { return Ok(()) };
        let range = range.strip_prefix("bytes ").unwrap_or(range);
        let first = range.split('-').next().and_then(|first| first.trim().parse::<usize>().ok());
        if first == Some(length) {
            return Ok(());
        }
        let mut refusal = Response::error(416, "BLOB_UPLOAD_INVALID", "the chunk is out of order");
        refusal.headers.extend(self.progress(416, name, id, length).headers);
        Err(refusal)
    }

    fn keep(&self, name: &str, received: Received, digest: &Digest) -> Answer {
        let blob = received.into_blob(digest).map_err(|actual| {
            let message = format!("the content has digest {actual}, not {digest}");
            Response::error(400, "DIGEST_INVALID", &message)
        })?;
        lock(&self.shared.store).repository_or_new(name).blobs.insert(digest.clone(), blob);
        Ok(self.created(name, digest))
    }

    fn created(&self, name: &str, digest: &Digest) -> Response {
        Response::new(201)
            .with_header("Location", self.location(&format!("/v2/{name}/blobs/{digest}")))
            .with_header("Docker-Content-Digest", digest.to_string())
    }

    /// How far an upload has come. The location has a query already, as that of other registries
    /// does, which a client must not lose.
    fn progress(&self, status: u16, name: &str, id: &str, length: usize) -> Response {
        let location = format!("/v2/{name}/blobs/uploads/{id}?_state={length}");
        Response::new(status)
            .with_header("Location", self.location(&location))
            .with_header("Range", format!("0-{}", length.saturating_sub(1)))
            .with_header("Docker-Upload-UUID", id)
    }
}
