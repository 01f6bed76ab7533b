//! What containerd says on the command line.
//!
//! containerd writes `-name REF -digest DIGEST -stdin-media-type TYPE`. It may add flags one day,
//! so unknown ones are passed over; the ones that decide something must be there once and be well
//! formed. No argument can switch a check off, and no value of a flag that is not known yet, which a pod's
//! author may have written, can choose the policy: that takes two words.

use std::ffi::OsString;
use std::path::PathBuf;

use civ_oci::reference::split_host;
use civ_oci::{Digest, DigestError, Reference, ReferenceError};
use civ_policy::Observer;

/// A command line, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `--help`, alone.
    Help,
    /// `--version`, alone.
    Version,
    /// A question about a pull.
    Verify(Arguments),
}

/// The arguments of a question about a pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arguments {
    /// `-name`: the reference as pulled, normalised.
    pub name: Reference,
    /// `-digest`: what the reference resolved to.
    pub digest: Digest,
    /// `-stdin-media-type`: what containerd writes to stdin. Absent only with `-policy`.
    pub stdin_media_type: Option<String>,
    /// `-policy`: a policy file to try, given by an operator and never by containerd.
    pub policy: Option<PathBuf>,
}

impl Call {
    /// Parses the arguments after the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, CallError> {
        let arguments: Vec<String> = arguments
            .into_iter()
            .map(|argument| argument.into_string().map_err(|_| CallError::NotUtf8))
            .collect::<Result<_, _>>()?;
        // Only alone: a call about a pull must never end in exit code 0 by way of a help text.
        if let [only] = arguments.as_slice() {
            match only.as_str() {
                "-h" | "-help" | "--help" => return Ok(Self::Help),
                "-version" | "--version" => return Ok(Self::Version),
                _ => {}
            }
        }
        let mut flags = Flags::default();
        flags.read(arguments)?;
        let name = flags.name.ok_or(CallError::Missing { flag: "name" })?;
        let names_registry = split_host(&name).1.len() < name.len();
        let name: Reference = name.parse()?;
        if !names_registry {
            return Err(CallError::NoRegistry);
        }
        let digest: Digest = flags.digest.ok_or(CallError::Missing { flag: "digest" })?.parse()?;
        if name.digest.as_ref().is_some_and(|named| *named != digest) {
            return Err(CallError::NameHasOtherDigest);
        }
        match (&flags.stdin_media_type, &flags.policy) {
            (None, None) => return Err(CallError::NoMediaType),
            (Some(empty), _) if empty.is_empty() => {
                return Err(CallError::NoValue { flag: "stdin-media-type" });
            }
            _ => {}
        }
        Ok(Self::Verify(Arguments {
            name,
            digest,
            stdin_media_type: flags.stdin_media_type,
            policy: flags.policy.map(PathBuf::from),
        }))
    }
}

/// The flags that decide something.
const KNOWN: [&str; 4] = ["name", "digest", "stdin-media-type", "policy"];
/// How many of the others are noted.
const IGNORED_SHOWN: usize = 8;

/// What a command line claims to be about, well formed or not: for the record alone.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    name: Option<String>,
    digest: Option<String>,
    /// The first flags that nobody here knows, without values.
    ignored: Vec<String>,
}

impl Claims {
    /// The first value of each flag.
    pub(crate) fn of(arguments: &[OsString]) -> Self {
        let arguments: Vec<_> =
            arguments.iter().map(|argument| argument.to_string_lossy()).collect();
        let value = |wanted: &str| {
            arguments.iter().enumerate().find_map(|(place, argument)| {
                let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
                match flag.split_once('=') {
                    Some((flag, value)) if flag == wanted => Some(value.to_owned()),
                    None if flag == wanted => Some(arguments.get(place + 1)?.to_string()),
                    _ => None,
                }
            })
        };
        let flags = arguments.iter().filter(|argument| argument.starts_with('-'));
        let names = flags.map(|flag| flag.split('=').next().unwrap_or_default());
        let ignored = names.filter(|name| !KNOWN.contains(&name.trim_start_matches('-')));
        let ignored = ignored.take(IGNORED_SHOWN).map(str::to_owned).collect();
        Self { name: value("name"), digest: value("digest"), ignored }
    }

