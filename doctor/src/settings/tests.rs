use std::path::Path;

use super::*;
use crate::config::Files;

struct One<'a>(&'a str);

impl Files for One<'_> {
    fn read(&self, _: &Path) -> std::io::Result<Vec<u8>> {
        Ok(self.0.as_bytes().to_vec())
    }

    fn names(&self, _: &Path) -> Vec<String> {
        Vec::new()
    }
}

fn judged(text: &str) -> (Settings, Vec<Finding>) {
    judge(&Config::load(&One(&format!("version = 3\n{text}")), Path::new("/c.toml")), None)
}

/// The findings that are not as they should be.
fn problems(text: &str) -> Vec<(Severity, Code, Option<usize>)> {
    let (_, findings) = judged(text);
    let bad = findings.iter().filter(|finding| finding.severity > Severity::Warning);
    bad.map(|f| (f.severity, f.code, f.at.as_ref().and_then(|at| at.line))).collect()
}

#[test]
fn each_setting_that_makes_cri_pull_by_itself_is_found_with_its_line() {
    for (setting, code) in [
        ("use_local_image_pull = true", Code::CriUseLocalImagePull),
        ("disable_snapshot_annotations = false", Code::CriDisableSnapshotAnnotations),
        ("discard_unpacked_layers = true", Code::CriDiscardUnpackedLayers),
        ("image_pull_with_sync_fs = true", Code::CriImagePullWithSyncFs),
        ("max_concurrent_downloads = 0", Code::CriMaxConcurrentDownloads),
        ("max_concurrent_downloads = 10", Code::CriMaxConcurrentDownloads),
        ("registry.mirrors.'docker.io'.endpoint = ['https://m']", Code::CriRegistryMirrors),
        ("registry.mirrors.x = {}", Code::CriRegistryMirrors),
        ("registry.configs.r.auth.username = 'u'", Code::CriRegistryConfigs),
        ("registry.auths.'https://r'.username = 'u'", Code::CriRegistryAuths),
        ("use_local_image_pull = 'yes'", Code::ConfigInvalid),
    ] {
        let text = format!("[plugins.'{CRI_IMAGES}']\nsnapshotter = 'native'\n{setting}");
        assert_eq!(problems(&text), [(Severity::Failure, code, Some(4))], "{setting}");
    }
}

#[test]
fn defaults_and_settings_of_the_transfer_service_are_no_bypass() {
    for setting in [
        "",
        "use_local_image_pull = false",
        "disable_snapshot_annotations = true",
        "max_concurrent_downloads = 3",
        "registry.mirrors = {}",
        "registry.config_path = '/etc/containerd/certs.d'",
        "runtime_platforms.kata.snapshotter = 'devmapper'",
        "image_pull_progress_timeout = '1m'",
    ] {
        let text = format!(
            "[plugins.'{CRI_IMAGES}']\n{setting}\n[plugins.'{TRANSFER}']\nmax_concurrent_downloads = 10"
        );
        assert_eq!(problems(&text), [], "{setting}");
    }
}

#[test]
fn what_some_releases_heed_is_a_failure_too() {
    let text = format!("[plugins.'{CRI}']\nmax_concurrent_downloads = 7");
    assert_eq!(problems(&text), [(Severity::Failure, Code::ConfigDoubtful, Some(3))]);
}

#[test]
fn a_verifier_must_have_more_time_than_it_takes() {
    for (time, blocked) in [
        ("'10s'", false),
        ("'8001ms'", false),
        ("'8s'", true),
        ("'5s'", true),
        ("'-1s'", true),
        // Nanoseconds, to containerd.
        ("10", true),
        ("20000000000", false),
    ] {
        let found = problems(&format!("[plugins.'{BINDIR}']\nper_verifier_timeout = {time}"));
        let expected = [(Severity::Blocked, Code::BindirTimeout, Some(3))];
        assert_eq!(found, if blocked { &expected[..] } else { &[] }, "{time}");
    }
    let wrong = problems(&format!("[plugins.'{BINDIR}']\nper_verifier_timeout = 'soon'"));
    assert_eq!(wrong, [(Severity::Failure, Code::ConfigInvalid, Some(3))]);
}

#[test]
fn a_disabled_plugin_is_found_wherever_it_is_listed() {
    for plugin in [BINDIR, TRANSFER] {
        let found =
            problems(&format!("disabled_plugins = ['io.containerd.nri.v1.nri',\n'{plugin}']"));
        assert_eq!(found, [(Severity::Failure, Code::BindirPlugin, Some(3))], "{plugin}");
    }
    assert_eq!(problems("disabled_plugins = ['io.containerd.image-verifier.v1']"), []);
    assert_eq!(
        problems("disabled_plugins = ['bindir']"),
        [(Severity::Failure, Code::ConfigInvalid, Some(2))]
    );
}

#[test]
fn how_many_verifiers_are_called_and_where_they_are() {
    for (setting, directory, called) in [
        ("", DEFAULT_BIN_DIR, Some(10)),
        ("bin_dir = '/opt/civ/bin'\nmax_verifiers = -1", "/opt/civ/bin", None),
        ("max_verifiers = 0", DEFAULT_BIN_DIR, Some(0)),
        ("bin_dir = ''\nmax_verifiers = 1", "", Some(1)),
    ] {
        let (settings, _) = judged(&format!("[plugins.'{BINDIR}']\n{setting}"));
        assert_eq!(settings.bin_dir, Path::new(directory), "{setting}");
        assert_eq!(settings.max_verifiers, called, "{setting}");
    }
}
