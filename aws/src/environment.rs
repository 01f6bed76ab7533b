//! The variables that say how a node proves to AWS who it is.
//!
//! They are the only ones that a verifier keeps. None of them can choose which key is trusted: they
//! decide who asks, and in which region a token is exchanged, never what is asked of whom. KMS is
//! asked at the host that follows from the policy, and must answer for the ARN in the policy. So a
//! variable can make KMS refuse to answer, which refuses the pull, and nothing more.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// The names of the variables, as the AWS SDKs call them. Shared profile files (`AWS_PROFILE`,
/// `AWS_CONFIG_FILE`, …) are for people and not read on a node, and no variable names an endpoint of
/// a service.
pub const VARIABLES: [&str; 13] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
];

/// The values of [`VARIABLES`]. An empty one counts as absent, as in the AWS SDKs.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Those of `variables` that may be read, and are text.
    pub fn of(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let text = |(name, value): (OsString, OsString)| {
            let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
            (VARIABLES.contains(&name.as_str()) && !value.trim().is_empty())
                .then_some((name, value))
        };
        Self(variables.into_iter().filter_map(text).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The region that the environment names, if it reads as one: it becomes part of a host's name.
    pub(crate) fn region(&self) -> Option<&str> {
        let is_region = |text: &&str| {
            text.len() <= 32
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        };
        self.get("AWS_REGION").or_else(|| self.get("AWS_DEFAULT_REGION")).filter(is_region)
    }
}

/// The names alone: the values are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::of(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn reads_what_it_lists_and_nothing_else() {
        let environment = environment(&[
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "hidden"),
            ("AWS_SESSION_TOKEN", ""),
            ("AWS_ENDPOINT_URL_KMS", "http://evil.example"),
            ("AWS_PROFILE", "admin"),
            ("PATH", "/bin"),
        ]);
        assert_eq!(environment.get("AWS_ACCESS_KEY_ID"), Some("AKID"));
        for absent in ["AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_KMS", "AWS_PROFILE", "PATH"] {
            assert_eq!(environment.get(absent), None, "{absent}");
        }
        assert!(!format!("{environment:?}").contains("hidden"), "{environment:?}");
        assert!(!format!("{environment:?}").contains("AKID"), "{environment:?}");
    }

    #[test]
    fn a_region_that_would_be_another_host_is_none() {
        for (region, read) in [
            ("eu-west-1", Some("eu-west-1")),
            ("evil.example/", None),
            ("eu-west-1.evil.example", None),
            ("x@evil", None),
            ("EU-WEST-1", None),
            ("a\n", None),
        ] {
            assert_eq!(environment(&[("AWS_REGION", region)]).region(), read, "{region:?}");
            assert_eq!(environment(&[("AWS_DEFAULT_REGION", region)]).region(), read, "{region:?}");
        }
    }
}
