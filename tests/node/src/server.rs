//! A process that lives as long as its value, and no longer than the thread that started it.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// How long the namespaces may take to end.
const END_TIME: Duration = Duration::from_secs(10);

/// The first process of new namespaces, started through `unshare`.
///
/// Killed alone, it takes all others with it and the mounts away, and unshare ends only after the
/// last of them has. A process that is killed drops nothing: hence `setpriv --pdeathsig`, by which
/// the kernel ends unshare with the *thread* that started it, and `--kill-child`.
#[derive(Debug)]
pub(crate) struct Server(Child);

impl Server {
    /// Runs the script by `sh`, in mount and PID namespaces and a process group of its own: what a
    /// terminal says is not for it.
    pub(crate) fn spawn(
        script: &str,
        prepare: impl FnOnce(&mut Command),
        stdout: &Path,
        stderr: &Path,
    ) -> io::Result<Self> {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--", "unshare", "--mount", "--pid", "--fork"])
            .args(["--kill-child=KILL", "--mount-proc", "--propagation", "private"])
            .args(["--", "sh", "-euc", script, "sh"]);
        prepare(&mut command);
        command.process_group(0).stdin(Stdio::null());
        command.stdout(File::create(stdout)?).stderr(File::create(stderr)?);
        Ok(Self(command.spawn()?))
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.0.try_wait()
    }

    /// The first process of the namespaces, as seen from here.
    pub(crate) fn first_process(&self) -> Option<i32> {
        let id = self.0.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        children.split_whitespace().find_map(|id| id.parse().ok())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A drop has nobody to tell, and what has ended already is no failure.
        let start = Instant::now();
        while start.elapsed() < END_TIME {
            if let Some(first) = self.first_process().and_then(Pid::from_raw) {
                let _ = kill_process(first, Signal::KILL);
            }
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = Pid::from_raw(self.0.id().cast_signed())
            .map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.0.wait();
    }
}
