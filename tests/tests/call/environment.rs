//! What a call inherits, and what it leaves behind.

use super::*;

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
    let home = civ_tests::scratch::directory();
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

/// In a PID namespace of its own every process that a call leaves behind can be seen, also one that
/// has left its process group.
#[test]
fn a_call_leaves_neither_a_process_nor_a_file_behind() {
    const LOOK: &str = r#"cd "$1"; shift; "$@" >/dev/null 2>&1; echo $? /proc/[0-9]* *"#;
    let empty = civ_tests::scratch::directory();
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
