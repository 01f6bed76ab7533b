//! Putting files in their places: at once, or not at all.

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Who may read a new policy, before the umask: it is no secret.
const MODE: u32 = 0o644;

/// Puts `contents` where no file is yet; whatever is there stays.
pub(super) fn create(path: &Path, contents: &[u8]) -> io::Result<()> {
    staged(path, contents)?.persist_noclobber(path)?;
    Ok(())
}

/// Puts `contents` at `path`, in place of what is there, whose mode and owner it keeps. Of a link, the
/// file that it leads to is replaced.
pub(super) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let metadata = fs::metadata(&path)?;
    let staged = staged(&path, contents)?;
    let own = staged.as_file().metadata()?;
    if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
        std::os::unix::fs::fchown(staged.as_file(), Some(metadata.uid()), Some(metadata.gid()))?;
    }
    staged.as_file().set_permissions(Permissions::from_mode(metadata.mode() & 0o7777))?;
    staged.as_file().sync_all()?;
    staged.persist(&path)?;
    Ok(())
}

/// Does either.
pub(super) fn write(path: &Path, contents: &[u8]) -> io::Result<()> {
    if path.symlink_metadata().is_ok() { replace(path, contents) } else { create(path, contents) }
}

/// A file beside `path` that disappears unless it is put there.
fn staged(path: &Path, contents: &[u8]) -> io::Result<tempfile::NamedTempFile> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let permissions = Permissions::from_mode(MODE);
    let mut staged = tempfile::Builder::new().permissions(permissions).tempfile_in(directory)?;
    staged.write_all(contents)?;
    staged.as_file().sync_all()?;
    Ok(staged)
}
