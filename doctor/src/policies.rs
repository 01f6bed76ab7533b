//! The trust policies: read and parsed as the verifiers do, and what they leave open.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use civ_authoring::{Document, Kind};
use civ_bindir::PluginName;
use civ_oci::Repository;
use civ_oci::reference::split_host;
use civ_policy::KmsKeyRef;
use serde::Deserialize;

use crate::finding::{Code, Finding, Location, Severity};
use crate::node::Root;
use crate::verifiers::Ours;

/// Where the policies are.
const POLICIES: &str = "/etc/containerd/image-verifiers";
const POLICY: &str = "trustpolicy.json";
/// The level at which nothing is asked.
const SKIP: &str = "skip";
/// The most scopes that a finding names.
const SCOPES_SHOWN: usize = 8;

/// What the policies need of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A repository on each registry that a scope names exactly.
    pub registries: BTreeSet<String>,
    /// The KMS keys that are not pinned.
    pub keys: Vec<KmsKeyRef>,
}

/// What all four documents have in common, as far as it is looked at here. They are parsed by their
/// own parsers first.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    #[serde(default)]
    trust_policies: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(default)]
    registry_scopes: Vec<String>,
    level: Option<String>,
    signature_verification: Option<Level>,
    signature_repository: Option<String>,
}

#[derive(Deserialize)]
struct Level {
    level: String,
}

impl Statement {
    /// The level that lets images pass, if it does.
    fn lenient(&self) -> Option<&str> {
        let level = self.signature_verification.as_ref().map(|level| &level.level);
        let level = level.or(self.level.as_ref())?;
        (level == "audit" || level == SKIP).then_some(level)
    }
}

/// Judges the policies of the verifiers that are called. `installed` are the names of all verifiers,
/// which may be others than civ's and read policies as well.
pub fn judge(root: &Root, verifiers: &[Ours], installed: &[&str]) -> (Needs, Vec<Finding>) {
    let mut needs = Needs::default();
    let mut findings = Vec::new();
    // A verifier that refuses shuts the gate for the others too.
    let mut all_open = !verifiers.is_empty();
    for Ours { plugin, kind } in verifiers {
        let path = plugin.policy_path();
        let at = Location::file(&path);
        let policy =
            match root.policy(&path) {
                Ok(policy) => policy,
                Err(error) => {
                    let fact =
                        format_args!("{plugin} refuses every pull: its policy: {}", error.problem);
                    let finding = Finding::new(Severity::Blocked, Code::PolicyUnusable, fact);
                    findings.push(finding.at(at).mend(format_args!(
                        "write the policy of {plugin}, owned by root, mode 0600"
                    )));
                    all_open = false;
                    continue;
                }
            };
        // The verifiers refuse what others than root and their own user can change. Their user need
        // not be root, and the doctor's may be another than theirs.
        if let Some(stranger) = root.who_can_change(&path) {
            let fact =
                format_args!("others than root can change the policy of {plugin}: {stranger}");
            let finding = Finding::new(Severity::Failure, Code::PolicyWritable, fact);
            let finding = finding.at(Location::file(&stranger.path));
            findings.push(finding.mend("chown it to root and chmod go-w it"));
        }
        let (judged, open) = document(*kind, plugin, &policy.bytes, &mut needs);
        all_open &= open;
        findings.extend(judged.into_iter().map(|finding| finding.at(at.clone())));
    }
    if all_open {
        let fact = "no verifier is known to refuse: each policy has no statement of level strict, or audit or skip for *";
        findings.push(
            Finding::new(Severity::Failure, Code::PolicyOpen, fact)
                .at(Location::file(Path::new(POLICIES)))
                .mend(
                    "give statements the level strict; civ log says what audit would have refused",
                ),
        );
    }
    findings.extend(stale(root, installed));
    (needs, findings)
}

