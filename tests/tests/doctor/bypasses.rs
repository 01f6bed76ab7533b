//! Every setting that makes CRI pull without asking: each opens the gate indeed, and the doctor names its
//! file and line.

use super::*;

macro_rules! bypasses {
    ($($name:ident: $edit:expr, $code:literal, $line:literal;)*) => {
        $(
            #[test]
            fn $name() {
                Node::start($edit, &[]).assert_open($code, Some("config.toml"), $line);
            }
        )*
    };
}

bypasses! {
    use_local_image_pull_opens_the_gate:
        with_images("use_local_image_pull = true"),
        "cri.use-local-image-pull", "use_local_image_pull";
    disable_snapshot_annotations_false_opens_the_gate:
        with_images("disable_snapshot_annotations = false"),
        "cri.disable-snapshot-annotations", "disable_snapshot_annotations";
    discard_unpacked_layers_opens_the_gate:
        with_images("discard_unpacked_layers = true"),
        "cri.discard-unpacked-layers", "discard_unpacked_layers";
    discard_unpacked_layers_in_capitals_opens_the_gate:
        with_images("Discard_Unpacked_Layers = true"),
        "cri.discard-unpacked-layers", "Discard_Unpacked_Layers";
    max_concurrent_downloads_opens_the_gate:
        with_images("max_concurrent_downloads = 5"),
        "cri.max-concurrent-downloads", "max_concurrent_downloads";
    image_pull_with_sync_fs_opens_the_gate:
        with_images("image_pull_with_sync_fs = true"),
        "cri.image-pull-with-sync-fs", "image_pull_with_sync_fs";
    registry_mirrors_open_the_gate:
        with_registry("mirrors.'mirror.example'.endpoint = ['https://mirror.example']"),
        "cri.registry-mirrors", "mirrors.";
    registry_configs_open_the_gate:
        with_registry("configs.'other.example'.auth.username = 'u'"),
        "cri.registry-configs", "configs.";
    registry_auths_open_the_gate:
        with_registry("auths.'https://other.example'.username = 'u'"),
        "cri.registry-auths", "auths.";
    a_verifier_directory_that_is_absent_opens_the_gate:
        |config: &str| config.replace("/bin\"", "/bim\""),
        "directory.absent", "bin_dir";
    an_empty_name_of_a_verifier_directory_opens_the_gate:
        |config: &str| {
            let lines = config.lines().map(|line| if line.contains("bin_dir") { "  bin_dir = \"\"" } else { line });
            lines.collect::<Vec<_>>().join("\n")
        },
        "directory.absent", "bin_dir";
    no_verifier_called_at_all_opens_the_gate:
        |config: &str| replaced(config, "max_verifiers = -1", "max_verifiers = 0"),
        "verifier.skipped", "max_verifiers";
    version_2_opens_the_gate:
        |config: &str| {
            let config = replaced(config, "version = 3", "version = 2");
            format!(
                "{config}[plugins.\"io.containerd.grpc.v1.cri\".containerd]\n\
                 discard_unpacked_layers = true\n\
                 [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n\
                 runtime_type = \"io.containerd.runc.v2\"\n"
            )
        },
        "cri.discard-unpacked-layers", "discard_unpacked_layers";
}

#[test]
fn a_file_that_is_imported_opens_the_gate() {
    let import = |config: &str| {
        replaced(
            config,
            "version = 3",
            "version = 3\nimports = [\"conf.d/none*.toml\", \"conf.d/drop-in*.toml\"]",
        )
    };
    let drop_in =
        "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\n\nuse_local_image_pull = true\n";
    let node = Node::start(import, &[("conf.d/drop-in-1.toml", drop_in)]);
    node.assert_open("cri.use-local-image-pull", Some("conf.d/drop-in-1.toml"), "use_local");
}

#[test]
fn a_file_that_is_imported_shuts_the_gate_again() {
    let import = |config: &str| {
        let config = replaced(config, "version = 3", "version = 3\nimports = [\"drop-in.toml\"]");
        with_images("discard_unpacked_layers = true\n  max_concurrent_downloads = 9")(&config)
    };
    let drop_in = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nmax_concurrent_downloads = 3\n\
                   [plugins.\"io.containerd.cri.v1.images\"]\ndiscard_unpacked_layers = false\n";
    let node = Node::start(import, &[("drop-in.toml", drop_in)]);
    let examined = node.doctor(&["--probe", &node.unsigned.tag]);
    assert_eq!(examined.code, Some(0), "{examined:#?}");
    examined.assert_finds("ok", "probe.refused", None);
}
