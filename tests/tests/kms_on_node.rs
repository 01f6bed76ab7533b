//! A policy that names a KMS key and not its public key: the verifier asks KMS, as moto imitates it,
//! and keeps the answer under /run/civ, which here is a directory of the test's.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test says what is wrong by failing"
)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use civ_tests::{
    civ::Civ,
    gate::{self, Call},
    http_server::HttpServer,
    kms::{Kms, KmsKey},
    scratch,
    signing::{Key, Kind, Layer},
    stage::{Stage, assert_ends},
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A node whose registry holds an image, and which knows some credentials.
struct Node {
    stage: Stage,
    directory: TempDir,
}

impl Node {
    fn new() -> Self {
        let directory = scratch::directory();
        fs::create_dir(directory.path().join("run")).unwrap();
        Self { stage: Stage::default(), directory }
    }

    /// With an image that a KMS key has signed.
    fn with_signature_of(kms: &Kms, key: &KmsKey) -> Self {
        let node = Self::new();
        let payload = node.stage.payload();
        let signature = kms.sign(key, "ECDSA_SHA_256", payload.as_bytes());
        node.stage.publish(&[Layer::new(payload, &signature)]);
        node
    }

    /// A call about the image under a policy with these keys.
    fn call(&self, keys: &Value, threshold: usize, cache: &Value) -> Call {
        let mut document = json!({ "version": "1.0", "trustPolicies": [{
            "name": "production",
            "registryScopes": [format!("{}/**", self.stage.registry.host())],
            "signatureVerification": { "level": "strict" },
            "keys": keys,
            "threshold": threshold,
        }]});
        if !cache.is_null() {
            document["kmsCache"] = cache.clone();
        }
        let policy = self.directory.path().join("policy");
        fs::write(&policy, document.to_string()).unwrap();
        let executable = gate::executable("cosign-image-verifier");
        let image = &self.stage.image;
        Call::pull(executable, &format!("{}:1", image.repository), &image.digest.to_string())
            .policy(&policy)
            .with_run(&self.directory.path().join("run"))
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
    }

    fn by_kms(&self, uri: &str) -> Call {
        self.call(&json!([{ "name": "release", "kms": uri }]), 1, &Value::Null)
    }

    /// The one answer that is kept.
    fn kept(&self) -> PathBuf {
        let entries = fs::read_dir(self.directory.path().join("run/civ")).unwrap();
        let entries: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        let [entry] = &entries[..] else { panic!("{entries:?}") };
        entry.clone()
    }

    /// Makes the answer that is kept so much older.
    fn age(&self, seconds: u64) {
        let kept = self.kept();
        let mut entry: Value = serde_json::from_slice(&fs::read(&kept).unwrap()).unwrap();
        entry["fetched"] = (entry["fetched"].as_u64().unwrap() - seconds).into();
        fs::write(&kept, entry.to_string()).unwrap();
    }
}

#[track_caller]
fn assert_key_from(call: &Call, origin: &str) {
    let outcome = assert_ends(call, 0, "signed by");
    let from = format!(" from={origin} ");
    assert!(outcome.stderr.lines().any(|line| line.contains(&from)), "{}", outcome.stderr);
}

#[test]
fn a_key_is_asked_for_once_and_then_known() {
    let kms = Kms::start();
    let key = kms.create_key("ECC_NIST_P256");
    kms.create_alias("alias/release", &key);
    let node = Node::with_signature_of(&kms, &key);
    let alias = key.arn.replace(&format!("key/{}", key.id), "alias/release");
    let (by_key, by_alias) = (node.by_kms(&kms.uri(&key.arn)), Node::with_signature_of(&kms, &key));
    assert_key_from(&by_key, "kms");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(&node.kept()), mode(node.kept().parent().unwrap())), (0o600, 0o700));
    let alias_call = by_alias.by_kms(&kms.uri(&alias));
    assert_key_from(&alias_call, "kms");
    let outcome = by_key.run();
    assert!(outcome.stderr.contains(" aws_requests=0 "), "{}", outcome.stderr);

    drop(kms);
    assert_key_from(&by_key, "cache");
    assert_key_from(&alias_call, "cache");
}

