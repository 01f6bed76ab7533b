//! AWS KMS, as moto imitates it, for keys that are only ever named.
//!
//! moto hashes what it is asked to sign even when it is told that it is a digest, and names a key by
//! its id where AWS gives the ARN. `kms_server.py` mends both, so that the real cosign and civ work
//! with it as they do with AWS.

use std::{collections::BTreeMap, fs};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    daemon::{self, Daemon},
    http_server::listen,
    programs, scratch,
    signing::pem,
};

/// Region of everything in this KMS.
pub const REGION: &str = "us-east-1";

/// The role that [`Kms::enforce_permissions`] makes.
pub const ROLE: &str = "arn:aws:iam::123456789012:role/node";

/// A KMS on a loopback port, with no keys in it.
#[derive(Debug)]
pub struct Kms {
    _server: Daemon,
    endpoint: String,
    _directory: TempDir,
}

/// A signing key in a [`Kms`].
#[derive(Debug, Clone)]
pub struct KmsKey {
    /// `1234abcd-…`
    pub id: String,
    /// `arn:aws:kms:…:key/1234abcd-…`
    pub arn: String,
    /// The public half, PEM.
    pub public_pem: String,
}

impl KmsKey {
    /// `awskms:///ARN`, as cosign and civ's policies name a key.
    pub fn uri(&self) -> String {
        format!("awskms:///{}", self.arn)
    }
}

impl Kms {
    /// Starts one, and returns when it answers.
    pub fn start() -> Self {
        let directory = scratch::directory();
        let path = |name| directory.path().join(name);
        let (script, log) = (path("kms_server.py"), path("log"));
        fs::write(&script, include_str!("kms_server.py")).expect("a script in a directory of ours");
        programs::find("moto_server");
        // Free again as soon as it is known.
        let port = listen().local_addr().expect("a bound port").port().to_string();
        let mut command = daemon::command(&programs::directory().join("venv/bin/python"));
        command.arg("-u").arg(&script).args(["-H", "127.0.0.1", "-p", &port]);
        let mut server = Daemon::spawn("moto_server", &mut command, &path("stdout"), &log);
        let endpoint = server.wait_for(|| {
            let log = fs::read_to_string(&log).ok()?;
            let (_, rest) = log.split_once("Running on ")?;
            rest.split_once('\n').map(|(endpoint, _)| endpoint.trim().to_owned())
        });
        Self { _server: server, endpoint, _directory: directory }
    }

    /// `http://127.0.0.1:PORT`
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// `awskms://127.0.0.1:PORT/ARN`: a key here, for those whom no variable leads here.
    pub fn uri(&self, arn: &str) -> String {
        format!("awskms://{}/{arn}", self.endpoint.trim_start_matches("http://"))
    }

    /// What the key signs `message` with: DER for curves.
    pub fn sign(&self, key: &KmsKey, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let message = STANDARD.encode(message);
        let (id, kind) = (&key.id, "RAW");
        let answer = self.call(
            "Sign",
            &json!({ "KeyId": id, "Message": message, "MessageType": kind, "SigningAlgorithm": algorithm }),
        );
        let signature = answer["Signature"].as_str().expect("base64 of a signature");
        STANDARD.decode(signature).expect("base64 of a signature")
    }

