//! The containerd that runs: its command line says which configuration it reads, its environment
//! where its verifiers find credentials.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// The most of a process's command line or environment that is read, in bytes.
const PROC_MAX: u64 = 1 << 20;

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
    /// Every containerd in /proc that sees the same files as we do; any, if `anywhere`.
    pub fn find(anywhere: bool) -> Vec<Self> {
        let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
        let ours = fs::read_link("/proc/self/ns/mnt").ok();
        let mut found: Vec<Self> = processes
            .flatten()
            .filter_map(|process| {
                let pid = process.file_name().to_str()?.parse().ok()?;
                let path = process.path();
                let is_here = anywhere || fs::read_link(path.join("ns/mnt")).ok() == ours;
                let comm = read(&path.join("comm")).filter(|_| is_here)?;
                if comm.trim_ascii() != b"containerd" {
                    return None;
                }
                let line = read(&path.join("cmdline"))?;
                let arguments: Vec<&OsStr> = split(&line).collect();
                Some(Self { pid, ..Self::of_arguments(&arguments) })
            })
            .collect();
        found.sort_unstable_by_key(|running| running.pid);
        found
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
        let bytes = read(&Path::new("/proc").join(self.pid.to_string()).join("environ"));
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
