//! `civ policy`: linting, encoding, decoding, schemas and conversion.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::verbs::{KEY, civ, command, refusal, stderr, stdout};

const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes a file, and tells its path.
    fn write(&self, name: &str, contents: &str) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }
}

fn cosign(scope: &str, level: &str) -> String {
    let public_key = stdout(&civ(&["public-key", "--key", KEY]));
    let mut statement = json!({ "name": "s", "registryScopes": [scope], "signatureVerification": { "level": level } });
    if level != "skip" {
        statement["keys"] = json!([{ "name": "release", "publicKey": public_key }]);
    }
    json!({ "version": "1.0", "trustPolicies": [statement] }).to_string()
}

fn digests() -> String {
    json!({ "version": "1.0", "trustedDigests": [DIGEST] }).to_string()
}

fn with_stdin(args: &[&str], input: &str) -> Output {
    let mut child = command(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A report, read as strictly as anybody might.
fn json(output: &Output) -> Value {
    civ_oci::strict_json::check(&output.stdout).unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn lint_is_silent_about_what_is_meant_and_tells_the_size() {
    let files = Files::new();
    let path = files.write("cosign/trustpolicy.json", &cosign("r.example/a/**", "strict"));
    let output = civ(&["policy", "lint", &path, "--strict"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let text = stdout(&output);
    assert!(text.contains("a policy for cosign-image-verifier"), "{text}");
    assert!(text.ends_with("0 errors, 0 warnings\n"), "{text}");
}

#[test]
fn lint_ends_by_what_it_found() {
    let files = Files::new();
    let skipping = files.write("skip.json", &cosign("*", "skip"));
    let kind = ["--kind", "cosign"];
    for (more, code) in [(&[][..], 0), (&["--strict"][..], 1)] {
        let args = [&["policy", "lint", &skipping], &kind[..], more].concat();
        let output = civ(&args);
        assert_eq!(output.status.code(), Some(code));
        let line = format!("{skipping}:1:49: warning[skip-everywhere]: ");
        assert!(stdout(&output).contains(&line), "{}", stdout(&output));
    }
    let broken = files.write("broken.json", &cosign("r.example/a-*", "strict"));
    let output =
        civ(&["policy", "lint", &broken, &skipping, "--kind", "cosign", "--output", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let report = json(&output);
    let finding = &report["files"][0]["findings"][0];
    assert_eq!(
        (&finding["code"], &finding["severity"], &finding["line"]),
        (&json!("bad-scope"), &json!("error"), &json!(1))
    );
    assert_eq!(report["files"][1]["findings"][0]["code"], "skip-everywhere");

    // One that nobody knows does not keep the others from being looked at.
    let output = civ(&["policy", "lint", &skipping, &broken]);
    assert_eq!(output.status.code(), Some(3));
    let text = stdout(&output);
    assert!(text.contains("could be for any verifier; say which with --kind"), "{text}");
    assert!(text.contains("error[bad-scope]"), "{text}");
    let marked = files.write("marked.json", "\u{feff}{}");
    let text = stdout(&civ(&["policy", "lint", &marked]));
    assert!(text.contains("byte order mark; save it without"), "{text}");
    let open = files.write("open.json", "{\n  \"version\": }");
    for args in
        [&["policy", "lint", &open][..], &["policy", "explain", "r.example/a", "--policy", &open]]
    {
        let output = civ(args);
        let text = stdout(&output) + &stderr(&output);
        assert!(output.status.code() == Some(3) && text.contains("expected value"), "{text}");
        assert!(!text.contains("any verifier"), "{text}");
    }
}

#[test]
fn what_is_encoded_is_decoded_byte_for_byte() {
    let files = Files::new();
    let policy = format!("  {}\n\n", cosign("r.example/a", "strict"));
    let path = files.write("cosign/trustpolicy.json", &policy);
    let list = files.write("list.json", &digests());
    for format in ["apiclient", "json", "kubernetes-user-data", "toml", "user-data"] {
        let one = civ(&["policy", "encode", &path, "--format", format]);
        assert_eq!((one.status.code(), stderr(&one).as_str()), (Some(0), ""), "{format}");
        let decoded = with_stdin(&["policy", "decode"], &stdout(&one));
        assert_eq!(
            (decoded.status.code(), stdout(&decoded)),
            (Some(0), policy.clone()),
            "{format}"
        );

        let several =
            civ(&["policy", "encode", &path, &format!("digestion={list}"), "--format", format]);
        let decode =
            |more: &[&str]| with_stdin(&[&["policy", "decode"], more].concat(), &stdout(&several));
        assert_eq!(stdout(&decode(&["--plugin", "digestion"])), digests(), "{format}");
        let unclear = decode(&[]);
        assert_eq!(unclear.status.code(), Some(2));
        assert!(stderr(&unclear).contains("cosign") && stderr(&unclear).contains("digestion"));
        assert_eq!(decode(&["--plugin", "notation"]).status.code(), Some(3));
    }
}

#[test]
fn encode_writes_nothing_that_the_plugins_verifier_refuses() {
    let files = Files::new();
    let broken = files.write("broken.json", &cosign("r.example/a-*", "strict"));
    let (code, line) =
        refusal(&["policy", "encode", &broken, "--plugin", "cosign", "--format", "toml"]);
    assert_eq!(code, 3);
    assert!(line.contains("broken.json") && line.contains("civ policy lint"), "{line}");
    let kind =
        ["policy", "encode", &broken, "--plugin", "team-a", "--kind", "cosign", "--format", "toml"];
    assert_eq!(refusal(&kind).0, 3);

    // Unless it is told to; it must still be JSON.
    let output = civ(&[
        "policy",
        "encode",
        &broken,
        "--plugin",
        "cosign",
        "--format",
        "toml",
        "--unchecked",
    ]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("[settings.image-verifier-plugins.cosign]"));
    assert!(stderr(&output).contains("cosign-image-verifier refuses every pull"));

    // A plugin that is called as it is released is that verifier, whatever --kind says.
    let list = files.write("list.json", &digests());
    let named = format!("cosign={list}");
    let (code, line) =
        refusal(&["policy", "encode", &named, "--kind", "digestion", "--format", "toml"]);
    assert!(code == 2 && line.contains("plugin cosign is cosign-image-verifier"), "{line}");
    assert_eq!(refusal(&["policy", "encode", &named, "--format", "toml"]).0, 3);

    // A plugin of somebody else's: any JSON, and a word about it.
    let output = civ(&["policy", "encode", &broken, "--plugin", "team-a", "--format", "toml"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stderr(&output).contains("not checked"), "{}", stderr(&output));
    let text = files.write("text.json", "no JSON");
    let (code, line) = {
        let output = civ(&["policy", "encode", &text, "--plugin", "team-a", "--format", "toml"]);
        (output.status.code(), stderr(&output))
    };
    assert!(code == Some(3) && line.contains("not JSON"), "{line}");
    for args in [
        &["policy", "encode", &text, "--format", "toml"][..],
        &["policy", "encode", &text, &broken, "--plugin", "a", "--format", "toml"],
        &["policy", "encode", &text, "--plugin", "enabled", "--format", "toml"],
        &["policy", "encode", &text, "--plugin", "a_b", "--format", "toml"],
    ] {
        assert_eq!(refusal(args).0, 2, "{args:?}");
    }
}

#[test]
fn encode_says_when_user_data_is_too_small_for_it() {
    let files = Files::new();
    let many: Vec<String> = (0..200).map(|number| format!("sha256:{number:064x}")).collect();
    let list = files.write(
        "digestion/trustpolicy.json",
        &json!({ "version": "1.0", "trustedDigests": many }).to_string(),
    );
    let output = civ(&["policy", "encode", &list, "--format", "user-data"]);
    assert_eq!(output.status.code(), Some(0));
    let warning = stderr(&output);
    let length = output.stdout.len();
    assert!(
        length > 16_384
            && warning.contains(&format!("warning: {length} bytes, and EC2 takes 16384")),
        "{warning}"
    );
}

#[test]
fn decode_writes_into_a_directory_and_overwrites_only_if_told() {
    let files = Files::new();
    let list = files.write("list.json", &digests());
    let settings = stdout(&civ(&[
        "policy",
        "encode",
        &format!("digestion={list}"),
        &format!("b={list}"),
        "--format",
        "json",
    ]));
    let settings = files.write("settings.json", &settings);
    let directory = files.path("policies");
    let args = ["policy", "decode", &settings, "--directory", &directory];
    let output = civ(&args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for plugin in ["digestion", "b"] {
        let path = Path::new(&directory).join(plugin).join("trustpolicy.json");
        assert_eq!(fs::read_to_string(&path).unwrap(), digests());
        fs::write(&path, "mine").unwrap();
    }
    let (code, line) = refusal(&args);
    assert_eq!(code, 3);
    assert!(line.contains("it is there already; --force replaces it"), "{line}");
    assert_eq!(fs::read_to_string(files.path("policies/b/trustpolicy.json")).unwrap(), "mine");
    assert_eq!(civ(&[&args[..], &["--force"]].concat()).status.code(), Some(0));
    assert_eq!(fs::read_to_string(files.path("policies/b/trustpolicy.json")).unwrap(), digests());

    let escaping = files.write("escaping.json", r#"{"../../x":{"trustpolicy":"e30="}}"#);
    assert_eq!(refusal(&["policy", "decode", &escaping, "--directory", &directory]).0, 3);
    let base64 = files.write("base64", "e30=");
    let args = ["policy", "decode", &base64, "--directory", &directory];
    assert_eq!(refusal(&args).0, 2);
    assert_eq!(civ(&[&args[..], &["--plugin", "c"]].concat()).status.code(), Some(0));
    assert_eq!(fs::read_to_string(files.path("policies/c/trustpolicy.json")).unwrap(), "{}");
    std::os::unix::fs::symlink(files.path("elsewhere"), files.path("policies/d")).unwrap();
    let (code, line) = refusal(&[&args[..], &["--plugin", "d", "--force"]].concat());
    assert!(code == 3 && line.contains("it is a link"), "{line}");
    let unpadded = files.write("unpadded", "e30");
    let (code, line) = refusal(&["policy", "decode", &unpadded]);
    assert!(code == 3 && line.contains("padding"), "{line}");
}

#[test]
fn a_schema_is_printed_for_each_verifier() {
    for kind in ["annotations", "cosign", "digestion", "notation"] {
        let output = civ(&["policy", "schema", kind]);
        let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(schema["$id"], format!("urn:civ:trust-policy:{kind}:1.0"));
    }
}

#[test]
fn convert_writes_all_or_what_it_is_told_to() {
    let files = Files::new();
    let key = stdout(&civ(&["public-key", "--key", KEY]));
    let rules = json!({ "apiVersion": "v1alpha1", "kind": "ImageVerificationConfig", "rules": [
        { "image": "ghcr.io/team/*", "publicKey": { "certificate": key } },
        { "image": "quay.io/a*", "skip": true },
    ]});
    let path = files.write("talos.yaml", &rules.to_string());
    let output = civ(&["policy", "convert", &path]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(3), String::new()));
    let said = stderr(&output);
    assert!(said.contains("not converted: rules[1]") && said.contains("--allow-partial"), "{said}");

    let output = civ(&["policy", "convert", &path, "--allow-partial"]);
    assert_eq!(output.status.code(), Some(0));
    let converted = files.write("cosign/trustpolicy.json", &stdout(&output));
    let linted = civ(&["policy", "lint", &converted, "--strict"]);
    assert_eq!(linted.status.code(), Some(0), "{}", stdout(&linted));

    let output = civ(&["policy", "convert", &path, "--output", "json"]);
    let report = json(&output);
    assert!(report.get("document").is_none() && report["notes"].as_array().unwrap().len() > 1);
    let nothing = files.write("nothing.yaml", "a: 1");
    assert_eq!(refusal(&["policy", "convert", &nothing]).0, 3);
}

#[test]
fn explain_has_the_verdict_of_a_list_of_digests_without_asking_anybody() {
    let files = Files::new();
    let list = files.write("list.json", &digests());
    let other = DIGEST.replace('a', "b").replace("shb", "sha");
    for (digest, code) in [(DIGEST, 0), (other.as_str(), 1)] {
        let image = format!("r.example/a@{digest}");
        let output = civ(&["policy", "explain", &image, "--policy", &list]);
        assert_eq!(output.status.code(), Some(code), "{}", stdout(&output));
        let text = stdout(&output);
        let words = "trusts 1 digest in every repository; all else is refused";
        assert!(text.contains(words), "{text}");
        let report =
            json(&civ(&["policy", "explain", &image, "--policy", &list, "--output", "json"]));
        assert_eq!(report["policies"][0]["kind"], "digestion");
        assert_eq!(report["policies"][0]["verdict"]["exit"], code);
    }
}

#[test]
fn a_policy_may_come_from_stdin() {
    for args in [
        &["policy", "lint", "-"][..],
        &["policy", "encode", "-", "--plugin", "digestion", "--format", "json"],
        &["policy", "encode", "digestion=-", "--format", "json"],
        &["policy", "explain", "r.example/a", "--policy", "-"],
    ] {
        let output = with_stdin(args, &digests());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
    }
    let rules = json!({ "kind": "ImageVerificationConfig", "rules": [{ "image": "r.example/a", "skip": true }] });
    let output = with_stdin(&["policy", "convert", "-"], &rules.to_string());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for args in
        [&["policy", "digests", "r.example/a", "--output-file", "-"][..], &["policy", "pin", "-"]]
    {
        assert_eq!(refusal(args).0, 2, "{args:?}");
    }
}

#[test]
fn no_file_controls_the_terminal() {
    let files = Files::new();
    let escape = "\u{1b}[31m";
    let name = format!("a{escape}b.json");
    let list = files.write(&name, &digests());
    let rules = json!({ "kind": "ImageVerificationConfig", "rules": [
        { "image": "r.example/a", "skip": true }, { "image": "\u{9b}2J*", "skip": true } ] });
    let policy = files.write("talos.yaml", &rules.to_string());
    let named = json!({ "apiVersion": "v1", "kind": "ClusterImagePolicy",
        "metadata": { "name": format!("p{escape}\u{9b}2J") },
        "spec": { "images": [{ "glob": "ghcr.io/a/**" }, { "glob": "ghcr.io/b" }],
            "authorities": [{ "static": { "action": "pass" } }] } });
    let named = files.write("named.yaml", &named.to_string());
    let settings = files.write(&format!("{name}.toml"), "x");
    for args in [
        &["policy", "lint", &list, "--kind", "cosign"][..],
        &["policy", "encode", &format!("team-a={list}"), "--format", "json"],
        &["policy", "decode", &settings],
        &["policy", "convert", &policy, "--allow-partial"],
        &["policy", "convert", &named, "--allow-partial"],
        &["policy", "pin", &list],
    ] {
        let output = civ(args);
        let text = stdout(&output) + &stderr(&output);
        assert!(!text.is_empty(), "{args:?}");
        let controls = |c: char| c.is_control() && c != '\n';
        assert!(!text.contains(controls), "{args:?}: {text:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_defect() {
    let files = Files::new();
    let list = files.write("list.json", &digests());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(&["policy", "lint", &list]).stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(141), ""));
}
