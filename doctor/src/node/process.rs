//! The containerd that runs: its command line says which configuration it reads, its environment
//! where its verifiers find credentials. Only root's processes count, and only those that see the
//! files that are examined: a containerd in a container, or a user's, is another.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::Root;
use crate::examine::DEFAULT_CONFIG;

/// The most of a process's command line or environment that is read, in bytes.
const PROC_MAX: u64 = 1 << 20;

/// The kernel counts the time of processes in these, whatever its own clock.
const TICKS_PER_SECOND: u64 = 100;

/// Why the process at the other end of a socket is not the containerd of the node examined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSeen {
    /// It is in another PID namespace, or /proc is that of another.
    #[error("its process cannot be seen from here")]
    Hidden,
    /// It is not called containerd.
    #[error("process {pid} answers there, which is {name:?} and not containerd")]
    Stranger {
        /// Its process id.
        pid: u32,
        /// What it is called.
        name: String,
    },
    /// It does not run as root.
    #[error("process {pid} answers there, which is not root's")]
    Rootless {
        /// Its process id.
        pid: u32,
    },
    /// It has another root directory, or other mounts.
    #[error("process {pid} answers there, which sees other files than are examined")]
    Elsewhere {
        /// Its process id.
        pid: u32,
    },
}

/// A running containerd.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// Its process id.
    pub pid: u32,
    /// What `--config` says.
    pub config: Option<PathBuf>,
    /// What `--address` says.
    pub address: Option<PathBuf>,
}

impl Running {
    /// Every containerd of root's in /proc that sees the files below `root`, by process id.
    pub fn find(root: &Root) -> Vec<Self> {
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        let ids =
            processes.flatten().filter_map(|process| process.file_name().to_str()?.parse().ok());
        let mut found: Vec<Self> = ids.filter_map(|pid| Self::at(pid, root).ok()).collect();
        found.sort_unstable_by_key(|running| running.pid);
        found
    }

    /// The containerd of the node whose files are below `root`, if process `pid` is that.
    pub fn at(pid: u32, root: &Root) -> Result<Self, NotSeen> {
        // Ids of one PID namespace mean nothing in the /proc of another.
        let here = fs::read_link("/proc/self").ok();
        let own = std::process::id().to_string();
        if pid == 0 || here.is_none_or(|here| here != Path::new(&own)) {
            return Err(NotSeen::Hidden);
        }
        let process = directory(pid);
        let name = read(&process.join("comm")).ok_or(NotSeen::Hidden)?;
        if name.trim_ascii() != b"containerd" {
            let name = String::from_utf8_lossy(name.trim_ascii()).into_owned();
            return Err(NotSeen::Stranger { pid, name });
        }
        let status = read(&process.join("status")).ok_or(NotSeen::Hidden)?;
        if effective_user(&status) != Some(0) {
            return Err(NotSeen::Rootless { pid });
        }
        if !sees(&process, root) {
            return Err(NotSeen::Elsewhere { pid });
        }
        let line = read(&process.join("cmdline")).ok_or(NotSeen::Hidden)?;
        let arguments: Vec<&OsStr> = split(&line).collect();
        let mut running = Self { pid, ..Self::of_arguments(&arguments) };
        if let Ok(directory) = fs::read_link(process.join("cwd")) {
            // What is absolute stays as it is.
            running.config = running.config.map(|path| directory.join(path));
            running.address = running.address.map(|path| directory.join(path));
        }
        if !running.has_its_configuration_from(root) {
            return Err(NotSeen::Elsewhere { pid });
        }
        Ok(running)
    }

