//! What a verifier makes of its policy, whatever the policy is like: the executables as `cargo gate`
//! builds them, called as containerd calls them about an image that the policy would allow if it
//! were read. Exit code 0 in place of another would be a wrong allow.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a harness that cannot do its work fails the test"
)]

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    io::ErrorKind,
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown, symlink},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use civ_embedded_registry::Registry;
use civ_embedded_registry::image::{Fixture as _, SmallImage};
use civ_tests::{
    gate::{self, Call, Stdin},
    scratch,
    stage::assert_ends,
};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};

const NAME: &str = "registry.example/team/app:1";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHER: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const MIB: usize = 1 << 20;
const KEY: &str = include_str!("../../verifiers/cosign/testdata/keys/p256.pem");

/// A verifier, and a document that allows `NAME` with `DIGEST` and no image of another registry.
struct Verifier {
    executable: PathBuf,
    allowing: Value,
}

fn verifiers() -> [Verifier; 3] {
    let statement = json!({ "name": "team", "registryScopes": ["registry.example/team/*"] });
    let with = |field: &str, value: Value| {
        let mut statement = statement.clone();
        statement[field] = value;
        statement
    };
    [
        ("digestion-image-verifier", with("trustedDigests", json!([DIGEST]))),
        ("cosign-image-verifier", with("signatureVerification", json!({ "level": "skip" }))),
        ("annotations-image-verifier", with("level", json!("skip"))),
    ]
    .map(|(name, statement)| Verifier {
        executable: gate::executable(name),
        allowing: json!({ "version": "1.0", "trustPolicies": [statement] }),
    })
}

impl Verifier {
    fn call(&self, policy: &Path) -> Call {
        Call::pull(&self.executable, NAME, DIGEST).policy(policy)
    }
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::write(path, bytes).expect("a file in a directory of ours");
    set_mode(path, 0o600);
}

/// A document with spaces after it, which JSON permits.
fn padded(document: &str, length: usize) -> String {
    document.to_owned() + &" ".repeat(length - document.len())
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a file of ours");
}

#[test]
fn a_file_that_only_its_owner_could_have_written_is_read() {
    let directory = scratch::directory();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("policies")).expect("a directory in a directory of ours");
    for verifier in verifiers() {
        let document = verifier.allowing.to_string();
        for mode in [0o600, 0o400, 0o440, 0o444, 0o644, 0o755] {
            write(&at("policies/policy"), &document);
            set_mode(&at("policies/policy"), mode);
            assert_ends(&verifier.call(&at("policies/policy")), 0, "");
            assert_ends(&verifier.call(&at("policies/.//policy")), 0, "");
            fs::remove_file(at("policies/policy")).expect("a file of ours");
        }
        // Anyone may write to a sticky directory, but replace nobody else's file.
        set_mode(&at("policies"), 0o1777);
        write(&at("policies/policy"), padded(&document, MIB));
        assert_ends(&verifier.call(&at("policies/policy")), 0, "");
        set_mode(&at("policies"), 0o700);
    }
}

