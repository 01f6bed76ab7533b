//! Where credentials come from: the docker configuration file, with its credential helpers, as
//! every other tool of the field has it. They are looked up by registry and never used for another.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use civ_oci::text::one_line;
use docker_credential::{CredentialRetrievalError, DockerCredential};

/// The longest that a credential helper may take.
const HELPER_MAX: Duration = Duration::from_secs(30);
/// The name under which Docker keeps the credentials of Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What a registry is told about who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token, for the registry's token service.
    IdentityToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(…)",
            Self::IdentityToken(_) => "IdentityToken(…)",
        })
    }
}

/// A source of credentials.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// None: every registry is asked anonymously.
    Anonymous,
    /// A docker `config.json`; none if there is no such file.
    DockerConfig(PathBuf),
    /// These, by registry as it is named in references.
    Fixed(BTreeMap<String, Credential>),
}

impl Credentials {
    /// The docker configuration of the user running: `$DOCKER_CONFIG/config.json`, else
    /// `~/.docker/config.json`.
    pub fn of_user() -> Self {
        let directory = std::env::var_os("DOCKER_CONFIG")
            .map(PathBuf::from)
            .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".docker")));
        directory.map_or(Self::Anonymous, |path| Self::DockerConfig(path.join("config.json")))
    }

    /// The credential for the registry `host`, if there is one.
    pub(super) async fn find(&self, host: &str) -> Result<Option<Credential>, CredentialsError> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Fixed(known) => Ok(known.get(host).cloned()),
            Self::DockerConfig(path) => {
                let (path, host_) = (path.clone(), host.to_owned());
                let lookup = tokio::task::spawn_blocking(move || find_in_config(&path, &host_));
                match tokio::time::timeout(HELPER_MAX, lookup).await {
                    Ok(Ok(found)) => found,
                    // The lookup cannot be cancelled and does not panic on any input known.
                    Ok(Err(_)) => {
                        Err(CredentialsError::Helper { host: host.to_owned(), said: None })
                    }
                    Err(_) => Err(CredentialsError::HelperTimeout { host: host.to_owned() }),
                }
            }
        }
    }
}

fn find_in_config(path: &Path, host: &str) -> Result<Option<Credential>, CredentialsError> {
    let keys = match host {
        "docker.io" => vec![DOCKER_HUB_KEY.to_owned(), host.to_owned()],
        _ => vec![host.to_owned(), format!("https://{host}")],
    };
    for key in keys {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(CredentialsError::Unreadable { path: path.to_owned(), source });
            }
        };
        match docker_credential::get_credential_from_reader(BufReader::new(file), &key) {
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                return Ok(Some(Credential::Password { user, password }));
            }
            Ok(DockerCredential::IdentityToken(token)) => {
                return Ok(Some(Credential::IdentityToken(token)));
            }
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            // What every helper says when it has nothing for a registry.
            Err(CredentialRetrievalError::HelperFailure { stdout, .. })
                if stdout.contains("credentials not found") => {}
            Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. }) => {
                let said = if stdout.trim().is_empty() { stderr } else { stdout };
                let said = Some(one_line(said.trim(), 200));
                return Err(CredentialsError::Helper { host: host.to_owned(), said });
            }
            Err(CredentialRetrievalError::HelperCommunicationError) => {
                let name = helper(path, &key).unwrap_or_default();
                return Err(CredentialsError::NoHelper { name, host: host.to_owned() });
            }
            Err(CredentialRetrievalError::MalformedHelperResponse) => {
                return Err(CredentialsError::Helper { host: host.to_owned(), said: None });
            }
            Err(_) => return Err(malformed(path, host)),
        }
    }
    Ok(None)
}

/// The name of the helper that the configuration has for `key`.
fn helper(path: &Path, key: &str) -> Option<String> {
    let config = read_json(path).ok()?;
    let of_key = config.get("credHelpers").and_then(|helpers| helpers.get(key));
    let name = of_key.or_else(|| config.get("credsStore"))?.as_str()?;
    Some(format!("docker-credential-{}", one_line(name, 64)))
}

