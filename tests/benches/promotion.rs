//! What a promotion costs, beside what others need for the copy alone, in one run on one machine:
//! `cargo bench -p civ-tests --bench promotion`, after `cargo build --release -p civ` and
//! `tests/programs`.
//!
//! An image of 320 MB in eight layers goes from one real registry on loopback to another, empty one.
//! civ also signs it in both of cosign's formats, verifies that with the gate's code, and tags last;
//! `crane copy` and `oras copy` only copy. A last line is civ once more, for an image that is there and
//! signed already. This measures and prints; no time is asserted.
//!
//! - Wall, CPU: from before the fork until the process is reaped; user and system time as wait4 says.
//! - Peak memory: the largest resident set as wait4 says it. It includes what is mapped of the
//!   program's own file.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a bench that cannot do its work ends, by a panic that says what to do"
)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use civ_embedded_registry::image::{Fixture as _, LargeImage};
use civ_tests::civ::{self, Civ};
use civ_tests::docker_registry::DockerRegistry;
use civ_tests::programs;
use civ_tests::signing::Kind;
use wait4::Wait4 as _;

/// How often each program copies, in turn with the others.
const ROUNDS: usize = 3;
const LAYERS: usize = 8;
const LAYER_BYTES: u64 = 40_000_000;

/// A program, and how it brings the image to a place.
struct Contender<'a> {
    name: &'static str,
    /// It is run against a registry that has the image from a run before.
    again: bool,
    command: &'a dyn Fn(&str) -> Command,
}

/// What some runs cost.
#[derive(Default)]
struct Costs {
    walls: Vec<Duration>,
    cpus: Vec<Duration>,
    peaks: Vec<u64>,
}

fn main() {
    let source = DockerRegistry::start();
    let image = LargeImage::new("bench", LAYERS, LAYER_BYTES);
    image.push(source.address(), "team/app", "1").expect("the registry takes an image");
    let from = format!("{}/team/app:1", source.address());
    let home = Civ::new();
    let key = home.new_key("key.pem", Kind::P256);
    let copy_with = |program: PathBuf, arguments: &[&str], to: &str| {
        let mut command = Command::new(program);
        command.args(arguments).args([&from, to]).env_clear().env("HOME", home.path("."));
        command
    };
    let executable = civ::executable();
    assert!(executable.ends_with("release/civ"), "run `cargo build --release -p civ`");
    let civ = |to: &str| {
        let mut command = copy_with(executable.clone(), &["promote"], to);
        command.arg("--key").arg(&key);
        command
    };
    let crane = |to: &str| copy_with(programs::find("crane"), &["copy"], to);
    let oras = |to: &str| {
        let plain = ["copy", "--from-plain-http", "--to-plain-http"];
        copy_with(programs::find("oras"), &plain, to)
    };
    let contenders = [
        Contender { name: "civ promote: copy, sign, verify, tag", again: false, command: &civ },
        Contender { name: "crane copy", again: false, command: &crane },
        Contender { name: "oras copy", again: false, command: &oras },
        Contender { name: "civ promote, again", again: true, command: &civ },
    ];
    println!("{LAYERS} layers of {} MB, {ROUNDS} rounds; medians\n", LAYER_BYTES / 1_000_000);
    let mut costs: Vec<Costs> = contenders.iter().map(|_| Costs::default()).collect();
    for _ in 0..ROUNDS {
        for (contender, costs) in contenders.iter().zip(&mut costs) {
            let destination = DockerRegistry::start();
            let to = format!("{}/prod/app:1", destination.address());
            if contender.again {
                Costs::default().add(contender, &to);
            }
            costs.add(contender, &to);
        }
    }
    println!("{:38}  {:>8}  {:>8}  {:>11}", "", "wall", "CPU", "peak memory");
    for (contender, costs) in contenders.iter().zip(&mut costs) {
        println!(
            "{:38}  {:>6.2} s  {:>6.2} s  {:>8} MB",
            contender.name,
            median(&mut costs.walls).as_secs_f64(),
            median(&mut costs.cpus).as_secs_f64(),
            median(&mut costs.peaks) / 1_000_000,
        );
    }
}

impl Costs {
    /// Runs it once, to its end.
    fn add(&mut self, contender: &Contender<'_>, to: &str) {
        let mut command = (contender.command)(to);
        let start = Instant::now();
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot run {}: {error}", contender.name));
        let ended = child.wait4().expect("a child of ours");
        assert!(ended.status.success(), "{} fails: {command:?}: {}", contender.name, ended.status);
        self.walls.push(start.elapsed());
        self.cpus.push(ended.rusage.utime + ended.rusage.stime);
        self.peaks.push(ended.rusage.maxrss);
    }
}

fn median<T: Ord + Copy>(values: &mut [T]) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}