#[test]
fn a_file_that_somebody_else_could_have_put_there_refuses() {
    for verifier in verifiers() {
        let directory = scratch::directory();
        let at = |name: &str| directory.path().join(name);
        let link = |to: &str, name: &str| {
            symlink(at(to), at(name)).expect("a link in a directory of ours");
        };
        let document = verifier.allowing.to_string();
        for name in ["directory", "open"] {
            fs::create_dir(at(name)).expect("a directory in a directory of ours");
            write(&at(name).join("policy"), &document);
        }
        set_mode(&at("open"), 0o777);
        fs::create_dir(at("open/closed")).expect("a directory in a directory of ours");
        write(&at("open/closed/policy"), &document);
        for (name, mode) in [("group", 0o620), ("world", 0o602), ("all", 0o666)] {
            write(&at(name), &document);
            set_mode(&at(name), mode);
        }
        write(&at("good"), &document);
        write(&at("empty"), "");
        write(&at("large"), padded(&document, MIB + 1));
        link("good", "link");
        link("link", "link-to-link");
        link("loop", "loop");
        link("pong", "ping");
        link("ping", "pong");
        link("nowhere", "dangling");
        link("directory", "linked");
        link("nowhere", "dangling-directory");
        mkfifoat(CWD, at("fifo"), Mode::from_raw_mode(0o600)).expect("a FIFO of ours");
        let _socket = UnixListener::bind(at("socket")).expect("a socket of ours");

        assert_ends(&verifier.call(&at("good")), 0, "");
        for (name, words) in [
            ("absent", "absent, so every pull is refused"),
            ("absent/policy", "absent, so every pull is refused"),
            ("directory/absent", "absent, so every pull is refused"),
            ("empty", "empty, so every pull is refused"),
            ("large", "larger than 1048576 bytes"),
            ("link", "symbolic link"),
            ("link-to-link", "symbolic link"),
            ("loop", "symbolic link"),
            ("ping", "symbolic link"),
            ("dangling", "symbolic link"),
            ("linked/policy", "symbolic link"),
            ("linked/../good", "symbolic link"),
            ("loop/policy", "symbolic link"),
            ("dangling-directory/policy", "symbolic link"),
            ("good/policy", "symbolic link or no directory"),
            ("directory", "not a regular file"),
            ("directory/..", "not a regular file"),
            ("fifo", "not a regular file"),
            ("socket", "not a regular file"),
            ("group", "writable by others (mode 0620)"),
            ("world", "writable by others (mode 0602)"),
            ("all", "writable by others (mode 0666)"),
            ("open/policy", "below a directory that others may write to"),
            ("open/closed/policy", "below a directory that others may write to"),
            (&"x".repeat(256), "unreadable"),
        ] {
            assert_ends(&verifier.call(&at(name)), 3, words);
        }
        for (path, words) in [
            ("", "not a regular file"),
            ("/", "not a regular file"),
            (".", "not a regular file"),
            ("/dev/null", "not a regular file"),
            ("/dev/zero", "not a regular file"),
            ("/dev/stdin", "symbolic link"),
            ("/proc/self/fd/0", "symbolic link"),
            ("/proc/self/environ", "symbolic link"),
        ] {
            assert_ends(&verifier.call(Path::new(path)), 3, words);
        }
    }
}

#[test]
fn a_file_in_or_below_a_working_directory_that_anyone_may_write_to_refuses() {
    const HERE: &str = r#"cd "$1" && exec "$2" -policy policy -name "$3" -digest "$4""#;
    for verifier in verifiers() {
        let directory = scratch::directory();
        let here = directory.path().join("here");
        fs::create_dir(&here).expect("a directory in a directory of ours");
        write(&here.join("policy"), verifier.allowing.to_string());
        let arguments = ["-c", HERE, "sh"].map(OsString::from).into_iter();
        let paths = [&here, &verifier.executable].map(OsString::from);
        let arguments = arguments.chain(paths).chain([NAME, DIGEST].map(OsString::from));
        let call = Call::raw("/bin/sh", arguments, Stdin::Null);
        assert_ends(&call, 0, "");
        for open in [here.as_path(), directory.path()] {
            set_mode(open, 0o777);
            assert_ends(&call, 3, "below a directory that others may write to");
            set_mode(open, 0o700);
        }
    }
}

#[test]
fn a_file_of_another_user_refuses() {
    let directory = scratch::directory();
    let policy = directory.path().join("policy");
    for verifier in verifiers() {
        write(&policy, verifier.allowing.to_string());
        chown(&policy, Some(0), None).expect("only root can give files away: run this as root");
        assert_ends(&verifier.call(&policy), 0, "");
        chown(&policy, Some(65534), None).expect("root can give files away");
        assert_ends(&verifier.call(&policy), 3, "owned by user 65534; chown it to root");
    }
}

/// Whoever owns a directory replaces what is in it by any other file of root's that they can reach, such
/// as the policy of last year.
#[test]
fn a_file_below_a_directory_of_another_user_refuses() {
    let directory = scratch::directory();
    let theirs = directory.path().join("theirs");
    let policy = theirs.join("ours/policy");
    fs::create_dir_all(theirs.join("ours")).expect("a directory in a directory of ours");
    for verifier in verifiers() {
        write(&policy, verifier.allowing.to_string());
        chown(&theirs, Some(0), None)
            .expect("only root can give directories away: run this as root");
        assert_ends(&verifier.call(&policy), 0, "");
        chown(&theirs, Some(65534), None).expect("root can give directories away");
        for mode in [0o755, 0o1777] {
            set_mode(&theirs, mode);
            let words = "below a directory of user 65534; chown it to root";
            assert_ends(&verifier.call(&policy), 3, words);
        }
        set_mode(&theirs, 0o755);
    }
}

