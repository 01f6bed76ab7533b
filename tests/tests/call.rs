//! What a verifier makes of a call, whatever the call is like: the executables as `cargo gate`
//! builds them, called as containerd calls them. Each of these calls meets a policy that allows the
//! image, unless the test is about a refusal: exit code 0 in place of another would be a wrong allow.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot do its work fails the test"
)]

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File, Permissions},
    io::{ErrorKind, pipe},
    net::TcpListener,
    os::unix::{
        ffi::OsStringExt as _,
        fs::{PermissionsExt as _, symlink},
        net::UnixDatagram,
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use civ_policy::UtcTime;
use civ_tests::{
    elsewhere,
    gate::{self, Call, DESCRIPTOR, Stdin},
    scratch,
    signing::{Key, Kind},
    stage::{Stage, assert_ends},
};
use serde_json::{Value, json};
use tempfile::TempDir;

const NAME: &str = "registry.example/team/app:1";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHER: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const SHA512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                      47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
const MIB: usize = 1 << 20;
const KEY: &str = include_str!("../../verifiers/cosign/testdata/keys/p256.pem");

/// A verifier, and a directory in which its policy allows `NAME` with `DIGEST` or `SHA512`, and
/// refuses `other.example/app` with `OTHER`.
struct Verifier {
    executable: PathBuf,
    directory: TempDir,
}

fn verifiers() -> [Verifier; 3] {
    let listed = json!({ "version": "1.0", "trustedDigests": [DIGEST, SHA512] });
    let skipped = json!({ "version": "1.0", "trustPolicies": [{
        "name": "free",
        "registryScopes": ["registry.example/**"],
        "signatureVerification": { "level": "skip" },
    }]});
    let not_looked_at = json!({ "version": "1.0", "trustPolicies": [{
        "name": "free", "registryScopes": ["registry.example/**"], "level": "skip",
    }]});
    [
        ("digestion-image-verifier", listed),
        ("cosign-image-verifier", skipped),
        ("annotations-image-verifier", not_looked_at),
    ]
    .map(|(name, policy)| {
        let directory = scratch::directory();
        write_policy(&directory.path().join("policy"), &policy);
        Verifier { executable: gate::executable(name), directory }
    })
}

impl Verifier {
    fn policy(&self) -> PathBuf {
        self.directory.path().join("policy")
    }

    /// A line of arguments, in which `$N`, `$D` and `$T` are those of the allowed pull, `$R` the
    /// digest that is refused, and `$P` the policy.
    fn call(&self, line: &str) -> Call {
        let policy = self.policy();
        let arguments = line.split_whitespace().map(|argument| {
            argument
                .replace("$N", NAME)
                .replace("$D", DIGEST)
                .replace("$R", OTHER)
                .replace("$T", DESCRIPTOR)
                .replace("$P", policy.to_str().expect("a temporary path is UTF-8"))
        });
        Call::raw(&self.executable, arguments, Stdin::Null)
    }
}

fn write_policy(path: &Path, policy: &Value) {
    fs::write(path, policy.to_string()).expect("a file in a directory of ours");
    fs::set_permissions(path, Permissions::from_mode(0o600)).expect("a file of ours");
}

#[test]
fn the_call_of_containerd_is_understood_and_so_are_flags_of_a_later_one() {
    for verifier in verifiers() {
        for line in [
            "-name $N -digest $D -stdin-media-type $T -policy $P",
            "--name $N --digest $D --stdin-media-type $T --policy $P",
            "-name=$N --digest=$D -stdin-media-type=$T -policy=$P",
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
        assert_ends(&with("policy"), 3, r"a\u{a}allowed\u{d}\u{1b}[2J");
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
    let with_stdin = |verifier: &Verifier, redirection: &str| {
        let script = format!(r#"exec "$@" {redirection}"#);
        let mut arguments: Vec<OsString> = ["-c", &script, "sh"].map(Into::into).into();
        arguments.extend(argv(&allowed_call(verifier)));
        Call::raw("/bin/sh", arguments, Stdin::Null)
    };
    for verifier in verifiers() {
        assert_ends(&with_stdin(&verifier, "<&-"), 0, "");
        assert_ends(&with_stdin(&verifier, "</"), 2, "stdin cannot be read");
        assert_ends(&with_stdin(&verifier, "</dev/zero"), 2, "more than 1048576 bytes");
    }
}

/// A pull that the policy allows, for what [`Call`] cannot replace.
fn allowed_call(verifier: &Verifier) -> Command {
    let mut command = Command::new(&verifier.executable);
    command.args(["-name", NAME, "-digest", DIGEST, "-stdin-media-type", DESCRIPTOR, "-policy"]);
    command.arg(verifier.policy()).stdin(Stdio::null());
    command
}

/// The words of a command, its program first.
fn argv(command: &Command) -> Vec<OsString> {
    [command.get_program()].into_iter().chain(command.get_args()).map(ToOwned::to_owned).collect()
}

#[test]
fn an_allow_that_cannot_be_said_is_a_refusal_and_a_log_that_cannot_be_written_is_none() {
    let full = || -> Stdio {
        File::options().write(true).open("/dev/full").expect("a Linux system has it").into()
    };
    let no_reader = || -> Stdio { pipe().expect("a pipe").1.into() };
    let code = |command: &mut Command, stdout, stderr| {
        let status = command.stdout(stdout).stderr(stderr).status().expect("it runs");
        status.code()
    };
    for verifier in verifiers() {
        let mut allowed = allowed_call(&verifier);
        let mut refused = allowed_call(&verifier);
        // A second media type.
        refused.args(["-stdin-media-type", DESCRIPTOR]);
        let mut help = Command::new(&verifier.executable);
        help.arg("--help");
        for broken in [&full as &dyn Fn() -> Stdio, &no_reader] {
            assert_eq!(code(&mut allowed, broken(), Stdio::null()), Some(70));
            assert_eq!(code(&mut allowed, broken(), broken()), Some(70));
            assert_eq!(code(&mut allowed, Stdio::null(), broken()), Some(0));
            assert_eq!(code(&mut refused, broken(), broken()), Some(2));
            assert_eq!(code(&mut refused, Stdio::null(), broken()), Some(2));
            assert_eq!(code(&mut help, broken(), broken()), Some(70));
        }
    }
}

/// Variables that change what programs do, of those that somebody reads: the dynamic linker, libc,
/// Rust's runtime, TLS and HTTP libraries, the AWS SDK, cosign, containerd.
fn hostile_environment(proxy: &str, directory: &Path) -> Vec<(&'static str, OsString)> {
    let proxy = format!("http://{proxy}");
    let url = |names: &[&'static str]| -> Vec<(&'static str, OsString)> {
        names.iter().map(|name| (*name, OsString::from(&proxy))).collect()
    };
    let file = |name, file: &str| (name, directory.join(file).into_os_string());
    let word = |name, word: &str| (name, OsString::from(word));
    [
        url(&["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
        url(&["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", "AWS_EC2_METADATA_SERVICE_ENDPOINT"]),
        url(&["AWS_CONTAINER_CREDENTIALS_FULL_URI", "SIGSTORE_REKOR_URL", "TUF_MIRROR"]),
        vec![
            word("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            word("AWS_SECRET_ACCESS_KEY", "secret"),
            word("AWS_REGION", "us-east-1"),
            word("COSIGN_REPOSITORY", "registry.example/signatures"),
            word("GLIBC_TUNABLES", "glibc.malloc.check=3:glibc.malloc.mmap_max=0"),
            word("LANG", "tr_TR.UTF-8"),
            word("LOCALDOMAIN", "example"),
            word("MALLOC_ARENA_MAX", "0"),
            word("PATH", ""),
            word("RES_OPTIONS", "timeout:30 attempts:5"),
            word("RUST_BACKTRACE", "full"),
            word("RUST_LOG", "trace"),
            word("RUST_MIN_STACK", "99999999999999"),
            word("SSLKEYLOGFILE", "/dev/full"),
            word("TZ", ":/dev/zero"),
            ("\u{1b}[2J\n", OsString::from_vec(vec![0xff, b'\n'])),
        ],
        vec![
            file("AWS_CONFIG_FILE", "config"),
            file("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
            file("DOCKER_CONFIG", "docker"),
            file("GCONV_PATH", "."),
            file("HOME", "."),
            file("HOSTALIASES", "hosts"),
            file("LD_AUDIT", "hostile.so"),
            file("LD_LIBRARY_PATH", "."),
            file("LD_PRELOAD", "hostile.so"),
            file("SSL_CERT_DIR", "."),
            file("SSL_CERT_FILE", "authorities.pem"),
            file("XDG_CONFIG_HOME", "."),
            file("XDG_RUNTIME_DIR", "."),
        ],
    ]
    .concat()
}

#[test]
fn no_variable_changes_a_verdict_or_leads_a_request_elsewhere() {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let proxy_address = proxy.local_addr().expect("a bound port").to_string();
    let home = scratch::directory();
    fs::write(home.path().join("hosts"), "registry.example 127.0.0.1\n").expect("a file of ours");
    hostile_library(&home.path().join("hostile.so"));

    let (stage, key) = (Stage::default(), Key::generate(Kind::P256));
    stage.publish(&[stage.honest(&key)]);
    let strict = stage.write_policy(&stage.statement(&[("release", &key)]));
    let described = stage.write_policy(&json!({
        "name": "described",
        "registryScopes": ["*"],
        "rules": [{ "annotation": "deprecated", "from": "labels", "absent": true }],
    }));
    let signed = (stage.image.repository.to_string(), stage.image.digest.to_string());
    let unreachable = home.path().join("policy");
    write_policy(&unreachable, &signed_by_key());

    let [digestion, cosign, annotations] = verifiers();
    let call = |verifier: &Verifier, name: &str, digest: &str, policy: &Path| {
        Call::pull(&verifier.executable, name, digest).policy(policy)
    };
    let environment = hostile_environment(&proxy_address, home.path());
    for (call, code) in [
        (call(&digestion, NAME, DIGEST, &digestion.policy()), 0),
        (call(&digestion, NAME, OTHER, &digestion.policy()), 1),
        (call(&cosign, NAME, DIGEST, &cosign.policy()), 0),
        (call(&cosign, "other.example/app", DIGEST, &cosign.policy()), 1),
        (call(&cosign, &signed.0, &signed.1, &strict), 0),
        (call(&cosign, &signed.0, DIGEST, &strict), 1),
        (call(&annotations, NAME, DIGEST, &annotations.policy()), 0),
        (call(&annotations, "other.example/app", DIGEST, &annotations.policy()), 1),
        (call(&annotations, &signed.0, &signed.1, &described), 0),
        // On port 443 loopback too is spoken to over TLS. Nobody listens, or nobody trusted.
        (call(&cosign, "127.0.0.1:443/team/app", DIGEST, &unreachable), 4),
    ] {
        stage.registry.clear_requests();
        let expected = assert_ends(&call, code, "");
        let requests = stage.registry.request_lines();
        let everything =
            environment.iter().fold(call.clone(), |call, (name, value)| call.env(name, value));
        // An unreachable registry is asked twice, with a pause between: once is enough of that.
        let one_by_one = environment.iter().filter(|_| code != 4);
        let one_by_one = one_by_one.map(|(name, value)| call.clone().env(name, value));
        for call in one_by_one.chain([everything]) {
            stage.registry.clear_requests();
            let outcome = assert_ends(&call, code, "");
            assert_eq!(outcome.stdout, expected.stdout, "{call:?}");
            assert_eq!(stage.registry.request_lines(), requests, "{call:?}");
        }
    }
    proxy.set_nonblocking(true).expect("a socket of ours");
    let connection = proxy.accept();
    assert!(
        connection.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        "{connection:?}"
    );
}

/// A policy under which any image needs a signature of a key that signed nothing here.
fn signed_by_key() -> Value {
    json!({ "version": "1.0", "trustPolicies": [{
        "name": "production",
        "registryScopes": ["*"],
        "signatureVerification": { "level": "strict" },
        "keys": [{ "name": "release", "publicKey": KEY }],
    }]})
}

/// A library that ends the process with 0 as soon as it is loaded.
fn hostile_library(path: &Path) {
    let source = "#include <unistd.h>\n\
        __attribute__((constructor)) static void loaded(void) { write(1, \"loaded\\n\", 7); _exit(0); }";
    cc(source, path, &["-shared", "-fPIC"]);
}

fn cc(source: &str, path: &Path, flags: &[&str]) {
    let file = path.with_extension("c");
    fs::write(&file, source).expect("a file in a directory of ours");
    let mut cc = Command::new("cc");
    cc.args(["-w", "-o"]).arg(path).args(flags).arg(&file);
    let built = cc.output().expect("a C compiler, as Rust needs one to link: install cc");
    assert!(built.status.success(), "{cc:?}: {}", String::from_utf8_lossy(&built.stderr));
}

/// A static glibc loads the name services that /etc/nsswitch.conf names, as myhostname and resolve
/// on many systems, from where `LD_LIBRARY_PATH` says.
#[test]
fn a_name_service_that_the_environment_offers_is_not_loaded() {
    let root = elsewhere::new_root(&["etc", "lib"]);
    let path = |name: &str| root.path().join(name);
    fs::write(path("etc/nsswitch.conf"), "hosts: evil files dns\n").expect("a file of ours");
    fs::write(path("etc/hosts"), "127.0.0.1 registry.example\n").expect("a file of ours");
    write_policy(&path("policy"), &signed_by_key());
    hostile_library(&path("lib/libnss_evil.so.2"));
    let lured = |command: &[&OsStr]| {
        let mut variable = OsString::from("LD_LIBRARY_PATH=");
        variable.push(path("lib"));
        let words = [OsStr::new("env"), &variable].into_iter().chain(command.iter().copied());
        elsewhere::call(root.path(), words.map(ToOwned::to_owned))
    };

    // The trap works: this is what becomes of another static program that looks up a name.
    let lookup = "#include <netdb.h>\n\
        int main() { struct addrinfo *found; getaddrinfo(\"other.example\", 0, 0, &found); return 4; }";
    cc(lookup, &path("lookup"), &["-static"]);
    let lookup = lured(&[path("lookup").as_os_str()]).run();
    assert_eq!((lookup.code, &*lookup.stdout), (Some(0), "loaded\n"), "{lookup:?}");

    let cosign = gate::executable("cosign-image-verifier");
    let policy = path("policy");
    for (name, words) in [
        // The first is resolved by the file and the second by nobody.
        ("registry.example:1/team/app", "registry unreachable"),
        ("other.example/team/app", "registry unreachable"),
        ("127.0.0.1:1/team/app", "registry unreachable"),
    ] {
        let call = ["-name", name, "-digest", DIGEST, "-policy"].map(OsStr::new);
        let command = [&[cosign.as_os_str()], &call[..], &[policy.as_os_str()]].concat();
        assert_ends(&lured(&command), 4, words);
    }
}

#[test]
fn a_verifier_that_cannot_shed_its_environment_refuses() {
    let root = elsewhere::new_root(&["proc"]);
    for verifier in verifiers() {
        let command = argv(&allowed_call(&verifier));
        // The list of digests is decided without code that reads the environment.
        if !verifier.executable.ends_with("digestion-image-verifier") {
            assert_ends(&elsewhere::call(root.path(), command.clone()), 70, "is /proc mounted?");
        }
        let clean = ["env", "-i"].map(OsString::from).into_iter().chain(command);
        assert_ends(&elsewhere::call(root.path(), clean), 0, "");
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
            (link.clone(), 3, "policy /etc/containerd/image-verifiers/team-b/trustpolicy.json: "),
            (verifier.executable.clone(), 3, "/trustpolicy.json: absent, so every pull is refused"),
        ] {
            let call = ["-name", NAME, "-digest", DIGEST, "-stdin-media-type", DESCRIPTOR];
            let command = [executable.into_os_string()].into_iter().chain(call.map(Into::into));
            assert_ends(&elsewhere::call(root.path(), command), code, words);
        }
        fs::remove_file(&link).expect("a link of ours");
    }
}

#[test]
fn each_verdict_is_in_the_system_log_and_a_log_that_nobody_reads_delays_none() {
    let root = elsewhere::new_root(&["dev"]);
    let log = UnixDatagram::bind(root.path().join("dev/log")).expect("a socket of ours");
    for verifier in verifiers() {
        let command = argv(&allowed_call(&verifier));
        let allowed = elsewhere::call(root.path(), command.clone());
        let refused = elsewhere::call(root.path(), [command, vec!["-name".into()]].concat());

        for (call, code, priority, verdict) in
            [(&allowed, 0, "<30>", "allow"), (&refused, 2, "<28>", "refuse")]
        {
            let outcome = assert_ends(call, code, "");
            log.set_nonblocking(true).expect("a socket of ours");
            let mut line = [0; 4096];
            let length = log.recv(&mut line).expect("a line of the log");
            let line = String::from_utf8_lossy(&line[..length]).into_owned();
            let (head, entry) = line.split_once(": ").expect("a head and an entry");
            let name = verifier.executable.file_name().and_then(OsStr::to_str).unwrap_or_default();
            assert!(head.starts_with(&format!("{priority}{name}[")), "{line}");
            let entry: Value = serde_json::from_str(entry).expect("one JSON object");
            assert_eq!(entry["verdict"], verdict, "{line}");
            assert_eq!(entry["exit"], code, "{line}");
            assert_eq!(entry["reason"], outcome.stdout.trim_end(), "{line}");
            assert!(entry["ms"].is_u64(), "{line}");
            let time: UtcTime = entry["time"].as_str().expect("a time").parse().expect("RFC 3339");
            assert!(time.unix_seconds() > 1_700_000_000, "{line}");
        }

        let flood = UnixDatagram::unbound().expect("a socket");
        flood.set_nonblocking(true).expect("a socket of ours");
        while flood.send_to(b"x", root.path().join("dev/log")).is_ok() {}
        assert_ends(&allowed, 0, "");
        assert_ends(&refused, 2, "");
        while log.recv(&mut [0; 1]).is_ok() {}
    }
}

/// In a PID namespace of its own every process that a call leaves behind can be seen, also one that
/// has left its process group.
#[test]
fn a_call_leaves_neither_a_process_nor_a_file_behind() {
    const LOOK: &str = r#"cd "$1"; shift; "$@" >/dev/null 2>&1; echo $? /proc/[0-9]* *"#;
    let empty = scratch::directory();
    let root = elsewhere::new_root(&[]);
    let strict = root.path().join("policy");
    write_policy(&strict, &signed_by_key());
    let [digestion, cosign, annotations] = verifiers();
    let mut unreachable = Command::new(&cosign.executable);
    unreachable.args(["-name", "127.0.0.1:1/a", "-digest", DIGEST, "-policy"]).arg(&strict);
    let mut refused = allowed_call(&digestion);
    refused.args(["-name", NAME]);
    for (command, code) in [
        (allowed_call(&digestion), 0),
        (allowed_call(&cosign), 0),
        (allowed_call(&annotations), 0),
        (refused, 2),
        (unreachable, 4),
    ] {
        let look = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"]
            .into_iter()
            .chain(["sh", "-c", LOOK, "sh"])
            .map(OsString::from)
            .chain([empty.path().into()])
            .chain(argv(&command));
        let outcome = elsewhere::call(root.path(), look).run();
        // A pattern that matches no file stands for itself.
        assert_eq!(outcome.stdout, format!("{code} /proc/1 *\n"), "{outcome:?}");
    }
}
