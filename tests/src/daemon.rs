//! A server that lives as long as its value, and no longer than the test.
//!
//! A test that panics drops its servers; one that is killed does not. So each is also started
//! through `setpriv --pdeathsig`: the kernel ends it with the *thread* that started it. Start a
//! server in the thread that uses it, never in one that ends earlier.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// A running server.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// The system's programs, wherever the developer's shell looks for them.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command whose process dies with the thread that starts it. The environment is empty but for
/// PATH: what the developer's shell says must not decide a test.
pub(crate) fn command(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command.env_clear().env("PATH", PATH);
    command
}

impl Daemon {
    /// Starts `command` in a process group of its own, with stdout and stderr going to files.
    pub(crate) fn spawn(
        name: &'static str,
        command: &mut Command,
        stdout: &Path,
        stderr: &Path,
    ) -> Self {
        let create = |path| File::create(path).expect("a log file in a directory of ours");
        let child = command
            .stdin(Stdio::null())
            .stdout(create(stdout))
            .stderr(create(stderr))
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error} ({command:?})"));
        Self { name, child, log: stderr.to_owned() }
    }

    /// What `ready` finds, asked until it finds something; a panic with the server's log when the
    /// server ends or 30 s have passed.
    pub(crate) fn wait_for<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = ready() {
                return found;
            }
            let ended = self.child.try_wait().expect("a child of ours");
            if ended.is_some() || start.elapsed() > Duration::from_secs(30) {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                panic!("{} did not start ({ended:?}). It said:\n{log}", self.name);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A drop has nobody to tell, and what has ended already is no failure.
        let _ = Pid::from_raw(self.child.id().cast_signed())
            .map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.child.wait();
    }
}