    /// The configuration that it reads.
    pub fn config(&self) -> &Path {
        self.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))
    }

    /// Is the configuration below `root` the same file for this process? Its mounts may differ where the
    /// root directory is the same.
    fn has_its_configuration_from(&self, root: &Root) -> bool {
        let resolved = root.resolve(self.config()).unwrap_or_else(|_| self.config().to_owned());
        let theirs = directory(self.pid).join("root");
        let theirs = resolved.strip_prefix("/").map(|path| theirs.join(path));
        let theirs =
            theirs.ok().and_then(|path| fs::symlink_metadata(path).ok()).as_ref().map(identity);
        theirs == fs::symlink_metadata(root.join(&resolved)).ok().as_ref().map(identity)
    }

    /// When it was started, by today's clock, to a few hundredths of a second.
    pub fn started(&self) -> Option<SystemTime> {
        let stat = read(&directory(self.pid).join("stat"))?;
        let stat = String::from_utf8_lossy(&stat).into_owned();
        // The name of a process may hold anything, parentheses included.
        let (_, fields) = stat.rsplit_once(')')?;
        let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
        let uptime = read(Path::new("/proc/uptime"))?;
        let uptime = String::from_utf8_lossy(&uptime).into_owned();
        let (seconds, hundredths) = uptime.split_ascii_whitespace().next()?.split_once('.')?;
        let uptime = Duration::from_secs(seconds.parse().ok()?)
            + Duration::from_millis(10 * hundredths.parse::<u64>().ok()?);
        let age = uptime.saturating_sub(Duration::from_millis(1000 / TICKS_PER_SECOND * ticks));
        SystemTime::now().checked_sub(age)
    }

    /// What a command line says, which urfave/cli reads: one dash or two, a value after `=` or as the
    /// next argument.
    fn of_arguments(arguments: &[&OsStr]) -> Self {
        let value = |names: [&str; 2]| {
            let mut found = None;
            let mut rest = arguments.iter().skip(1);
            while let Some(argument) = rest.next() {
                let Some(text) = argument.to_str() else { continue };
                let (name, inline) = match text.split_once('=') {
                    Some((name, value)) => (name, Some(OsString::from(value))),
                    None => (text, None),
                };
                if name.starts_with('-') && names.contains(&name.trim_start_matches('-')) {
                    found = inline.or_else(|| rest.next().map(|next| (*next).to_owned()));
                }
            }
            found.map(PathBuf::from)
        };
        Self { pid: 0, config: value(["config", "c"]), address: value(["address", "a"]) }
    }

    /// The environment that its verifiers inherit. Empty if we may not read it.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let bytes = read(&directory(self.pid).join("environ"));
        let bytes = bytes.unwrap_or_default();
        split(&bytes)
            .filter_map(|variable| {
                let bytes = variable.as_bytes();
                let at = bytes.iter().position(|byte| *byte == b'=')?;
                let (name, value) = bytes.split_at_checked(at)?;
                let value = value.strip_prefix(b"=")?;
                Some((OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()))
            })
            .collect()
    }
}

fn directory(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// Does the process see the files below `root`? With our own root, it also has to have our mounts.
fn sees(process: &Path, root: &Root) -> bool {
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    if root.is_own()
        && namespace(process).is_none_or(|of| Some(of) != namespace("/proc/self".as_ref()))
    {
        return false;
    }
    let theirs = fs::metadata(process.join("root")).ok();
    let examined = fs::metadata(root.join(Path::new("/"))).ok();
    theirs.is_some() && theirs.as_ref().map(identity) == examined.as_ref().map(identity)
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The effective user of `/proc/PID/status`.
fn effective_user(status: &[u8]) -> Option<u32> {
    let text = String::from_utf8_lossy(status);
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(PROC_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn split(bytes: &[u8]) -> impl Iterator<Item = &OsStr> {
    bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty()).map(OsStr::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_user_counts() {
        let status = b"Name:\tcontainerd\nUid:\t1000\t0\t1000\t0\nGid:\t1\t1\t1\t1\n";
        assert_eq!(effective_user(status), Some(0));
        assert_eq!(effective_user(b"Name:\tUid\n"), None);
    }

    #[test]
    fn the_command_line_names_the_configuration() {
        for (line, config, address) in [
            (&["containerd"][..], None, None),
            (&["containerd", "--config", "/a.toml"], Some("/a.toml"), None),
            (&["containerd", "-c", "/a.toml", "-a", "/s"], Some("/a.toml"), Some("/s")),
            (&["containerd", "--config=/a.toml", "--address=/s"], Some("/a.toml"), Some("/s")),
            (&["containerd", "-config", "/a", "-c=/b"], Some("/b"), None),
            (&["containerd", "--config"], None, None),
        ] {
            let arguments: Vec<&OsStr> = line.iter().map(OsStr::new).collect();
            let running = Running::of_arguments(&arguments);
            assert_eq!(running.config.as_deref(), config.map(Path::new), "{line:?}");
            assert_eq!(running.address.as_deref(), address.map(Path::new), "{line:?}");
        }
    }
}
