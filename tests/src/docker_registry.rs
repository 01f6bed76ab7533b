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
    _server: Daemon,
    address: String,
    access_log: PathBuf,
    _directory: TempDir,
}

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
        let directory = scratch::directory();
        let config = directory.path().join("config.yml");
        let access_log = directory.path().join("access.log");
        let log = directory.path().join("registry.log");
        fs::write(
            &config,
            "version: 0.1\n\
             storage: {inmemory: {}, delete: {enabled: true}}\n\
             http: {addr: '127.0.0.1:0'}\n",
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
        Self { _server: server, address, access_log, _directory: directory }
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