/// Judges one document. The second value says whether it refuses nothing, or nothing that it does not
/// name.
fn document(
    kind: Kind,
    plugin: &PluginName,
    bytes: &[u8],
    needs: &mut Needs,
) -> (Vec<Finding>, bool) {
    let document = match Document::parse(kind, bytes) {
        Ok(document) => document,
        Err(error) => {
            let fact =
                format_args!("{plugin} refuses every pull: its policy is not valid: {error}");
            let finding = Finding::new(Severity::Blocked, Code::PolicyInvalid, fact);
            return (vec![finding.mend("mend the policy; civ policy lint says where")], false);
        }
    };
    let fact = format_args!("{plugin} has a valid policy of {} bytes", bytes.len());
    let mut findings = vec![Finding::new(Severity::Ok, Code::PolicyValid, fact)];
    let Ok(outline) = serde_json::from_slice::<Outline>(bytes) else {
        let fact = format_args!("what the policy of {plugin} leaves open is not known");
        return (vec![Finding::new(Severity::Warning, Code::PolicyUnchecked, fact)], true);
    };
    let lenient = |statement: &Statement| statement.lenient().is_some();
    let mut open = !outline.trust_policies.is_empty() && outline.trust_policies.iter().all(lenient);
    for statement in &outline.trust_policies {
        // Digests are looked up in the policy itself: no registry is asked.
        if kind != Kind::Digestion && statement.lenient() != Some(SKIP) {
            needs.registries.extend(registries(statement));
        }
        let Some(level) = statement.lenient() else { continue };
        open |= statement.registry_scopes.iter().any(|scope| scope == "*");
        findings.push(exempt(plugin, level, &statement.registry_scopes));
    }
    if let Document::Cosign(policy) = &document {
        let keys = policy.document().statements().iter().flat_map(|statement| &statement.keys);
        let unpinned =
            keys.filter(|key| key.public_key.is_none()).filter_map(|key| key.kms.clone());
        needs.keys.extend(unpinned);
    }
    (findings, open)
}

fn exempt(plugin: &PluginName, level: &str, scopes: &[String]) -> Finding {
    let shown: Vec<&str> = scopes.iter().take(SCOPES_SHOWN).map(String::as_str).collect();
    let more = if scopes.len() > SCOPES_SHOWN { ", …" } else { "" };
    let fact =
        format_args!("{plugin} refuses nothing of {}{more}: level {level}", shown.join(", "));
    if level == SKIP && scopes.iter().all(|scope| scope != "*") {
        return Finding::new(Severity::Note, Code::PolicyExempts, fact)
            .mend("nothing, if these need no signature; otherwise give them the level strict");
    }
    Finding::new(Severity::Warning, Code::PolicyExempts, fact)
        .mend("give the statement the level strict; civ log says what audit would have refused")
}

/// The registries that a statement names without wildcards, each as a repository there.
fn registries(statement: &Statement) -> impl Iterator<Item = String> + '_ {
    let scopes = statement.registry_scopes.iter().chain(&statement.signature_repository);
    scopes.filter(|scope| scope.as_str() != "*").filter_map(|scope| {
        let (host, _) = split_host(scope);
        let repository: Repository = format!("{host}/a").parse().ok()?;
        (!host.contains('*')).then(|| repository.host().to_owned())
    })
}

