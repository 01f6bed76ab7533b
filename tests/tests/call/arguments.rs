//! What containerd says on the command line, and the name by which it calls.

use super::*;

#[test]
fn the_call_of_containerd_is_understood_and_so_are_flags_of_a_later_one() {
    for verifier in verifiers() {
        for line in [
            "-name $N -digest $D -stdin-media-type $T -policy $P",
            "--name $N --digest $D --stdin-media-type $T --policy $P",
            "-name=$N --digest=$D -stdin-media-type=$T -policy $P",
            "-policy $P -stdin-media-type $T -digest $D -name $N",
            "-operation pull -name $N -digest $D -dry -stdin-media-type $T -x=y -policy $P -z",
            "-name registry.example/team/app@$D -digest $D -stdin-media-type $T -policy $P",
            "-name registry.example/team/app:1@$D -digest $D -stdin-media-type $T -policy $P",
            "-name $N -digest $D -policy $P",
        ] {
            assert_ends(&verifier.call(line), 0, "");
        }
        let sha512 = format!("-name $N -digest {SHA512} -stdin-media-type $T -policy $P");
        assert_ends(&verifier.call(&sha512), 0, "");
    }
}

#[test]
fn a_call_that_leaves_something_open_is_refused() {
    let upper = DIGEST.to_uppercase().replace("SHA256", "sha256");
    let short = DIGEST.trim_end_matches('5');
    let sha512 = SHA512.trim_end_matches('e');
    for verifier in verifiers() {
        for (line, words) in [
            ("", "-name is missing"),
            ("-digest $D -stdin-media-type $T -policy $P", "-name is missing"),
            ("-name $N -stdin-media-type $T -policy $P", "-digest is missing"),
            ("-name $N -digest $D", "-stdin-media-type is missing"),
            ("-name $N -name $N -digest $D -policy $P", "-name is given twice"),
            ("-name $N --name=$N -digest $D -policy $P", "-name is given twice"),
            ("-name $N -digest $D -digest $D -policy $P", "-digest is given twice"),
            ("-name $N -digest $D -policy $P -policy $P", "-policy is given twice"),
            (
                "-name $N -digest $D -stdin-media-type $T -stdin-media-type x -policy $P",
                "-stdin-media-type is given twice",
            ),
            ("-name -digest $D -policy $P", "-name has no value"),
            ("-name $N -policy $P -digest", "-digest has no value"),
            ("-name $N -digest $D -policy", "-policy has no value"),
            ("-name $N -digest $D -policy=$P", "-policy and its file must be two words"),
            // A pod's author may choose the value of a flag that containerd adds one day.
            (
                "-name $N -digest $R -stdin-media-type $T -pod-annotation -policy=$P",
                "-policy and its file must be two words",
            ),
            ("-name $N -digest $D -stdin-media-type= -policy $P", "-stdin-media-type has no value"),
            (
                "-polcy $P -name $N -digest $D",
                "-stdin-media-type is missing; by hand give -policy FILE",
            ),
            ("-name= -digest $D -policy $P", "-name is"),
            ("-name=--help -digest $D -policy $P", "-name is"),
            ("-name=-h -digest $D -policy $P", "-name is"),
            ("-name registry.example/Team -digest $D -policy $P", "-name is"),
            ("-name https://registry.example/team -digest $D -policy $P", "-name is"),
            ("-name registry.example/../team -digest $D -policy $P", "-name is"),
            ("-name registry.example/team/app@$R -digest $D -policy $P", "-name has another"),
            ("-name $N stray -digest $D -policy $P", "belongs to no flag"),
            ("stray -name $N -digest $D -policy $P", "belongs to no flag"),
            ("-name $N -digest $D -policy $P --", "belongs to no flag"),
            ("-name $N -digest $D -policy $P -", "belongs to no flag"),
            ("-name $N -digest= -policy $P", "-digest is"),
            ("-name $N -digest sha256: -policy $P", "-digest is"),
            ("-name $N -digest md5:d41d8cd98f00b204e9800998ecf8427e -policy $P", "-digest is"),
            (&format!("-name $N -digest {short} -policy $P"), "sha256 has 64 digits, not 62"),
            (&format!("-name $N -digest {upper} -policy $P"), "only 0-9 and a-f"),
            (&format!("-name $N -digest {sha512} -policy $P"), "sha512 has 128 digits, not 127"),
        ] {
            assert_ends(&verifier.call(line), 2, "bad call: ");
            assert_ends(&verifier.call(line), 2, words);
        }
        let call = verifier.call("-name $N -digest $D -policy $P");
        assert_ends(&call.clone().arg(""), 2, "belongs to no flag");
        for argument in [&b"-x\xff"[..], b"\xff", b"-name=\xc0\xaf"] {
            let argument = OsString::from_vec(argument.to_vec());
            assert_ends(&call.clone().arg(argument), 2, "not UTF-8");
        }
    }
}

#[test]
fn text_of_a_stranger_in_a_call_stays_on_its_line() {
    let text = "a\nallowed\r\x1b[2J\u{202e}\u{2028}";
    for verifier in verifiers() {
        let with = |flag: &str| verifier.call("-policy $P").arg(format!("-{flag}={text}"));
        assert_ends(&with("name").arg("-digest").arg(DIGEST), 2, "bad call: -name is");
        assert_ends(&with("digest").arg("-name").arg(NAME), 2, "bad call: -digest is");
        assert_ends(&with(text).arg("-name").arg(NAME), 2, "bad call: -digest is missing");
        let with = |flag: &str| verifier.call("-name $N -digest $D").arg(format!("-{flag}={text}"));
        assert_ends(&with("stdin-media-type").arg("-policy").arg(verifier.policy()), 0, "");
        assert_ends(&with("policy"), 2, "two words");
        let policy = verifier.call("-name $N -digest $D -policy").arg(text);
        assert_ends(&policy, 3, r"(a\u{a}allowed\u{d}\u{1b}[2J");
        let ignored = assert_ends(&with(text).arg("-policy").arg(verifier.policy()), 0, "");
        assert!(ignored.stderr.contains("step=call "), "{ignored:?}");
        assert!(ignored.stderr.contains(r" ignored=-a\u{a}allowed\u{d}\u{1b}[2J"), "{ignored:?}");
    }
}

