//! A real registry: docker-registry (distribution 2.8), which most private registries descend from.
//!
//! It has no referrers API, so it also shows the fallback tags. Its access log counts the requests
//! that a verdict costs.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use crate::{
    daemon::{self, Daemon},
    programs, scratch,
};

/// A registry on a loopback port, with nothing in it.
#[derive(Debug)]
pub struct DockerRegistry {
    server: Option<Daemon>,
    address: String,
    access_log: PathBuf,
    kind: Kind,
    directory: TempDir,
}

/// How a registry is set up.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// What is pushed is gone when it stops.
    InMemory,
    /// What is pushed is still there when it starts again.
    OnDisk,
    /// In memory, and for [`USER`] alone.
    ForUser,
}

/// The user whom a registry with users knows, and the password.
pub const USER: (&str, &str) = ("user", "canary");
/// The same, as `htpasswd -B` writes it.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuuRprvAQdy7TukEWRpyjPPFyNaLWFtNea\n";

/// One line of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// GET, HEAD, …
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The status of the response.
    pub status: u16,
    /// Who asked.
    pub user_agent: String,
}

impl DockerRegistry {
    /// Starts one, and returns when it answers.
    pub fn start() -> Self {
        Self::of(Kind::InMemory)
    }

    /// Starts one that can be stopped and started again.
    pub fn start_on_disk() -> Self {
        Self::of(Kind::OnDisk)
    }

    /// Starts one that answers [`USER`] alone.
    pub fn start_for_user() -> Self {
        Self::of(Kind::ForUser)
    }

    /// Ends it, in the middle of whatever it does.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it again, at the same address.
    pub fn restart(&mut self) {
        self.kill();
        let (server, _) = Self::serve(self.kind, &self.directory, &self.address);
        self.server = Some(server);
    }

    fn of(kind: Kind) -> Self {
        let directory = scratch::directory();
        let (server, address) = Self::serve(kind, &directory, "127.0.0.1:0");
        let access_log = directory.path().join("access.log");
        Self { server: Some(server), address, access_log, kind, directory }
    }

    fn serve(kind: Kind, directory: &TempDir, address: &str) -> (Daemon, String) {
        let path = |name| directory.path().join(name);
        let (config, access_log, log) =
            (path("config.yml"), path("access.log"), path("registry.log"));
        let (users, store) = (path("htpasswd"), path("store"));
        let storage = match kind {
            Kind::OnDisk => format!("filesystem: {{rootdirectory: '{}'}}", store.display()),
            Kind::InMemory | Kind::ForUser => "inmemory: {}".to_owned(),
        };
        let auth = match kind {
            Kind::ForUser => {
                format!("auth: {{htpasswd: {{realm: r, path: '{}'}}}}\n", users.display())
            }
            Kind::InMemory | Kind::OnDisk => String::new(),
        };
        fs::write(&users, HTPASSWD).expect("a file in a directory of ours");
        fs::write(
            &config,
            format!(
                "version: 0.1\n\
                 storage: {{{storage}, delete: {{enabled: true}}}}\n\
                 {auth}http: {{addr: '{address}'}}\n"
            ),
        )
        .expect("a configuration in a directory of ours");
        let mut command = daemon::command(&programs::find("docker-registry"));
        command.arg("serve").arg(&config);
        let mut server = Daemon::spawn("docker-registry", &mut command, &access_log, &log);
        // It has bound the port by the time it names it, so a client that comes now is served.
        let address = server.wait_for(|| {
            let log = fs::read_to_string(&log).ok()?;
            let (_, rest) = log.split_once("listening on ")?;
            rest.split_once(['"', ',']).map(|(address, _)| address.to_owned())
        });
        (server, address)
    }

    /// `127.0.0.1:PORT`, as it stands at the start of a reference.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// All requests so far, oldest first.
    pub fn requests(&self) -> Vec<Request> {
        let log = fs::read_to_string(&self.access_log).expect("the access log");
        log.lines()
            .map(|line| parse(line).unwrap_or_else(|| panic!("not Apache's: {line}")))
            .collect()
    }

    /// How many requests have been made so far.
    pub fn count(&self) -> usize {
        self.requests().len()
    }
}

/// `127.0.0.1 - - [21/Nov/2026:22:24:37 +0000] "GET /v2/ HTTP/1.1" 200 2 "referer" "user agent"`
fn parse(line: &str) -> Option<Request> {
    let mut quoted = line.split('"');
    let mut request = quoted.nth(1)?.split(' ');
    let status = quoted.next()?.split_whitespace().next()?.parse().ok()?;
    Some(Request {
        method: request.next()?.to_owned(),
        target: request.next()?.to_owned(),
        status,
        user_agent: quoted.nth(2)?.to_owned(),
    })
}