    /// The variables that lead an AWS client here.
    pub fn env(&self) -> BTreeMap<String, String> {
        [
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", REGION),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_ENDPOINT_URL", &self.endpoint),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// A new signing key: `RSA_2048`, `RSA_4096`, `ECC_NIST_P256`, `ECC_NIST_P384`, ….
    pub fn create_key(&self, key_spec: &str) -> KmsKey {
        let created =
            self.call("CreateKey", &json!({ "KeySpec": key_spec, "KeyUsage": "SIGN_VERIFY" }));
        let text = |name: &str| {
            created["KeyMetadata"][name].as_str().expect("a key has an id and an ARN").to_owned()
        };
        let (id, arn) = (text("KeyId"), text("Arn"));
        let public = self.call("GetPublicKey", &json!({ "KeyId": id }));
        let public = public["PublicKey"].as_str().expect("base64 of an SPKI");
        KmsKey { id, arn, public_pem: pem("PUBLIC KEY", public) }
    }

    /// Another name, `alias/NAME`, for a key.
    pub fn create_alias(&self, alias: &str, key: &KmsKey) {
        self.call("CreateAlias", &json!({ "AliasName": alias, "TargetKeyId": key.id }));
    }

    /// From now on every request must be signed by somebody who may make it: moto checks signatures
    /// with botocore, and permissions. Returns the session of a role that may do `action` and nothing
    /// else, as variables.
    pub fn enforce_permissions(&self, action: &str) -> [(&'static str, String); 3] {
        let role = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRoleWithWebIdentity" },
        ]});
        let policy = json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": action, "Resource": "*" },
        ]});
        let (role, policy) = (role.to_string(), policy.to_string());
        let name = ("RoleName", "node");
        let document = ("AssumeRolePolicyDocument", role.as_str());
        self.query("iam", "CreateRole", &[name, document]);
        let document = [name, ("PolicyName", "kms"), ("PolicyDocument", policy.as_str())];
        self.query("iam", "PutRolePolicy", &document);
        let session = self.query(
            "sts",
            "AssumeRoleWithWebIdentity",
            &[("RoleArn", ROLE), ("RoleSessionName", "test"), ("WebIdentityToken", "token")],
        );
        let url = format!("{}/moto-api/reset-auth", self.endpoint);
        ureq::post(&url).send("0").unwrap_or_else(|error| panic!("{url}: {error}"));
        [
            ("AWS_ACCESS_KEY_ID", "AccessKeyId"),
            ("AWS_SECRET_ACCESS_KEY", "SecretAccessKey"),
            ("AWS_SESSION_TOKEN", "SessionToken"),
        ]
        .map(|(variable, element)| {
            let (_, rest) = session.split_once(&format!("<{element}>")).expect("credentials");
            (variable, rest.split('<').next().unwrap_or_default().to_owned())
        })
    }

    /// One request to a service that takes forms.
    fn query(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> String {
        let version = if service == "iam" { "2010-05-08" } else { "2011-06-15" };
        let form = [("Action", action), ("Version", version)];
        let form = form.iter().chain(parameters).copied();
        let mut response = ureq::post(&self.endpoint)
            .header("Authorization", authorization(service))
            .send_form(form)
            .unwrap_or_else(|error| panic!("{service} {action} failed: {error}"));
        response.body_mut().read_to_string().expect("a response body")
    }

    /// One request to KMS, e.g. `call("DisableKey", &json!({"KeyId": …}))`.
    pub fn call(&self, action: &str, body: &Value) -> Value {
        let mut response = ureq::post(&self.endpoint)
            .header("Content-Type", "application/x-amz-json-1.1")
            .header("X-Amz-Target", format!("TrentService.{action}"))
            .header("Authorization", authorization("kms"))
            .send(body.to_string())
            .unwrap_or_else(|error| panic!("KMS {action} failed: {error}"));
        let text = response.body_mut().read_to_string().expect("a response body");
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("JSON") }
    }
}

/// moto reads the service's name from here, and checks nothing unless it is told to.
fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, \
         SignedHeaders=host, Signature=0"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cosign::{Cosign, Signing},
        docker_registry::DockerRegistry,
        image,
    };

    #[test]
    fn cosign_signs_and_verifies_with_its_keys() {
        let (registry, kms) = (DockerRegistry::start(), Kms::start());
        let cosign = Cosign::new().with_env(kms.env());
        for spec in ["RSA_2048", "ECC_NIST_P256", "ECC_NIST_P384"] {
            let image = image::push(registry.address(), &spec.to_lowercase(), "1", spec);
            let key = kms.create_key(spec);
            kms.create_alias(&format!("alias/{spec}"), &key);
            assert_eq!(cosign.public_key(&key.uri()), key.public_pem);

            cosign.sign(&key.uri(), &image.by_digest(), Signing::default());
            let by_alias = format!("awskms:///alias/{spec}");
            cosign.verify(&by_alias, &image.by_digest(), &[]).expect_success("cosign verify");
        }
    }
}
