//! `civ key generate`

use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use civ_promotion::signer::{NewKey, SignerError};
use tempfile::NamedTempFile;

use crate::args::{GenerateKey, KeyKind};
use crate::failure::{Exit, Failure};
use crate::password;

/// Who may read the files, before the umask.
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// On a thread that may wait for a password: when the user stops civ there, it is this thread that gives
/// the terminal its echo back.
pub(super) async fn generate(args: GenerateKey) -> Result<Exit, Failure> {
    let made = tokio::task::spawn_blocking(move || generate_here(&args)).await;
    made.map_err(|_| Failure::new(Exit::Internal, "cannot make a key: a task failed"))?
}

fn generate_here(args: &GenerateKey) -> Result<Exit, Failure> {
    let (private, public) = (with_suffix(&args.prefix, ".key"), with_suffix(&args.prefix, ".pub"));
    for path in [&private, &public] {
        // Before anybody types a password. What counts is that neither is overwritten below.
        if path.symlink_metadata().is_ok() {
            return Err(failed(path, &io::ErrorKind::AlreadyExists.into()));
        }
    }
    let password = password::of_new_key()?;
    let fail = |error: SignerError| Failure::new(Exit::Key, error);
    let key = NewKey::generate(args.kind.into()).map_err(fail)?;
    let pem = key.to_encrypted_pem(&password).map_err(fail)?;
    write_pair((&private, &pem), (&public, &key.public_key().to_pem()))?;
    let mut out = io::stdout().lock();
    writeln!(out, "wrote {} (private key, {}, encrypted)", private.display(), key.public_key())?;
    writeln!(out, "wrote {} (public key)", public.display())?;
    Ok(Exit::Success)
}

/// Both files or neither: each is complete before it gets its name, and the names are taken only if
/// they are free.
fn write_pair(private: (&Path, &str), public: (&Path, &str)) -> Result<(), Failure> {
    let private_file = prepare(private, PRIVATE)?;
    let public_file = prepare(public, PUBLIC)?;
    private_file.persist_noclobber(private.0).map_err(|error| failed(private.0, &error.error))?;
    public_file.persist_noclobber(public.0).map_err(|error| {
        // The one that this process has just put there.
        let _ = fs::remove_file(private.0);
        failed(public.0, &error.error)
    })?;
    Ok(())
}

/// A nameless file beside `path` with all of `content`.
fn prepare((path, content): (&Path, &str), mode: u32) -> Result<NamedTempFile, Failure> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let write = || {
        let permissions = Permissions::from_mode(mode);
        let mut file = tempfile::Builder::new().permissions(permissions).tempfile_in(directory)?;
        file.write_all(content.as_bytes())?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().map_err(|error| failed(path, &error))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    let path = path.display();
    if error.kind() == io::ErrorKind::AlreadyExists {
        let fact = format_args!("{path} is there already; nothing is written");
        return Failure::new(Exit::Key, fact).hint("choose another --output-key-prefix");
    }
    Failure::new(Exit::Key, format_args!("cannot write {path}: {error}"))
}

fn with_suffix(prefix: &Path, suffix: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

impl From<KeyKind> for civ_promotion::signer::KeyKind {
    fn from(kind: KeyKind) -> Self {
        match kind {
            KeyKind::EcdsaP256 => Self::EcdsaP256,
            KeyKind::EcdsaP384 => Self::EcdsaP384,
            KeyKind::EcdsaP521 => Self::EcdsaP521,
            KeyKind::Ed25519 => Self::Ed25519,
            KeyKind::Rsa4096 => Self::Rsa4096,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_taken_meanwhile_is_left_alone_and_no_half_pair_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (private, public) = (directory.path().join("k.key"), directory.path().join("k.pub"));
        let names = || fs::read_dir(directory.path()).unwrap().count();
        for taken in [&private, &public] {
            fs::write(taken, "theirs").unwrap();
            write_pair((&private, "private"), (&public, "public")).unwrap_err();
            assert_eq!(fs::read_to_string(taken).unwrap(), "theirs");
            assert_eq!(names(), 1);
            fs::remove_file(taken).unwrap();
        }
        write_pair((&private, "private"), (&public, "public")).unwrap();
        assert_eq!(fs::read_to_string(&private).unwrap(), "private");
        assert_eq!(fs::read_to_string(&public).unwrap(), "public");
        assert_eq!(names(), 2);
    }
}
