use proptest::prelude::*;

use super::*;

const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn normalises_as_docker_does() {
    for (text, normal) in [
        ("busybox", "docker.io/library/busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox"),
        ("index.docker.io/library/busybox", "docker.io/library/busybox"),
        ("team/app", "docker.io/team/app"),
        ("localhost/app", "localhost/app"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("127.0.0.1:5055/app:1", "127.0.0.1:5055/app:1"),
        ("[::1]:5000/app", "[::1]:5000/app"),
        ("[fe80::1]/app:x", "[fe80::1]/app:x"),
        ("[0:0:0:0:0:0:0:1]:5000/app", "[::1]:5000/app"),
        ("[FE80::0001]/app", "[fe80::1]/app"),
        ("ghcr.io:443/org/app", "ghcr.io/org/app"),
        ("localhost:443/app", "localhost/app"),
        // Without the port these would be parts of Docker Hub's path.
        ("registry:443/team/app:1", "registry:443/team/app:1"),
        ("Registry:443/app", "registry:443/app"),
        ("registry:5000/app", "registry:5000/app"),
        ("[::1]:443/app", "[::1]/app"),
        ("registry-1.docker.io/library/busybox", "docker.io/library/busybox"),
        ("index.docker.io:443/busybox", "docker.io/library/busybox"),
        ("GHCR.IO/Org/app", ""),
        ("GHCR.IO/org/app", "ghcr.io/org/app"),
        ("registry/app", "docker.io/registry/app"),
        ("Registry/app", ""),
        ("LOCALHOST/app", "localhost/app"),
        ("ghcr.io/a/b__c/d--e.f:V1_.-", "ghcr.io/a/b__c/d--e.f:V1_.-"),
        ("r.example/a:1@D", "r.example/a:1@D"),
        ("r.example:80/a@D", "r.example:80/a@D"),
    ] {
        let parsed = text.replace('D', D).parse::<Reference>();
        let normal = normal.replace('D', D);
        match parsed {
            Ok(reference) => assert_eq!(reference.to_string(), normal, "{text}"),
            Err(error) => assert_eq!(normal, "", "{text}: {error}"),
        }
    }
}

#[test]
fn a_displayed_reference_parses_to_itself() {
    for text in
        ["busybox", "localhost:5000/a:1", "[::1]:5000/a", "Registry.example/a", "LOCALHOST/a"]
    {
        let once: Reference = text.parse().unwrap();
        assert_eq!(once.to_string().parse(), Ok(once));
    }
}

#[test]
fn refuses_what_is_no_reference() {
    for text in [
        "",
        "/",
        ":",
        "@",
        ":tag",
        "a/",
        "/a",
        "a//b",
        "r.io/",
        "a:",
        "a@",
        "a:b:c",
        "-name",
        "a@sha256:",
        "a@@",
        "r.io:/a",
        "r.io:0/a",
        "r.io:0443/a",
        "r.io:65536/a",
        "r.io:+1/a",
        "r..io/a",
        "r.io./a",
        "-r.io/a",
        "r-.io/a",
        "r_x.io/a",
        "[::1/a",
        "[::1]x/a",
        "[]/a",
        "[1.2.3.4]/a",
        "[::1%eth0]/a",
        "::1/a",
        "a b",
        "a\n",
        "a\0",
        "r.io/a\tb",
        "ä",
        "r.io/ä",
        "аpp",
        "r.io/A",
        "r.io/a._b",
        "r.io/a___b",
        "r.io/.a",
        "r.io/a.",
        "r.io/a-",
        "r.io/-a",
        "r.io/../a",
        "r.io/./a",
        "r.io/a:.x",
        "r.io/a:-x",
        "https://r.io/a",
        "user@r.io/a",
        "r.io/a?x",
        "r.io/a#x",
        "r.io/a%2f",
        "r.io\\a/b",
        "library/",
        "docker.io/",
    ] {
        assert!(text.parse::<Reference>().is_err(), "{text:?}");
    }
}

#[test]
fn lengths_are_bounded_exactly() {
    let is_read = |text: String| text.parse::<Reference>().is_ok();
    let long_host = vec!["a".repeat(60); 4].join(".");
    for (length, is_short) in [(255, true), (256, false)] {
        let path = "a".repeat(length);
        assert_eq!(is_read(format!("r.io/{path}")), is_short);
        assert_eq!(is_read(format!("{long_host}/{path}:1@{D}")), is_short);
        let official = "a".repeat(length - "library/".len());
        assert_eq!(is_read(format!("docker.io/{official}")), is_short);
    }
    let too_long = format!("r.io/{}", "a".repeat(256)).parse::<Reference>();
    assert_eq!(too_long, Err(ReferenceError::TooLong { limit: 255 }));
    assert!(is_read(format!("r.io/a:{}", "t".repeat(128))));
    let too_long = format!("r.io/a:{}", "t".repeat(129)).parse::<Reference>();
    assert_eq!(too_long, Err(ReferenceError::BadTag));
    for (port, is_port) in [("1", true), ("65535", true), ("65536", false), ("0", false)] {
        assert_eq!(is_read(format!("r.io:{port}/a")), is_port, "{port}");
    }
}

/// The names of `TestReferenceParse` and `TestDomainAndPath` of distribution/reference, which normalises
/// them in a further step.
#[test]
fn agrees_with_the_table_of_distribution_reference() {
    let sha512 = format!("sha512:{}", "f".repeat(128));
    let (longest, too_long) = ("a/".repeat(127) + "a", "a/".repeat(128) + "a");
    for (text, normal) in [
        ("test_com", "docker.io/library/test_com"),
        ("test.com:tag", "docker.io/library/test.com:tag"),
        ("test.com:5000", "docker.io/library/test.com:5000"),
        ("test.com/repo:tag", "test.com/repo:tag"),
        ("test:5000/repo", "test:5000/repo"),
        ("test:5000/repo:tag", "test:5000/repo:tag"),
        ("test:5000/repo@D", "test:5000/repo@D"),
        ("test:5000/repo:tag@D", "test:5000/repo:tag@D"),
        ("", ""),
        (":justtag", ""),
        ("@D", ""),
        ("repo@sha256:ffffffffffffffffffffffffffffffffff", ""),
        ("validname@invaliddigest:ffffffffffffffffffffffffffffffff", ""),
        ("Uppercase:tag", ""),
        ("test:5000/Uppercase/lowercase:tag", ""),
        ("lowercase:Uppercase", "docker.io/library/lowercase:Uppercase"),
        (&format!("{too_long}:tag"), ""),
        (&format!("{longest}:tag-over-max"), &format!("docker.io/{longest}:tag-over-max")),
        ("aa/asdf$$^/aa", ""),
        ("sub-dom1.foo.com/bar/baz/quux", "sub-dom1.foo.com/bar/baz/quux"),
        ("sub-dom1.foo.com/bar/baz/quux:some-tag", "sub-dom1.foo.com/bar/baz/quux:some-tag"),
        (
            "b.gcr.io/test.example.com/my-app:test.example.com",
            "b.gcr.io/test.example.com/my-app:test.example.com",
        ),
        ("xn--n3h.com/myimage:xn--n3h.com", "xn--n3h.com/myimage:xn--n3h.com"),
        (
            &format!("xn--7o8h.com/myimage:xn--7o8h.com@{sha512}"),
            &format!("xn--7o8h.com/myimage:xn--7o8h.com@{sha512}"),
        ),
        ("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080"),
        ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"),
        ("192.168.1.1", "docker.io/library/192.168.1.1"),
        ("192.168.1.1:tag", "docker.io/library/192.168.1.1:tag"),
        ("192.168.1.1:5000", "docker.io/library/192.168.1.1:5000"),
        ("192.168.1.1/repo", "192.168.1.1/repo"),
        ("192.168.1.1:5000/repo", "192.168.1.1:5000/repo"),
        ("192.168.1.1:5000/repo:5050", "192.168.1.1:5000/repo:5050"),
        ("[2001:db8::1]", ""),
        ("[2001:db8::1]:5000", ""),
        ("[2001:db8::1]:tag", ""),
        ("[2001:db8::1]/repo", "[2001:db8::1]/repo"),
        ("[2001:db8:1:2:3:4:5:6]/repo:tag", "[2001:db8:1:2:3:4:5:6]/repo:tag"),
        ("[2001:db8::1]:5000/repo", "[2001:db8::1]:5000/repo"),
        ("[2001:db8::1]:5000/repo:tag", "[2001:db8::1]:5000/repo:tag"),
        ("[2001:db8::1]:5000/repo:tag@D", "[2001:db8::1]:5000/repo:tag@D"),
        ("[2001:db8::]:5000/repo", "[2001:db8::]:5000/repo"),
        ("[::1]:5000/repo", "[::1]:5000/repo"),
        ("[fe80::1%eth0]:5000/repo", ""),
        ("[fe80::1%@invalidzone]:5000/repo", ""),
        ("test_com/foo", "docker.io/test_com/foo"),
        ("test-com:8080/foo", "test-com:8080/foo"),
        ("xn--n3h.com:18080/foo", "xn--n3h.com:18080/foo"),
    ] {
        let parsed = text.replace("@D", &format!("@{D}")).parse::<Reference>();
        let parsed = parsed.map_or_else(|_| String::new(), |reference| reference.to_string());
        assert_eq!(parsed, normal.replace("@D", &format!("@{D}")), "{text}");
    }
}

#[test]
fn what_is_pasted_with_a_scheme_is_told_so() {
    for text in ["https://ghcr.io/org/app:1", "docker://alpine", "docker://r.io/a:1@D", "oci://a"] {
        let parsed = text.replace('D', D).parse::<Reference>();
        assert_eq!(parsed, Err(ReferenceError::Scheme), "{text}");
    }
}

#[test]
fn a_port_is_not_a_tag() {
    let reference: Reference = "r.example:5000/a".parse().unwrap();
    assert_eq!((reference.repository.host(), reference.tag), ("r.example:5000", None));
}

#[test]
fn signing_name_of_docker_hub_is_the_one_cosign_writes() {
    let hub: Repository = "busybox".parse().unwrap();
    assert_eq!(hub.signing_name(), "index.docker.io/library/busybox");
    let other: Repository = "r.example/a".parse().unwrap();
    assert_eq!(other.signing_name(), "r.example/a");
}

#[test]
fn signature_tag_is_the_one_cosign_triangulates() {
    assert_eq!(
        Tag::of_signatures(&D.parse().unwrap()).unwrap().as_str(),
        format!("{}.sig", D.replace(':', "-"))
    );
    assert_eq!(Tag::of_signatures(&Digest::of(crate::Algorithm::Sha512, b"")), None);
}

#[test]
fn referrers_tag_is_the_specifications() {
    let tag = Tag::of_referrers(&D.parse().unwrap());
    assert_eq!(tag.as_str(), D.replace(':', "-"));
    let long = Digest::of(crate::Algorithm::Sha512, b"");
    let tag = Tag::of_referrers(&long);
    assert!(long.hex().starts_with(tag.as_str().strip_prefix("sha512-").unwrap()));
    assert_eq!(tag.as_str().len(), "sha512-".len() + 64);
    assert_eq!(tag.as_str().parse(), Ok(tag));
}

proptest! {
    #[test]
    fn whatever_parses_displays_as_what_it_is(text in ".{0,40}|[a-zA-Z0-9._:/@\\[\\]-]{0,60}") {
        if let Ok(reference) = text.parse::<Reference>() {
            let shown = reference.to_string();
            prop_assert!(shown.is_ascii() && !shown.contains(char::is_whitespace));
            prop_assert_eq!(shown.parse(), Ok(reference));
        }
    }
}
