//! containerd's configuration as containerd reads it: a file, what it imports, older versions
//! migrated, all merged, each value with the line it comes from
//! (`cmd/containerd/server/config/config.go`, measured with containerd 2.1.9).
//!
//! Releases differ in when they migrate: 2.1 merges first and takes the version of the last file that
//! says one for all of them, later ones migrate each file by its own version. Here the former is done,
//! and what would differ is kept apart ([`Config::doubtful`]).

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

pub mod duration;
pub mod glob;
mod import;
mod migrate;
pub mod value;

use crate::finding::{Code, Finding, Location, Severity};
use crate::settings::CRI_IMAGES;
pub use value::{Node, Table, Value};

/// The largest configuration file that is read, in bytes.
pub const FILE_MAX: u64 = 1 << 20;
/// The most files that are read. containerd sets no limit.
pub const FILES_MAX: usize = 256;
/// The highest version of the file format, that of containerd 2.3.
const VERSION_MAX: i64 = 4;

/// Where configuration files come from.
pub trait Files {
    /// The content of a file, of at most [`FILE_MAX`] bytes.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The names in a directory, in any order; none if it cannot be listed, as for `filepath.Glob`.
    fn names(&self, directory: &Path) -> Vec<String>;
}

/// A configuration, merged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// What plugins are told, by their id.
    pub plugins: Table,
    /// `disabled_plugins` of all files; what one file lists no other can take away.
    pub disabled: Vec<Node>,
    /// `grpc.address`.
    pub address: Option<Node>,
    /// The files read, in the order in which they were merged.
    pub files: Vec<PathBuf>,
    /// The directories in which patterns of imports are looked for.
    pub listed: BTreeSet<PathBuf>,
    /// Settings of CRI's images that containerd heeds or not, depending on its release: each a table
    /// like that of `io.containerd.cri.v1.images`.
    pub doubtful: Vec<Table>,
    /// What is wrong with the files.
    pub findings: Vec<Finding>,
}

/// The versions that files say.
#[derive(Debug, Default)]
struct Versions {
    /// Of the first file; 0 if it says none.
    first: Option<i64>,
    /// Of the last file that says one.
    last: i64,
}

impl Config {
    /// Reads the configuration at `path`. A file that does not exist leaves containerd's defaults.
    pub fn load(files: &impl Files, path: &Path) -> Self {
        let mut config = Self::default();
        let mut one_by_one = Table::new();
        let mut pending = VecDeque::from([(path.to_owned(), Location::file(path))]);
        let mut seen = BTreeSet::new();
        let mut versions = Versions::default();
        while let Some((next, origin)) = pending.pop_front() {
            if !seen.insert(next.clone()) {
                continue;
            }
            if config.files.len() >= FILES_MAX {
                let fact = format_args!("more than {FILES_MAX} configuration files");
                config.findings.push(
                    Finding::new(Severity::Failure, Code::ConfigUnreadable, fact)
                        .at(Location::file(path)),
                );
                break;
            }
            match config.add(files, &next, &mut versions, &mut one_by_one) {
                Ok(imports) => pending.extend(imports),
                Err(finding) if finding.code == Code::ConfigImport && finding.at.is_none() => {
                    config.findings.push(finding.at(origin));
                }
                Err(finding) if finding.at.is_some() => config.findings.push(finding),
                Err(finding) => config.findings.push(finding.at(Location::file(&next))),
            }
        }
        fold_versions(&mut config.findings);
        config.doubtful.extend(migrate::images(&mut config.plugins, versions.last));
        let images = |plugins: &Table| plugins.get(CRI_IMAGES).and_then(Node::table).cloned();
        let one_by_one = images(&one_by_one);
        if one_by_one != images(&config.plugins) {
            config.doubtful.extend(one_by_one);
        }
        config
    }

