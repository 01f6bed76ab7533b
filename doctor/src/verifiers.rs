//! The files in the verifier directory: containerd executes all of them, sorted by name, for every
//! pull, and takes an absent or empty directory for "allow"
//! (`pkg/imageverifier/bindir/bindir.go`).
//!
//! None of them is executed here. Which are civ's is told by a text that civ's executables hold: a
//! claim that whoever can write the file can make, which is why the owner is looked at as well.

use std::io;
use std::path::{Path, PathBuf};

use civ_authoring::Kind;
use civ_bindir::PluginName;
use civ_bindir::plugin::PluginNameError;

use crate::elf::{self, Elf, ElfError, Machine};
use crate::finding::{Code, Finding, Location, Severity};
use crate::node::{Root, root::Stranger};
use crate::settings::Settings;

/// The largest executable that is searched for civ's text, in bytes. Larger ones are not civ's.
const EXECUTABLE_MAX: u64 = 64 << 20;

/// What is known of the verifier directory.
#[derive(Debug)]
pub struct Directory {
    /// The path as containerd has it.
    pub path: PathBuf,
    /// The path without links.
    pub resolved: PathBuf,
    /// Who but root can change what is in it.
    pub stranger: Option<Stranger>,
    /// What is in it, sorted by name.
    pub entries: Vec<Entry>,
}

/// What is known of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it leads to.
    pub found: Found,
}

/// What an entry leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A link that leads nowhere, or something that we may not look at.
    Nothing(io::ErrorKind),
    /// A directory, device or socket.
    NoFile,
    /// A file.
    File {
        /// Whether anybody may execute it: by its mode, and where it is mounted.
        executable: bool,
        /// Who but root can change it.
        stranger: Option<Stranger>,
        /// What it is.
        content: Content,
    },
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It cannot be read.
    Unreadable,
    /// A script, which needs its interpreter.
    Script,
    /// An executable, and the verifier of civ's that it is.
    Executable(Elf, Option<Kind>),
    /// Neither.
    Neither(ElfError),
}

/// A verifier of civ's that containerd calls, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours {
    /// What its file name makes it.
    pub plugin: PluginName,
    /// Which of civ's verifiers it is.
    pub kind: Kind,
}

impl Directory {
    /// Looks at the directory, or says why there is none to look at.
    pub fn look(root: &Root, settings: &Settings) -> Result<Self, Finding> {
        let path = settings.bin_dir.clone();
        let at = || match &settings.bin_dir_set {
            Some(node) => node.at.clone(),
            None => Location::file(&path),
        };
        let wrong = |severity, code, fact: &dyn std::fmt::Display| {
            Finding::new(severity, code, format_args!("{}: {fact}", path.display()))
                .at(at())
                .mend("install the verifiers there, or set bin_dir to where they are")
        };
        if path.as_os_str().is_empty() {
            let fact = &"bin_dir is empty: there are no verifiers, and every pull goes through";
            return Err(wrong(Severity::Failure, Code::DirectoryAbsent, fact));
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => {
                let fact = &"the verifier directory does not exist, and every pull goes through";
                wrong(Severity::Failure, Code::DirectoryAbsent, fact)
            }
            io::ErrorKind::NotADirectory => wrong(
                Severity::Blocked,
                Code::DirectoryUnreadable,
                &"no directory: every pull fails",
            ),
            _ => wrong(
                Severity::Failure,
                Code::DirectoryUnreadable,
                &format_args!("the verifier directory cannot be listed: {error}; run as root"),
            ),
        };
        // containerd is started in the root directory.
        let resolved = root.resolve(&Path::new("/").join(&path)).map_err(failed)?;
        let names = root.names(&resolved).map_err(failed)?;
        let stranger = root.who_can_change(&path);
        let entries = names.into_iter().map(|name| Entry::look(root, &resolved, name)).collect();
        Ok(Self { path, resolved, stranger, entries })
    }

