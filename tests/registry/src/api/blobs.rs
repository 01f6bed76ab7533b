//! Blobs: whole, in part, or gone.

use std::ops::Range;
use std::sync::Arc;

use civ_oci::Digest;

use super::{Answer, Call, unknown_name, wrong_method};
use crate::Response;
use crate::wire::lock;

impl Call<'_, '_> {
    pub(super) fn blob(&mut self, name: &str, digest: &Digest) -> Answer {
        match self.request.method.as_str() {
            "GET" | "HEAD" => self.get_blob(name, digest),
            "DELETE" => self.delete_blob(name, digest),
            _ => Err(wrong_method()),
        }
    }

    fn get_blob(&self, name: &str, digest: &Digest) -> Answer {
        let store = lock(&self.shared.store);
        let contents = store.repository(name).ok_or_else(unknown_name)?;
        let blob = contents.blobs.get(digest).ok_or_else(unknown_blob)?;
        let length = blob.len();
        let (status, part) = match self.request.header("range").map(|r| parse_range(r, length)) {
            None | Some(Asked::Whole) => (200, 0..length),
            Some(Asked::Part(part)) => (206, part),
            Some(Asked::Nothing) => {
                return Err(Response::error(416, "SIZE_INVALID", "the range is beyond the end")
                    .with_header("Content-Range", format!("bytes */{length}"))
                    .into());
            }
        };
        let mut response = Response::new(status)
            .with_header("Content-Type", "application/octet-stream")
            .with_header("Docker-Content-Digest", digest.to_string())
            .with_header("Accept-Ranges", "bytes");
        if status == 206 {
            let range = format!("bytes {}-{}/{length}", part.start, part.end.saturating_sub(1));
            response = response.with_header("Content-Range", range);
        }
        Ok(response.with_shared_body(Arc::clone(blob), part))
    }

    fn delete_blob(&self, name: &str, digest: &Digest) -> Answer {
        let mut store = lock(&self.shared.store);
        let contents = store.repository_mut(name).ok_or_else(unknown_name)?;
        match contents.blobs.remove(digest) {
            Some(_) => Ok(Response::new(202)),
            None => Err(unknown_blob().into()),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Whole,
    Part(Range<usize>),
    Nothing,
}

/// One range of bytes. Several, other units and nonsense are answered with the whole, as HTTP allows.
fn parse_range(header: &str, length: usize) -> Asked {
    let bounds = header.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    let Some((first, last)) = bounds else { return Asked::Whole };
    let (first, last) = (first.trim(), last.trim());
    let part = match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return Asked::Whole,
    };
    if part.is_empty() { Asked::Nothing } else { Asked::Part(part) }
}

fn unknown_blob() -> Response {
    Response::error(404, "BLOB_UNKNOWN", "blob unknown to registry")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (header, asked) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=2-5", Asked::Part(2..6)),
            ("bytes=8-99", Asked::Part(8..10)),
            ("bytes=0-18446744073709551615", Asked::Part(0..10)),
            ("bytes=4-", Asked::Part(4..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-99", Asked::Part(0..10)),
            ("bytes=10-", Asked::Nothing),
            ("bytes=10-11", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=5-4", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=0-1,3-4", Asked::Whole),
            ("lines=0-1", Asked::Whole),
            ("", Asked::Whole),
        ] {
            assert_eq!(parse_range(header, 10), asked, "{header}");
        }
    }
}
