//! `civ demo` with a temporary directory of its own, and all that it could leave behind.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::programs::{self, Finished};
use crate::{civ, daemon, gate};

const VERIFIERS: [&str; 3] =
    ["annotations-image-verifier", "cosign-image-verifier", "digestion-image-verifier"];

/// Time for what must happen, on a machine that is busy.
const PATIENCE: Duration = Duration::from_mins(2);

/// Verifiers that do not do what they should, as shell scripts; `$real` is the one that does. The demo
/// must fail with each.
pub const WRONG: [(&str, &str); 6] = [
    ("allows everything", "exit 0"),
    (
        "refuses everything, and never at a loss for a reason",
        r#"echo 'unsigned: no signature; signature invalid: not made by "release"; signature is for another repository; annotation missing; digest not listed; annotation "team" missing from the index'; exit 1"#,
    ),
    ("answers to nothing", "echo 'registry down'; exit 4"),
    (
        "refuses what it should, for another reason",
        r#"reason=$("$real" "$@") && echo "$reason" && exit 0; echo 'registry down'; exit 1"#,
    ),
    (
        "refuses what it should, with another exit code",
        r#"reason=$("$real" "$@") && echo "$reason" && exit 0; echo "$reason"; exit 4"#,
    ),
    (
        "allows what is unsigned, and is right otherwise",
        r#"case "$*" in *prod/unsigned:*) exit 0;; esac; exec "$real" "$@""#,
    ),
];

/// A `civ demo` that has not been started.
#[derive(Debug)]
pub struct Demo {
    directory: TempDir,
}

/// A `civ demo` that runs, in a process group of its own.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    said: String,
}

impl Default for Demo {
    fn default() -> Self {
        Self::new()
    }
}

impl Demo {
    /// With the verifiers that `cargo gate` builds.
    pub fn new() -> Self {
        let demo = Self::with_no_verifiers();
        for name in VERIFIERS {
            programs::install(&gate::executable(name), &demo.verifier(name), &demo.path("staging"));
        }
        demo
    }

    /// With this shell script in place of each verifier.
    pub fn with_script(body: &str) -> Self {
        let demo = Self::with_no_verifiers();
        for name in VERIFIERS {
            let real = gate::executable(name);
            let script = format!("#!/bin/sh\nreal='{}'\n{body}\n", real.display());
            fs::write(demo.path("script"), script).expect("a file in a directory of ours");
            programs::install(&demo.path("script"), &demo.verifier(name), &demo.path("staging"));
        }
        demo
    }

    /// With nothing to call.
    pub fn with_no_verifiers() -> Self {
        let mode = Permissions::from_mode(0o700);
        let directory = tempfile::Builder::new().prefix("civ-").permissions(mode).tempdir();
        let directory = directory.expect("a temporary directory");
        for name in ["tmp", "staging", "verifiers"] {
            let created = DirBuilder::new().mode(0o700).create(directory.path().join(name));
            created.expect("a directory in a directory of ours");
        }
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn verifier(&self, name: &str) -> PathBuf {
        self.path("verifiers").join(name)
    }

    /// Where it puts what it needs: its `TMPDIR`.
    pub fn temporary(&self) -> PathBuf {
        self.path("tmp")
    }

    /// The command, with these programs before those of the system.
    pub fn command(&self, programs: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(civ::executable());
        command.args(["demo", "--verifiers"]).arg(self.path("verifiers")).args(arguments);
        self.around(&mut command, programs);
        command
    }

    /// The same below another program, such as a shell: it finds the command in its arguments.
    pub fn command_below(&self, outer: &[&str], programs: &Path, arguments: &[&str]) -> Command {
        let (program, before) = outer.split_first().expect("a program");
        let mut command = Command::new(program);
        command.args(before).arg(civ::executable()).args(["demo", "--verifiers"]);
        command.arg(self.path("verifiers")).args(arguments);
        self.around(&mut command, programs);
        command
    }

    fn around(&self, command: &mut Command, programs: &Path) {
        let path = format!("{}:{}", programs.display(), daemon::PATH);
        command.env_clear().env("PATH", path).env("TMPDIR", self.temporary());
    }

    /// Runs it to its end, without containerd.
    pub fn run(&self) -> Finished {
        programs::run(&mut self.command(Path::new("/bin"), &["--no-containerd"]))
    }

    /// Starts it.
    pub fn start(&self, command: &mut Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("civ can be run");
        let stdout = BufReader::new(child.stdout.take().expect("a piped stdout"));
        Running { child, stdout, said: String::new() }
    }

    /// Waits until something named like this lies in its `TMPDIR`.
    pub fn wait_for_directory(&self, matches: impl Fn(&str) -> bool) {
        wait_for("a directory", || entries(&self.temporary()).iter().any(|name| matches(name)));
    }

    /// Panics unless no directory, process or mount of it is there.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        assert_eq!(entries(&self.temporary()), [""; 0]);
        assert_eq!(self.processes(), [0; 0]);
    }

    /// Waits until no process of it is there: for one that was killed, and saw to nothing itself.
    pub fn wait_until_no_process(&self) {
        wait_for("no process", || self.processes().is_empty());
    }

    /// The processes that name the directory in their command line, or see a mount in it.
    pub fn processes(&self) -> Vec<i32> {
        let directory = self.directory.path().to_str().expect("a path in UTF-8").as_bytes();
        let mentions = |id: i32, file: &str| {
            let text = fs::read(format!("/proc/{id}/{file}")).unwrap_or_default();
            text.windows(directory.len()).any(|window| window == directory)
        };
        entries(Path::new("/proc"))
            .iter()
            .filter_map(|name| name.parse().ok())
            .filter(|id| mentions(*id, "cmdline") || mentions(*id, "mountinfo"))
            .collect()
    }

    /// Kills the containerd that it has started.
    pub fn kill_containerd(&self) {
        let is_containerd = |id: &i32| {
            let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
            name.trim() == "containerd"
        };
        let id = self.processes().into_iter().find(is_containerd).expect("a containerd");
        kill_process(Pid::from_raw(id).expect("an id"), Signal::KILL).expect("a process of ours");
    }
}

impl Running {
    /// Reads on until a line has these words in it.
    #[track_caller]
    pub fn wait_for(&mut self, words: &str) {
        loop {
            let mut line = String::new();
            let length = self.stdout.read_line(&mut line).expect("a readable pipe");
            assert!(length > 0, "it ended before it said {words:?}: {}", self.said);
            self.said.push_str(&line);
            if line.contains(words) {
                return;
            }
        }
    }

    /// Sends a signal to it alone.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).expect("a process of ours");
    }

    /// Sends a signal to its process group, as a terminal does.
    pub fn signal_all(&self, signal: Signal) {
        kill_process_group(self.id(), signal).expect("a process of ours");
    }

    /// Waits for its end, and returns all it said.
    pub fn finish(mut self) -> Finished {
        let mut stderr = String::new();
        self.stdout.read_to_string(&mut self.said).expect("a readable pipe");
        let mut pipe = self.child.stderr.take().expect("a piped stderr");
        pipe.read_to_string(&mut stderr).expect("a readable pipe");
        let code = self.child.wait().expect("a child of ours").code();
        Finished { code, stdout: std::mem::take(&mut self.said), stderr }
    }

    fn id(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed()).expect("the id of a child")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[track_caller]
fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_there() {
        assert!(start.elapsed() < PATIENCE, "{what} is not there");
        thread::sleep(Duration::from_millis(2));
    }
}