#[test]
fn an_answer_that_is_too_old_is_used_only_while_kms_is_down_and_the_policy_says_so() {
    let kms = Kms::start();
    let key = kms.create_key("ECC_NIST_P256");
    let node = Node::with_signature_of(&kms, &key);
    let keys = json!([{ "name": "release", "kms": kms.uri(&key.arn) }]);
    let call = |cache: &Value| node.call(&keys, 1, cache);
    assert_key_from(&call(&Value::Null), "kms");
    node.age(2 * 60 * 60);
    assert_key_from(&call(&Value::Null), "cache");
    // Asked again, and written anew.
    assert_key_from(&call(&json!({ "maxAge": "1h" })), "kms");
    assert_key_from(&call(&json!({ "maxAge": "1h" })), "cache");
    node.age(2 * 60 * 60);
    let stale = json!({ "maxAge": "1h", "useStale": true });

    drop(kms);
    let down = r#"key "release" unknown: AWS KMS unreachable at 127.0.0.1:"#;
    assert_ends(&call(&json!({ "maxAge": "1h" })), 4, down);
    assert_ends(&call(&json!({ "maxAge": "1h", "useStale": false })), 4, down);
    assert_key_from(&call(&stale), "stale-cache");
    node.age(7 * 24 * 60 * 60);
    assert_ends(&call(&stale), 4, down);
    fs::remove_file(node.kept()).unwrap();
    assert_ends(&call(&stale), 4, down);
}

#[test]
fn an_answer_from_the_future_or_in_reach_of_others_is_not_used() {
    let kms = Kms::start();
    let key = kms.create_key("ECC_NIST_P256");
    let node = Node::with_signature_of(&kms, &key);
    let (uri, other) = (kms.uri(&key.arn), kms.uri(&kms.create_key("ECC_NIST_P256").arn));
    let call = node.by_kms(&uri);
    assert_key_from(&call, "kms");
    let (entry, whole) = (node.kept(), fs::read(node.kept()).unwrap());
    let directory = entry.parent().unwrap().to_owned();
    drop(kms);
    assert_key_from(&call, "cache");

    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let said: Value = serde_json::from_slice(&whole).unwrap();
    let with = |field: &str, value: Value| {
        let mut said = said.clone();
        said[field] = value;
        said.to_string()
    };
    let stranger = Key::generate(Kind::P256).public_pem();
    for (what, text) in [
        ("the future", with("fetched", (now + 3_600).into())),
        ("another key", with("kms", other.into())),
        ("no key", with("publicKey", stranger.into())),
        ("half of it", String::from_utf8_lossy(&whole[..whole.len() / 2]).into_owned()),
    ] {
        fs::write(&entry, text).unwrap();
        let outcome = assert_ends(&call, 4, "AWS KMS unreachable");
        assert!(!outcome.stderr.contains("from=cache"), "{what}: {}", outcome.stderr);
    }
    fs::write(&entry, &whole).unwrap();
    assert_key_from(&call, "cache");

    let refuses = || assert_ends(&call, 4, "AWS KMS unreachable");
    let chmod =
        |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    chmod(&entry, 0o644);
    refuses();
    chmod(&entry, 0o600);
    chmod(&directory, 0o750);
    refuses();
    chmod(&directory, 0o700);
    let aside = node.directory.path().join("run/aside");
    fs::rename(&entry, &aside).unwrap();
    symlink("/run/aside", &entry).unwrap();
    refuses();
    fs::remove_file(&entry).unwrap();
    fs::rename(&aside, &entry).unwrap();
    fs::rename(&directory, &aside).unwrap();
    symlink("aside", &directory).unwrap();
    refuses();
    fs::remove_file(&directory).unwrap();
    fs::rename(&aside, &directory).unwrap();
    assert_key_from(&call, "cache");

    // Another owner can be given by root alone, as containerd's tests need it too.
    for path in [&entry, &directory] {
        chown(path, Some(65_534), None).expect("run this test as root");
        refuses();
        chown(path, Some(0), None).expect("run this test as root");
    }
    assert_key_from(&call, "cache");
}

#[test]
fn a_cache_that_cannot_be_written_changes_no_verdict() {
    let kms = Kms::start();
    let key = kms.create_key("ECC_NIST_P256");
    let node = Node::with_signature_of(&kms, &key);
    fs::write(node.directory.path().join("run/civ"), "in the way").unwrap();
    let call = node.by_kms(&kms.uri(&key.arn));
    for _ in 0..2 {
        let outcome = assert_ends(&call, 0, "signed by");
        let line = outcome.stderr.lines().find(|line| line.contains("from=kms")).unwrap();
        assert!(line.contains(" cache="), "{line}");
    }
}

