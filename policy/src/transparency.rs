//! What a cosign statement may ask beside a signature: that a transparency log recorded it, and that
//! a timestamp authority saw it.
//!
//! Keys and certificates are text here: whether they can be used is for the cosign library to say,
//! when the policy is loaded.

use serde::Deserialize;

use crate::PolicyError;

/// What a statement asks of each signature beside a trusted key. By default nothing.
#[derive(Clone, Debug, Default)]
pub struct Requirements {
    /// The signature must be in one of these logs.
    pub transparency_log: Option<TransparencyLog>,
    /// The signature must bear a timestamp of one of these authorities.
    pub timestamp_authority: Option<TimestampAuthority>,
}

/// Logs that may have recorded a signature.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TransparencyLog {
    /// The logs' public keys in PEM: at least one, any of them suffices. A log that is continued
    /// under another key (a "shard") has several.
    pub public_keys: Vec<String>,
}

/// Authorities that may have timestamped a signature (RFC 3161).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimestampAuthority {
    /// The authorities' certificate chains, each as certificates in PEM from the one that signs
    /// timestamps to its root: at least one, any of them suffices.
    pub certificate_chains: Vec<String>,
}

impl Requirements {
    /// Is anything asked?
    pub fn is_empty(&self) -> bool {
        self.transparency_log.is_none() && self.timestamp_authority.is_none()
    }

    /// Refuses requirements that nothing could meet.
    pub(crate) fn validate(self, statement: &str) -> Result<Self, PolicyError> {
        let statement = || statement.to_owned();
        if self.transparency_log.as_ref().is_some_and(|log| log.public_keys.is_empty()) {
            return Err(PolicyError::NoLogKeys { statement: statement() });
        }
        let chains = self.timestamp_authority.as_ref();
        if chains.is_some_and(|authority| authority.certificate_chains.is_empty()) {
            return Err(PolicyError::NoCertificateChains { statement: statement() });
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use crate::cosign::Policy;

    fn parse(level: &str, rest: &str) -> Result<Policy, crate::PolicyError> {
        let keys = if level == "skip" { "" } else { r#""keys":[{"name":"k","publicKey":"PEM"}],"# };
        Policy::parse(
            format!(
                r#"{{"version":"1.0","trustPolicies":[{{"name":"p","registryScopes":["*"],
                "signatureVerification":{{"level":"{level}"}},{keys}{rest}}}]}}"#
            )
            .as_bytes(),
        )
    }

    #[test]
    fn a_statement_may_ask_for_a_log_and_for_a_timestamp() {
        let policy = parse(
            "strict",
            r#""transparencyLog":{"publicKeys":["A","B"]},
               "timestampAuthority":{"certificateChains":["C"]}"#,
        )
        .unwrap();
        let asked = &policy.statements()[0].requirements;
        assert_eq!(asked.transparency_log.as_ref().unwrap().public_keys, ["A", "B"]);
        assert_eq!(asked.timestamp_authority.as_ref().unwrap().certificate_chains, ["C"]);
        let plain = parse("strict", r#""threshold":1"#).unwrap();
        assert!(plain.statements()[0].requirements.is_empty());
    }

    #[test]
    fn refuses_requirements_that_say_nothing_or_are_not_asked_for() {
        for rest in [
            r#""transparencyLog":{}"#,
            r#""transparencyLog":{"publicKeys":[]}"#,
            r#""transparencyLog":{"publicKeys":"A"}"#,
            r#""transparencyLog":{"publicKeys":[null]}"#,
            r#""transparencyLog":{"publicKeys":["A"],"optional":true}"#,
            r#""transparencyLog":{"publicKeys":["A"],"publicKeys":["B"]}"#,
            r#""timestampAuthority":{}"#,
            r#""timestampAuthority":{"certificateChains":[]}"#,
            r#""timestampAuthority":{"certificateChain":"A"}"#,
            r#""transparencylog":{"publicKeys":["A"]}"#,
        ] {
            assert!(parse("strict", rest).is_err(), "{rest}");
        }
        for rest in [
            r#""transparencyLog":{"publicKeys":["A"]}"#,
            r#""timestampAuthority":{"certificateChains":["A"]}"#,
        ] {
            assert!(parse("strict", rest).is_ok(), "{rest}");
            assert!(parse("audit", rest).is_ok(), "{rest}");
            let error = parse("skip", rest).unwrap_err();
            assert!(matches!(error, crate::PolicyError::SkipWithChecks { .. }), "{rest}: {error}");
        }
    }
}
