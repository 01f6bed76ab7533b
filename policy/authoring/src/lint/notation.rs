//! Trust stores and identities of the Notary Project's document.

use civ_policy::notation::RegistryScope;

use super::{Findings, Statement, statements};
use crate::located::Node;

/// The stores in which Bottlerocket keeps the roots of AWS Signer, to which the certificates of all of
/// its customers lead.
const AWS_SIGNER: [&str; 2] =
    ["signingAuthority:aws-signer-ts", "signingAuthority:aws-us-gov-signer-ts"];

pub(super) fn add(findings: &mut Findings<'_>, root: &Node) {
    for statement in &statements(root) {
        for scope in statement.scopes {
            check_scope(findings, scope);
        }
        check_level(findings, statement);
        if statement.level != "skip" {
            check_trust(findings, statement);
        }
    }
}

fn check_scope(findings: &mut Findings<'_>, scope: &Node) {
    let Some(text) = scope.as_str() else { return };
    if let Ok(RegistryScope::Unreachable(_)) = text.parse() {
        findings.warn(
            "scope-matches-nothing",
            scope,
            format_args!("{text:?} does not begin with a registry, so no image that is pulled has this name; write it in full, such as docker.io/library/busybox"),
        );
    }
}

fn check_level(findings: &mut Findings<'_>, statement: &Statement<'_>) {
    let Some(verification) = statement.node.member("signatureVerification") else { return };
    let name = statement.name;
    let Some(overrides) = verification.member("override") else { return };
    if let Some(node) = overrides.member("authenticity").filter(|node| node.as_str() == Some("log"))
    {
        findings.warn(
            "authenticity-logged",
            node,
            format_args!(
                "statement {name:?} lets pass what anybody has signed; remove this override"
            ),
        );
    }
    let skips = |node: &&Node| node.as_str() == Some("skip");
    if let Some(node) = overrides.member("revocation").filter(skips) {
        findings.warn(
            "revocation-skipped",
            node,
            format_args!("statement {name:?} accepts signatures that were revoked; remove this override where nodes can ask"),
        );
    }
}

fn check_trust(findings: &mut Findings<'_>, statement: &Statement<'_>) {
    let name = statement.name;
    let list = |member: &str| statement.node.member(member).map(Node::elements).unwrap_or_default();
    let (stores, identities) = (list("trustStores"), list("trustedIdentities"));
    let of_aws =
        stores.iter().any(|store| store.as_str().is_some_and(|text| AWS_SIGNER.contains(&text)));
    if let Some(first) = stores.first()
        && stores.iter().filter_map(Node::as_str).all(|store| store.starts_with("tsa:"))
    {
        findings.warn(
            "no-signer-store",
            first,
            format_args!("statement {name:?} trusts nobody but timestamp authorities, so it refuses every image; add a store of type ca or signingAuthority"),
        );
    }
    for identity in identities {
        let Some(text) = identity.as_str() else { continue };
        match text.split_once(':') {
            None if text == "*" && of_aws => findings.warn(
                "every-aws-customer",
                identity,
                format_args!("statement {name:?} trusts whoever signs with AWS Signer, in any account, and AWS's plugin refuses that; name your signing profiles by their ARNs"),
            ),
            None if text == "*" => findings.warn(
                "any-identity",
                identity,
                format_args!("statement {name:?} trusts everybody to whom an authority of its trust stores has issued a certificate; name subjects"),
            ),
            Some(("x509.subject", _)) if of_aws => findings.warn(
                "every-aws-customer",
                identity,
                format_args!("the certificates of AWS Signer are the same for all of its customers, so this subject tells nobody apart; name your signing profiles by their ARNs"),
            ),
            Some(("x509.subject", _)) | None => {}
            Some(("arn", _)) => check_arn(findings, identity, text),
            Some((prefix, _)) => findings.warn(
                "unknown-identity",
                identity,
                format_args!("no plugin that civ knows makes anything of {prefix:?}, so this identity trusts nobody; write x509.subject or an ARN"),
            ),
        }
    }
}

/// AWS Signer's plugin passes over identities that are no ARN of a signing profile, and says nothing.
fn check_arn(findings: &mut Findings<'_>, identity: &Node, text: &str) {
    let mut fields = text.splitn(6, ':').skip(2);
    let (service, resource) = (fields.next(), fields.nth(2).unwrap_or_default());
    let kinds = ["/signing-profiles/", "/aliases/", "/aliased-signing-profiles/"];
    let kind = kinds.into_iter().find_map(|kind| resource.strip_prefix(kind));
    let is_profile = kind.is_some_and(|rest| {
        let parts: Vec<&str> = rest.split('/').collect();
        parts.len() <= 2 && parts.iter().all(|part| !part.is_empty())
    });
    if service != Some("signer") || !is_profile {
        findings.warn(
            "ignored-arn",
            identity,
            "AWS Signer passes over this ARN, so it trusts nobody; write arn:aws:signer:REGION:ACCOUNT:/signing-profiles/NAME",
        );
    }
}