#[test]
fn help_and_version_are_answered_alone_and_never_in_place_of_a_verdict() {
    for verifier in verifiers() {
        for flag in ["-h", "-help", "--help", "-version", "--version"] {
            let alone = verifier.call(flag).run();
            let name = verifier.executable.file_name().and_then(OsStr::to_str).unwrap_or_default();
            assert!(alone.code == Some(0) && alone.stdout.starts_with(name), "{alone:?}");

            assert_ends(&verifier.call(&format!("{flag} {flag}")), 2, "-name is missing");
            for line in [
                format!("{flag} -name other.example/app -digest $R -stdin-media-type $T"),
                format!("-name other.example/app {flag} -digest $R -stdin-media-type $T"),
                format!("-name other.example/app -digest $R -stdin-media-type $T {flag}"),
            ] {
                assert_ends(&verifier.call(&format!("-policy $P {line}")), 1, "");
                // Without the policy of the test there is none.
                let outcome = verifier.call(&line).run();
                assert!(!matches!(outcome.code, Some(0) | None), "{line}: {outcome:?}");
            }
        }
    }
}

#[test]
fn an_executable_whose_name_is_no_plugins_refuses_whatever_the_policy() {
    for verifier in verifiers() {
        let long = "a".repeat(77);
        for name in [
            OsStr::new("-image-verifier"),
            OsStr::new("a.b-image-verifier"),
            OsStr::new("a b-image-verifier"),
            OsStr::new("é-image-verifier"),
            OsStr::new("a\nverifier=x verdict=allow-image-verifier"),
            OsStr::new(&format!("{long}-image-verifier")),
            &OsString::from_vec(b"\xff-image-verifier".to_vec()),
        ] {
            let executable = verifier.directory.path().join(name);
            symlink(&verifier.executable, &executable).expect("a link in a directory of ours");
            let call = Call::pull(executable, NAME, DIGEST).policy(&verifier.policy());
            assert_ends(&call, 2, "the executable must be called NAME-image-verifier");
        }
        let outcome = allowed_call(&verifier).arg0("").output().expect("it runs");
        assert_eq!(outcome.status.code(), Some(2), "{outcome:?}");
    }
}

#[test]
fn two_copies_under_other_names_read_their_own_policies() {
    let policies = "etc/containerd/image-verifiers";
    let root =
        elsewhere::new_root(&["bin", &format!("{policies}/team-a"), &format!("{policies}/team-b")]);
    let path = |name: &str| root.path().join(name);
    for verifier in verifiers() {
        let write = |team: &str, policy: &Value| {
            write_policy(&path(&format!("{policies}/{team}/trustpolicy.json")), policy);
        };
        let allowing = fs::read(verifier.policy()).expect("it was written");
        write("team-a", &serde_json::from_slice(&allowing).expect("it is JSON"));
        write("team-b", &json!({ "version": "0.9" }));
        let link = path("bin/team-b-image-verifier");
        symlink(&verifier.executable, &link).expect("a link in a directory of ours");
        for (executable, code, words) in [
            (gate::copy_as(&verifier.executable, &path("bin"), "team-a-image-verifier"), 0, ""),
            (
                gate::copy_as(&verifier.executable, &path("bin"), "team-a"),
                2,
                "must be called NAME-",
            ),
            (link.clone(), 3, "(/etc/containerd/image-verifiers/team-b/trustpolicy.json)"),
            (verifier.executable.clone(), 3, "policy absent, so every pull is refused"),
        ] {
            let call = ["-name", NAME, "-digest", DIGEST, "-stdin-media-type", DESCRIPTOR];
            let command = [executable.into_os_string()].into_iter().chain(call.map(Into::into));
            assert_ends(&elsewhere::call(root.path(), command), code, words);
        }
        fs::remove_file(&link).expect("a link of ours");
    }
}

#[test]
fn the_place_of_a_mistake_fits_into_the_reason_whatever_the_path() {
    let plugin = "a".repeat(76);
    let policies = format!("etc/containerd/image-verifiers/{plugin}");
    let root = elsewhere::new_root(&["bin", &policies]);
    let policy = root.path().join(&policies).join("trustpolicy.json");
    for verifier in verifiers() {
        let mut document: Value =
            serde_json::from_slice(&fs::read(verifier.policy()).expect("it was written"))
                .expect("it is JSON");
        document["trustPolicies"] = json!([{ "name": "a", "signedIdentityy": 1 }]);
        write_policy(&policy, &document);
        let program = root.path().join("bin").join(format!("{plugin}-image-verifier"));
        symlink(&verifier.executable, &program).expect("a link in a directory of ours");
        let call = ["-name", NAME, "-digest", DIGEST, "-stdin-media-type", DESCRIPTOR];
        let command = [program.clone().into_os_string()].into_iter().chain(call.map(Into::into));
        let call = elsewhere::call(root.path(), command);
        let said =
            assert_ends(&call, 3, ": unknown field `signedIdentityy` (/etc/containerd/").stdout;
        assert!(said.starts_with("policy not valid: line 1, column "), "{said}");
        assert!(said.ends_with("a/trustpolicy.json)\n"), "{said}");
        fs::remove_file(&program).expect("a link of ours");
    }
}
