//! Calling a verifier as containerd does (`pkg/imageverifier/bindir`): fork and exec, three flags,
//! the descriptor on stdin, a process group of its own, SIGKILL to the group after 10 s, 32 KiB of
//! stdout as the reason.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use civ_oci::media_type::OCI_DESCRIPTOR;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::json;

/// containerd's `per_verifier_timeout`.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// What containerd keeps of a verifier's stdout, in bytes.
pub const STDOUT_MAX: u64 = 32 << 10;
/// How often a wait looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(20);
/// How long what was killed may take to end: a child in a group of its own holds the output open.
const GRACE: Duration = Duration::from_secs(1);

/// What a verifier finds on its stdin.
#[derive(Debug, Clone)]
pub enum Stdin {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// Nothing, and never the end.
    Open,
    /// Spaces without end, which a JSON parser skips.
    Endless,
    /// No file descriptor to speak of: /dev/null.
    Null,
}

/// How a call ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// The reason, at most [`STDOUT_MAX`] bytes of it.
    pub stdout: String,
    /// The log.
    pub stderr: String,
    /// From the start to the end of the process and of its output.
    pub wall: Duration,
    /// Whether it, or a child holding its stdout, was still there when the time was up, or when it
    /// was to stop.
    pub timed_out: bool,
}

/// The flags of a call about a pull of `name`, which resolved to `digest`.
pub fn arguments<'a>(name: &'a str, digest: &'a str) -> [&'a str; 6] {
    ["-name", name, "-digest", digest, "-stdin-media-type", OCI_DESCRIPTOR]
}

/// What the call has on stdin: the descriptor of what is pulled, its `size` in bytes.
pub fn descriptor(media_type: &str, digest: &str, size: u64) -> Stdin {
    let descriptor = json!({ "mediaType": media_type, "digest": digest, "size": size });
    Stdin::Bytes(descriptor.to_string().into_bytes())
}

/// Runs `command` with this stdin until it ends, and nothing holds its output any more; until
/// `limit` has passed; or until `stop` is set.
pub fn call(
    command: &mut Command,
    stdin: Stdin,
    limit: Duration,
    stop: &AtomicBool,
) -> io::Result<Outcome> {
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.stdin(if matches!(stdin, Stdin::Null) { Stdio::null() } else { Stdio::piped() });
    let start = Instant::now();
    let mut child = command.spawn()?;
    let group = Pid::from_raw(child.id().cast_signed());

    // Kept until the end: a stdin that is open stays open.
    let feeder = feed(&mut child, stdin);
    let ending = wait_aside(child);
    let mut ended = wait(&ending, start + limit, stop);
    let timed_out = ended.is_none();
    if timed_out {
        // It may end by itself at this very moment.
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        ended = ending.recv_timeout(GRACE).ok();
    }
    let wall = start.elapsed();
    drop(feeder);
    let (status, stdout, stderr) = match ended {
        Some(ended) => ended.map(|(status, out, err)| (status.code(), out, err))?,
        None => (None, Vec::new(), Vec::new()),
    };
    Ok(Outcome {
        code: status,
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        wall,
        timed_out,
    })
}

/// A process's end, and what it wrote to stdout and stderr.
type Ended = io::Result<(ExitStatus, Vec<u8>, Vec<u8>)>;

/// Waits in threads for the end of the process and of its output.
fn wait_aside(mut child: Child) -> Receiver<Ended> {
    let (done, ending) = mpsc::channel();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (heard, log) = mpsc::channel();
    thread::spawn(move || {
        let mut all = Vec::new();
        let read = err.map_or(Ok(0), |mut err| err.read_to_end(&mut all));
        let _ = heard.send(read.map(|_| all));
    });
    thread::spawn(move || {
        let end = || {
            let mut kept = Vec::new();
            if let Some(mut out) = out {
                out.by_ref().take(STDOUT_MAX).read_to_end(&mut kept)?;
                // containerd goes on reading, so that nothing blocks that says too much.
                io::copy(&mut out, &mut io::sink())?;
            }
            let log = log.recv().map_err(io::Error::other)??;
            Ok((child.wait()?, kept, log))
        };
        let _ = done.send(end());
    });
    ending
}

fn wait(ending: &Receiver<Ended>, until: Instant, stop: &AtomicBool) -> Option<Ended> {
    while !stop.load(Ordering::Relaxed) {
        let left = until.saturating_duration_since(Instant::now());
        match ending.recv_timeout(left.min(LOOK)) {
            Ok(ended) => return Some(ended),
            Err(RecvTimeoutError::Timeout) if left > LOOK => {}
            Err(_) => return None,
        }
    }
    None
}

/// Writes to the child's stdin from a thread, as it may never be read. What is returned keeps the
/// pipe open.
fn feed(child: &mut Child, stdin: Stdin) -> Option<mpsc::Sender<()>> {
    let mut pipe = child.stdin.take()?;
    let (open, over) = mpsc::channel();
    thread::spawn(move || match stdin {
        // A verifier that has seen enough closes its end: that is not this thread's concern.
        Stdin::Bytes(bytes) => {
            let _ = pipe.write_all(&bytes);
        }
        Stdin::Endless => while pipe.write_all(&[b' '; 4096]).is_ok() {},
        Stdin::Open => {
            let _ = over.recv();
        }
        Stdin::Null => {}
    });
    Some(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    static NEVER: AtomicBool = AtomicBool::new(false);

    fn shell(body: &str, stdin: Stdin, limit: Duration, stop: &AtomicBool) -> Outcome {
        call(Command::new("/bin/sh").args(["-c", body]), stdin, limit, stop).unwrap()
    }

    #[test]
    fn a_call_ends_like_containerds() {
        let input = Stdin::Bytes(b"reason".into());
        let outcome = shell("cat; echo log >&2; exit 7", input, TIMEOUT, &NEVER);
        assert_eq!((outcome.code, outcome.timed_out), (Some(7), false));
        assert_eq!((&*outcome.stdout, &*outcome.stderr), ("reason", "log\n"));

        let outcome = shell("head -c 100000 /dev/zero", Stdin::Endless, TIMEOUT, &NEVER);
        assert_eq!((outcome.code, outcome.stdout.len()), (Some(0), 32 * 1024));
    }

    #[test]
    fn the_time_limit_ends_a_reader_of_open_stdin_and_a_child_that_holds_stdout() {
        let limit = Duration::from_millis(200);
        let outcome = shell("exec cat", Stdin::Open, limit, &NEVER);
        assert_eq!((outcome.code, outcome.timed_out), (None, true));

        for holder in ["sleep 60 & exit 0", "sleep 60 >&2 & exit 0"] {
            let outcome = shell(holder, Stdin::Null, limit, &NEVER);
            assert_eq!((outcome.code, outcome.timed_out), (Some(0), true));
        }
    }

    #[test]
    fn a_verifier_that_closes_its_output_and_lives_is_killed() {
        let body = "exec >&- 2>&-; exec sleep 60";
        let outcome = shell(body, Stdin::Null, Duration::from_millis(200), &NEVER);
        assert_eq!((outcome.code, outcome.timed_out), (None, true));
    }

    #[test]
    fn the_wait_is_over_when_it_is_to_stop() {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| stop.store(true, Ordering::Relaxed));
            let outcome = shell("exec sleep 600", Stdin::Null, 60 * TIMEOUT, &stop);
            assert_eq!((outcome.code, outcome.timed_out), (None, true));
        });
    }
}
