//! From the call to the exit code, whatever happens in between.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt as _;
use std::panic::PanicHookInfo;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use civ_oci::ImageId;
use civ_oci::text::one_line;
use civ_policy::deadline::{VERDICT_MAX, WORK_MAX};
use civ_policy::{Exit, Level, Observer as _, Refusal, Verdict};

use crate::call::Claims;
use crate::{Call, PluginName, Record, Request, output};

/// kubelet shows the reason in an event of limited length, behind containerd's own words.
const REASON_MAX: usize = 300;
/// So that the place of a panic still fits in.
const PANIC_MAX: usize = 180;

/// The field of the record in which a decision notes the level of the statement that it goes by.
const LEVEL: &str = "level";

/// A verifier's fixed texts.
#[derive(Clone, Copy, Debug)]
pub struct Verifier {
    /// The program's name as released.
    pub name: &'static str,
    /// The program's version.
    pub version: &'static str,
    /// What it does, in one sentence, for `--help`.
    pub about: &'static str,
    /// Whether it resolves names, and so runs code of the C library's that reads the environment.
    pub resolves_names: bool,
    /// The variables that it reads. None of them may be able to turn a refusal into an allow; all
    /// others are gone before it resolves a name.
    pub keeps: &'static [&'static str],
}

/// Enough for waiting. Given here, it is not taken from `RUST_MIN_STACK`.
pub(crate) const SMALL_STACK: usize = 128 << 10;

/// Answers the call that this process is: reads argv and stdin, asks `decide`, prints the reason,
/// and ends the process.
///
/// A panic anywhere ends in a refusal (70), and so does running out of time (5), unless it is on record
/// by then that the statement for the image has level `audit`.
pub fn answer(
    verifier: Verifier,
    decide: impl FnOnce(&Request, &Record) -> Result<Verdict, Refusal>,
) -> ExitCode {
    let started = Instant::now();
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_default();
    let session = Session::start(verifier, &program, started);
    let clean =
        if verifier.resolves_names { shed_environment(&program, verifier.keeps) } else { Ok(()) };
    let arguments: Vec<_> = arguments.collect();
    let claims = Claims::of(&arguments);
    let call = match Call::parse(arguments) {
        Ok(Call::Help) => return session.tell(&help(verifier)),
        Ok(Call::Version) => {
            return session.tell(&format!("{} {}\n", verifier.name, verifier.version));
        }
        other => other,
    };

    let plugin = PluginName::of_program(&program);
    if let Ok(plugin) = &plugin {
        session.record.set("plugin", plugin);
    }
    // Whatever comes of the call, it is on record what it claims to be about.
    claims.tell(&session.record);
    if let Err(refusal) = clean {
        session.end(Err(refusal));
    }
    let arguments = match call {
        Ok(Call::Verify(arguments)) => arguments,
        Ok(Call::Help | Call::Version) => return ExitCode::from(Exit::Internal as u8),
        Err(error) => session.end(Err(Refusal::bad_call(error))),
    };
    let image = arguments.name.repository.image(arguments.digest.clone());
    session.watch_deadline(image);
    session.record.set("image", &arguments.name);
    session.record.set("digest", &arguments.digest);
    let outcome = plugin
        .map_err(Refusal::bad_call)
        .and_then(|plugin| Request::read(arguments, &plugin, started + WORK_MAX))
        .and_then(|request| decide(&request, &session.record));
    session.end(outcome)
}

/// Starts this program anew with no environment but the variables in `keeps`, if it has more.
///
/// containerd hands on its own environment. Our code reads none of it but what is kept, but a static
/// glibc loads plugins for name resolution from `LD_LIBRARY_PATH`, and resolvers take settings from
/// variables. After this, none of them can change a verdict.
fn shed_environment(program: &OsStr, keeps: &[&str]) -> Result<(), Refusal> {
    let is_kept = |name: &OsStr| keeps.iter().any(|kept| name == *kept);
    if std::env::vars_os().all(|(name, _)| is_kept(&name)) {
        return Ok(());
    }
    let arguments = std::env::args_os().skip(1);
    let kept = std::env::vars_os().filter(|(name, _)| is_kept(name));
    let mut anew = Command::new("/proc/self/exe");
    let error = anew.arg0(program).args(arguments).env_clear().envs(kept).exec();
    Err(Refusal::internal(format_args!(
        "cannot start anew without an environment: {error}; is /proc mounted?"
    )))
}

/// What the threads that may end the process share. The first to end it decides.
#[derive(Clone)]
struct Session {
    program: String,
    deadline: Instant,
    record: Record,
    ended: Arc<AtomicBool>,
}

