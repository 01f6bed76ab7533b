//! Files below a root: `/`, or where another system's root is mounted, as `/.bottlerocket/rootfs` in
//! Bottlerocket's admin container. Links are followed as that system would follow them.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::config::{FILE_MAX, Files};

/// As many links as Linux follows.
const LINKS_MAX: usize = 40;
/// The most names of a directory that are looked at.
const NAMES_MAX: usize = 10_000;

/// A system's root directory.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// The system whose root is `directory`.
    pub fn at(directory: PathBuf) -> Self {
        Self(directory)
    }

    /// Is this the root of the system that the doctor runs on?
    pub fn is_own(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where `path` is for us. No link is followed.
    pub fn join(&self, path: &Path) -> PathBuf {
        if self.is_own() {
            return path.to_owned();
        }
        let below = path.components().filter(|part| matches!(part, Component::Normal(_)));
        below.fold(self.0.clone(), |joined, part| joined.join(part))
    }

    /// The path without links that `path` leads to, as the system calls it.
    pub fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        if self.is_own() {
            return fs::canonicalize(path);
        }
        let mut links = 0;
        let mut resolved = PathBuf::from("/");
        let mut rest: VecDeque<PathBuf> = components(path);
        while let Some(part) = rest.pop_front() {
            if part == Path::new("..") {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&part);
            if !fs::symlink_metadata(self.join(&next))?.file_type().is_symlink() {
                resolved = next;
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::other("too many symbolic links"));
            }
            let target = fs::read_link(self.join(&next))?;
            if target.is_absolute() {
                resolved = PathBuf::from("/");
            }
            let mut ahead = components(&target);
            ahead.append(&mut rest);
            rest = ahead;
        }
        Ok(resolved)
    }

    /// What is known of the file or directory that `path` leads to.
    pub fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        fs::metadata(self.join(&self.resolve(path)?))
    }

    /// The first `limit` bytes of a regular file.
    pub fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let path = self.join(&self.resolve(path)?);
        // Nothing else is opened: a FIFO would keep us waiting.
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(limit).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The names in a directory, sorted as Go sorts them.
    pub fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.join(&self.resolve(directory)?))?.take(NAMES_MAX);
        let mut names = entries
            .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    /// Who but root can change what is at `path`: by its mode, its owner, or a directory above it.
    /// `path` is without links.
    pub fn who_can_change(&self, path: &Path) -> io::Result<Option<Stranger>> {
        for ancestor in path.ancestors() {
            let metadata = fs::symlink_metadata(self.join(ancestor))?;
            let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0 && ancestor != path;
            let problem = if metadata.uid() != 0 {
                format!("owned by user {}", metadata.uid())
            } else if metadata.mode() & 0o022 != 0 && !sticky {
                format!("writable by others (mode {:04o})", metadata.mode() & 0o7777)
            } else {
                continue;
            };
            return Ok(Some(Stranger { path: ancestor.to_owned(), problem }));
        }
        Ok(None)
    }
}

/// Somebody else than root can change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    pub problem: String,
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is {}", self.path.display(), self.problem)
    }
}

fn components(path: &Path) -> VecDeque<PathBuf> {
    let parts = path
        .components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    parts.map(|part| PathBuf::from(part.as_os_str())).collect()
}

impl Files for Root {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = Self::read(self, path, FILE_MAX + 1)?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(io::Error::other(format!("larger than {FILE_MAX} bytes")));
        }
        Ok(bytes)
    }

    fn names(&self, directory: &Path) -> Vec<String> {
        Self::names(self, directory).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_where_the_other_system_has_them_and_never_out_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::at(dir.path().to_owned());
        fs::create_dir_all(dir.path().join("opt/civ/bin")).unwrap();
        fs::create_dir_all(dir.path().join("opt/containerd")).unwrap();
        fs::create_dir_all(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/hostname"), "other").unwrap();
        // As Bottlerocket's tmpfiles.d has it.
        symlink("../civ", dir.path().join("opt/containerd/image-verifier")).unwrap();
        symlink("/etc/hostname", dir.path().join("absolute")).unwrap();
        symlink("../../../../etc/hostname", dir.path().join("up")).unwrap();
        symlink("/loop", dir.path().join("loop")).unwrap();

        let resolve = |path: &str| root.resolve(Path::new(path)).unwrap();
        let bin = resolve("/opt/containerd/image-verifier/bin");
        assert_eq!(bin, Path::new("/opt/civ/bin"));
        for path in ["/absolute", "/up"] {
            assert_eq!(resolve(path), Path::new("/etc/hostname"));
            assert_eq!(root.read(Path::new(path), 100).unwrap(), b"other");
        }
        assert!(root.resolve(Path::new("/loop")).is_err());
        assert!(root.resolve(Path::new("/absent")).is_err());
        assert!(root.read(Path::new("/opt"), 100).is_err());
    }
}