    /// The names of all that is in it.
    pub fn names(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.name.as_str()).collect()
    }

    /// Judges what is there, and returns the verifiers of civ's that are called.
    pub fn judge(
        &self,
        settings: &Settings,
        machine: Option<Machine>,
    ) -> (Vec<Ours>, Vec<Finding>) {
        let mut findings = vec![self.judge_itself(settings)];
        if let Some(stranger) = &self.stranger {
            let fact = format_args!("others than root can replace the verifiers: {stranger}");
            let finding = Finding::new(Severity::Failure, Code::DirectoryWritable, fact);
            findings.push(
                finding
                    .at(Location::file(&stranger.path))
                    .mend("chown it to root and chmod go-w it"),
            );
        }
        let called = settings.max_verifiers.unwrap_or(usize::MAX);
        let mut ours = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            let at = Location::file(&self.resolved.join(&entry.name));
            if index >= called {
                findings
                    .push(skipped(&entry.name, called, settings).at(
                        settings.max_verifiers_set.as_ref().map_or(at, |node| node.at.clone()),
                    ));
                continue;
            }
            let (found, judged) = entry.judge(machine);
            findings.extend(judged.into_iter().map(|finding| finding.at(at.clone())));
            ours.extend(found);
        }
        // Where one entry fails every pull, nobody else lets one through.
        let blocks = findings.iter().any(|finding| finding.severity == Severity::Blocked);
        if ours.is_empty() && !self.entries.is_empty() && !blocks {
            let fact =
                "no verifier of civ's is called: whether anything is refused is for others to say";
            findings.push(
                Finding::new(Severity::Failure, Code::VerifierNone, fact)
                    .at(Location::file(&self.path))
                    .mend("install a verifier of civ's"),
            );
        }
        (ours, findings)
    }

    fn judge_itself(&self, settings: &Settings) -> Finding {
        if self.entries.is_empty() {
            let fact =
                format_args!("{}: no verifier, and every pull goes through", self.path.display());
            return Finding::new(Severity::Failure, Code::DirectoryEmpty, fact)
                .at(settings.bin_dir_set.as_ref().map(|node| node.at.clone()))
                .mend("install the verifiers there");
        }
        let link = if self.path == self.resolved {
            String::new()
        } else {
            format!(", which is {}", self.resolved.display())
        };
        let fact = format_args!("verifiers are in {}{link}", self.path.display());
        Finding::new(Severity::Ok, Code::Directory, fact)
            .at(settings.bin_dir_set.as_ref().map(|node| node.at.clone()))
    }
}

fn skipped(name: &str, called: usize, settings: &Settings) -> Finding {
    let set = if settings.max_verifiers_set.is_some() { "" } else { " unless told otherwise" };
    let fact =
        format_args!("{name:?} is never called: containerd calls the first {called} by name{set}");
    Finding::new(Severity::Failure, Code::VerifierSkipped, fact)
        .mend("set max_verifiers = -1 and restart containerd")
}

impl Entry {
    fn look(root: &Root, directory: &Path, name: String) -> Self {
        let path = directory.join(&name);
        let found = Found::look(root, &path).unwrap_or_else(|error| Found::Nothing(error.kind()));
        Self { name, found }
    }

    fn judge(&self, machine: Option<Machine>) -> (Option<Ours>, Vec<Finding>) {
        let name = &self.name;
        let blocked = |code, why: &dyn std::fmt::Display| {
            let fact = format_args!("{name:?} {why}: every pull fails");
            Finding::new(Severity::Blocked, code, fact)
                .mend("take it out of the directory, in which every entry is executed")
        };
        let (executable, stranger, content) = match &self.found {
            Found::Nothing(io::ErrorKind::NotFound) => {
                let finding = blocked(Code::VerifierNotFile, &"is a link that leads nowhere");
                return (None, vec![finding]);
            }
            Found::Nothing(kind) => {
                let finding =
                    blocked(Code::VerifierNotFile, &format_args!("cannot be looked at ({kind})"));
                return (None, vec![finding]);
            }
            Found::NoFile => return (None, vec![blocked(Code::VerifierNotFile, &"is no file")]),
            Found::File { executable, stranger, content } => (*executable, stranger, *content),
        };
        let mut findings = Vec::new();
        if let Some(stranger) = stranger {
            let fact = format_args!("others than root can change {name:?}: {stranger}");
            findings.push(
                Finding::new(Severity::Failure, Code::VerifierWritable, fact)
                    .mend("chown it to root and chmod 0755 it"),
            );
        }
        if !executable {
            findings.push(blocked(
                Code::VerifierNotExecutable,
                &"may not be executed, by its mode or by the mount option noexec",
            ));
            return (None, findings);
        }
        let (ours, judged) = judge_content(name, content, machine);
        findings.push(judged);
        (ours, findings)
    }
}

