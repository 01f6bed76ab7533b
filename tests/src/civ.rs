//! The command line as a user runs it: `civ`, with a home of its own.

use std::{collections::BTreeMap, env, path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::{
    programs::{self, Finished},
    scratch,
    signing::{Key, Kind},
};

/// A `civ` with an empty home, so that no credentials of the developer's play a part.
#[derive(Debug)]
pub struct Civ {
    home: TempDir,
    env: BTreeMap<String, String>,
}

impl Default for Civ {
    fn default() -> Self {
        Self::new()
    }
}

impl Civ {
    /// With an empty home.
    pub fn new() -> Self {
        Self { home: scratch::directory(), env: BTreeMap::new() }
    }

    /// With more in its environment, e.g. [`Kms::env`](crate::kms::Kms::env).
    #[must_use]
    pub fn with_env(mut self, env: BTreeMap<String, String>) -> Self {
        self.env.extend(env);
        self
    }

    /// Runs it. Its directory is the home.
    pub fn run<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Finished {
        programs::run(self.at_home(Command::new(executable()).args(arguments)))
    }

    /// Runs it on a terminal, where its questions get these answers. What the terminal shows is
    /// `stdout`.
    pub fn run_on_a_terminal<'a>(
        &self,
        arguments: impl IntoIterator<Item = &'a str>,
        answers: &[&str],
    ) -> Finished {
        let script = self.write("terminal.py", include_str!("terminal.py"));
        let python = programs::directory().join("venv/bin/python");
        let mut command = Command::new(python);
        command.arg(script).args(answers).arg("--").arg(executable()).args(arguments);
        programs::run(self.at_home(&mut command))
    }

    fn at_home<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let home = self.home.path();
        command.current_dir(home).env_clear().env("HOME", home).envs(&self.env)
    }

    /// A file in the home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file into the home, and returns its path.
    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::write(&path, content).expect("a file in a directory of ours");
        path
    }

    /// A new private key in a file.
    pub fn new_key(&self, name: &str, kind: Kind) -> PathBuf {
        self.write(name, &Key::generate(kind).private_pem())
    }
}

/// `civ` beside the test programs: `target/debug/civ` for `target/debug/deps/…`. A bench, which is in
/// `target/release/deps`, takes that one if there is no other.
pub fn executable() -> PathBuf {
    let test = env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("a test is in target/<profile>/deps");
    let found = [profile.join("civ"), profile.with_file_name("debug").join("civ")];
    let path = found.iter().find(|path| path.is_file());
    path.unwrap_or_else(|| panic!("{} not found: run `cargo build -p civ`", found[0].display()))
        .clone()
}
