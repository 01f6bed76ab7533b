//! What a configuration means for the gate: is the plugin on that calls verifiers, which directory,
//! how many, how long; and does CRI pull by way of it.
//!
//! CRI pulls through the transfer service, which calls verifiers, unless it finds a setting that the
//! transfer service does not have (`CheckLocalImagePullConfigs` in `internal/cri/config/config.go`).
//! Then it pulls by itself, with one line in the log and without any verifier.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Config, Node, Table, duration, value};
use crate::finding::{Code, Finding, Severity};
use crate::release::Release;

/// The plugin that calls verifiers.
pub const BINDIR: &str = "io.containerd.image-verifier.v1.bindir";
/// The plugin that pulls for CRI.
pub const CRI_IMAGES: &str = "io.containerd.cri.v1.images";
/// CRI's own plugin, and where versions 1 and 2 keep all of CRI's settings.
pub const CRI: &str = "io.containerd.grpc.v1.cri";
/// The service that asks the verifiers.
pub const TRANSFER: &str = "io.containerd.transfer.v1.local";
/// The plugin that listens, from version 4.
const SERVER: &str = "io.containerd.server.v1.grpc";
/// Where containerd looks for verifiers unless it is told.
pub const DEFAULT_BIN_DIR: &str = "/opt/containerd/image-verifier/bin";
/// Where containerd listens unless it is told.
pub const DEFAULT_ADDRESS: &str = "/run/containerd/containerd.sock";
/// How many verifiers containerd calls unless it is told.
const DEFAULT_MAX_VERIFIERS: i64 = 10;
/// How long containerd waits for a verifier unless it is told, in nanoseconds.
const DEFAULT_TIMEOUT: i64 = 10_000_000_000;
/// A verifier of civ's answers within this time, by refusing if need be.
const OUR_DEADLINE: Duration = Duration::from_secs(8);

/// What of a configuration other checks go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the verifiers are. Relative to containerd's own directory, if it is relative.
    pub bin_dir: PathBuf,
    /// Where that is set.
    pub bin_dir_set: Option<Node>,
    /// How many of them are called: those that sort first. `None` for all.
    pub max_verifiers: Option<usize>,
    /// Where that is set.
    pub max_verifiers_set: Option<Node>,
}

/// Where containerd listens. Version 4 keeps that with a plugin.
pub fn address(config: &Config) -> &str {
    let set = config.setting(SERVER, "address").or(config.address.as_ref());
    set.and_then(Node::text).filter(|text| !text.is_empty()).unwrap_or(DEFAULT_ADDRESS)
}

/// Judges `config`, for a containerd of that release if it is known.
pub fn judge(config: &Config, release: Option<Release>) -> (Settings, Vec<Finding>) {
    let mut findings = plugins(config, release);
    let (settings, more) = bindir(config);
    findings.extend(more);
    let none = Table::new();
    let images = config.plugins.get(CRI_IMAGES).and_then(Node::table).unwrap_or(&none);
    let mut bypasses = bypasses(images);
    let mut doubtful: Vec<Finding> = config.doubtful.iter().flat_map(self::bypasses).collect();
    doubtful.retain(|finding| bypasses.iter().all(|known| known.code != finding.code));
    doubtful.dedup();
    bypasses.extend(doubtful.into_iter().map(|finding| {
        let fact = format_args!("{}; some releases heed it where it stands", finding.fact);
        let mend =
            format_args!("{}; write one version in all files", finding.mend.unwrap_or_default());
        Finding::new(finding.severity, Code::ConfigDoubtful, fact).at(finding.at).mend(mend)
    }));
    let by_others = |finding: &Finding| {
        matches!(finding.code, Code::BindirPlugin | Code::CriDisabled)
            && finding.severity != Severity::Ok
    };
    let verifies = release.is_none_or(Release::verifies) && !findings.iter().any(by_others);
    if bypasses.is_empty() && verifies {
        let fact = "CRI pulls through the transfer service, which asks the verifiers";
        bypasses.push(Finding::new(Severity::Ok, Code::CriTransfer, fact));
    }
    findings.extend(bypasses);
    (settings, findings)
}

