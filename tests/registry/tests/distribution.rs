//! The distribution API, as its clients use it.

#[cfg(test)]
mod client;

use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture as _, SmallImage, SmallIndex};
use civ_oci::{Algorithm, Digest, media_type};
use client::{Client, ask, get};

const MANIFEST: &str = "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n";
const INDEX: &str = "Content-Type: application/vnd.oci.image.index.v1+json\r\n";

#[test]
fn what_is_pushed_is_pulled() {
    let registry = Registry::start().unwrap();
    let image = SmallImage::new("flow", "linux/amd64");
    let mut client = Client::connect(&registry);
    assert_eq!(client.get("/v2/").status, 200);

    for blob in image.blobs() {
        let digest = blob.digest();
        let head = format!("HEAD /v2/team/app/blobs/{digest}");
        assert_eq!(client.ask(&head, "", "").status, 404);
        let begun = client.ask("POST /v2/team/app/blobs/uploads/", "", "");
        assert_eq!(begun.status, 202);
        let put = format!("PUT {}&digest={digest}", begun.header("location").unwrap());
        let done = client.ask(&put, "", blob.into_bytes());
        assert_eq!(done.status, 201);
        assert_eq!(done.header("docker-content-digest"), Some(digest.to_string().as_str()));
        assert_eq!(client.ask(&head, "", "").status, 200);
    }

    let put = client.ask("PUT /v2/team/app/manifests/v1", MANIFEST, image.manifest());
    let digest = image.digest().to_string();
    assert_eq!(put.status, 201);
    assert_eq!(put.header("docker-content-digest"), Some(digest.as_str()));
    assert_eq!(put.header("location"), Some(format!("/v2/team/app/manifests/{digest}").as_str()));

    for reference in ["v1", &digest] {
        let head = client.ask(&format!("HEAD /v2/team/app/manifests/{reference}"), "", "");
        let length = image.manifest().len().to_string();
        assert_eq!(head.header("content-length"), Some(length.as_str()));
        let got = client.get(&format!("/v2/team/app/manifests/{reference}"));
        assert_eq!(got.body, image.manifest());
        assert_eq!(got.header("content-type"), Some(media_type::OCI_MANIFEST));
        assert_eq!(got.header("docker-content-digest"), Some(digest.as_str()));
    }
    let layer = Digest::sha256(image.layer());
    assert_eq!(client.get(&format!("/v2/team/app/blobs/{layer}")).body, image.layer());
    assert_eq!(registry.connections(), 1, "the connection was kept");
}

#[test]
fn log_has_each_request_and_its_status() {
    let registry = Registry::start().unwrap();
    SmallImage::new("log", "linux/amd64").seed_into(&registry, "app", "v1");
    ask(&registry, "GET /v2/app/manifests/v1", "Authorization: Basic eDp5\r\n", "");
    get(&registry, "/v2/app/tags/list?n=1");
    get(&registry, "/v2/app/manifests/v2");
    assert_eq!(
        registry.request_lines(),
        [
            "GET /v2/app/manifests/v1 200",
            "GET /v2/app/tags/list?n=1 200",
            "GET /v2/app/manifests/v2 404",
        ]
    );
    assert_eq!(registry.count_requests("GET", "/manifests/"), 2);
    let first = registry.requests().swap_remove(0);
    assert_eq!(first.request.authorization(), Some("Basic eDp5"));
    registry.clear_requests();
    assert!(registry.requests().is_empty());
}

#[test]
fn blobs_arrive_in_one_request() {
    let registry = Registry::start().unwrap();
    let digest = Digest::sha256(b"content");
    let post = format!("POST /v2/app/blobs/uploads/?digest={digest}");
    assert_eq!(ask(&registry, &post, "", "content").status, 201);
    assert_eq!(registry.blob("app", &digest).unwrap().as_slice(), b"content");

    let sha512 = Digest::of(Algorithm::Sha512, b"content");
    let post = format!("POST /v2/app/blobs/uploads/?digest={sha512}");
    assert_eq!(ask(&registry, &post, "", "content").status, 201);
    assert!(registry.blob("app", &sha512).is_some());
}