/// What is wrong with the configuration.
fn malformed(path: &Path, host: &str) -> CredentialsError {
    let (path, host) = (path.to_owned(), host.to_owned());
    match read_json(&path) {
        Err(source) => CredentialsError::NotJson { path, source },
        Ok(_) => CredentialsError::Malformed { path, host },
    }
}

fn read_json(path: &Path) -> Result<serde_json::Value, serde_json::Error> {
    let file = File::open(path).map_err(serde_json::Error::io)?;
    serde_json::from_reader(BufReader::new(file))
}

/// Why credentials cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The credential helper failed.
    #[error("the credential helper for {host} failed{}", said.as_ref().map(|said| format!(": {said}")).unwrap_or_default())]
    Helper {
        /// The registry.
        host: String,
        /// What the helper said, on one line.
        said: Option<String>,
    },
    /// The credential helper did not answer.
    #[error("the credential helper for {host} did not answer within {} s", HELPER_MAX.as_secs())]
    HelperTimeout {
        /// The registry.
        host: String,
    },
    /// The file cannot be understood.
    #[error("{} has no readable credentials for {host}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The registry.
        host: String,
    },
    /// There is no such credential helper.
    #[error("the credential helper for {host} cannot be run: {name}")]
    NoHelper {
        /// The program.
        name: String,
        /// The registry.
        host: String,
    },
    /// The file is not JSON.
    #[error("{} is not JSON: {source}", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Where it is not.
        source: serde_json::Error,
    },
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl CredentialsError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Helper { .. } | Self::HelperTimeout { .. } => {
                "run docker login again, or the helper by hand to see what it lacks"
            }
            Self::NoHelper { .. } => {
                "install it into PATH, or take it out of the docker config.json and log in again"
            }
            Self::Malformed { .. } => "log in to the registry again (docker login)",
            Self::NotJson { .. } => "mend the file, or remove it and log in again (docker login)",
            Self::Unreadable { .. } => "make it readable, or name another by DOCKER_CONFIG",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        std::fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn finds_credentials_by_registry_only() {
        // user:pass
        let (_keep, path) = config(
            r#"{"auths":{"r.example":{"auth":"dXNlcjpwYXNz"},
                "https://index.docker.io/v1/":{"auth":"dXNlcjpodWI="},
                "id.example":{"auth":"","identitytoken":"refresh"}}}"#,
        );
        let password = |password: &str| Credential::Password {
            user: "user".into(),
            password: password.into(),
        };
        for (host, expected) in [
            ("r.example", Some(password("pass"))),
            ("docker.io", Some(password("hub"))),
            ("id.example", Some(Credential::IdentityToken("refresh".into()))),
            ("r.example:5000", None),
            ("other.example", None),
        ] {
            assert_eq!(find_in_config(&path, host).unwrap(), expected, "{host}");
        }
    }

    #[test]
    fn no_file_is_no_credentials_and_a_broken_one_is_an_error() {
        assert_eq!(find_in_config(Path::new("/nonexistent/x"), "r.example").unwrap(), None);
        for (text, words) in [
            ("{", "is not JSON: EOF while parsing"),
            (
                r#"{"credHelpers":{"r.example":"no-such-helper-exists"}}"#,
                "r.example cannot be run: docker-credential-no-such-helper-exists",
            ),
            (r#"{"credsStore":"nor-this"}"#, "cannot be run: docker-credential-nor-this"),
            (r#"{"auths":{"r.example":{"auth":"*"}}}"#, "no readable credentials for r.example"),
        ] {
            let (_keep, path) = config(text);
            let error = find_in_config(&path, "r.example").unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
            assert!(error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let secret = Credential::Password { user: "u".into(), password: "canary".into() };
        let token = Credential::IdentityToken("canary".into());
        assert!(!format!("{secret:?}{token:?}").contains("canary"));
    }
}