#[test]
fn without_a_policy_in_its_place_every_pull_is_refused() {
    let directory = scratch::directory();
    for verifier in verifiers() {
        let executable = directory.path().join("civ-test-without-policy-image-verifier");
        symlink(&verifier.executable, &executable).expect("a link in a directory of ours");
        let words = "policy absent, so every pull is refused";
        assert_ends(&Call::pull(&executable, NAME, DIGEST), 3, words);
        fs::remove_file(&executable).expect("a link of ours");
    }
}

#[test]
fn a_document_that_is_not_valid_to_the_letter_refuses() {
    let directory = scratch::directory();
    let policy = directory.path().join("policy");
    for verifier in verifiers() {
        let good = verifier.allowing.to_string();
        let version = r#""version":"1.0""#;
        let name = r#""name":"team""#;
        let replaced = |from: &str, to: &str| {
            assert_eq!(good.matches(from).count(), 1, "{from} in {good}");
            good.replace(from, to)
        };
        write(&policy, format!(" \n{good}\r\n\t"));
        assert_ends(&verifier.call(&policy), 0, "");
        for (document, words) in [
            (replaced(version, r#""version":"2.0""#), r#"version "2.0" is not known; "1.0" is"#),
            (replaced(version, r#""version":"""#), r#"version "" is not known"#),
            (replaced(version, r#""version":1.0"#), "invalid type"),
            (replaced(version, r#""version":null"#), "invalid type"),
            (replaced(&format!(",{version}"), ""), "missing field `version`"),
            (replaced(version, &format!(r#"{version},"mode":"x""#)), "unknown field `mode`"),
            (
                replaced(version, r#""Version":"1.0""#),
                r#"key "Version" is read as "version" by some"#,
            ),
            (replaced(name, &format!(r#"{name},"note":"x""#)), "unknown field `note`"),
            (replaced(version, &format!("{version},{version}")), r#"duplicate key "version""#),
            (
                replaced(version, &format!(r#"{version},"versio\u006e":"1.0""#)),
                r#"duplicate key "version""#,
            ),
            (replaced(name, &format!("{name},{name}")), r#"duplicate key "name""#),
            (replaced(name, r#""name":"""#), r#"the name of statement "" has 0 bytes"#),
            (
                replaced("team\"", &format!("{}\"", "t".repeat(77))),
                "has 77 bytes; a name has at least 1 and at most 76",
            ),
            (
                replaced(name, &format!(r#"{name},"x":[{{"y":{{"z":1,"z":1}}}}]"#)),
                r#"duplicate key "z""#,
            ),
            (replaced("registry.example/team/*", "**"), "scope"),
            (replaced("registry.example/team/*", "registry.example/team-*"), "scope"),
            (replaced("registry.example/team/*", ""), "scope"),
            (replaced(r#"["registry.example/team/*"]"#, "[]"), "has no registryScopes"),
            (replaced("team/*", r#"team/*","REGISTRY.example/team/*"#), "is stated twice"),
            (format!("{good}{good}"), "trailing characters"),
            (format!("{good} x"), "trailing characters"),
            (format!("{good}\0"), "trailing characters"),
            (format!("{good}// end"), "trailing characters"),
            (format!("\u{feff}{good}"), "begins with a byte order mark; save it without"),
            (format!("// policy\n{good}"), "expected value"),
            (good.replace('"', "'"), "key must be a string"),
            (good.trim_end_matches('}').to_owned(), "EOF while parsing"),
            (good.replace("1.0", "1.0\n"), "control character"),
            (good.replace('}', ",}"), "trailing comma"),
            (r#"{"version":"1.0"}"#.to_owned(), ""),
            (r#"{"version":"1.0","trustPolicies":[]}"#.to_owned(), "no statement"),
            (r#"{"version":"1.0","trustPolicies":null}"#.to_owned(), ""),
            (format!("[{good}]"), "invalid"),
            (format!(r#""{}""#, good.replace('"', r#"\""#)), "invalid"),
            ("null".to_owned(), "invalid"),
            ("{}".to_owned(), "missing field"),
            (" ".to_owned(), "EOF while parsing"),
            ("[".repeat(MIB), "nested deeper than 32"),
            (r#"{"a":"#.repeat(MIB / 5), "nested deeper than 32"),
        ] {
            write(&policy, &document);
            assert_ends(&verifier.call(&policy), 3, words);
        }
        let mut latin1 = good.clone().into_bytes();
        latin1.splice(2..2, *b"\xe9");
        write(&policy, latin1);
        assert_ends(&verifier.call(&policy), 3, "invalid unicode");
        let mut utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
        write(&policy, &utf16);
        assert_ends(&verifier.call(&policy), 3, "");
        utf16.splice(0..0, *b"\xff\xfe");
        write(&policy, &utf16);
        assert_ends(&verifier.call(&policy), 3, "expected value");
        let keys: Vec<String> = (0..MIB / 13).map(|n| format!(r#""{n:06}":1"#)).collect();
        write(&policy, format!("{{{}}}", keys.join(",")));
        assert_ends(&verifier.call(&policy), 3, "unknown field");
    }
}

#[test]
fn text_of_a_policy_stays_on_its_line() {
    let directory = scratch::directory();
    let policy = directory.path().join("a\nallowed\r\u{1b}[2J\u{202e}");
    for verifier in verifiers() {
        assert_ends(&verifier.call(&policy), 3, r"a\u{a}allowed\u{d}\u{1b}[2J\u{202e})");
        let mut document = verifier.allowing.clone();
        document["trustPolicies"][0]["name"] = json!("x\nallowed\u{1b}[2J".repeat(5));
        write(&policy, document.to_string());
        assert_ends(&verifier.call(&policy), 0, "");
        document["trustPolicies"][0]["registryScopes"] = json!([]);
        write(&policy, document.to_string());
        assert_ends(&verifier.call(&policy), 3, r"a\u{a}allowed");
        fs::remove_file(&policy).expect("a file of ours");
    }
}

#[test]
fn a_repository_that_no_statement_speaks_of_is_refused() {
    let directory = scratch::directory();
    let policy = directory.path().join("policy");
    for verifier in verifiers() {
        write(&policy, verifier.allowing.to_string());
        for name in [
            "registry.example/team",
            "registry.example/team-evil/app",
            "registry.example/team/app/part",
            "registry.example/team/app.evil/x",
            "registry.example:5000/team/app",
            "registry.example.evil/team/app",
            "evil.example/registry.example/team/app",
            "docker.io/team/app",
        ] {
            let call = Call::pull(&verifier.executable, name, DIGEST).policy(&policy);
            assert_ends(&call, 1, "no statement for ");
        }
    }
}

/// A policy of `level`: `cosign-image-verifier` finds no signature under it,
/// `digestion-image-verifier` no digest, and `annotations-image-verifier` no annotation.
fn refusing(verifier: &Verifier, level: &str) -> Value {
    let statement = json!({ "name": "s", "registryScopes": ["*"] });
    let mut document = json!({ "version": "1.0", "trustPolicies": [statement] });
    let statement = &mut document["trustPolicies"][0];
    if verifier.executable.ends_with("digestion-image-verifier") {
        statement["level"] = json!(level);
        if level != "skip" {
            statement["trustedDigests"] = json!([OTHER]);
        }
    } else if verifier.executable.ends_with("annotations-image-verifier") {
        statement["level"] = json!(level);
        if level != "skip" {
            statement["rules"] = json!([{ "annotation": "owner", "present": true }]);
        }
    } else {
        statement["signatureVerification"] = json!({ "level": level });
        if level != "skip" {
            statement["keys"] = json!([{ "name": "release", "publicKey": KEY }]);
        }
    }
    document
}

#[test]
fn audit_allows_and_says_what_it_would_refuse() {
    let registry = Registry::start().expect("a loopback port");
    let in_registry = format!("{}/team/app:1", registry.host());
    let directory = scratch::directory();
    let policy = directory.path().join("policy");
    let bare = SmallImage::new("app", "linux/amd64").seed_into(&registry, "team/app", "1");
    let bare = bare.to_string();
    let [digestion, cosign, annotations] = verifiers();
    for (verifier, name, digest, exit, words) in [
        (&digestion, NAME, DIGEST, 1, "digest not listed"),
        (&cosign, &*in_registry, DIGEST, 1, "unsigned: no signature"),
        (&cosign, "127.0.0.1:1/team/app", DIGEST, 4, "registry unreachable"),
        (&annotations, &*in_registry, &*bare, 1, "annotation \"owner\" missing"),
        (&annotations, &*in_registry, DIGEST, 4, "registry has no "),
        (&annotations, "127.0.0.1:1/team/app", DIGEST, 4, "registry unreachable"),
    ] {
        let call = Call::pull(&verifier.executable, name, digest).policy(&policy);
        write(&policy, refusing(verifier, "strict").to_string());
        let outcome = assert_ends(&call, exit, words);
        assert!(outcome.stderr.contains(" verdict=refuse "), "{outcome:?}");
        write(&policy, refusing(verifier, "audit").to_string());
        let outcome = assert_ends(&call, 0, &format!("audit only, would refuse: {words}"));
        let audited = format!(" audited_exit={exit} verdict=audit exit=0 ");
        assert!(outcome.stderr.contains(&audited), "{outcome:?}");

        // It is the image that is audited, neither the call nor the policy.
        assert_ends(&call.clone().arg("-name").arg(name), 2, "bad call");
        write(&policy, refusing(verifier, "audit").to_string().replace("1.0", "1.1"));
        assert_ends(&call, 3, "version");
        write(&policy, refusing(verifier, "warn").to_string());
        assert_ends(&call, 3, "unknown variant `warn`");
        write(&policy, refusing(verifier, "Audit").to_string());
        assert_ends(&call, 3, "unknown variant `Audit`");
    }
}

#[test]
fn skip_allows_without_any_request() {
    let registry = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = registry.local_addr().expect("a bound port");
    let directory = scratch::directory();
    let policy = directory.path().join("policy");
    for verifier in verifiers() {
        write(&policy, refusing(&verifier, "skip").to_string());
        let call = Call::pull(&verifier.executable, &format!("{address}/team/app"), DIGEST);
        assert_ends(&call.policy(&policy), 0, r#"not checked: statement "s" skips"#);
    }
    registry.set_nonblocking(true).expect("a socket of ours");
    let connection = registry.accept();
    assert!(
        connection.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        "{connection:?}"
    );
}

/// Bottlerocket and `civ` replace a policy by renaming: at no moment is there none.
#[test]
fn while_a_policy_is_replaced_each_call_sees_the_old_or_the_new() {
    const CALLS: usize = 200;
    for verifier in verifiers() {
        let directory = scratch::directory();
        let at = |name: &str| directory.path().join(name);
        let mut other = verifier.allowing.clone();
        other["trustPolicies"][0]["registryScopes"] = json!(["other.example/**"]);
        let documents = [verifier.allowing.to_string(), other.to_string()];
        write(&at("policy"), &documents[0]);

        let over = AtomicBool::new(false);
        let codes = thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for document in documents.iter().cycle() {
                    write(&at("staged"), document);
                    fs::rename(at("staged"), at("policy")).expect("files of ours");
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    let call = || verifier.call(&at("policy")).run().code;
                    scope.spawn(move || (0..CALLS / 4).map(|_| call()).collect::<Vec<_>>())
                })
                .collect();
            let codes = callers.into_iter().flat_map(|caller| caller.join().expect("no panic"));
            let codes: Vec<_> = codes.collect();
            over.store(true, Ordering::Relaxed);
            writer.join().expect("no panic");
            codes
        });
        let count = |code| codes.iter().filter(|found| **found == Some(code)).count();
        let (old, new) = (count(0), count(1));
        assert_eq!(old + new, CALLS, "{codes:?}");
        assert!(old > 0 && new > 0, "{codes:?}");
    }
}
