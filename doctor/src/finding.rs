//! What the doctor found: one fact, where it is, and how to mend it.

use std::fmt;
use std::path::{Path, PathBuf};

use civ_oci::text::one_line;
use serde::{Serialize, Serializer};

/// The longest fact or remedy that is kept, in bytes.
const TEXT_MAX: usize = 600;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// The gate is shut, and something is wrong all the same.
    Warning,
    /// Pulls are refused that should not be: many or all.
    Blocked,
    /// Whether pulls are verified could not be found out.
    Unknown,
    /// Pulls go through that nobody verified, or may.
    Failure,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
            Self::Failure => "failure",
        })
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What a finding is about. The texts are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[non_exhaustive]
        pub enum Code { $($(#[$doc])* #[serde(rename = $text)] $name,)* }

        impl Code {
            /// The stable text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

codes! {
    /// containerd's configuration was read.
    ConfigRead = "config.read",
    /// There is no configuration: containerd's defaults apply.
    ConfigAbsent = "config.absent",
    /// A configuration file cannot be read.
    ConfigUnreadable = "config.unreadable",
    /// A configuration file, or a setting, is not what containerd accepts.
    ConfigInvalid = "config.invalid",
    /// A file that is imported does not exist.
    ConfigImport = "config.import",
    /// A file says a version that containerd does not accept there.
    ConfigVersion = "config.version",
    /// Others than root can change a configuration file.
    ConfigWritable = "config.writable",
    /// containerd has read, or may have read, another configuration than what is there now.
    ConfigNotInUse = "config.not-in-use",
    /// Which configuration containerd reads cannot be seen.
    ConfigUnseen = "config.unseen",
    /// The doctor may not see all that it looks at.
    Rights = "rights",
    /// A setting lets pulls through, if this containerd heeds it where it stands.
    ConfigDoubtful = "config.doubtful",
    /// The plugin that calls verifiers.
    BindirPlugin = "bindir.plugin",
    /// `max_verifiers`.
    BindirMaxVerifiers = "bindir.max-verifiers",
    /// `per_verifier_timeout`.
    BindirTimeout = "bindir.timeout",
    /// CRI pulls through the transfer service, which calls verifiers.
    CriTransfer = "cri.transfer",
    /// CRI is switched off.
    CriDisabled = "cri.disabled",
    /// `use_local_image_pull = true`
    CriUseLocalImagePull = "cri.use-local-image-pull",
    /// `disable_snapshot_annotations = false`
    CriDisableSnapshotAnnotations = "cri.disable-snapshot-annotations",
    /// `discard_unpacked_layers = true`
    CriDiscardUnpackedLayers = "cri.discard-unpacked-layers",
    /// `registry.mirrors` is not empty.
    CriRegistryMirrors = "cri.registry-mirrors",
    /// `registry.configs` is not empty.
    CriRegistryConfigs = "cri.registry-configs",
    /// `registry.auths` is not empty.
    CriRegistryAuths = "cri.registry-auths",
    /// `max_concurrent_downloads` is not 3.
    CriMaxConcurrentDownloads = "cri.max-concurrent-downloads",
    /// `image_pull_with_sync_fs = true`
    CriImagePullWithSyncFs = "cri.image-pull-with-sync-fs",
    /// Which containerd runs.
    ContainerdVersion = "containerd.version",
    /// Several containerds run.
    ContainerdSeveral = "containerd.several",
    /// containerd does not answer.
    ContainerdUnreachable = "containerd.unreachable",
    /// The verifier directory.
    Directory = "directory.present",
    /// There is no verifier directory: every pull goes through.
    DirectoryAbsent = "directory.absent",
    /// There is no verifier: every pull goes through.
    DirectoryEmpty = "directory.empty",
    /// The verifier directory cannot be listed.
    DirectoryUnreadable = "directory.unreadable",
    /// Others than root can change the verifiers.
    DirectoryWritable = "directory.writable",
    /// A verifier of civ's.
    VerifierOurs = "verifier.civ",
    /// A verifier that is not civ's.
    VerifierStranger = "verifier.stranger",
    /// No verifier of civ's is called.
    VerifierNone = "verifier.none",
    /// A verifier that is never called.
    VerifierSkipped = "verifier.skipped",
    /// What is no file cannot be executed, and blocks every pull.
    VerifierNotFile = "verifier.not-a-file",
    /// A file that cannot be executed blocks every pull.
    VerifierNotExecutable = "verifier.not-executable",
    /// A file that is no executable of this machine blocks every pull.
    VerifierFormat = "verifier.format",
    /// A verifier that needs more files than itself.
    VerifierDependent = "verifier.dependent",
    /// Others than root can change a verifier.
    VerifierWritable = "verifier.writable",
    /// A verifier of civ's whose name names no policy refuses everything.
    VerifierName = "verifier.name",
    /// A policy that the verifier accepts.
    PolicyValid = "policy.valid",
    /// The verifier does not use the policy file, and refuses everything.
    PolicyUnusable = "policy.unusable",
    /// The verifier does not accept the document, and refuses everything.
    PolicyInvalid = "policy.invalid",
    /// A document that this civ does not know.
    PolicyUnchecked = "policy.unchecked",
    /// Others than root can change a policy.
    PolicyWritable = "policy.writable",
    /// Repositories whose images need not pass.
    PolicyExempts = "policy.exempts",
    /// No policy refuses images of repositories that it does not name.
    PolicyOpen = "policy.open",
    /// A policy that no verifier reads.
    PolicyStale = "policy.stale",
    /// Whether a registry answers.
    Registry = "registry.reachable",
    /// A registry that wants a password.
    RegistryCredentials = "registry.credentials",
    /// Whether the public key of a KMS key can be had.
    Kms = "kms.reachable",
    /// The clock.
    Clock = "clock",
    /// FIPS mode.
    Fips = "fips",
    /// `SELinux`.
    Selinux = "selinux",
    /// Where verdicts are recorded.
    SystemLog = "system-log",
    /// Clients that go round the gate.
    Clients = "clients",
    /// The image that must be refused.
    ProbeRefused = "probe.refused",
    /// The image that must be allowed.
    ProbeAllowed = "probe.allowed",
    /// What a probe left behind.
    ProbeCleanUp = "probe.clean-up",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Location {
    /// The file, as the node calls it.
    #[serde(serialize_with = "lossy")]
    pub file: PathBuf,
    /// The line, from 1; none for the file as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
}

impl Location {
    /// A file as a whole.
    pub fn file(file: &Path) -> Self {
        Self { file: file.to_owned(), line: None }
    }
}

/// JSON is Unicode, and the name of a file need not be.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = one_line(&self.file.display().to_string(), TEXT_MAX);
        match self.line {
            Some(line) => write!(f, "{file}:{line}"),
            None => f.write_str(&file),
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is about.
    pub code: Code,
    /// What is so, in one line.
    pub fact: String,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Location>,
    /// What to do about it, in one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    /// A fact without a place or a remedy. Strangers' text in it is escaped.
    pub fn new(severity: Severity, code: Code, fact: impl fmt::Display) -> Self {
        let fact = one_line(&fact.to_string(), TEXT_MAX);
        Self { severity, code, fact, at: None, mend: None }
    }

    /// With its place.
    #[must_use]
    pub fn at(mut self, location: impl Into<Option<Location>>) -> Self {
        self.at = location.into();
        self
    }

    /// With what to do.
    #[must_use]
    pub fn mend(mut self, remedy: impl fmt::Display) -> Self {
        self.mend = Some(one_line(&remedy.to_string(), TEXT_MAX));
        self
    }
}

/// Whether pulls are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// Every pull is verified, and can be allowed.
    Shut,
    /// Pulls are refused that should not be.
    Blocked,
    /// Whether pulls are verified could not be found out.
    Unknown,
    /// Pulls go through that nobody verified, or may.
    Open,
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shut => "shut",
            Self::Blocked => "blocked",
            Self::Unknown => "unknown",
            Self::Open => "open",
        })
    }
}

/// The form of a [`Report`] in JSON. It changes where a reader would have to.
pub const REPORT_VERSION: &str = "1";

/// All that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`REPORT_VERSION`]
    pub version: &'static str,
    /// The version of civ.
    pub civ_version: &'static str,
    /// The version that containerd says it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub containerd_version: Option<String>,
    /// What it comes to.
    pub gate: Gate,
    /// In the order in which it was looked at.
    pub findings: Vec<Finding>,
}

impl Report {
    /// What `findings` come to: the worst decides.
    pub fn of(findings: Vec<Finding>) -> Self {
        let gate = match findings.iter().map(|finding| finding.severity).max() {
            Some(Severity::Failure) | None => Gate::Open,
            Some(Severity::Unknown) => Gate::Unknown,
            Some(Severity::Blocked) => Gate::Blocked,
            Some(Severity::Ok | Severity::Note | Severity::Warning) => Gate::Shut,
        };
        Self {
            version: REPORT_VERSION,
            civ_version: env!("CARGO_PKG_VERSION"),
            containerd_version: None,
            gate,
            findings,
        }
    }
}
