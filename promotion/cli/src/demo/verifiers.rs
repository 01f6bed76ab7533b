//! The node's side of a pull: the verifiers, called as containerd calls them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::{env, fs};

use civ_oci::media_type::OCI_INDEX;
use civ_private_node::verifier::{TIMEOUT, arguments, call, descriptor};

use super::stage::Scene;
use super::table::Verdict;
use crate::failure::{Exit, Failure};

/// The programs that the demo needs.
const NAMES: [&str; 3] =
    ["annotations-image-verifier", "cosign-image-verifier", "digestion-image-verifier"];

/// The verifiers as they are installed on a node.
#[derive(Debug)]
pub(crate) struct Verifiers {
    directory: PathBuf,
}

impl Verifiers {
    /// Those in `directory`; or beside this program; or where `cargo gate` puts them, if this
    /// program was built by cargo.
    pub(crate) fn find(directory: Option<PathBuf>) -> Result<Self, Failure> {
        let candidates = match directory {
            Some(directory) => vec![directory],
            None => near(&env::current_exe().map_err(|error| {
                Failure::new(Exit::Internal, format_args!("this program has no path: {error}"))
                    .hint("say --verifiers DIR")
            })?),
        };
        let complete =
            |directory: &&PathBuf| NAMES.iter().all(|name| directory.join(name).is_file());
        if let Some(directory) = candidates.iter().find(complete) {
            return Ok(Self { directory: directory.clone() });
        }
        let places: Vec<_> = candidates.iter().map(|path| path.display().to_string()).collect();
        let fact = format_args!("{} not found in {}", NAMES.join(", "), places.join(" or "));
        Err(Failure::new(Exit::Key, fact)
            .hint("build them with `cargo gate`, or say --verifiers DIR"))
    }

    /// Each verifier's name and path.
    pub(crate) fn paths(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        NAMES.iter().map(|name| (*name, self.directory.join(name)))
    }

    /// Asks the scene's verifier. Only `-policy` is not containerd's: without it the verifier would
    /// read this machine's own policy.
    pub(crate) fn ask(&self, scene: &Scene, stop: &AtomicBool) -> Result<Verdict, Failure> {
        let program = self.directory.join(format!("{}-image-verifier", scene.verifier));
        let digest = scene.digest.to_string();
        let stdin = descriptor(OCI_INDEX, &digest, scene.size);
        let mut command = Command::new(&program);
        command.args(arguments(&scene.reference, &digest)).arg("-policy").arg(&scene.policy);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let outcome = call(&mut command, stdin, TIMEOUT, stop).map_err(|error| {
            Failure::new(Exit::Key, format_args!("{} cannot be run: {error}", program.display()))
        })?;
        let reason = match outcome.stdout.trim_end() {
            _ if outcome.timed_out => format!("killed after {} s", TIMEOUT.as_secs()),
            "" => "no reason given".to_owned(),
            reason => reason.to_owned(),
        };
        Ok(Verdict { exit: outcome.code, reason, wall: outcome.wall })
    }
}

/// Where they are: beside a program that is installed. Beside one that cargo has built may lie
/// verifiers of another build; `cargo gate` puts its own below the same target directory.
fn near(program: &Path) -> Vec<PathBuf> {
    let here = program.parent().unwrap_or(Path::new("/"));
    let Some(target) = here.parent().filter(|_| here.join("deps").is_dir()) else {
        return vec![here.to_owned()];
    };
    // Below the name of the platform, of which this one's comes first.
    let mut platforms: Vec<_> = fs::read_dir(target)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| target.join(name).join("gate").is_dir())
        .collect();
    platforms.sort_by_key(|name| !name.to_string_lossy().starts_with(env::consts::ARCH));
    let mut places: Vec<_> = platforms.iter().map(|name| target.join(name).join("gate")).collect();
    places.push(target.join("gate"));
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifiers_are_beside_an_installed_program_and_in_cargos_target_directory_beside_a_built_one()
    {
        let target = tempfile::tempdir().unwrap();
        let path = |name: &str| target.path().join(name);
        let other = if env::consts::ARCH == "x86_64" { "aarch64" } else { "x86_64" };
        let own = format!("{}-unknown-linux-musl/gate", env::consts::ARCH);
        let foreign = format!("{other}-unknown-linux-gnu/gate");
        for name in ["debug/deps", &own, &foreign, "bin"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        assert_eq!(near(&path("bin/civ")), [path("bin")]);
        assert_eq!(near(&path("debug/civ")), [path(&own), path(&foreign), path("gate")]);
    }
}
