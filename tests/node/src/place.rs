//! Where to put a directory for a while, and how.
//!
//! `TMPDIR` may lead anywhere: below a directory that everybody writes to, on a file system that
//! executes nothing, to a path that is too long for a socket. So several places are tried, and the
//! one that fits is taken. The umask plays no part: most users' would make directories that their
//! group may write to, and a verifier takes no policy from one.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::{env, path};

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::process::geteuid;
use tempfile::TempDir;

/// The longest name of a socket, in bytes: `sun_path` less its end.
const SOCKET_MAX: usize = 107;
/// The longest path of a socket below a directory of [`for_containerd`], with the name of that.
const BELOW_MAX: usize = "/civ-XXXXXX/socket.ttrpc".len();

/// No place is fit.
#[derive(Debug, thiserror::Error)]
#[error("no directory below {}: {problem}; set TMPDIR to one that is fit", place.display())]
pub struct NoPlace {
    /// The first place that was tried.
    pub place: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: Unfit,
}

/// What is wrong with a place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unfit {
    /// Nothing can be written there, or it is not there.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The path is not text on one line, which containerd's configuration takes.
    #[error("the path is not one line of UTF-8")]
    NotText,
    /// The name of a socket there would have more than 107 bytes.
    #[error("the path is too long for a socket")]
    TooLong,
    /// Out of sight of a containerd that has a `/run` of its own.
    #[error("it is below /run")]
    BelowRun,
    /// Others could put another directory in its place.
    #[error("others may write to {}", .0.display())]
    Open(PathBuf),
    /// The file system is mounted `noexec`.
    #[error("nothing there can be executed")]
    NoExec,
    /// Whoever needs the directory refuses it, for this reason.
    #[error("{0}")]
    Refused(String),
}

/// A new directory, readable by this user alone, that passes `check`.
pub fn private(
    prefix: &str,
    check: impl Fn(&Path) -> Result<(), Unfit>,
) -> Result<TempDir, NoPlace> {
    first(|place| {
        let directory = new_in(&path::absolute(place)?, prefix)?;
        check(directory.path())?;
        Ok(directory)
    })
}

/// A new directory in which containerd can have its sockets and verifiers their executables.
pub fn for_containerd() -> Result<TempDir, NoPlace> {
    first(|place| {
        let place = fs::canonicalize(place)?;
        fit_for_containerd(&place)?;
        Ok(new_in(&place, "civ-")?)
    })
}

/// Creates the directory, and those above it, so that nobody else may write to any of them.
pub fn create(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(directory)
}

fn first(try_in: impl Fn(&Path) -> Result<TempDir, Unfit>) -> Result<TempDir, NoPlace> {
    let place = env::temp_dir();
    match try_in(&place) {
        Ok(directory) => Ok(directory),
        Err(problem) => ["/var/tmp", "/tmp"]
            .iter()
            .find_map(|other| try_in(Path::new(other)).ok())
            .ok_or(NoPlace { place, problem }),
    }
}

fn new_in(place: &Path, prefix: &str) -> io::Result<TempDir> {
    let mode = Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix(prefix).permissions(mode).tempdir_in(place)
}

fn fit_for_containerd(place: &Path) -> Result<(), Unfit> {
    let text = place.to_str().filter(|text| !text.contains(char::is_control));
    let text = text.ok_or(Unfit::NotText)?;
    if text.len() + BELOW_MAX > SOCKET_MAX {
        return Err(Unfit::TooLong);
    }
    if place.starts_with("/run") {
        return Err(Unfit::BelowRun);
    }
    for directory in place.ancestors() {
        check_owner(directory)?;
    }
    let flags = statvfs(place).map_err(io::Error::from)?.f_flag;
    if flags.contains(StatVfsMountFlags::NOEXEC) {
        return Err(Unfit::NoExec);
    }
    Ok(())
}

/// What is below is root's to run: nobody else may be able to exchange it. The sticky bit (as on
/// `/tmp`) takes that power away.
fn check_owner(directory: &Path) -> Result<(), Unfit> {
    let found = fs::metadata(directory)?;
    let is_ours = found.uid() == 0 || found.uid() == geteuid().as_raw();
    let is_open = found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0;
    if is_ours && !is_open { Ok(()) } else { Err(Unfit::Open(directory.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_why_containerd_cannot_work_in_a_place() {
        let long = format!("/{}", "x".repeat(SOCKET_MAX - BELOW_MAX));
        let open = private("civ-", |_| Ok(())).unwrap();
        let below = open.path().join("below");
        create(&below).unwrap();
        fs::set_permissions(open.path(), Permissions::from_mode(0o777)).unwrap();
        for (place, words) in [
            (below.to_str().unwrap(), "others may write to"),
            ("/run", "below /run"),
            ("/run/user/0", "below /run"),
            ("/a\nb", "not one line"),
            (&long, "too long"),
            ("/not/there", "No such file"),
        ] {
            let said = fit_for_containerd(Path::new(place)).unwrap_err().to_string();
            assert!(said.contains(words), "{place}: {said}");
        }
        fit_for_containerd(Path::new("/")).unwrap();
        fit_for_containerd(Path::new("/usr/../usr")).unwrap();
    }

    #[test]
    fn a_directory_belongs_to_this_user_alone() {
        let directory = private("civ-", |_| Ok(())).unwrap();
        let below = directory.path().join("a/b");
        create(&below).unwrap();
        for (path, mode) in [(directory.path(), 0o700), (&below, 0o755)] {
            let found = fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found & !mode, 0, "{}: {found:o}", path.display());
        }
    }

    #[test]
    fn what_is_refused_everywhere_says_so() {
        let refused = || Err(Unfit::Refused("because".to_owned()));
        let said = private("civ-", |_| refused()).unwrap_err().to_string();
        assert!(said.contains(": because; set TMPDIR"), "{said}");
    }
}