fn judge_content(
    name: &str,
    content: Content,
    machine: Option<Machine>,
) -> (Option<Ours>, Finding) {
    let blocked = |why: &dyn std::fmt::Display| {
        let fact = format_args!("{name:?} {why}: every pull fails");
        let finding = Finding::new(Severity::Blocked, Code::VerifierFormat, fact);
        (None, finding.mend("install an executable for this machine"))
    };
    let (elf, kind) = match content {
        Content::Unreadable => {
            let fact = format_args!("{name:?} cannot be read");
            let finding = Finding::new(Severity::Warning, Code::VerifierFormat, fact);
            return (None, finding.mend("run as root"));
        }
        Content::Script => {
            let fact = format_args!(
                "{name:?} is a script: it fails, and every pull with it, where its interpreter or what that calls is missing"
            );
            let finding = Finding::new(Severity::Warning, Code::VerifierDependent, fact);
            return (None, finding.mend("use a static executable"));
        }
        Content::Neither(error) => return blocked(&format_args!("is no executable: {error}")),
        Content::Executable(elf, kind) => (elf, kind),
    };
    if machine.is_some_and(|machine| machine != elf.machine) {
        return blocked(&format_args!("is for another machine ({})", elf.machine));
    }
    let Some(kind) = kind else {
        let fact = match Kind::of_plugin(name.trim_end_matches("-image-verifier")) {
            Some(_) => format!(
                "{name:?} is not civ's; Bottlerocket's own verifier of that name allows everything without a policy"
            ),
            None => format!("{name:?} is not civ's: what it allows, it alone knows"),
        };
        return (None, Finding::new(Severity::Note, Code::VerifierStranger, fact));
    };
    let Ok(plugin) = PluginName::of_program(name.as_ref()) else {
        let fact = format_args!(
            "{name:?} is civ's verifier of kind {kind}, and refuses everything under this name"
        );
        let finding = Finding::new(Severity::Blocked, Code::VerifierName, fact);
        return (None, finding.mend("call it NAME-image-verifier; it reads the policy of NAME"));
    };
    let finding = if elf.is_dynamic {
        let fact = format_args!(
            "{name:?} is civ's and not static: it fails, and every pull with it, where a library is missing"
        );
        Finding::new(Severity::Warning, Code::VerifierDependent, fact)
            .mend("install the released executable")
    } else {
        let fact =
            format_args!("{name:?} is civ's verifier of kind {kind}, static, for this machine");
        Finding::new(Severity::Ok, Code::VerifierOurs, fact)
    };
    (Some(Ours { plugin, kind }), finding)
}

impl Found {
    fn look(root: &Root, path: &Path) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let resolved = root.resolve(path)?;
        let metadata = root.metadata(&resolved)?;
        if !metadata.is_file() {
            return Ok(Self::NoFile);
        }
        let mounted = rustix::fs::statvfs(root.join(&resolved))?;
        let noexec = mounted.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC);
        let executable = metadata.mode() & 0o111 != 0 && !noexec;
        let stranger = root.who_can_change(path);
        let content = root
            .read(&resolved, EXECUTABLE_MAX)
            .map_or(Content::Unreadable, |bytes| Content::of(&bytes));
        Ok(Self::File { executable, stranger, content })
    }
}

impl Content {
    /// What the file with this content is.
    pub fn of(bytes: &[u8]) -> Self {
        if bytes.starts_with(b"#!") {
            return Self::Script;
        }
        match elf::read(bytes.get(..elf::HEADER_MAX).unwrap_or(bytes)) {
            Ok(elf) => Self::Executable(elf, kind_of(bytes)),
            Err(error) => Self::Neither(error),
        }
    }
}

/// Which of civ's verifiers an executable is: it holds what the others do not, its released name.
fn kind_of(bytes: &[u8]) -> Option<Kind> {
    let of_civ = PluginNameError.to_string();
    if !contains(bytes, of_civ.as_bytes()) {
        return None;
    }
    let is = |kind: &Kind| contains(bytes, format!("{kind}-image-verifier").as_bytes());
    Kind::ALL.into_iter().find(is)
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    let Some((first, rest)) = text.split_first() else { return true };
    let mut bytes = bytes;
    while let Some(at) = bytes.iter().position(|byte| byte == first) {
        let Some(after) = bytes.get(at + 1..) else { return false };
        if after.starts_with(rest) {
            return true;
        }
        bytes = after;
    }
    false
}

#[cfg(test)]
mod tests;
