//! Registries and keys, asked as the verifiers ask: with the same connections, the system's
//! authorities, and the credentials that the verifiers inherit from containerd.

use std::ffi::OsString;
use std::time::{Duration, Instant, SystemTime};

use civ_aws::{Environment, Options as KmsOptions, PublicKeys};
use civ_oci::Repository;
use civ_oci::text::one_line;
use civ_policy::{KeySource as _, KmsCache};
use civ_registry::{Endpoint, Limits, transport};

use crate::finding::{Code, Finding, Severity};
use crate::node::surroundings;
use crate::policies::Needs;

/// Time for all questions to one registry.
const REGISTRY_TIME: Duration = Duration::from_secs(5);
/// The most registries or keys that are asked.
const ASKED_MAX: usize = 16;

/// Asks each registry and for each key that the policies need. Blocks.
pub fn ask(needs: &Needs, environment: Vec<(OsString, OsString)>) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        needs.registries.iter().take(ASKED_MAX).flat_map(|host| registry(host)).collect();
    findings.extend(not_asked(needs.registries.len(), "registries", Code::Registry));
    findings.extend(not_asked(needs.keys.len(), "keys", Code::Kms));
    findings.extend(keys(needs, environment));
    findings
}

fn not_asked(count: usize, what: &str, code: Code) -> Option<Finding> {
    (count > ASKED_MAX).then(|| {
        let fact = format_args!("{} of {count} {what} are not asked", count - ASKED_MAX);
        Finding::new(Severity::Note, code, fact)
    })
}

fn registry(host: &str) -> Vec<Finding> {
    let unreachable = |why: &dyn std::fmt::Display| {
        let fact = format_args!(
            "{host} does not answer: {why}; images whose signatures are there are refused"
        );
        vec![
            Finding::new(Severity::Warning, Code::Registry, fact)
                .mend("see to the network, the name and the certificate authorities of the node"),
        ]
    };
    let Ok(repository) = format!("{host}/a").parse::<Repository>() else { return Vec::new() };
    let endpoint = Endpoint::of(&repository).settled(Limits::default().connect);
    let agent = match transport::agent(endpoint.authority(), &Limits::default(), None, None) {
        Ok(agent) => agent,
        Err(error) => return unreachable(&error),
    };
    let request = agent.get(format!("{endpoint}/v2/"));
    let request = request.config().timeout_global(Some(REGISTRY_TIME)).build();
    let response = match request.call() {
        Ok(response) => response,
        Err(error) => return unreachable(&one_line(&error.to_string(), 200)),
    };
    let status = response.status().as_u16();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let mut findings = Vec::new();
    if let Some(theirs) = header("date").and_then(|date| httpdate::parse_http_date(date).ok()) {
        findings.extend(surroundings::skew(SystemTime::now(), host, theirs));
    }
    let wants_password = header("www-authenticate").is_some_and(|challenge| {
        challenge.get(..5).is_some_and(|s| s.eq_ignore_ascii_case("basic"))
    });
    findings.push(match status {
        401 if wants_password => {
            let fact = format_args!("{host} wants a password, and verifiers ask without one (what hosts.toml says is not looked at)");
            Finding::new(Severity::Warning, Code::RegistryCredentials, fact)
                .mend("keep the signatures where everybody may read them (signatureRepository)")
        }
        200 | 401 => Finding::new(Severity::Ok, Code::Registry, format_args!("{host} answers")),
        403 => {
            let fact = format_args!("{host} refuses to answer this node (403)");
            Finding::new(Severity::Warning, Code::Registry, fact).mend(
                "let the node read there, or keep the signatures elsewhere (signatureRepository)",
            )
        }
        _ => {
            let fact = format_args!("{host} answers {status}, which a registry does not");
            Finding::new(Severity::Warning, Code::Registry, fact).mend("see to the registry")
        }
    });
    findings
}

/// Keys that are not pinned. What comes of it is not kept: a verifier asks by itself.
fn keys(needs: &Needs, environment: Vec<(OsString, OsString)>) -> Vec<Finding> {
    if needs.keys.is_empty() {
        return Vec::new();
    }
    let failed = |fact: &dyn std::fmt::Display| {
        Finding::new(Severity::Warning, Code::Kms, fact)
            .mend("let the node's role call kms:GetPublicKey, or pin the key (civ policy pin)")
    };
    let directory = match tempfile::tempdir() {
        Ok(directory) => directory,
        Err(error) => {
            return vec![failed(&format_args!("KMS is not asked: no directory: {error}"))];
        }
    };
    let environment = Environment::of(environment);
    let ask = |key| {
        let deadline = Instant::now() + REGISTRY_TIME;
        let options = KmsOptions {
            cache_directory: directory.path().to_owned(),
            ..KmsOptions::until(deadline, environment.clone(), KmsCache::default())
        };
        match PublicKeys::new(options, &()).public_key(key) {
            Ok(_) => Finding::new(Severity::Ok, Code::Kms, format_args!("KMS gives out {key}")),
            Err(error) => failed(&format_args!("the public key of {key} cannot be had: {error}")),
        }
    };
    needs.keys.iter().take(ASKED_MAX).map(ask).collect()
}
