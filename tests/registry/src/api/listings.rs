//! Lists: tags, and the referrers of a manifest. Both may come in pages.

use civ_oci::{Digest, media_type};
use serde_json::{Value, json};

use super::{Answer, Call, unknown_name, wrong_method};
use crate::Response;
use crate::http::uri;
use crate::store::Store;
use crate::wire::lock;

impl Call<'_, '_> {
    pub(super) fn tags(&mut self, name: &str) -> Answer {
        if !matches!(self.request.method.as_str(), "GET" | "HEAD") {
            return Err(wrong_method());
        }
        let all: Vec<String> = {
            let store = lock(&self.shared.store);
            let contents = store.repository(name).ok_or_else(unknown_name)?;
            contents.tags.keys().cloned().collect()
        };
        let (tags, next) = self.page(all, String::as_str)?;
        let response = Response::new(200).with_json(&json!({ "name": name, "tags": tags }));
        Ok(match next {
            Some(next) => with_next(response, &format!("/v2/{name}/tags/list?{next}")),
            None => response,
        })
    }

    pub(super) fn referrers(&mut self, name: &str, subject: &Digest) -> Answer {
        if !self.shared.options.referrers {
            return Err(Response::error(404, "UNSUPPORTED", "no referrers API here").into());
        }
        if !matches!(self.request.method.as_str(), "GET" | "HEAD") {
            return Err(wrong_method());
        }
        let filter = self.request.query_value("artifactType");
        let mut all = referrers_of(&lock(&self.shared.store), name, subject);
        all.retain(|(_, descriptor)| {
            let artifact_type = descriptor.get("artifactType").and_then(Value::as_str);
            filter.as_deref().is_none_or(|wanted| artifact_type == Some(wanted))
        });
        let (referrers, next) = self.page(all, |(digest, _)| digest)?;
        let descriptors: Vec<Value> =
            referrers.into_iter().map(|(_, descriptor)| descriptor).collect();
        let index = index_of(&descriptors);
        let mut response = Response::new(200)
            .with_header("Content-Type", media_type::OCI_INDEX)
            .with_body(index.to_string().into());
        if filter.is_some() {
            response = response.with_header("OCI-Filters-Applied", "artifactType");
        }
        Ok(match next {
            Some(next) => {
                let filter = filter.map(|wanted| format!("artifactType={}&", uri::encode(&wanted)));
                let filter = filter.unwrap_or_default();
                with_next(response, &format!("/v2/{name}/referrers/{subject}?{filter}{next}"))
            }
            None => response,
        })
    }

    /// The page of `all` (which is in order) that `n` and `last` ask for, and the query of the next.
    fn page<T>(
        &self,
        all: Vec<T>,
        key: impl Fn(&T) -> &str,
    ) -> Result<(Vec<T>, Option<String>), Response> {
        let asked = match self.request.query_value("n").map(|n| n.parse::<usize>()) {
            None => usize::MAX,
            Some(Ok(n)) => n,
            Some(Err(_)) => {
                return Err(Response::error(400, "PAGINATION_NUMBER_INVALID", "n is no number"));
            }
        };
        let size = asked.min(self.shared.options.page_size);
        let last = self.request.query_value("last").unwrap_or_default();
        let mut page: Vec<T> = all.into_iter().filter(|item| key(item) > last.as_str()).collect();
        let is_last = page.len() <= size;
        page.truncate(size);
        let next = match page.last() {
            Some(item) if !is_last => Some(format!("n={size}&last={}", uri::encode(key(item)))),
            _ => None,
        };
        Ok((page, next))
    }
}

fn with_next(response: Response, target: &str) -> Response {
    response.with_header("Link", format!("<{target}>; rel=\"next\""))
}

/// The digests and descriptors of the manifests that have this subject, in order.
pub(crate) fn referrers_of(store: &Store, name: &str, subject: &Digest) -> Vec<(String, Value)> {
    let manifests = store.repository(name).into_iter().flat_map(|found| &found.manifests);
    let listed = manifests.filter_map(|(digest, stored)| Some((digest, stored.referrer.as_ref()?)));
    let subject = subject.to_string();
    listed
        .filter(|(_, referrer)| referrer.subject == subject)
        .map(|(digest, referrer)| (digest.to_string(), referrer.descriptor.clone()))
        .collect()
}

/// An index of these descriptors.
pub(crate) fn index_of(descriptors: &[Value]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_INDEX,
        "manifests": descriptors,
    })
}