    /// Writes them into a record, which escapes them.
    pub(crate) fn tell(&self, observer: &dyn Observer) {
        if let Some(name) = &self.name {
            observer.set("image", name);
        }
        if let Some(digest) = &self.digest {
            observer.set("digest", digest);
        }
        if !self.ignored.is_empty() {
            observer.step("call", &[("ignored", &self.ignored.join(" "))]);
        }
    }
}

#[derive(Default)]
struct Flags {
    name: Option<String>,
    digest: Option<String>,
    stdin_media_type: Option<String>,
    policy: Option<String>,
}

impl Flags {
    fn read(&mut self, arguments: Vec<String>) -> Result<(), CallError> {
        let mut arguments = arguments.into_iter().peekable();
        while let Some(argument) = arguments.next() {
            let flag = argument
                .strip_prefix("--")
                .or_else(|| argument.strip_prefix('-'))
                .filter(|flag| !flag.is_empty())
                .ok_or(CallError::Stray)?;
            let (flag, inline) = match flag.split_once('=') {
                Some((flag, value)) => (flag, Some(value.to_owned())),
                None => (flag, None),
            };
            let (flag, slot) = match flag {
                "name" => ("name", &mut self.name),
                "digest" => ("digest", &mut self.digest),
                "stdin-media-type" => ("stdin-media-type", &mut self.stdin_media_type),
                "policy" => ("policy", &mut self.policy),
                _ => {
                    // A flag of a later containerd. What does not look like a flag is its value.
                    if inline.is_none() {
                        arguments.next_if(|next| !next.starts_with('-'));
                    }
                    continue;
                }
            };
            let value = match inline {
                Some(_) if flag == "policy" => return Err(CallError::PolicyInOneWord),
                Some(value) => value,
                None => arguments
                    .next_if(|next| !next.starts_with('-'))
                    .ok_or(CallError::NoValue { flag })?,
            };
            if slot.replace(value).is_some() {
                return Err(CallError::Repeated { flag });
            }
        }
        Ok(())
    }
}