fn plugins(config: &Config, release: Option<Release>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for plugin in [BINDIR, TRANSFER, CRI, CRI_IMAGES] {
        let Some(node) = config.disables(plugin) else { continue };
        let finding = match plugin {
            BINDIR => {
                let fact = if release.is_some_and(Release::needs_the_bindir_plugin) {
                    "the plugin that calls verifiers is disabled: CRI does not work, and nothing is verified"
                } else {
                    "the plugin that calls verifiers is disabled: nothing is verified"
                };
                Finding::new(Severity::Failure, Code::BindirPlugin, fact)
            }
            TRANSFER => Finding::new(
                Severity::Failure,
                Code::BindirPlugin,
                "the transfer service, which asks the verifiers, is disabled",
            ),
            _ => Finding::new(
                Severity::Note,
                Code::CriDisabled,
                "CRI is disabled: kubelet cannot use this containerd",
            ),
        };
        let remedy = format_args!("take {plugin:?} out of disabled_plugins and restart containerd");
        findings.push(finding.at(node.at.clone()).mend(remedy));
    }
    for node in &config.disabled {
        if node.text().is_none_or(|text| !text.contains('.')) {
            let fact =
                "containerd does not start: an entry of disabled_plugins is no plugin's full name";
            let finding = Finding::new(Severity::Failure, Code::ConfigInvalid, fact);
            findings.push(finding.at(node.at.clone()).mend("write it as io.containerd.TYPE.vN.ID"));
        }
    }
    if !findings.iter().any(|finding| finding.code == Code::BindirPlugin) {
        let fact = "the plugin that calls verifiers is on";
        findings.push(Finding::new(Severity::Ok, Code::BindirPlugin, fact));
    }
    findings
}

fn bindir(config: &Config) -> (Settings, Vec<Finding>) {
    let mut findings = Vec::new();
    let bin_dir_set = config.setting(BINDIR, "bin_dir").cloned();
    let bin_dir = match &bin_dir_set {
        None => DEFAULT_BIN_DIR.to_owned(),
        Some(node) => node.text().map_or_else(
            || {
                findings.push(wrong_type(node, "bin_dir"));
                String::new()
            },
            str::to_owned,
        ),
    };
    let max_verifiers_set = config.setting(BINDIR, "max_verifiers").cloned();
    let max_verifiers = max_verifiers_set.as_ref().map_or(DEFAULT_MAX_VERIFIERS, |node| {
        node.integer().unwrap_or_else(|| {
            findings.push(wrong_type(node, "max_verifiers"));
            0
        })
    });
    findings.push(timeout(config.setting(BINDIR, "per_verifier_timeout")));
    let settings = Settings {
        bin_dir: bin_dir.into(),
        bin_dir_set,
        max_verifiers: usize::try_from(max_verifiers).ok(),
        max_verifiers_set,
    };
    (settings, findings)
}

fn timeout(set: Option<&Node>) -> Finding {
    let nanoseconds = match set {
        None => Some(DEFAULT_TIMEOUT),
        Some(node) => node.integer().or_else(|| duration::parse(node.text()?)),
    };
    let Some(nanoseconds) = nanoseconds else {
        let finding = set.map(|node| wrong_type(node, "per_verifier_timeout"));
        return finding.unwrap_or_else(|| {
            Finding::new(Severity::Ok, Code::BindirTimeout, "containerd waits 10 s for a verifier")
        });
    };
    let time = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
    let finding = if time > OUR_DEADLINE {
        let fact =
            format_args!("containerd waits {time:?} for a verifier, which takes 8 s at most");
        Finding::new(Severity::Ok, Code::BindirTimeout, fact)
    } else {
        let fact = format_args!(
            "containerd kills a verifier after {time:?}, which may take 8 s: the pull fails and no reason is given"
        );
        Finding::new(Severity::Blocked, Code::BindirTimeout, fact)
            .mend("set per_verifier_timeout = \"10s\" and restart containerd")
    };
    finding.at(set.map(|node| node.at.clone()))
}

