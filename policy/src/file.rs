//! Opening a trust policy without being led elsewhere.
//!
//! Whoever can change the file can change every verdict, so the file must be one that only root (or
//! the user running the verifier) can have written or put in its place, reached without following a
//! symbolic link, and of bounded size. A FIFO is opened without blocking and then refused.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

/// The largest policy read, in bytes.
pub const POLICY_MAX: u64 = 1 << 20;

/// The bytes of a trust policy file, whose origin has been checked.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    /// The path as given.
    pub path: PathBuf,
    /// The content, at most [`POLICY_MAX`] bytes.
    pub bytes: Vec<u8>,
}

impl PolicyFile {
    /// Opens `path` component by component from the root directory, checks each directory and the
    /// file, and reads it.
    pub fn read(path: &Path) -> Result<Self, PolicyFileError> {
        let because = |problem| PolicyFileError { path: path.to_owned(), problem };
        // What is above the working directory counts as much as what is below. An empty path is
        // the working directory itself.
        let route = std::path::absolute(Path::new(".").join(path))
            .map_err(|source| because(Problem::Io(source)))?;
        let file = open_without_links(CWD, Path::new("/"), &route).map_err(because)?;
        Self::read_opened(file, path)
    }

    /// The same below the root directory of another system, such as one that is mounted somewhere.
    pub fn read_below(root: BorrowedFd<'_>, path: &Path) -> Result<Self, PolicyFileError> {
        let because = |problem| PolicyFileError { path: path.to_owned(), problem };
        let file = open_without_links(root, Path::new("."), path).map_err(because)?;
        Self::read_opened(file, path)
    }

    fn read_opened(file: File, path: &Path) -> Result<Self, PolicyFileError> {
        let because = |problem| PolicyFileError { path: path.to_owned(), problem };
        let length = check_origin(&file).map_err(because)?;
        let mut bytes =
            Vec::with_capacity(usize::try_from(length.min(POLICY_MAX)).unwrap_or(0) + 1);
        file.take(POLICY_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| because(Problem::Io(source)))?;
        if bytes.len() as u64 > POLICY_MAX {
            return Err(because(Problem::TooLarge));
        }
        if bytes.is_empty() {
            return Err(because(Problem::Empty));
        }
        Ok(Self { path: path.to_owned(), bytes })
    }
}

fn open_without_links(at: BorrowedFd<'_>, start: &Path, path: &Path) -> Result<File, Problem> {
    let as_directory = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let as_file = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY | OFlags::NONBLOCK;
    let mut here = openat(at, start, as_directory, Mode::empty())?;
    check_directory(&fstat(&here)?)?;
    let mut components =
        path.components().filter(|part| !matches!(part, Component::RootDir | Component::CurDir));
    let Some(mut current) = components.next() else { return Err(Problem::NotRegular) };
    for next in components {
        here = openat(&here, current.as_os_str(), as_directory, Mode::empty())?;
        check_directory(&fstat(&here)?)?;
        current = next;
    }
    Ok(openat(&here, current.as_os_str(), as_file, Mode::empty())?.into())
}

/// Whoever owns a directory, or may write to it, may put another file in the policy's place. The
/// sticky bit (as on `/tmp`) takes that power from those who may write, and not from the owner.
fn check_directory(stat: &Stat) -> Result<(), Problem> {
    if !is_trusted(stat.st_uid) {
        return Err(Problem::DirectoryOwner { uid: stat.st_uid });
    }
    let mode = Mode::from_raw_mode(stat.st_mode);
    if mode.intersects(Mode::WGRP | Mode::WOTH) && !mode.contains(Mode::SVTX) {
        return Err(Problem::OpenDirectory);
    }
    Ok(())
}

/// The file's length, if nobody else can have written it.
fn check_origin(file: &File) -> Result<u64, Problem> {
    let stat = fstat(file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Problem::NotRegular);
    }
    if !is_trusted(stat.st_uid) {
        return Err(Problem::WrongOwner { uid: stat.st_uid });
    }
    if Mode::from_raw_mode(stat.st_mode).intersects(Mode::WGRP | Mode::WOTH) {
        return Err(Problem::Writable { mode: stat.st_mode & 0o777 });
    }
    Ok(u64::try_from(stat.st_size).unwrap_or(0))
}