    /// Merges the file at `path`, and returns what it imports.
    fn add(
        &mut self,
        files: &impl Files,
        path: &Path,
        versions: &mut Versions,
        one_by_one: &mut Table,
    ) -> Result<Vec<(PathBuf, Location)>, Finding> {
        let bytes = match files.read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.absent(path)),
            Err(error) => {
                let fact = format_args!("configuration unreadable: {error}");
                return Err(Finding::new(Severity::Failure, Code::ConfigUnreadable, fact)
                    .mend("run as root, and name the file that containerd reads with --config"));
            }
        };
        let file = value::parse(path, &bytes).map_err(|error| {
            let fact = format_args!("containerd does not start with it: {error}");
            let line = error.line();
            let at = Location { file: path.to_owned(), line };
            Finding::new(Severity::Failure, Code::ConfigInvalid, fact)
                .at(at)
                .mend("write it as TOML (containerd config dump says the same), or restore it")
        })?;
        self.files.push(path.to_owned());
        let version = self.check_version(&file, path, versions);
        let mut alone = file.plugins.clone();
        self.doubtful.extend(migrate::images(&mut alone, version));
        value::merge(one_by_one, alone);
        value::merge(&mut self.plugins, file.plugins);
        for node in file.disabled {
            let node = migrate::disabled_plugin(node, version);
            if !self.disabled.iter().any(|known| known.value == node.value) {
                self.disabled.push(node);
            }
        }
        // An empty text overrides nothing here, unlike in the tables of plugins.
        if let Some(address) =
            file.address.filter(|node| node.text().is_some_and(|t| !t.is_empty()))
        {
            self.address = Some(address);
        }
        self.findings.extend(file.findings);
        import::resolve(files, path, &file.imports, &mut self.listed)
    }

    fn absent(&self, path: &Path) -> Finding {
        if self.files.is_empty() {
            let fact = "no configuration file: containerd's defaults apply";
            return Finding::new(Severity::Note, Code::ConfigAbsent, fact)
                .mend("name the file that containerd reads with --config, if there is one");
        }
        let fact = format_args!(
            "{} is imported and does not exist: containerd does not start",
            path.display()
        );
        Finding::new(Severity::Failure, Code::ConfigImport, fact)
            .mend("create the file, or take it out of imports; a pattern may match nothing")
    }

    fn check_version(&mut self, file: &value::File, path: &Path, known: &mut Versions) -> i64 {
        let version = file.version.as_ref().and_then(Node::integer).unwrap_or(0);
        let at = file.version.as_ref().map_or_else(|| Location::file(path), |node| node.at.clone());
        let root = *known.first.get_or_insert(version);
        if version != 0 {
            known.last = version;
        }
        let problem = if !(0..=VERSION_MAX).contains(&version) {
            Some((Severity::Failure, format!("version {version} is none that containerd knows")))
        } else if root != 0 && version > root {
            let fact = format!(
                "version {version} is higher than the importing file's {root}: containerd 2.2 and later do not start"
            );
            Some((Severity::Warning, fact))
        } else {
            None
        };
        if let Some((severity, fact)) = problem {
            self.findings.push(
                Finding::new(severity, Code::ConfigVersion, fact)
                    .at(at)
                    .mend("write version = 3 in every file"),
            );
        }
        version
    }

    /// Without its file, containerd does not start: it was told to read this one.
    pub fn must_exist(&mut self) {
        for finding in self.findings.iter_mut().filter(|f| f.code == Code::ConfigAbsent) {
            let fact = "no such configuration file: containerd, told to read it, does not start";
            let failure = Finding::new(Severity::Failure, Code::ConfigUnreadable, fact);
            *finding = failure
                .at(finding.at.take())
                .mend("name the file that containerd reads with --config");
        }
    }

    /// What a plugin is told under `name`: what stands there, in whatever case of letters.
    pub fn setting(&self, plugin: &str, name: &str) -> Option<&Node> {
        value::field(self.plugins.get(plugin)?.table()?, name)
    }

    /// Where a plugin is disabled, if it is.
    pub fn disables(&self, plugin: &str) -> Option<&Node> {
        self.disabled.iter().find(|node| node.text() == Some(plugin))
    }
}

/// One warning of versions stands for those of all other files.
fn fold_versions(findings: &mut Vec<Finding>) {
    let is_warning = |finding: &Finding| {
        finding.code == Code::ConfigVersion && finding.severity == Severity::Warning
    };
    let more = findings.iter().filter(|finding| is_warning(finding)).count().saturating_sub(1);
    let mut kept = false;
    findings.retain_mut(|finding| {
        if !is_warning(finding) {
            return true;
        }
        let first = !std::mem::replace(&mut kept, true);
        if first && more > 0 {
            finding.fact = format!("{} (and {more} more)", finding.fact);
        }
        first
    });
}

#[cfg(test)]
mod tests;
