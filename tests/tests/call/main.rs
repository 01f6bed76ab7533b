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
    signing::{Key, Kind},
    stage::{Stage, assert_ends},
};
use serde_json::{Value, json};
use tempfile::TempDir;

mod arguments;
mod environment;
mod output;
mod stdin;

const NAME: &str = "registry.example/team/app:1";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHER: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const SHA512: &str = "sha512:cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                      47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e";
const MIB: usize = 1 << 20;
const KEY: &str = include_str!("../../../verifiers/cosign/testdata/keys/p256.pem");

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
        let directory = civ_tests::scratch::directory();
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

/// A pull that the policy allows, for what [`Call`] cannot replace.
fn allowed_call(verifier: &Verifier) -> Command {
    let mut command = Command::new(&verifier.executable);
    command.args(["-name", NAME, "-digest", DIGEST, "-stdin-media-type", DESCRIPTOR, "-policy"]);
    command.arg(verifier.policy()).stdin(Stdio::null());
    command
}

/// The same pull, called by a shell that redirects something.
fn redirected(verifier: &Verifier, redirection: &str) -> Call {
    let script = format!(r#"exec "$@" {redirection}"#);
    let mut arguments: Vec<OsString> = ["-c", &script, "sh"].map(Into::into).into();
    arguments.extend(argv(&allowed_call(verifier)));
    Call::raw("/bin/sh", arguments, Stdin::Null)
}

/// The words of a command, its program first.
fn argv(command: &Command) -> Vec<OsString> {
    [command.get_program()].into_iter().chain(command.get_args()).map(ToOwned::to_owned).collect()
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
