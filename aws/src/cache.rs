//! Answers of KMS, kept for the next verdict: one file for each key that was asked for.
//!
//! Whoever can write such a file can choose which key is trusted. So the directory and the files must
//! be ours and out of everybody else's reach, links are not followed, and what a file says must be
//! about the very reference, endpoint and ARN, that is asked for. A file that is not so is passed
//! over, and KMS is asked. `/run` is emptied at boot.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::{Digest, strict_json};
use civ_policy::{KmsCache, KmsKeyRef};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, fstat, mkdir, open, openat, renameat, unlinkat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Where a verifier keeps answers.
pub const DIRECTORY: &str = "/run/civ";
/// The largest file read, in bytes.
const ENTRY_MAX: u64 = 16 << 10;

/// A directory of answers. Nothing is opened before it is used.
#[derive(Clone, Debug)]
pub struct Cache {
    directory: PathBuf,
}

/// An answer that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The public key: DER of a `SubjectPublicKeyInfo`.
    pub spki: Vec<u8>,
    /// How long ago KMS gave it; at most [`KmsCache::OLDEST`].
    pub age: Duration,
}

impl Kept {
    /// What the file `bytes` says of `key`, where it is `now`; nothing if it is too old to be used, or
    /// from the future.
    pub fn parse(
        bytes: &[u8],
        key: &KmsKeyRef,
        now: SystemTime,
    ) -> Result<Option<Self>, CacheError> {
        let entry: Entry = strict_json::from_slice(bytes).map_err(|_| CacheError::Malformed)?;
        if entry.kms != key.to_string() {
            return Err(CacheError::OtherKey);
        }
        let spki = STANDARD.decode(entry.public_key).map_err(|_| CacheError::Malformed)?;
        let fetched = UNIX_EPOCH.checked_add(Duration::from_secs(entry.fetched));
        let age = fetched.and_then(|fetched| now.duration_since(fetched).ok());
        Ok(age.filter(|age| *age <= KmsCache::OLDEST).map(|age| Self { spki, age }))
    }
}

/// What a file holds.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    /// The reference that was asked for.
    kms: String,
    /// When, in seconds since 1970.
    fetched: u64,
    public_key: String,
}

