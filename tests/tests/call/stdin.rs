//! The descriptor on stdin.

use super::*;

#[test]
fn stdin_must_agree_with_the_command_line_within_bounds_of_size_and_time() {
    let descriptor = |digest: &str| format!(r#"{{"mediaType":"m","digest":"{digest}","size":1}}"#);
    let bytes = |text: String| Stdin::Bytes(text.into_bytes());
    let annotated = |annotation: &str| {
        bytes(format!(r#"{{"digest":"{DIGEST}","size":1,"annotations":{{{annotation}}}}}"#))
    };
    let padded = |length| {
        let descriptor = descriptor(DIGEST);
        bytes(" ".repeat(length - descriptor.len()) + &descriptor)
    };
    let many: Vec<String> =
        (0..1024).map(|n| format!(r#""{n:04}":"{}""#, "x".repeat(119))).collect();
    for (stdin, code, words) in [
        (bytes(descriptor(DIGEST)), 0, ""),
        (annotated(&many.join(",")), 0, ""),
        (padded(MIB), 0, ""),
        (Stdin::Null, 0, ""),
        (bytes(String::new()), 0, ""),
        (Stdin::Open, 2, "stdin did not end within 2 s"),
        (Stdin::Endless, 2, "stdin has more than 1048576 bytes"),
        (padded(MIB + 1), 2, "stdin has more than 1048576 bytes"),
        (bytes(descriptor(OTHER)), 2, "stdin describes sha256:aaaa"),
        (bytes(descriptor(&DIGEST.to_uppercase())), 2, "stdin is not a descriptor"),
        (bytes("pull".to_owned()), 2, "stdin is not a descriptor"),
        (bytes("{}".to_owned()), 2, "missing field `digest`"),
        (bytes(descriptor(DIGEST).repeat(2)), 2, "trailing characters"),
        (bytes(format!("\u{feff}{}", descriptor(DIGEST))), 2, "stdin is not a descriptor"),
        (Stdin::Bytes(b"{\"a\":\"\xff\"}".to_vec()), 2, "stdin is not a descriptor"),
        (bytes("[".repeat(MIB)), 2, "nested deeper than 32"),
        (
            bytes(format!(r#"{{"digest":"{OTHER}","digest":"{DIGEST}"}}"#)),
            2,
            r#"duplicate key "digest""#,
        ),
        (
            bytes(format!(r#"{{"digest":"{DIGEST}","d\u0069gest":"{OTHER}"}}"#)),
            2,
            r#"duplicate key "digest""#,
        ),
        (annotated(r#""a":"1","a":"2""#), 2, r#"duplicate key "a""#),
    ] {
        for verifier in verifiers() {
            let call = verifier.call("-name $N -digest $D -stdin-media-type $T -policy $P");
            assert_ends(&call.stdin(stdin.clone()), code, words);
        }
    }
}

#[test]
fn stdin_of_a_type_that_nobody_here_knows_is_not_read() {
    let about_another = Stdin::Bytes(format!(r#"{{"digest":"{OTHER}"}}"#).into_bytes());
    for verifier in verifiers() {
        for stdin in [Stdin::Open, Stdin::Endless, about_another.clone()] {
            for media_type in ["application/octet-stream", "application/vnd.oci.descriptor.v2+json"]
            {
                let line = format!("-name $N -digest $D -stdin-media-type {media_type} -policy $P");
                assert_ends(&verifier.call(&line).stdin(stdin.clone()), 0, "");
            }
        }
    }
}

#[test]
fn stdin_that_is_no_pipe_leaves_the_verdict_as_it_is() {
    for verifier in verifiers() {
        assert_ends(&redirected(&verifier, "<&-"), 0, "");
        assert_ends(&redirected(&verifier, "</"), 2, "stdin cannot be read");
        assert_ends(&redirected(&verifier, "</dev/zero"), 2, "more than 1048576 bytes");
    }
}