/// Policies that no verifier of that name reads.
fn stale(root: &Root, installed: &[&str]) -> Vec<Finding> {
    let policies = root.resolve(Path::new(POLICIES)).unwrap_or_else(|_| POLICIES.into());
    let Ok(entries) = fs::read_dir(root.join(&policies)) else { return Vec::new() };
    let mut unread: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let reads = |program: &&str| {
                program.strip_suffix("-image-verifier").is_some_and(|plugin| name == plugin)
            };
            !installed.iter().any(reads)
        })
        .filter(|entry| entry.path().join(POLICY).exists())
        .map(|entry| Path::new(POLICIES).join(entry.file_name()).join(POLICY))
        .collect();
    unread.sort_unstable();
    let finding = |path: PathBuf| {
        let fact = "a policy that no verifier reads";
        Finding::new(Severity::Note, Code::PolicyStale, fact)
            .at(Location::file(&path))
            .mend("install its verifier, or remove the policy")
    };
    unread.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::{DirBuilder, Permissions};
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};

    use super::*;

    const KEY: &str =
        "awskms:///arn:aws:kms:eu-west-1:111111111111:key/00000000-0000-0000-0000-000000000000";

    fn cosign(document: &str) -> (Needs, Vec<Finding>, bool) {
        let mut needs = Needs::default();
        let plugin = "cosign".parse().unwrap();
        let document = document.replace("$KEY", KEY);
        let (findings, open) =
            super::document(Kind::Cosign, &plugin, document.as_bytes(), &mut needs);
        (needs, findings, open)
    }

    #[test]
    fn what_a_policy_leaves_open_and_whom_it_asks_is_found() {
        let (needs, findings, open) = cosign(
            r#"{"version":"1.0","trustPolicies":[
            {"name":"a","registryScopes":["R.example:5000/team/**","*.dkr.ecr.eu-west-1.amazonaws.com/**","busybox"],
             "signatureVerification":{"level":"strict"},"keys":[{"name":"k","kms":"$KEY"}]},
            {"name":"b","registryScopes":["r.io/skip"],"signatureVerification":{"level":"skip"}},
            {"name":"c","registryScopes":["*"],"signatureVerification":{"level":"audit"},"keys":[{"name":"k","kms":"$KEY"}]}]}"#,
        );
        let registries: Vec<_> = needs.registries.iter().map(String::as_str).collect();
        assert_eq!(registries, ["docker.io", "r.example:5000"]);
        assert_eq!(needs.keys.len(), 2);
        assert!(open);
        let severities: Vec<_> = findings.iter().map(|finding| finding.severity).collect();
        assert_eq!(severities, [Severity::Ok, Severity::Note, Severity::Warning]);
    }

    #[test]
    fn a_verifier_without_a_policy_blocks_and_a_policy_without_a_verifier_is_noted() {
        // Modes are set, since the umask of whoever runs the tests is not known.
        let dir =
            tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap();
        let policies = dir.path().join(POLICIES.trim_start_matches('/'));
        let documents = [("old", "{}"), ("notation", "{}"), ("digestion", r#"{"version":"1.0"}"#)];
        for (plugin, document) in documents {
            let directory = policies.join(plugin);
            DirBuilder::new().recursive(true).mode(0o755).create(&directory).unwrap();
            let file = directory.join(POLICY);
            fs::write(&file, document).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        }
        let ours = |name: &str, kind| Ours { plugin: name.parse().unwrap(), kind };
        let verifiers = [ours("cosign", Kind::Cosign), ours("digestion", Kind::Digestion)];
        let installed =
            ["cosign-image-verifier", "digestion-image-verifier", "notation-image-verifier"];
        let (_, findings) = judge(&Root::open(dir.path()).unwrap(), &verifiers, &installed);
        let found: Vec<_> = findings.iter().map(|f| (f.severity, f.code)).collect();
        assert_eq!(
            found,
            [
                (Severity::Blocked, Code::PolicyUnusable),
                (Severity::Blocked, Code::PolicyInvalid),
                (Severity::Note, Code::PolicyStale),
            ]
        );
    }

    #[test]
    fn a_policy_without_a_strict_statement_is_open_whatever_it_names() {
        let statement = |name: &str, level: &str| {
            let key = if level == "skip" {
                String::new()
            } else {
                format!(r#","keys":[{{"name":"k","kms":"{KEY}"}}]"#)
            };
            format!(
                r#"{{"name":"{name}","registryScopes":["r.io/{name}/**"],"signatureVerification":{{"level":"{level}"}}{key}}}"#
            )
        };
        for (levels, is_open) in [
            (&["audit"][..], true),
            (&["skip"], true),
            (&["audit", "skip"], true),
            (&["strict", "audit", "skip"], false),
        ] {
            let statements: Vec<_> = levels.iter().map(|level| statement(level, level)).collect();
            let (_, findings, open) = cosign(&format!(
                r#"{{"version":"1.0","trustPolicies":[{}]}}"#,
                statements.join(",")
            ));
            assert_eq!(open, is_open, "{levels:?}");
            let audited = levels.contains(&"audit");
            assert_eq!(findings.iter().any(|f| f.severity == Severity::Warning), audited);
            let mut exempts = findings.iter().filter(|f| f.code == Code::PolicyExempts);
            assert!(exempts.all(|finding| finding.mend.is_some()));
        }
    }

    #[test]
    fn a_document_that_the_verifier_refuses_blocks() {
        let (_, findings, open) = cosign(r#"{"version":"1.0"}"#);
        assert_eq!(findings[0].severity, Severity::Blocked);
        assert!(!open, "a verifier that refuses everything is not open");
    }
}