#[test]
fn a_request_bears_a_signature_that_aws_own_code_verifies() {
    for (action, stranger, words) in [
        ("kms:GetPublicKey", false, None),
        // moto says both in a form of its own.
        ("kms:Sign", false, Some("AWS KMS answered 403: no reason given")),
        ("kms:GetPublicKey", true, Some("AWS KMS answered 403: no reason given")),
    ] {
        let kms = Kms::start();
        let key = kms.create_key("ECC_NIST_P256");
        let node = Node::with_signature_of(&kms, &key);
        let session = kms.enforce_permissions(action);
        let call = node.by_kms(&kms.uri(&key.arn));
        let mut call = session.into_iter().fold(call, |call, (name, value)| call.env(name, value));
        if stranger {
            call = call.env("AWS_SECRET_ACCESS_KEY", "another");
        }
        match words {
            None => assert_key_from(&call, "kms"),
            Some(words) => drop(assert_ends(&call, 4, words)),
        }
    }
}

/// A KMS that answers about its one key whatever it is asked.
fn lying(answer: impl Fn(&str) -> Value + Send + Sync + 'static) -> HttpServer {
    HttpServer::start(move |asked| {
        let body: Value = serde_json::from_str(&asked.body).unwrap();
        (200, answer(body["KeyId"].as_str().unwrap()).to_string())
    })
}

fn arn(digit: char) -> String {
    format!("arn:aws:kms:eu-west-1:111111111111:key/{digit}0000000-0000-0000-0000-000000000000")
}

fn spki(key: &Key) -> String {
    key.public_pem().lines().filter(|line| !line.starts_with('-')).collect()
}

#[test]
fn refuses_an_answer_about_another_key_or_for_another_purpose() {
    let key = Key::generate(Kind::P256);
    let public_key = spki(&key);
    let node = Node::new();
    node.stage.publish(&[node.stage.honest(&key)]);
    for (id, usage, words) in [
        (None, "SIGN_VERIFY", None),
        (Some(arn('2')), "SIGN_VERIFY", Some((4, "AWS KMS answered for arn:"))),
        (None, "ENCRYPT_DECRYPT", Some((3, "is for ENCRYPT_DECRYPT, not for signing"))),
    ] {
        let public_key = public_key.clone();
        let usage = usage.to_owned();
        let server = lying(move |asked| {
            let id = id.clone().unwrap_or_else(|| asked.to_owned());
            json!({ "KeyId": id, "KeyUsage": usage, "PublicKey": public_key })
        });
        let call = node.by_kms(&format!("awskms://{}/{}", server.authority(), arn('1')));
        match words {
            None => assert_key_from(&call, "kms"),
            Some((code, words)) => {
                // Not kept either.
                assert_ends(&call, code, words);
                assert_ends(&call, code, words);
            }
        }
        for asked in server.asked() {
            assert_eq!(asked.line, "POST /");
            assert_eq!(asked.header("x-amz-target"), "TrentService.GetPublicKey");
            let authorization = asked.header("authorization");
            assert!(authorization.contains("/eu-west-1/kms/aws4_request"), "{authorization}");
        }
    }
}

#[test]
fn what_kms_refuses_is_no_outage_and_no_old_answer_takes_its_place() {
    let key = Key::generate(Kind::P256);
    let node = Node::new();
    node.stage.publish(&[node.stage.honest(&key)]);
    let (status, refusal) = (Arc::new(AtomicU16::new(200)), Arc::new(Mutex::new("")));
    let (answered, said, public_key) = (Arc::clone(&status), Arc::clone(&refusal), spki(&key));
    let server = HttpServer::start(move |_| match answered.load(Ordering::SeqCst) {
        200 => {
            let usage = "SIGN_VERIFY";
            let answer = json!({ "KeyId": arn('1'), "KeyUsage": usage, "PublicKey": public_key });
            (200, answer.to_string())
        }
        status => (status, json!({ "__type": *said.lock().unwrap() }).to_string()),
    });
    let uri = format!("awskms://{}/{}", server.authority(), arn('1'));
    let cache = json!({ "maxAge": "1h", "useStale": true });
    let call = node.call(&json!([{ "name": "release", "kms": uri }]), 1, &cache);
    assert_key_from(&call, "kms");
    node.age(2 * 60 * 60);
    for (code, code_status, words) in [
        ("AccessDeniedException", 400, Some("AWS denies kms:GetPublicKey on arn:")),
        ("NotFoundException", 400, Some("there is no KMS key arn:")),
        ("DisabledException", 409, Some("is disabled")),
        ("KMSInvalidStateException", 400, Some("cannot be used in its state")),
        ("ExpiredTokenException", 400, Some("credentials have expired")),
        ("ThrottlingException", 400, None),
        ("KMSInternalException", 500, None),
    ] {
        *refusal.lock().unwrap() = code;
        status.store(code_status, Ordering::SeqCst);
        let before = server.asked().len();
        match words {
            Some(words) => {
                let code = if code == "NotFoundException" { 3 } else { 4 };
                assert_ends(&call, code, words);
            }
            None => assert_key_from(&call, "stale-cache"),
        }
        // An outage is tried again once.
        assert_eq!(server.asked().len() - before, if words.is_some() { 1 } else { 2 }, "{code}");
    }
}

