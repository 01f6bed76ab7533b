//! The same pulls through a containerd of the demo's own.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::{env, fs, io};

use civ_doctor::release::Release;
use civ_private_node::verifier::{TIMEOUT, call};
use civ_private_node::{Containerd, Outcome, Setup, StartError, Stdin};

use super::stage::Stage;
use super::stopped;
use super::table::Verdict;
use super::verifiers::Verifiers;
use crate::failure::{Exit, Failure};

/// A running containerd with the verifiers installed.
#[derive(Debug)]
pub(crate) struct PrivateContainerd {
    containerd: Containerd,
    version: String,
}

/// Why the demo goes on without containerd.
#[derive(Debug)]
pub(crate) struct LeftOut(pub(crate) String);

impl PrivateContainerd {
    /// Starts one, if this machine is fit for it.
    pub(crate) fn start(
        stage: &Stage,
        verifiers: &Verifiers,
        stop: &AtomicBool,
    ) -> Result<Result<Self, LeftOut>, Failure> {
        let version = match usable_version(stop) {
            Ok(version) => version,
            Err(why_not) => return Ok(Err(why_not)),
        };
        let path = env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        let setup = Setup {
            containerd: "containerd".into(),
            ctr: "ctr".into(),
            env: BTreeMap::from([("PATH".to_owned(), path)]),
            config: None,
            before: "",
            files: &[],
        };
        let containerd = match Containerd::start(&setup, stop) {
            Ok(containerd) => containerd,
            Err(StartError::Stopped) => return Err(stopped()),
            Err(error) => return Ok(Err(LeftOut(error.to_string()))),
        };
        if let Err(error) = furnish(&containerd, stage, verifiers) {
            return Ok(Err(LeftOut(format!("its verifiers cannot be installed: {error}"))));
        }
        Ok(Ok(Self { containerd, version }))
    }

    /// What `containerd --version` calls itself.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// `ctr images pull`, through the transfer service, which asks the verifiers.
    pub(crate) fn pull(&self, reference: &str, stop: &AtomicBool) -> Result<Verdict, Failure> {
        let pulled = self.containerd.pull(reference, stop);
        let no_verdict = |why: String| {
            let fact = format!("containerd gave no verdict on {reference}: {why}");
            Err(Failure::new(Exit::Registry, fact))
        };
        match pulled {
            Ok(outcome) => verdict(&outcome).map_or_else(no_verdict, Ok),
            Err(error) => no_verdict(format!("ctr cannot be run: {error}")),
        }
    }
}

fn furnish(containerd: &Containerd, stage: &Stage, verifiers: &Verifiers) -> io::Result<()> {
    for (plugin, policy) in stage.policies() {
        containerd.set_policy(plugin, &fs::read(policy)?)?;
    }
    for (name, executable) in verifiers.paths() {
        containerd.install(&executable, name)?;
    }
    Ok(())
}

/// What a pull says of the verifiers' verdict: that it has come in, or that one rejected it. All else
/// that can go wrong with a pull is no verdict.
fn verdict(pull: &Outcome) -> Result<Verdict, String> {
    if pull.code == Some(0) {
        return Ok(Verdict { exit: Some(0), reason: "pulled".to_owned(), wall: pull.wall });
    }
    let said = pull.stderr.trim();
    let reason = said.split_once("for reason: ").map(|(_, reason)| reason);
    let rejected = reason.and_then(|reason| {
        let (_, rest) = reason.split_once(" rejected image (exit code ")?;
        let (exit, _) = rest.split_once(')')?;
        Some((exit.parse().ok()?, reason.lines().next()?.to_owned()))
    });
    match rejected {
        Some((exit, reason)) => Ok(Verdict { exit: Some(exit), reason, wall: pull.wall }),
        None if said.is_empty() => Err(format!("ctr ended with {:?} and said nothing", pull.code)),
        None => Err(said.lines().last().unwrap_or(said).to_owned()),
    }
}