fn wrong_type(node: &Node, name: &str) -> Finding {
    let accepted = match name {
        "bin_dir" => "a string",
        "max_verifiers" | "max_concurrent_downloads" => "an integer",
        "per_verifier_timeout" => "a duration as \"10s\"",
        "registry" | "mirrors" | "configs" | "auths" => "a table",
        _ => "true or false",
    };
    let fact = format_args!("containerd does not start: {name} is of another type");
    Finding::new(Severity::Failure, Code::ConfigInvalid, fact)
        .at(node.at.clone())
        .mend(format_args!("make {name} {accepted}"))
}

/// The settings in CRI's table for images that make CRI pull by itself.
fn bypasses(images: &Table) -> Vec<Finding> {
    let mut found = Vec::new();
    let flags = [
        ("use_local_image_pull", true, Code::CriUseLocalImagePull),
        ("disable_snapshot_annotations", false, Code::CriDisableSnapshotAnnotations),
        ("discard_unpacked_layers", true, Code::CriDiscardUnpackedLayers),
        ("image_pull_with_sync_fs", true, Code::CriImagePullWithSyncFs),
    ];
    for (name, bypassing, code) in flags {
        let Some(node) = value::field(images, name) else { continue };
        match node.bool() {
            Some(set) if set == bypassing => {
                found.push(bypass(node, code, &format!("{name} = {set}"), name));
            }
            Some(_) => {}
            None => found.push(wrong_type(node, name)),
        }
    }
    let registry = value::field_table(images, "registry").unwrap_or_else(|node| {
        found.push(wrong_type(node, "registry"));
        Table::new()
    });
    let tables = [
        ("mirrors", Code::CriRegistryMirrors),
        ("configs", Code::CriRegistryConfigs),
        ("auths", Code::CriRegistryAuths),
    ];
    for (name, code) in tables {
        match value::field_table(&registry, name) {
            // The place of an entry, since a table may be written in several places.
            Ok(table) => {
                found.extend(table.values().next().map(|entry| {
                    bypass(entry, code, &format!("registry.{name} is not empty"), name)
                }));
            }
            Err(node) => found.push(wrong_type(node, name)),
        }
    }
    if let Some(node) = value::field(images, "max_concurrent_downloads") {
        match node.integer() {
            Some(3) => {}
            Some(set) => {
                let fact = format!("max_concurrent_downloads = {set}");
                found.push(bypass(
                    node,
                    Code::CriMaxConcurrentDownloads,
                    &fact,
                    "max_concurrent_downloads",
                ));
            }
            None => found.push(wrong_type(node, "max_concurrent_downloads")),
        }
    }
    found
}

fn bypass(node: &Node, code: Code, what: &str, name: &str) -> Finding {
    let fact = format_args!("{what}: CRI pulls by itself, and no verifier is asked");
    let instead = match code {
        Code::CriUseLocalImagePull | Code::CriDiscardUnpackedLayers | Code::CriImagePullWithSyncFs => {
            format!("remove {name}")
        }
        Code::CriDisableSnapshotAnnotations => {
            "remove disable_snapshot_annotations; a remote snapshotter is told by enable_remote_snapshot_annotations in its own exports".to_owned()
        }
        Code::CriMaxConcurrentDownloads => {
            format!("set it in [plugins.{TRANSFER:?}] instead")
        }
        _ => format!("remove registry.{name} and use registry.config_path with hosts.toml files"),
    };
    Finding::new(Severity::Failure, code, fact)
        .at(node.at.clone())
        .mend(format_args!("{instead}, and restart containerd"))
}

#[cfg(test)]
mod tests;