/// Why a command line is not a question about a pull.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// `-digest` is not a digest.
    #[error("bad call: -digest is {0}")]
    Digest(#[from] DigestError),
    /// A required flag is missing.
    #[error("bad call: -{flag} is missing")]
    Missing {
        /// The flag, without dashes.
        flag: &'static str,
    },
    /// `-name` is not a reference.
    #[error("bad call: -name is {0}")]
    Name(#[from] ReferenceError),
    /// Without `-policy`, containerd must be calling, and it says what is on stdin.
    #[error("bad call: -stdin-media-type is missing; by hand give -policy FILE instead")]
    NoMediaType,
    /// `-name` names no registry, or one that Docker would take for a part of the path. The CRI
    /// completes names before it pulls; other clients pull from a host of that name.
    #[error("bad call: -name must begin with a registry, such as docker.io/library/busybox")]
    NoRegistry,
    /// `-name` names one digest and `-digest` another.
    #[error("bad call: -name has another digest than -digest")]
    NameHasOtherDigest,
    /// An argument is not UTF-8.
    #[error("bad call: an argument is not UTF-8")]
    NotUtf8,
    /// A flag has no value.
    #[error("bad call: -{flag} has no value")]
    NoValue {
        /// The flag, without dashes.
        flag: &'static str,
    },
    /// `-policy=FILE`, which may be the value of another flag.
    #[error("bad call: -policy and its file must be two words")]
    PolicyInOneWord,
    /// A flag is given twice.
    #[error("bad call: -{flag} is given twice")]
    Repeated {
        /// The flag, without dashes.
        flag: &'static str,
    },
    /// An argument that belongs to no flag.
    #[error("bad call: an argument belongs to no flag; see --help")]
    Stray,
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use proptest::prelude::*;

    use super::*;

    const D: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const OTHER: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    fn parse(line: &str) -> Result<Call, CallError> {
        let line = line.replace("$D", D).replace("$OTHER", OTHER);
        Call::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn understands_containerd_of_today_and_tomorrow() {
        for line in [
            "-name r.io/a:1 -digest $D -stdin-media-type t",
            "--name r.io/a:1 --digest $D --stdin-media-type t",
            "-name=r.io/a:1 --digest=$D -stdin-media-type=t",
            "-operation pull -name r.io/a:1 -digest $D -stdin-media-type t",
            "-dry -name r.io/a:1 -digest $D -x=y -stdin-media-type t -z",
        ] {
            let Ok(Call::Verify(arguments)) = parse(line) else { panic!("{line}") };
            assert_eq!(arguments.name.to_string(), "r.io/a:1");
            assert_eq!(arguments.digest.to_string(), D);
            assert_eq!(arguments.stdin_media_type.as_deref(), Some("t"));
        }
    }

    #[test]
    fn refuses_calls_that_leave_something_open() {
        for (line, why) in [
            ("", CallError::Missing { flag: "name" }),
            ("-digest $D -stdin-media-type t", CallError::Missing { flag: "name" }),
            ("-name r.io/a -stdin-media-type t", CallError::Missing { flag: "digest" }),
            ("-name r.io/a -digest $D", CallError::NoMediaType),
            (
                "-name r.io/a -digest $D -stdin-media-type=",
                CallError::NoValue { flag: "stdin-media-type" },
            ),
            ("-name r.io/a -digest $D -policy=p.json", CallError::PolicyInOneWord),
            (
                "-name r.io/a -digest $D -stdin-media-type t -pod-annotation -policy=/p.json",
                CallError::PolicyInOneWord,
            ),
            (
                "-name r.io/a -digest $D -stdin-media-type t -pod-annotation -policy -pod p",
                CallError::NoValue { flag: "policy" },
            ),
            ("-name r.io/a -name r.io/a -digest $D", CallError::Repeated { flag: "name" }),
            ("-name r.io/a -digest $D -digest=$D", CallError::Repeated { flag: "digest" }),
            ("-name -digest $D", CallError::NoValue { flag: "name" }),
            ("-name r.io/a -digest", CallError::NoValue { flag: "digest" }),
            ("r.io/a -digest $D", CallError::Stray),
            ("-name r.io/a r.io/b -digest $D", CallError::Stray),
            ("-name r.io/a -digest $D -- x", CallError::Stray),
            ("-name= -digest $D -stdin-media-type t", CallError::Name(ReferenceError::EmptyPath)),
            ("-name busybox -digest $D -stdin-media-type t", CallError::NoRegistry),
            ("-name host/app:1 -digest $D -stdin-media-type t", CallError::NoRegistry),
            ("-name=--help -digest $D", CallError::Name(ReferenceError::BadPath)),
            ("-name r.io/a@$OTHER -digest $D -stdin-media-type t", CallError::NameHasOtherDigest),
            (
                "-name r.io/a -digest sha256:00",
                CallError::Digest(DigestError::WrongLength {
                    algorithm: civ_oci::Algorithm::Sha256,
                    expected: 64,
                    actual: 2,
                }),
            ),
            ("--help -name r.io/a", CallError::Missing { flag: "digest" }),
        ] {
            assert_eq!(parse(line), Err(why), "{line}");
        }
        assert_eq!(Call::parse([OsString::from_vec(vec![0xff])]), Err(CallError::NotUtf8));
    }

    #[test]
    fn an_operator_trying_a_policy_need_not_write_a_descriptor() {
        let Ok(Call::Verify(arguments)) = parse("-policy p.json -name r.io/a -digest $D") else {
            panic!()
        };
        assert_eq!(arguments.policy, Some(PathBuf::from("p.json")));
        assert_eq!(parse("--help"), Ok(Call::Help));
        assert_eq!(parse("--version"), Ok(Call::Version));
    }

    proptest! {
        #[test]
        fn help_and_version_are_given_to_a_lone_flag_only(
            line in proptest::collection::vec("-{0,2}(help|version|h|name|digest)?(=x)?|x", 2..6),
        ) {
            let call = Call::parse(line.iter().map(OsString::from));
            prop_assert!(!matches!(call, Ok(Call::Help | Call::Version)));
        }
    }
}