fn usable_version(stop: &AtomicBool) -> Result<String, LeftOut> {
    if !rustix::process::geteuid().is_root() {
        return Err(LeftOut("it needs root".to_owned()));
    }
    let ask = |program| {
        call(Command::new(program).arg("--version"), Stdin::Null, TIMEOUT, stop)
            .map_err(|error| absent(program, &error))
    };
    let version = version_of("containerd", &ask("containerd")?)?;
    ask("ctr")?;
    Ok(version)
}

fn absent(program: &str, error: &io::Error) -> LeftOut {
    LeftOut(match error.kind() {
        io::ErrorKind::NotFound => format!("{program} is not installed"),
        _ => format!("{program} cannot be run: {error}"),
    })
}

/// The version that `PROGRAM --version` prints, such as
/// `containerd github.com/containerd/containerd/v2 2.1.9`, if verifiers are asked by it.
fn version_of(program: &str, answer: &Outcome) -> Result<String, LeftOut> {
    let is_answer = answer.code == Some(0);
    let text = if is_answer { &answer.stdout } else { &answer.stderr };
    let first = text.lines().next().unwrap_or("nothing").trim();
    if !is_answer {
        return Err(LeftOut(format!("{program} cannot be run; it said: {first}")));
    }
    // After it comes the commit, if it is known.
    let number = first.split_whitespace().nth(2).unwrap_or_default();
    match number.parse::<Release>() {
        Ok(release) if release.verifies() => Ok(format!("{program} {number}")),
        Ok(_) => Err(LeftOut(format!("{program} {number} asks no verifiers; 2.1 does"))),
        Err(_) => Err(LeftOut(format!("{program} does not say its version but: {first}"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outcome(code: Option<i32>, stdout: &str, stderr: &str) -> Outcome {
        let (stdout, stderr) = (stdout.to_owned(), stderr.to_owned());
        Outcome { code, stdout, stderr, wall: Duration::ZERO, timed_out: false }
    }

    #[test]
    fn only_a_verifiers_rejection_is_a_verdict() {
        let pull = |code, stderr: &str| outcome(code, "", stderr);
        let blocked = "ctr: image verifier bindir blocked pull of x with digest y for reason: ";
        let (one, four) = (
            "verifier cosign-image-verifier rejected image (exit code 1): no signature",
            "verifier cosign-image-verifier rejected image (exit code 4): registry down",
        );
        for (code, stderr, expected) in [
            (Some(0), String::new(), Ok((0, "pulled"))),
            (Some(1), format!("{blocked}{one}\n"), Ok((1, one))),
            (Some(1), format!("{blocked}{four}\n"), Ok((4, four))),
            (
                Some(1),
                "WARN\nctr: cannot access socket /s\n".into(),
                Err("ctr: cannot access socket /s"),
            ),
            (
                Some(1),
                format!("{blocked}failed to call verifier x"),
                Err("failed to call verifier x"),
            ),
            (Some(1), one.into(), Err(one)),
            (None, String::new(), Err("said nothing")),
        ] {
            match (verdict(&pull(code, &stderr)), expected) {
                (Ok(found), Ok((exit, reason))) => {
                    assert_eq!((found.exit, &*found.reason), (Some(exit), reason));
                }
                (Err(found), Err(words)) => assert!(found.contains(words), "{found}"),
                (found, _) => panic!("{stderr}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_containerd_that_is_of_no_use_says_why() {
        let name = "containerd github.com/containerd/containerd/v2 ";
        for (exit, text, expected) in [
            (0, format!("{name}2.1.9+unknown \n"), Ok("containerd 2.1.9+unknown")),
            (0, format!("{name}v2.2.0 1234abcd\n"), Ok("containerd v2.2.0")),
            (0, format!("{name}1.7.24"), Err("containerd 1.7.24 asks no verifiers; 2.1 does")),
            (0, "hello\n".into(), Err("containerd does not say its version but: hello")),
            (0, String::new(), Err("containerd does not say its version but: nothing")),
            (
                3,
                "no such library\n".into(),
                Err("containerd cannot be run; it said: no such library"),
            ),
        ] {
            let (stdout, stderr) = if exit == 0 { (&*text, "") } else { ("", &*text) };
            let found = version_of("containerd", &outcome(Some(exit), stdout, stderr));
            let found = found.map_err(|LeftOut(why)| why);
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        }
    }
}
