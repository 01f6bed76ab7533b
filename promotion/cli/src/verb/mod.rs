//! The verbs, one module each.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::num::NonZero;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use civ_cosign::TrustPolicy;
use civ_oci::{ImageId, Reference};
use civ_policy::file::POLICY_MAX;
use civ_promotion::{Client, Credentials, Progress, Retry, Signer, promote as promotion};

use crate::args::{Cli, KeyVerb, Verb};
use crate::draw::Drawn;
use crate::failure::{self, Exit, Failure};
use crate::output::Format;
use crate::password::{self, EnvironmentOrTerminal};
use crate::stop::Stop;

pub(crate) mod clean;
pub(crate) mod doctor;
mod key;
pub(crate) mod log;
mod manual;
pub(crate) mod policy;
mod promote;
mod public_key;
mod sign;
mod signatures;
pub(crate) mod tree;
pub(crate) mod triangulate;
mod verify;

/// Does what the command line says.
pub(crate) fn run(cli: Cli) -> Result<Exit, Failure> {
    match cli.verb {
        Verb::Promote(args) => until_stopped(promote::run(args), Some(TO_GO_ON)),
        Verb::Sign(args) => until_stopped(sign::run(args), Some(TO_SIGN_ON)),
        Verb::Verify(args) => until_stopped(verify::run(args), None),
        Verb::PublicKey(args) => until_stopped(public_key::run(args), None),
        Verb::Policy(verb) => policy::run(verb),
        Verb::Key(KeyVerb::Generate(args)) => until_stopped(key::generate(args), None),
        Verb::Tree(args) => until_stopped(tree::run(args), None),
        Verb::Triangulate(args) => until_stopped(triangulate::run(args), None),
        Verb::Clean(args) => until_stopped(clean::run(args), None),
        Verb::Log(args) => until_stopped(aside(|| log::run(args)), None),
        Verb::Doctor(args) => until_done(doctor::run(args)),
        Verb::Demo(demo) => until_done(demo.run()),
        Verb::Completions { shell } => {
            until_stopped(aside(move || manual::completions(shell)), None)
        }
        Verb::Man { directory } => {
            until_stopped(aside(move || manual::pages(directory.as_deref().map(Path::new))), None)
        }
    }
}

/// What to know about a promotion that was stopped: the tag comes last.
const TO_GO_ON: &str = "nothing unsigned was published; run the same command again to go on";
/// What to know about signing that was stopped: what is there is complete.
const TO_SIGN_ON: &str =
    "some signatures may have been written; run the same command again to add the others";

/// What some editors put before UTF-8, and parsers of JSON do not take.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The most threads that do work. More of them make nothing faster that waits for registries, and
/// each takes memory.
const THREADS_MAX: usize = 4;

/// Runs `verb` until it is done or somebody stops it, who then reads `hint`.
fn until_stopped(
    verb: impl Future<Output = Result<Exit, Failure>>,
    hint: Option<&'static str>,
) -> Result<Exit, Failure> {
    until_done(async {
        let mut stop = Stop::listen()?;
        tokio::select! {
            outcome = verb => outcome,
            exit = stop.told() => {
                // Before a password is typed nothing is done.
                let hint = hint.filter(|_| !password::stop_asking());
                let stopped = Failure::new(exit, "stopped");
                Err(match hint {
                    Some(hint) => stopped.hint(hint),
                    None => stopped,
                })
            }
        }
    })
}

/// Runs a verb that waits for files and terminals, on a thread that may. If it is stopped, it ends
/// with the process.
async fn aside(
    verb: impl FnOnce() -> Result<Exit, Failure> + Send + 'static,
) -> Result<Exit, Failure> {
    let done = tokio::task::spawn_blocking(verb).await;
    // A panic has been reported.
    done.unwrap_or(Ok(Exit::Internal))
}

/// Runs `verb`, which sees to signals itself.
fn until_done(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.min(THREADS_MAX))
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Internal, format_args!("cannot start: {error}")))?;
    let outcome = runtime.block_on(verb);
    // Long enough for tasks to stop, too short to wait for a credential helper that hangs.
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
}

/// A client that tells `progress` when a registry keeps it waiting.
fn client(progress: &Arc<dyn Progress>) -> Result<Client, Failure> {
    client_with(Retry::default(), progress)
}

fn client_with(retry: Retry, progress: &Arc<dyn Progress>) -> Result<Client, Failure> {
    let client = Client::new(Credentials::of_user(), retry)
        .map_err(|error| Failure::new(Exit::Internal, format_args!("cannot start: {error}")))?;
    Ok(client.telling(Arc::clone(progress)))
}

/// The image that `reference` stands for today.
async fn find(client: &Client, reference: &Reference) -> Result<ImageId, Failure> {
    match reference.image() {
        Some(image) => Ok(image),
        None => Ok(promotion::find(client, reference).await?),
    }
}

async fn open_key(key: &str) -> Result<Signer, Failure> {
    let fail = |error| failure::of_key(key, &error);
    Signer::open(&key.parse().map_err(fail)?, Arc::new(EnvironmentOrTerminal)).await.map_err(fail)
}

fn load_policy(path: &Path) -> Result<TrustPolicy, Failure> {
    TrustPolicy::parse(&read_policy(path)?).map_err(|error| bad_policy(path, error))
}

/// The bytes of a trust policy; `-` is stdin. Who owns the file and who may write to it matters on a
/// node, not where a policy is made or tried.
fn read_policy(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read_bytes(path)?;
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Err(bad_policy(path, "begins with a byte order mark; save it without"));
    }
    Ok(bytes)
}

/// The bytes of a file that may be a trust policy.
fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let outcome = if is_stdin(path) {
        io::stdin().lock().take(POLICY_MAX + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(POLICY_MAX + 1).read_to_end(&mut bytes))
    };
    outcome.map_err(|error| bad_policy(path, error))?;
    if bytes.len() as u64 > POLICY_MAX {
        return Err(bad_policy(path, format_args!("larger than {POLICY_MAX} bytes")));
    }
    Ok(bytes)
}

/// Does an argument stand for standard input?
fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn bad_policy(path: &Path, problem: impl fmt::Display) -> Failure {
    Failure::new(Exit::Key, format_args!("policy {}: {problem}", path.display()))
}

fn progress(output: Format) -> Arc<dyn Progress> {
    Arc::new(Drawn::to_suit(output))
}