impl Cache {
    /// The answers in `directory`.
    pub fn at(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// What is known of `key` at `now`. An answer that is older than any may be, or that is from the
    /// future because the clock was set back, is none.
    pub fn read(&self, key: &KmsKeyRef, now: SystemTime) -> Result<Option<Kept>, CacheError> {
        let directory = match self.open_directory() {
            Err(CacheError::File(Errno::NOENT)) => return Ok(None),
            other => other?,
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = match openat(&directory, file_name(key), flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(CacheError::NotOurs),
            other => other?.into(),
        };
        check_is_ours(&file, FileType::RegularFile)?;
        let mut bytes = Vec::new();
        file.take(ENTRY_MAX + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > ENTRY_MAX {
            return Err(CacheError::Malformed);
        }
        Kept::parse(&bytes, key, now)
    }

    /// Keeps what KMS has said of `key` at `now`: whole, or not at all.
    pub fn write(&self, key: &KmsKeyRef, spki: &[u8], now: SystemTime) -> Result<(), CacheError> {
        let entry = Entry {
            kms: key.to_string(),
            fetched: now.duration_since(UNIX_EPOCH).map_err(|_| CacheError::Malformed)?.as_secs(),
            public_key: STANDARD.encode(spki),
        };
        let bytes = serde_json::to_vec(&entry).map_err(|_| CacheError::Malformed)?;
        if bytes.len() as u64 > ENTRY_MAX {
            return Err(CacheError::Malformed);
        }
        match mkdir(&self.directory, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let directory = self.open_directory()?;
        // Of this process alone. One that a crash of another with its number left behind goes first.
        let (name, staged) = (file_name(key), format!(".{}", std::process::id()));
        let _ = unlinkat(&directory, &staged, AtFlags::empty());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let mut file: File = openat(&directory, &staged, flags | OFlags::CLOEXEC, mode)?.into();
        let written = file
            .write_all(&bytes)
            .map_err(CacheError::from)
            .and_then(|()| Ok(renameat(&directory, &staged, &directory, name)?));
        if written.is_err() {
            let _ = unlinkat(&directory, &staged, AtFlags::empty());
        }
        written
    }

    fn open_directory(&self) -> Result<OwnedFd, CacheError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match open(&self.directory, flags, Mode::empty()) {
            // With O_NOFOLLOW a link is ELOOP, or ENOTDIR where a directory was asked for.
            Err(Errno::LOOP | Errno::NOTDIR) => Err(CacheError::NotOurs),
            Err(error) => Err(error.into()),
            Ok(directory) => {
                check_is_ours(&directory, FileType::Directory)?;
                Ok(directory)
            }
        }
    }
}

/// Can nobody else have written it, or have put it there?
fn check_is_ours(file: impl std::os::fd::AsFd, kind: FileType) -> Result<(), CacheError> {
    let stat = fstat(file)?;
    let is_ours = FileType::from_raw_mode(stat.st_mode) == kind
        && stat.st_uid == rustix::process::geteuid().as_raw()
        && !Mode::from_raw_mode(stat.st_mode).intersects(Mode::RWXG | Mode::RWXO);
    if is_ours { Ok(()) } else { Err(CacheError::NotOurs) }
}

/// A name without slashes or dots, whatever the key is called.
fn file_name(key: &KmsKeyRef) -> String {
    Digest::sha256(key.to_string().as_bytes()).hex().to_owned()
}

/// Why an answer is not kept, or one that was kept is not used. No verdict depends on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// Opening or creating failed.
    #[error("not accessible: {0}")]
    File(#[from] Errno),
    /// Reading or writing failed.
    #[error("not accessible: {0}")]
    Io(#[from] io::Error),
    /// A file that holds something else.
    #[error("malformed")]
    Malformed,
    /// The directory or the file is somebody else's, open to others, a link, or no directory or file.
    #[error("not used: a link, of another owner, or open to others")]
    NotOurs,
    /// A file about another key.
    #[error("not used: it is about another key")]
    OtherKey,
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use proptest::prelude::*;

    use super::*;

    const KEY: &str =
        "awskms:///arn:aws:kms:eu-west-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab";

    type Spoil = fn(&Place);

    struct Place {
        root: tempfile::TempDir,
        cache: Cache,
        key: KmsKeyRef,
        now: SystemTime,
    }

    impl Place {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let cache = Cache::at(root.path().join("civ"));
            let now = UNIX_EPOCH + Duration::from_hours(500_000);
            Self { root, cache, key: KEY.parse().unwrap(), now }
        }

        fn written() -> Self {
            let place = Self::new();
            place.cache.write(&place.key, b"key", place.now).unwrap();
            place
        }

        fn file(&self) -> PathBuf {
            self.cache.directory.join(file_name(&self.key))
        }

        fn read(&self) -> Result<Option<Kept>, String> {
            self.cache.read(&self.key, self.now).map_err(|error| error.to_string())
        }
    }

    #[test]
    fn an_answer_is_kept_for_the_key_that_was_asked_for_alone() {
        let place = Place::new();
        assert_eq!(place.read(), Ok(None));
        let place = Place::written();
        let mode =
            |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(&place.cache.directory), mode(&place.file())), (0o700, 0o600));
        assert_eq!(fs::read_dir(&place.cache.directory).unwrap().count(), 1);
        assert_eq!(place.read(), Ok(Some(Kept { spki: b"key".to_vec(), age: Duration::ZERO })));

        for other in [
            KEY.replace("90ab", "90ac"),
            KEY.replace("eu-west-1", "eu-west-2"),
            KEY.replace("awskms:///", "awskms://localhost:1/"),
        ] {
            let other: KmsKeyRef = other.parse().unwrap();
            assert_eq!(place.cache.read(&other, place.now).unwrap(), None, "{other}");
            // Not even under its own name.
            fs::copy(place.file(), place.cache.directory.join(file_name(&other))).unwrap();
            let error = place.cache.read(&other, place.now).unwrap_err();
            assert!(matches!(error, CacheError::OtherKey), "{other}: {error}");
        }
    }

    #[test]
    fn an_answer_ages_and_one_from_the_future_is_none() {
        let place = Place::written();
        let at = |now| place.cache.read(&place.key, now).unwrap().map(|kept| kept.age);
        let (oldest, second) = (KmsCache::OLDEST, Duration::from_secs(1));
        for (now, age) in [
            (place.now + second, Some(second)),
            (place.now + oldest, Some(oldest)),
            (place.now + oldest + second, None),
            (place.now - second, None),
            (UNIX_EPOCH, None),
        ] {
            assert_eq!(at(now), age);
        }
        place.cache.write(&place.key, b"new", place.now + second).unwrap();
        assert_eq!(place.cache.read(&place.key, place.now + second).unwrap().unwrap().spki, b"new");
    }

    #[test]
    fn refuses_what_others_may_have_put_there() {
        let spoil: [(&str, Spoil); 9] = [
            ("a readable file", |place| chmod(&place.file(), 0o640)),
            ("a writable file", |place| chmod(&place.file(), 0o602)),
            ("an open directory", |place| chmod(&place.cache.directory, 0o755)),
            ("a link", |place| {
                fs::rename(place.file(), place.root.path().join("elsewhere")).unwrap();
                symlink(place.root.path().join("elsewhere"), place.file()).unwrap();
            }),
            ("a linked directory", |place| {
                fs::rename(&place.cache.directory, place.root.path().join("elsewhere")).unwrap();
                symlink(place.root.path().join("elsewhere"), &place.cache.directory).unwrap();
            }),
            ("a FIFO", |place| {
                fs::remove_file(place.file()).unwrap();
                let mode = Mode::RUSR | Mode::WUSR;
                rustix::fs::mkfifoat(rustix::fs::CWD, place.file(), mode).unwrap();
            }),
            ("no directory", |place| {
                fs::remove_dir_all(&place.cache.directory).unwrap();
                fs::write(&place.cache.directory, "x").unwrap();
            }),
            ("more than an entry", |place| {
                let mut text = fs::read(place.file()).unwrap();
                text.resize(20 << 10, b' ');
                fs::write(place.file(), text).unwrap();
            }),
            ("an entry with more in it", |place| {
                let text = fs::read_to_string(place.file()).unwrap();
                fs::write(place.file(), text.replace('{', r#"{"kms":"x","#)).unwrap();
            }),
        ];
        for (what, spoil) in spoil {
            let place = Place::written();
            spoil(&place);
            assert!(place.read().is_err(), "{what}: {:?}", place.read());
        }
    }

    #[test]
    fn writes_only_where_nobody_else_may() {
        let place = Place::new();
        let write = || place.cache.write(&place.key, b"key", place.now);
        symlink(place.root.path(), &place.cache.directory).unwrap();
        assert!(matches!(write().unwrap_err(), CacheError::NotOurs));
        fs::remove_file(&place.cache.directory).unwrap();
        fs::create_dir(&place.cache.directory).unwrap();
        chmod(&place.cache.directory, 0o777);
        assert!(matches!(write().unwrap_err(), CacheError::NotOurs));
        chmod(&place.cache.directory, 0o700);
        // A link in an entry's place is replaced and not followed.
        let victim = place.root.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        symlink(&victim, place.file()).unwrap();
        write().unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
        assert!(place.read().unwrap().is_some());
        assert!(Cache::at("/nonexistent/civ".into()).write(&place.key, b"", place.now).is_err());
    }

    fn chmod(path: &std::path::Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    proptest! {
        #[test]
        fn no_file_makes_the_reader_panic(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                (any::<u64>(), "\\PC{0,40}").prop_map(|(fetched, key)| {
                    serde_json::json!({ "kms": KEY, "fetched": fetched, "publicKey": key })
                        .to_string()
                        .into_bytes()
                }),
            ]
        ) {
            let place = Place::written();
            fs::write(place.file(), bytes).unwrap();
            if let Ok(Some(kept)) = place.read() {
                prop_assert!(kept.age <= KmsCache::OLDEST);
            }
        }
    }
}
