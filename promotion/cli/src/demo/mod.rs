//! `civ demo`: the main job on one machine, with everything real but the registry's size.
//!
//! It exists so that a newcomer sees within a minute what the gate refuses and why, and so that an
//! operator can watch the same executables that go onto nodes. A verdict other than the expected
//! one fails the demo.

mod containerd;
mod node;
mod stage;
mod table;

use std::path::PathBuf;

use anyhow::Context as _;

use crate::failure::{Exit, Failure};

use containerd::PrivateContainerd;
use node::Verifiers;
use stage::Stage;

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
    /// Runs the demo: success if every verdict is the expected one.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        self.show().await.map_err(|error| Failure::new(Exit::Internal, format_args!("{error:#}")))
    }

    async fn show(self) -> anyhow::Result<Exit> {
        let verifiers = Verifiers::find(self.verifiers)?;
        let stage = Stage::set().await.context("the demo's registry could not be set up")?;
        println!("A registry on {} holds these images; each is now pulled.\n", stage.host());

        println!("Called as containerd calls them (fork, exec, argv, stdin, 10 s, 32 KiB):");
        let mut as_expected = true;
        let mut rows = Vec::new();
        for scene in stage.scenes() {
            let verdict = verifiers.ask(scene)?;
            as_expected &= verdict.allowed == scene.allowed;
            rows.push(table::Row::new(scene, scene.verifier, verdict));
        }
        table::print(&rows);

        if self.no_containerd {
            return Ok(exit(as_expected));
        }
        match PrivateContainerd::start(&stage, &verifiers)? {
            Err(why_not) => println!("\nThe same through containerd: left out, {why_not}."),
            Ok(containerd) => {
                println!("\nThe same through {} and ctr pull:", containerd.version());
                let mut rows = Vec::new();
                for scene in stage.pulls() {
                    let verdict = containerd.pull(&scene.reference)?;
                    as_expected &= verdict.allowed == scene.allowed;
                    rows.push(table::Row::new(scene, "containerd", verdict));
                }
                table::print(&rows);
            }
        }
        Ok(exit(as_expected))
    }
}

fn exit(as_expected: bool) -> Exit {
    if as_expected {
        println!("\nEvery verdict is the expected one.");
        Exit::Success
    } else {
        println!("\nA verdict is not the expected one; please report it.");
        Exit::Refused
    }
}