#[test]
fn a_key_that_cannot_be_had_does_not_count_and_one_key_is_one_signer() {
    let (release, other) = (Key::generate(Kind::P256), Key::generate(Kind::P256));
    let node = Node::new();
    node.stage.publish(&[node.stage.honest(&release)]);
    let public_key = spki(&release);
    let server = lying(
        move |asked| json!({ "KeyId": asked, "KeyUsage": "SIGN_VERIFY", "PublicKey": public_key }),
    );
    let kms = |digit| format!("awskms://{}/{}", server.authority(), arn(digit));
    let gone = format!("awskms://127.0.0.1:1/{}", arn('3'));
    let pinned = |key: &Key| json!({ "name": "pinned", "publicKey": key.public_pem() });
    let by = |name: &str, kms: &str| json!({ "name": name, "kms": kms });
    let call = |keys: Value, threshold| node.call(&keys, threshold, &Value::Null);

    assert_ends(&call(json!([by("gone", &gone), pinned(&release)]), 1), 0, r#"signed by "pinned""#);
    let missing = r#"key "gone" unknown: AWS KMS unreachable at 127.0.0.1:1"#;
    let refused = assert_ends(&call(json!([pinned(&other), by("gone", &gone)]), 1), 4, missing);
    assert!(refused.stdout.contains("with the other keys: signature invalid"), "{refused:?}");
    assert_ends(&call(json!([pinned(&release), by("gone", &gone)]), 2), 4, missing);

    let twins = r#"keys "pinned" and "twin" of statement "production" are the same key"#;
    assert_ends(&call(json!([pinned(&release), by("twin", &kms('1'))]), 2), 3, twins);
    let both = json!([by("one", &kms('1')), by("two", &kms('2'))]);
    assert_ends(&call(both, 2), 3, "are the same key");

    // What is pinned is not asked for, whatever KMS would say.
    let before = server.asked().len();
    let mut both = pinned(&other);
    both["kms"] = kms('4').into();
    assert_ends(&call(json!([both]), 1), 1, "signature invalid");
    assert_eq!(server.asked().len(), before);
}

#[test]
fn a_node_without_credentials_says_what_is_missing() {
    let node = Node::new();
    let uri = format!("awskms://127.0.0.1:1/{}", arn('1'));
    let call = |id: &str, secret: &str| {
        let call = node.by_kms(&uri).env("AWS_ACCESS_KEY_ID", id);
        call.env("AWS_SECRET_ACCESS_KEY", secret).env("AWS_EC2_METADATA_DISABLED", "true")
    };
    assert_ends(&call("", ""), 4, "no AWS credentials: no variable gives any");
    assert_ends(&call("AKID", ""), 4, "AWS_SECRET_ACCESS_KEY is not");
    let shed = call("", "").env("AWS_PROFILE", "x").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    assert_ends(&shed, 4, "no AWS credentials: no variable gives any");
}

#[test]
fn no_variable_leads_to_another_kms_or_another_key() {
    let kms = Kms::start();
    let key = kms.create_key("ECC_NIST_P256");
    let node = Node::with_signature_of(&kms, &key);
    let trap = HttpServer::start(|asked| match asked.line.as_str() {
        // Where a container's credentials come from a variable may say: they say who asks.
        "GET /" => (200, r#"{"AccessKeyId":"A","SecretAccessKey":"S"}"#.to_owned()),
        other => panic!("a variable led here: {other}"),
    });
    let call = node.by_kms(&kms.uri(&key.arn));
    let url = trap.url();
    let lured = ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KMS", "HTTP_PROXY", "http_proxy"]
        .into_iter()
        .chain(["AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_CONTAINER_CREDENTIALS_FULL_URI"])
        .fold(call, |call, name| call.env(name, &url));
    let lured = lured.env("AWS_REGION", "eu-west-3").env("AWS_PROFILE", "admin");
    assert_key_from(&lured, "kms");
    assert_eq!(trap.asked(), []);
    // Whoever asks, it is the same KMS about the same key.
    fs::remove_file(node.kept()).unwrap();
    let without = lured.env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    assert_key_from(&without, "kms");
    assert_eq!(trap.asked().len(), 1);
}

#[test]
fn civ_pins_what_kms_says_and_leaves_the_rest_as_it_is() {
    let kms = Kms::start();
    let key = kms.create_key("ECC_NIST_P256");
    kms.create_alias("alias/release", &key);
    let node = Node::with_signature_of(&kms, &key);
    let civ = Civ::new().with_env(kms.env());
    let host = node.stage.registry.host();
    let text = |kms: &str, pinned: &str| {
        format!(
            "{{ \"trustPolicies\" : [ {{\n\t\"name\": \"p\",\n\t\"keys\": [{{\n\t\t\"kms\": \"{kms}\"{pinned},\n\t\t\"name\":\"release\" }}],\n\
             \t\"registryScopes\": [\"{host}/**\"],\n\t\"signatureVerification\":{{\"level\":\"strict\"}}}}],\n\n\"version\": \"1.0\"}}"
        )
    };
    let pem = Value::from(key.public_pem.as_str());
    let pinned = format!(",\n\t\t\"publicKey\": {pem}");
    for (name, kms_key) in [("key", kms.uri(&key.arn)), ("alias", "awskms:///alias/release".into())]
    {
        let before = text(&kms_key, "");
        let file = civ.write(name, &before);
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let path = file.to_str().unwrap();

        let dry = civ.run(["policy", "pin", path, "--dry-run"]).expect_success("civ policy pin");
        assert!(dry.stdout.contains(&format!("would be pinned p/release: {}", key.arn)), "{dry:?}");
        assert!(dry.stdout.ends_with("nothing was written\n"), "{dry:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before);

        let done = civ.run(["policy", "pin", path]).expect_success("civ policy pin");
        assert_eq!(fs::read_to_string(&file).unwrap(), text(&kms_key, &pinned), "{done:?}");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        let warned = done.stderr.contains(&format!("{kms_key} is {} today", key.arn));
        assert_eq!(warned, name == "alias", "{done:?}");

        // Pinned, it is asked for only if that is asked for.
        let nowhere = Civ::new();
        nowhere.run(["policy", "pin", path]).expect_success("civ policy pin");
        let again = civ.run(["policy", "pin", path, "--refresh", "-o", "json"]);
        let report: Value = serde_json::from_str(&again.stdout).unwrap();
        assert_eq!(
            (&report["written"], &report["keys"][0]["action"]),
            (&json!(false), &json!("unchanged"))
        );
        assert_eq!(report["keys"][0]["arn"], key.arn);
    }

    let stranger = Value::from(Key::generate(Kind::P256).public_pem());
    let file = civ.write(
        "old",
        &text(&kms.uri(&key.arn), &pinned.replace(&pem.to_string(), &stranger.to_string())),
    );
    let path = file.to_str().unwrap();
    let done = civ.run(["policy", "pin", path, "--refresh"]).expect_success("civ policy pin");
    assert!(done.stdout.contains("replaced p/release"), "{done:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), text(&kms.uri(&key.arn), &pinned));

    // The node accepts it with no KMS; and a policy that the gate would not accept is not written.
    let image = &node.stage.image;
    let name = format!("{}:1", image.repository);
    let verify = civ.run(["verify", &name, "--policy", path]);
    assert!(verify.success(), "{verify:?}");
    let broken = text(&kms.uri(&key.arn), "").replace("1.0", "9.0");
    let file = civ.write("broken", &broken);
    let refused = civ.run(["policy", "pin", file.to_str().unwrap()]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), broken);

    // What a node would have to ask for, `civ verify` asks for with the user's credentials.
    let unpinned = civ.write("unpinned", &text(&kms.uri(&key.arn), ""));
    let unpinned = unpinned.to_str().unwrap();
    assert!(civ.run(["verify", &name, "--policy", unpinned]).success());
    drop(kms);
    let refused = civ.run(["verify", &name, "--policy", unpinned]);
    assert!(
        refused.code == Some(4) && refused.stderr.contains("key \"release\" unknown"),
        "{refused:?}"
    );
    assert!(civ.run(["verify", &name, "--policy", path]).success());
}
