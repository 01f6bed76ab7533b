//! Files below a root: `/`, or where another system's root is mounted, as `/.bottlerocket/rootfs` in
//! Bottlerocket's admin container. Links are followed as that system would follow them.

use std::collections::VecDeque;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use civ_policy::{PolicyFile, PolicyFileError};
use rustix::fs::{Mode, OFlags};

use crate::config::{FILE_MAX, Files};

/// As many links as Linux follows.
const LINKS_MAX: usize = 40;
/// The most names of a directory that are looked at.
const NAMES_MAX: usize = 10_000;

/// A system's root directory.
#[derive(Clone, Debug)]
pub struct Root {
    /// What stands before every path: nothing below `/`, otherwise `/proc/self/fd/N/.`.
    base: PathBuf,
    /// Keeps N open.
    handle: Option<Arc<OwnedFd>>,
}

impl Root {
    /// The system that the doctor runs on.
    pub fn own() -> Self {
        Self { base: "/".into(), handle: None }
    }

    /// The system whose root `directory` leads to. It is looked up once: what becomes of links on the
    /// way later does not matter. It is not read as text, since `/proc/PID/root` reads as `/`.
    pub fn open(directory: &Path) -> io::Result<Self> {
        if directory == Path::new("/") {
            return Ok(Self::own());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let handle = rustix::fs::open(directory, flags, Mode::empty())?;
        let base = PathBuf::from(format!("/proc/self/fd/{}/.", handle.as_raw_fd()));
        fs::metadata(&base)?;
        Ok(Self { base, handle: Some(Arc::new(handle)) })
    }

    /// Is this the root of the system that the doctor runs on?
    pub fn is_own(&self) -> bool {
        self.base == Path::new("/")
    }

    /// Where `path` is for us. No link is followed.
    pub fn join(&self, path: &Path) -> PathBuf {
        let below = path.components().filter(|part| matches!(part, Component::Normal(_)));
        below.fold(self.base.clone(), |joined, part| joined.join(part))
    }

    /// The path without links that `path` leads to, as the system calls it.
    pub fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.walk(path, |_, _| {})
    }

    /// Follows `path`, and shows `visit` each directory and link on the way and what is at its end.
    /// Relative paths start in the root directory.
    fn walk(&self, path: &Path, mut visit: impl FnMut(&Path, &Metadata)) -> io::Result<PathBuf> {
        let mut links = 0;
        let mut resolved = PathBuf::from("/");
        visit(&resolved, &fs::metadata(self.join(&resolved))?);
        let mut rest: VecDeque<PathBuf> = components(path);
        while let Some(part) = rest.pop_front() {
            if part == Path::new("..") {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&part);
            let metadata = fs::symlink_metadata(self.join(&next))?;
            visit(&next, &metadata);
            if !metadata.file_type().is_symlink() {
                if !rest.is_empty() && !metadata.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
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

    /// Every directory and link that `path` passes and what is at its end, with what is known of each.
    /// Where the path ends early, as far as it goes.
    pub fn passed(&self, path: &Path) -> Vec<(PathBuf, Metadata)> {
        let mut passed = Vec::new();
        // What ends a path early is for those to say who use what is at its end.
        let _ = self.walk(path, |path, metadata| passed.push((path.to_owned(), metadata.clone())));
        passed
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

    /// A policy, read as the verifiers of that system read it.
    pub fn policy(&self, path: &Path) -> Result<PolicyFile, PolicyFileError> {
        match &self.handle {
            Some(handle) => PolicyFile::read_below(handle.as_fd(), path),
            None => PolicyFile::read(path),
        }
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

    /// Who but root can change what `path` leads to: by its own mode or owner, or those of a directory
    /// or link on the way. Where the path ends early, as far as it goes.
    pub fn who_can_change(&self, path: &Path) -> Option<Stranger> {
        let passed = self.passed(path);
        let last = passed.len().saturating_sub(1);
        passed.into_iter().enumerate().find_map(|(index, (path, metadata))| {
            let is_link = metadata.file_type().is_symlink();
            let sticky = metadata.is_dir() && metadata.mode() & 0o1000 != 0 && index != last;
            let problem = if metadata.uid() != 0 {
                format!("owned by user {}", metadata.uid())
            } else if metadata.mode() & 0o022 != 0 && !sticky && !is_link {
                format!("writable by others (mode {:04o})", metadata.mode() & 0o7777)
            } else {
                return None;
            };
            Some(Stranger { path, problem })
        })
    }
}

/// Somebody else than root can change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// The file, directory or link.
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
        let other = dir.path().join("other");
        fs::create_dir_all(other.join("opt/civ/bin")).unwrap();
        fs::create_dir_all(other.join("opt/containerd")).unwrap();
        fs::create_dir_all(other.join("etc")).unwrap();
        fs::write(other.join("etc/hostname"), "other").unwrap();
        // As Bottlerocket's tmpfiles.d has it.
        symlink("../civ", other.join("opt/containerd/image-verifier")).unwrap();
        symlink("/etc/hostname", other.join("absolute")).unwrap();
        symlink("../../../../etc/hostname", other.join("up")).unwrap();
        symlink("/loop", other.join("loop")).unwrap();
        symlink("other", dir.path().join("link")).unwrap();

        for name in ["other", "link"] {
            let root = Root::open(&dir.path().join(name)).unwrap();
            let resolve = |path: &str| root.resolve(Path::new(path)).unwrap();
            let bin = resolve("/opt/containerd/image-verifier/bin");
            assert_eq!(bin, Path::new("/opt/civ/bin"));
            for path in ["/absolute", "/up"] {
                assert_eq!(resolve(path), Path::new("/etc/hostname"));
                assert_eq!(root.read(Path::new(path), 100).unwrap(), b"other");
            }
            assert!(root.resolve(Path::new("/loop")).is_err());
            assert!(root.resolve(Path::new("/absent")).is_err());
            assert!(root.resolve(Path::new("/etc/hostname/x")).is_err());
            assert!(root.read(Path::new("/opt"), 100).is_err());
        }
        assert!(Root::open(&dir.path().join("other/etc/hostname")).is_err());
    }
}