/// Root decides about every pull anyway, and whoever runs the verifier about what it says.
fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Why a policy file is not used.
#[derive(Debug, thiserror::Error)]
#[error("policy {problem} ({})", path.display())]
pub struct PolicyFileError {
    /// The path as given.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a policy file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// No such file.
    #[error("absent, so every pull is refused; write the file, or remove the verifier")]
    Absent,
    /// A directory on the way that is somebody else's.
    #[error("below a directory of user {uid}; chown it to root")]
    DirectoryOwner {
        /// The owner.
        uid: u32,
    },
    /// Zero bytes.
    #[error("empty, so every pull is refused")]
    Empty,
    /// Reading failed.
    #[error("unreadable: {0}")]
    Io(#[source] io::Error),
    /// A symbolic link on the way, or something else than a directory.
    #[error("a part of its path is a symbolic link or no directory; use the real path")]
    Link,
    /// A directory, FIFO, socket or device.
    #[error("not a regular file")]
    NotRegular,
    /// A directory on the way that others may write to.
    #[error("below a directory that others may write to; chmod go-w that directory")]
    OpenDirectory,
    /// More than [`POLICY_MAX`] bytes.
    #[error("larger than {POLICY_MAX} bytes")]
    TooLarge,
    /// Others may write to it.
    #[error("writable by others (mode {mode:04o}); chmod 0600 it")]
    Writable {
        /// The permission bits.
        mode: u32,
    },
    /// Somebody else's.
    #[error("owned by user {uid}; chown it to root")]
    WrongOwner {
        /// The owner.
        uid: u32,
    },
}

impl From<Errno> for Problem {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Absent,
            // With O_NOFOLLOW a link is ELOOP, or ENOTDIR where a directory was asked for.
            Errno::LOOP | Errno::NOTDIR => Self::Link,
            // A socket, or a device without a driver.
            Errno::NXIO | Errno::NODEV => Self::NotRegular,
            errno => Self::Io(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::fd::{AsFd as _, OwnedFd};
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn refuses_files_that_somebody_else_could_have_put_there() {
        // Modes are set, since the umask of whoever runs the tests is not known.
        let dir =
            tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let set_mode = |name: &str, mode| {
            fs::set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        };
        let write = |name: &str, bytes: &[u8], mode| {
            fs::write(at(name), bytes).unwrap();
            set_mode(name, mode);
        };
        let directory = |name: &str, mode| {
            fs::create_dir(at(name)).unwrap();
            write(&format!("{name}/policy"), b"{}", 0o600);
            set_mode(name, mode);
        };
        write("good", b"{}", 0o600);
        write("empty", b"", 0o600);
        write("group", b"{}", 0o620);
        write("world", b"{}", 0o602);
        let limit = usize::try_from(POLICY_MAX).unwrap();
        write("huge", &vec![b' '; limit + 1], 0o600);
        write("largest", &vec![b' '; limit], 0o600);
        symlink(at("good"), at("link")).unwrap();
        symlink(at("loop"), at("loop")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        directory("dir", 0o755);
        symlink(at("dir"), at("dirlink")).unwrap();
        directory("open", 0o777);
        directory("shared", 0o775);
        rustix::fs::mkfifoat(CWD, at("fifo"), Mode::from_raw_mode(0o600)).unwrap();

        assert_eq!(PolicyFile::read(&at("good")).unwrap().bytes, b"{}");
        assert!(PolicyFile::read(&at("largest")).is_ok());
        let root: OwnedFd = File::open(dir.path()).unwrap().into();
        let below = |path: &str| PolicyFile::read_below(root.as_fd(), Path::new(path));
        assert_eq!(below("/dir/policy").unwrap().bytes, b"{}");
        assert!(matches!(below("/dirlink/policy").unwrap_err().problem, Problem::Link));
        assert!(PolicyFile::read(&at("dir/policy")).is_ok());
        for (name, expected) in [
            ("absent", "absent"),
            ("absent/policy", "absent"),
            ("empty", "empty"),
            ("group", "writable by others (mode 0620)"),
            ("world", "writable by others (mode 0602)"),
            ("huge", "larger than"),
            ("link", "symbolic link"),
            ("loop", "symbolic link"),
            ("dangling", "symbolic link"),
            ("dirlink/policy", "symbolic link"),
            ("open/policy", "directory that others may write to"),
            ("shared/policy", "directory that others may write to"),
            ("dir", "not a regular file"),
            ("fifo", "not a regular file"),
        ] {
            let error = PolicyFile::read(&at(name)).unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }

    #[test]
    fn refuses_a_directory_of_somebody_else_whatever_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o755, 0o700, 0o555, 0o1777] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            let mut stat = fstat(File::open(dir.path()).unwrap()).unwrap();
            assert!(check_directory(&stat).is_ok());
            stat.st_uid = 65534;
            let problem = check_directory(&stat).unwrap_err();
            assert!(matches!(problem, Problem::DirectoryOwner { uid: 65534 }), "{problem}");
        }
    }
}