#[test]
fn blobs_arrive_in_chunks() {
    let registry = Registry::builder().absolute_locations(true).start().unwrap();
    let mut client = Client::connect(&registry);
    let begun = client.ask("POST /v2/app/blobs/uploads/", "", "");
    let location = begun.header("location").unwrap().strip_prefix(registry.url()).unwrap();
    let path = location.split('?').next().unwrap();

    let append = format!("PATCH {path}");
    let first = client.ask(&append, "Content-Range: 0-3\r\n", "abcd");
    assert_eq!((first.status, first.header("range")), (202, Some("0-3")));
    let early = client.ask(&append, "Content-Range: 9-10\r\n", "xx");
    assert_eq!((early.status, early.header("range")), (416, Some("0-3")));
    let status = client.get(path);
    assert_eq!((status.status, status.header("range")), (204, Some("0-3")));

    // In the transfer coding of that name, with an extension and a trailer.
    client.write(format!("{append} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"));
    client.write("2;x=y\r\nef\r\n01\r\ng\r\n0\r\nTrailer: x\r\n\r\n");
    assert_eq!(client.answer(false).header("range"), Some("0-6"));

    let digest = Digest::sha256(b"abcdefgh");
    let done = client.ask(&format!("PUT {path}?digest={digest}"), "Content-Range: 7-7\r\n", "h");
    assert_eq!(done.status, 201);
    assert_eq!(registry.blob("app", &digest).unwrap().as_slice(), b"abcdefgh");
    assert_eq!(client.get(path).code(), "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn uploads_can_be_given_up() {
    let registry = Registry::start().unwrap();
    let mut client = Client::connect(&registry);
    let begun = client.ask("POST /v2/app/blobs/uploads/", "", "");
    let location = begun.header("location").unwrap();
    assert_eq!(client.ask(&format!("DELETE {location}"), "", "").status, 204);
    let digest = Digest::sha256(b"");
    let put = client.ask(&format!("PUT {location}&digest={digest}"), "", "");
    assert_eq!((put.status, put.code().as_str()), (404, "BLOB_UPLOAD_UNKNOWN"));
}

#[test]
fn an_upload_belongs_to_its_repository() {
    let registry = Registry::start().unwrap();
    let begun = ask(&registry, "POST /v2/app/blobs/uploads/", "", "");
    let other = begun.header("location").unwrap().replace("/app/", "/other/");
    assert_eq!(get(&registry, &other).code(), "BLOB_UPLOAD_UNKNOWN");
}

#[test]
fn wrong_digests_are_refused() {
    let registry = Registry::start().unwrap();
    let digest = Digest::sha256(b"one");
    let post = format!("POST /v2/app/blobs/uploads/?digest={digest}");
    let answer = ask(&registry, &post, "", "other");
    assert_eq!((answer.status, answer.code().as_str()), (400, "DIGEST_INVALID"));
    assert!(registry.blob("app", &digest).is_none());

    let begun = ask(&registry, "POST /v2/app/blobs/uploads/", "", "");
    let location = begun.header("location").unwrap();
    for query in [format!("&digest={digest}"), "&digest=md5:0".to_owned(), String::new()] {
        let begun = ask(&registry, "POST /v2/app/blobs/uploads/", "", "");
        let put = format!("PUT {}{query}", begun.header("location").unwrap());
        assert_eq!(ask(&registry, &put, "", "other").code(), "DIGEST_INVALID");
    }
    assert_eq!(get(&registry, location).status, 204);

    let put = format!("PUT /v2/app/manifests/{digest}");
    assert_eq!(ask(&registry, &put, MANIFEST, "{}").code(), "DIGEST_INVALID");
    assert_eq!(get(&registry, "/v2/app/blobs/sha256:ABC").code(), "DIGEST_INVALID");
}

#[test]
fn digests_are_believed_where_that_is_said() {
    let registry = Registry::builder().check_digests(false).start().unwrap();
    let digest = Digest::sha256(b"one");
    let post = format!("POST /v2/app/blobs/uploads/?digest={digest}");
    assert_eq!(ask(&registry, &post, "", "other").status, 201);
    assert_eq!(registry.blob("app", &digest).unwrap().as_slice(), b"other");
}

#[test]
fn blobs_are_mounted_where_they_are_known() {
    let registry = Registry::start().unwrap();
    let digest = registry.put_blob("from", "content");
    let post = format!("POST /v2/to/blobs/uploads/?mount={digest}&from=from");
    assert_eq!(ask(&registry, &post, "", "").status, 201);
    assert!(registry.blob("to", &digest).is_some());

    let unknown = Digest::sha256(b"unknown");
    let post = format!("POST /v2/to/blobs/uploads/?mount={unknown}&from=from");
    let answer = ask(&registry, &post, "", "");
    assert_eq!(answer.status, 202);
    assert!(answer.header("location").is_some());
    assert!(answer.header("docker-upload-uuid").is_some());
}

#[test]
fn ranges_of_blobs() {
    let registry = Registry::start().unwrap();
    let digest = registry.put_blob("app", "0123456789");
    let line = format!("GET /v2/app/blobs/{digest}");
    for (range, status, body, content_range) in [
        ("bytes=2-4", 206, "234", Some("bytes 2-4/10")),
        ("bytes=7-", 206, "789", Some("bytes 7-9/10")),
        ("bytes=-2", 206, "89", Some("bytes 8-9/10")),
        ("bytes=0-1,4-5", 200, "0123456789", None),
    ] {
        let answer = ask(&registry, &line, &format!("Range: {range}\r\n"), "");
        assert_eq!((answer.status, answer.body.as_slice()), (status, body.as_bytes()));
        assert_eq!(answer.header("content-range"), content_range);
    }
    let answer = ask(&registry, &line, "Range: bytes=10-\r\n", "");
    assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */10")));
}

#[test]
fn manifests_need_what_they_point_to() {
    let registry = Registry::start().unwrap();
    let image = SmallImage::new("refs", "linux/amd64");
    let put = "PUT /v2/app/manifests/v1";
    assert_eq!(ask(&registry, put, MANIFEST, image.manifest()).code(), "MANIFEST_BLOB_UNKNOWN");
    registry.put_blob("app", image.config());
    assert_eq!(ask(&registry, put, MANIFEST, image.manifest()).code(), "MANIFEST_BLOB_UNKNOWN");
    registry.put_blob("app", image.layer());
    assert_eq!(ask(&registry, put, MANIFEST, image.manifest()).status, 201);

    let index = SmallIndex::new("refs");
    let put = "PUT /v2/app/manifests/multi";
    assert_eq!(ask(&registry, put, INDEX, index.index()).code(), "MANIFEST_BLOB_UNKNOWN");
    for child in index.children() {
        child.seed_into(&registry, "app", "child");
    }
    assert_eq!(ask(&registry, put, INDEX, index.index()).status, 201);
}

#[test]
fn manifests_must_be_what_they_are_called() {
    let registry = Registry::start().unwrap();
    for (headers, body, code) in [
        (MANIFEST, "not JSON", "MANIFEST_INVALID"),
        (MANIFEST, "[]", "MANIFEST_INVALID"),
        ("", "{}", "MANIFEST_INVALID"),
        (
            INDEX,
            r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#,
            "MANIFEST_INVALID",
        ),
        (MANIFEST, r#"{"config":{"digest":"sha256:1"}}"#, "MANIFEST_INVALID"),
    ] {
        let answer = ask(&registry, "PUT /v2/app/manifests/v1", headers, body);
        assert_eq!((answer.status, answer.code().as_str()), (400, code), "{body}");
    }
    let large = " ".repeat((4 << 20) + 1);
    let answer = ask(&registry, "PUT /v2/app/manifests/v1", MANIFEST, large);
    assert_eq!((answer.status, answer.code().as_str()), (413, "SIZE_INVALID"));
    let answer = ask(&registry, "PUT /v2/app/manifests/.v1", MANIFEST, "{}");
    assert_eq!(answer.code(), "TAG_INVALID");
}

#[test]
fn immutable_tags_stay() {
    let registry = Registry::builder().immutable_tags(true).start().unwrap();
    let put = "PUT /v2/app/manifests/v1";
    assert_eq!(ask(&registry, put, MANIFEST, r#"{"a":1}"#).status, 201);
    assert_eq!(ask(&registry, put, MANIFEST, r#"{"a":1}"#).status, 201);
    let answer = ask(&registry, put, MANIFEST, r#"{"a":2}"#);
    assert_eq!((answer.status, answer.code().as_str()), (400, "TAG_INVALID"));
    assert_eq!(registry.manifest("app", "v1").unwrap().bytes.as_slice(), br#"{"a":1}"#);
}

#[test]
fn deleted_is_gone() {
    let registry = Registry::start().unwrap();
    let image = SmallImage::new("delete", "linux/amd64");
    let digest = image.seed_into(&registry, "app", "v1");
    registry.tag("app", "v2", &digest);
    let mut client = Client::connect(&registry);
    assert_eq!(client.ask("DELETE /v2/app/manifests/v1", "", "").status, 202);
    assert_eq!(client.get("/v2/app/manifests/v1").code(), "MANIFEST_UNKNOWN");
    assert_eq!(client.get("/v2/app/manifests/v2").status, 200);
    let delete = format!("DELETE /v2/app/manifests/{digest}");
    assert_eq!(client.ask(&delete, "", "").status, 202);
    assert_eq!(client.ask(&delete, "", "").code(), "MANIFEST_UNKNOWN");
    assert!(registry.tags("app").is_empty());
    let layer = Digest::sha256(image.layer());
    let delete = format!("DELETE /v2/app/blobs/{layer}");
    assert_eq!(client.ask(&delete, "", "").status, 202);
    assert_eq!(client.ask(&delete, "", "").code(), "BLOB_UNKNOWN");
}

#[test]
fn tags_come_in_order_and_in_pages() {
    let registry = Registry::start().unwrap();
    let digest = Digest::sha256(b"");
    for tag in ["c", "a", "d", "b"] {
        registry.tag("app", tag, &digest);
    }
    let list = |target: &str| {
        let answer = get(&registry, target);
        (answer.json()["tags"].to_string(), answer.header("link").map(str::to_owned))
    };
    assert_eq!(list("/v2/app/tags/list"), (r#"["a","b","c","d"]"#.to_owned(), None));
    let (tags, link) = list("/v2/app/tags/list?n=3");
    assert_eq!(tags, r#"["a","b","c"]"#);
    assert_eq!(link.as_deref(), Some("</v2/app/tags/list?n=3&last=c>; rel=\"next\""));
    assert_eq!(list("/v2/app/tags/list?n=3&last=c"), (r#"["d"]"#.to_owned(), None));
    assert_eq!(list("/v2/app/tags/list?n=0"), ("[]".to_owned(), None));
    assert_eq!(get(&registry, "/v2/none/tags/list").code(), "NAME_UNKNOWN");
    assert_eq!(get(&registry, "/v2/app/tags/list?n=x").code(), "PAGINATION_NUMBER_INVALID");
}

#[test]
fn referrers_are_listed_filtered_and_paged() {
    let registry = Registry::builder().page_size(1).start().unwrap();
    let subject = SmallImage::new("subject", "linux/amd64").seed_into(&registry, "app", "v1");
    let artifact = |fields: &str| {
        format!(r#"{{"schemaVersion":2,{fields},"subject":{{"digest":"{subject}"}}}}"#)
    };
    let typed = artifact(r#""artifactType":"a/b+c","annotations":{"k":"v"}"#);
    let put = ask(&registry, "PUT /v2/app/manifests/artifact", MANIFEST, &typed);
    assert_eq!(put.header("oci-subject"), Some(subject.to_string().as_str()));
    // As a signature image has it, the type is that of its configuration.
    let configured = artifact(r#""config":{"mediaType":"d/e"}"#);
    registry.put_manifest("app", None, media_type::OCI_MANIFEST, configured);

    let list = format!("/v2/app/referrers/{subject}");
    let filtered = get(&registry, &format!("{list}?artifactType=a%2Fb%2Bc"));
    assert_eq!(filtered.header("oci-filters-applied"), Some("artifactType"));
    assert_eq!(filtered.header("content-type"), Some(media_type::OCI_INDEX));
    let index = filtered.json();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    let descriptor = &index["manifests"][0];
    assert_eq!(descriptor["digest"], Digest::sha256(typed.as_bytes()).to_string());
    assert_eq!(descriptor["artifactType"], "a/b+c");
    assert_eq!(descriptor["annotations"]["k"], "v");
    assert_eq!(descriptor["size"], typed.len());

    let mut next = Some(list);
    let mut seen = Vec::new();
    while let Some(target) = next.take() {
        let page = get(&registry, &target);
        seen.push(page.json()["manifests"][0]["artifactType"].as_str().unwrap().to_owned());
        next = page.header("link").map(|link| {
            link.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned()
        });
    }
    seen.sort();
    assert_eq!(seen, ["a/b+c", "d/e"]);

    let none = get(&registry, &format!("/v2/app/referrers/{}", Digest::sha256(b"")));
    assert_eq!((none.status, none.json()["manifests"].to_string().as_str()), (200, "[]"));
}

#[test]
fn without_a_referrers_api() {
    let registry = Registry::builder().referrers(false).start().unwrap();
    let subject = SmallImage::new("subject", "linux/amd64").seed_into(&registry, "app", "v1");
    assert_eq!(get(&registry, &format!("/v2/app/referrers/{subject}")).status, 404);
    let manifest = format!(r#"{{"subject":{{"digest":"{subject}"}}}}"#);
    let put = ask(&registry, "PUT /v2/app/manifests/artifact", MANIFEST, manifest);
    assert_eq!((put.status, put.header("oci-subject")), (201, None));
}

#[test]
fn unknown_paths_names_and_methods() {
    let registry = Registry::start().unwrap();
    for (line, status) in [
        ("GET /", 404),
        ("GET /v1/", 404),
        ("GET /v2x/", 404),
        ("GET /v2", 200),
        ("GET /v2/app", 404),
        ("GET /v2/manifests/v1", 400),
        ("GET /v2//manifests/v1", 400),
        ("GET /v2/App/manifests/v1", 400),
        ("GET /v2/../manifests/v1", 400),
        ("GET /v2/%2e%2e/manifests/v1", 400),
        ("GET /v2/app/manifests/v1", 404),
        ("GET /v2/manifests/blobs/manifests/v1", 404),
        ("POST /v2/app/manifests/v1", 405),
        ("PUT /v2/app/tags/list", 405),
        ("GET /v2/app/blobs/uploads/", 405),
        ("BREW /v2/app/manifests/v1", 405),
        ("GET /token", 404),
    ] {
        let answer = ask(&registry, line, "", "");
        assert_eq!(answer.status, status, "{line}");
    }
}
