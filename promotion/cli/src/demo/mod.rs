//! `civ demo`: the main job on one machine, with everything real but the registry's size.
//!
//! It exists so that a newcomer sees within a minute what the gate refuses and why, and so that an
//! operator can watch the same executables that go onto nodes. A verdict other than the expected
//! one, or for another reason, fails the demo.

mod containerd;
mod stage;
mod table;
mod verifiers;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Exit, Failure};
use crate::output::print_lines;
use crate::stop::Stop;

use containerd::{LeftOut, PrivateContainerd};
use stage::{Scene, Stage};
use table::{Table, Verdict, complaint};
use verifiers::Verifiers;

/// Show the gate at work: promote and sign a small image on loopback, then pull it and seven that
/// must be refused.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  cargo gate && cargo demo")]
pub(crate) struct Demo {
    /// Where the verifiers are [default: beside civ, or where `cargo gate` puts them]
    #[arg(long, value_name = "DIR")]
    verifiers: Option<PathBuf>,
    /// Leave containerd out, even where it could be used
    #[arg(long)]
    no_containerd: bool,
}

impl Demo {
    /// Runs the demo: success if every verdict is the expected one. Whoever stops it waits until
    /// nothing of it is left, or stops it again.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let verifiers = Verifiers::find(self.verifiers)?;
        let mut stop = Stop::listen()?;
        let stage = tokio::select! {
            stage = Stage::set() => stage?,
            exit = stop.told() => return Err(Failure::new(exit, "stopped")),
        };
        let is_stopped = Arc::new(AtomicBool::new(false));
        let show = Show {
            stage,
            verifiers,
            through_containerd: !self.no_containerd,
            stop: Arc::clone(&is_stopped),
            complaints: Vec::new(),
        };
        // One thread for all of it: with the thread that starts it, containerd ends.
        let mut show = tokio::task::spawn_blocking(move || show.run());
        let exit = tokio::select! {
            outcome = &mut show => match outcome {
                Ok(outcome) => return outcome,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            },
            exit = stop.told() => exit,
        };
        is_stopped.store(true, Ordering::Relaxed);
        tokio::select! {
            _ = &mut show => {}
            _ = stop.told() => {}
        }
        Err(Failure::new(exit, "stopped"))
    }
}

/// Everything that is shown, on a stage that is set.
struct Show {
    stage: Stage,
    verifiers: Verifiers,
    through_containerd: bool,
    stop: Arc<AtomicBool>,
    /// What was not as expected.
    complaints: Vec<String>,
}

impl Show {
    fn run(mut self) -> Result<Exit, Failure> {
        let host = self.stage.host();
        print_lines([
            &*format!("A registry on {host} holds these images; each is now pulled."),
            "",
            "Called as containerd calls them (fork, exec, argv, stdin, 10 s, 32 KiB), and with -policy:",
        ])?;
        let scenes = self.stage.scenes().to_vec();
        self.show(&scenes, None, |show, scene| show.verifiers.ask(scene, &show.stop))?;
        if self.through_containerd {
            self.pull_through_containerd()?;
        }
        if self.complaints.is_empty() {
            print_lines(["", "Every verdict is the expected one."])?;
            return Ok(Exit::Success);
        }
        print_lines([String::new()].into_iter().chain(self.complaints))?;
        print_lines(["A verdict is not the expected one; please report it."])?;
        Ok(Exit::Refused)
    }

    fn pull_through_containerd(&mut self) -> Result<(), Failure> {
        print_lines([""])?;
        let containerd = match PrivateContainerd::start(&self.stage, &self.verifiers, &self.stop)? {
            Err(LeftOut(why)) => {
                self.go_on()?;
                print_lines([format!("The same through containerd: left out, because {why}.")])?;
                return Ok(());
            }
            Ok(containerd) => containerd,
        };
        print_lines([format!("The same through {} and ctr pull:", containerd.version())])?;
        let pulls = self.stage.pulls();
        self.show(&pulls, Some("containerd"), |show, scene| {
            containerd.pull(&scene.reference, &show.stop)
        })
    }

    /// A table of what is said about each scene: by `asked`, or else by the scene's own verifier.
    fn show(
        &mut self,
        scenes: &[Scene],
        asked: Option<&str>,
        ask: impl Fn(&Self, &Scene) -> Result<Verdict, Failure>,
    ) -> Result<(), Failure> {
        let table = Table::of(scenes);
        print_lines([table.head()])?;
        for scene in scenes {
            let verdict = ask(self, scene)?;
            self.go_on()?;
            let asked = asked.unwrap_or(scene.verifier);
            print_lines([table.row(scene, asked, &verdict)])?;
            if !verdict.is(scene.expected) {
                self.complaints.push(complaint(scene, asked));
            }
        }
        Ok(())
    }

    /// What is cut short says nothing.
    fn go_on(&self) -> Result<(), Failure> {
        if self.stop.load(Ordering::Relaxed) { Err(stopped()) } else { Ok(()) }
    }
}

/// How what is shown ends that was stopped. By which signal, [`Demo::run`] knows.
fn stopped() -> Failure {
    Failure::new(Exit::Interrupted, "stopped")
}
