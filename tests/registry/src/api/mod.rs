//! The distribution API: what a path means, what it needs, and who answers.
//! ([distribution spec, spec.md](https://github.com/opencontainers/distribution-spec/blob/main/spec.md))

mod blobs;
pub(crate) mod listings;
mod manifests;
mod uploads;

use std::io;

use civ_oci::{Digest, Repository};

use crate::access::{Need, TOKEN_PATH};
use crate::http::BodyReader;
use crate::server::Shared;
use crate::{Request, Response};

pub(crate) use manifests::put_unchecked;

/// Answers a request as a registry should. An error means that the connection is of no more use.
pub(crate) fn answer(
    shared: &Shared,
    request: &Request,
    body: &mut BodyReader<'_>,
) -> io::Result<Response> {
    match (Call { shared, request, body }).answer() {
        Ok(response) | Err(Failure::Refused(response)) => {
            Ok(response.with_header("Docker-Distribution-Api-Version", "registry/2.0"))
        }
        Err(Failure::Broken(error)) => Err(error),
    }
}

/// One request to the API.
struct Call<'a, 'b> {
    shared: &'a Shared,
    request: &'a Request,
    body: &'a mut BodyReader<'b>,
}

/// Why a call was not answered as asked.
enum Failure {
    /// The registry refuses.
    Refused(Response),
    /// The connection broke while the body was read.
    Broken(io::Error),
}

impl From<Response> for Failure {
    fn from(response: Response) -> Self {
        Self::Refused(response)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::OutOfMemory => {
                Self::Refused(Response::error(413, "SIZE_INVALID", "the body is too large"))
            }
            _ => Self::Broken(error),
        }
    }
}

type Answer = Result<Response, Failure>;

/// What a path below `/v2/` means.
enum Resource<'a> {
    Manifest(&'a str),
    Blob(&'a str),
    Uploads,
    Upload(&'a str),
    Tags,
    Referrers(&'a str),
}

impl Call<'_, '_> {
    fn answer(mut self) -> Answer {
        let request = self.request;
        if request.path == TOKEN_PATH {
            return Ok(self.shared.options.access.grant(&self.shared.tokens, request));
        }
        let Some(path) = request
            .path
            .strip_prefix("/v2")
            .and_then(|path| if path.is_empty() { Some(path) } else { path.strip_prefix('/') })
        else {
            return Err(Response::error(404, "NAME_UNKNOWN", "no such path").into());
        };
        if path.is_empty() {
            self.authorize(&[])?;
            return Ok(Response::new(200).with_json(&serde_json::json!({})));
        }
        let segments: Vec<&str> = path.split('/').collect();
        let (name, resource) = match segments.as_slice() {
            [name @ .., "blobs", "uploads" | "uploads/"] | [name @ .., "blobs", "uploads", ""] => {
                (name, Resource::Uploads)
            }
            [name @ .., "blobs", "uploads", id] => (name, Resource::Upload(id)),
            [name @ .., "blobs", digest] => (name, Resource::Blob(digest)),
            [name @ .., "manifests", reference] => (name, Resource::Manifest(reference)),
            [name @ .., "tags", "list"] => (name, Resource::Tags),
            [name @ .., "referrers", digest] => (name, Resource::Referrers(digest)),
            _ => return Err(Response::error(404, "UNSUPPORTED", "no such path").into()),
        };
        let name = name.join("/");
        if !is_repository(&name) {
            return Err(Response::error(400, "NAME_INVALID", "not a repository's name").into());
        }
        self.authorize(&self.needs(&name))?;
        match resource {
            Resource::Manifest(reference) => self.manifest(&name, reference),
            Resource::Blob(digest) => self.blob(&name, &parse_digest(digest)?),
            Resource::Uploads => self.start_upload(&name),
            Resource::Upload(id) => self.upload(&name, id),
            Resource::Tags => self.tags(&name),
            Resource::Referrers(digest) => self.referrers(&name, &parse_digest(digest)?),
        }
    }

    fn authorize(&self, needs: &[Need]) -> Result<(), Response> {
        let Shared { options, tokens, url, .. } = self.shared;
        options.access.check(tokens, self.request, needs, url)
    }

    /// As in Docker's registry: reading needs `pull`, writing `pull` and `push`, deleting `delete`,
    /// and mounting also needs `pull` where the blob comes from.
    fn needs(&self, name: &str) -> Vec<Need> {
        let need = |repository: &str, action| Need { repository: repository.to_owned(), action };
        let mut needs = match self.request.method.as_str() {
            "GET" | "HEAD" => vec![need(name, "pull")],
            "DELETE" => vec![need(name, "delete")],
            _ => vec![need(name, "pull"), need(name, "push")],
        };
        if let (Some(_), Some(from)) =
            (self.request.query_value("mount"), self.request.query_value("from"))
        {
            needs.push(need(&from, "pull"));
        }
        needs
    }

    fn location(&self, path: &str) -> String {
        if self.shared.options.absolute_locations {
            format!("{}{path}", self.shared.url)
        } else {
            path.to_owned()
        }
    }
}

fn is_repository(name: &str) -> bool {
    let parsed = format!("registry.invalid/{name}").parse::<Repository>();
    parsed.is_ok_and(|repository| repository.path() == name)
}

fn parse_digest(text: &str) -> Result<Digest, Response> {
    text.parse().map_err(|error: civ_oci::DigestError| {
        Response::error(400, "DIGEST_INVALID", &error.to_string())
    })
}

fn unknown_name() -> Response {
    Response::error(404, "NAME_UNKNOWN", "repository name not known to registry")
}

fn wrong_method() -> Failure {
    Response::error(405, "UNSUPPORTED", "the operation is unsupported").into()
}