impl Session {
    /// From here on a panic ends in a refusal.
    fn start(verifier: Verifier, program: &OsStr, started: Instant) -> Self {
        let file_name = Path::new(program).file_name().unwrap_or_default();
        let session = Self {
            program: one_line(&file_name.to_string_lossy(), 100),
            deadline: started + VERDICT_MAX,
            record: Record::new(started),
            ended: Arc::default(),
        };
        let on_panic = session.clone();
        std::panic::set_hook(Box::new(move |panic| on_panic.panicked(panic)));
        session.record.set("version", &verifier.version);
        session.record.counter("requests");
        session
    }

    /// Says what it was, and where: the defect may be this machine's, such as no thread to be had.
    fn panicked(&self, panic: &PanicHookInfo<'_>) -> ! {
        // A panic while the verdict was being written: nothing can be said any more.
        if self.ended.load(Ordering::SeqCst) {
            std::process::exit(Exit::Internal as i32);
        }
        let message = panic.payload_as_str().unwrap_or("a value that is no text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        self.record.set_at_once("panic", &format_args!("{message} (at {place})"));
        self.record.step("panic", &[("message", &message), ("place", &place)]);
        // The path is that of whoever built this.
        let file = Path::new(&place).file_name().unwrap_or_default().to_string_lossy();
        let message = one_line(message, PANIC_MAX);
        self.end(Err(Refusal::internal(format_args!(
            "internal error: {message} (at {file}); please report it"
        ))))
    }

    fn watch_deadline(&self, image: ImageId) {
        let session = self.clone();
        let watch = move || {
            thread::sleep(session.deadline.saturating_duration_since(Instant::now()));
            session.end(session.out_of_time(&image))
        };
        if let Err(error) = thread::Builder::new().stack_size(SMALL_STACK).spawn(watch) {
            self.end(Err(Refusal::internal(format_args!("no thread to be had: {error}"))));
        }
    }

    /// The verdict on `image` when there is none in time. The level comes on record when the policy
    /// has been read, is valid, and has a statement for the image; until then it counts as strict.
    fn out_of_time(&self, image: &ImageId) -> Result<Verdict, Refusal> {
        let is_audit = self.record.says(LEVEL, &Level::Audit);
        let level = if is_audit { Level::Audit } else { Level::Strict };
        let reason = format_args!("no verdict within {} s", VERDICT_MAX.as_secs()).to_string();
        Verdict::at_level(level, image, Err(Refusal::deadline(reason)))
    }

    /// Prints the reason, writes the record, and ends the process.
    fn end(&self, outcome: Result<Verdict, Refusal>) -> ! {
        if self.ended.swap(true, Ordering::SeqCst) {
            loop {
                thread::park();
            }
        }
        let (mut verdict, mut exit, reason) = match outcome {
            Ok(verdict) => match verdict.audited() {
                None => ("allow", Exit::Allow, verdict.reason().to_owned()),
                Some(exit) => {
                    self.record.count("audited_exit", exit as u64);
                    ("audit", Exit::Allow, verdict.reason().to_owned())
                }
            },
            Err(refusal) => ("refuse", refusal.exit, refusal.reason),
        };
        let mut reason = one_line(&reason, REASON_MAX);
        let printed = output::print(&format!("{reason}\n"), self.deadline);
        // An allowed pull must be on record at least in containerd's view: if even stdout fails,
        // something is wrong with this node.
        if let (Err(error), Exit::Allow) = (printed, exit) {
            (verdict, exit) = ("refuse", Exit::Internal);
            reason = format!("stdout cannot be written: {error}; would have said: {reason}");
        }
        self.record.finish(&self.program, exit, verdict, &reason);
        std::process::exit(exit as i32)
    }

    /// Prints what is no verdict.
    fn tell(&self, text: &str) -> ExitCode {
        match output::print(text, self.deadline) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(Exit::Internal as u8),
        }
    }
}

fn help(verifier: Verifier) -> String {
    let Verifier { name, version, about, .. } = verifier;
    format!(
        "{name} {version}
{about}

containerd runs this program before each pull, from its image-verifier directory:
    {name} -name REF -digest DIGEST -stdin-media-type TYPE

To try a policy by hand:
    {name} -policy trustpolicy.json -name REF -digest DIGEST

Without -policy it reads /etc/containerd/image-verifiers/<plugin>/trustpolicy.json, where <plugin>
is the name of this file less \"-image-verifier\".

Exit: 0 allow, 1 refused by policy, 2 bad call, 3 bad policy, 4 registry, 5 deadline, 70 internal.
The reason is on stdout, one line; what happened is on stderr and in the system log.
"
    )
}
