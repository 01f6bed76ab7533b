//! Which containerd is examined, and whether it runs with what is examined.

use std::os::unix::net::UnixListener;
use std::time::{Duration, SystemTime};

use civ_tests::programs;

use super::*;

const BYPASS: &str =
    "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nuse_local_image_pull = true\n";

/// The unsigned image comes in although what is examined says that it should not.
#[track_caller]
fn assert_not_in_use(node: &Node, what: &str) {
    node.assert_comes_in(what);
    let examined = node.doctor(&["--offline"]);
    assert_eq!(examined.code, Some(1), "{what}: {examined:#?}");
    examined.assert_finds("failure", "config.not-in-use", None);
    let findings = examined.report["findings"].as_array().unwrap();
    let failed = findings.iter().filter(|finding| finding["severity"] == "failure");
    assert!(failed.clone().all(|f| f["code"] == "config.not-in-use"), "{what}: {examined:#?}");
}

#[test]
fn a_configuration_that_containerd_has_not_read_does_not_shut_the_gate() {
    let node = Node::start(with_images("use_local_image_pull = true"), &[]);
    let config = node.containerd.file("config.toml");
    let mended = fs::read_to_string(&config).unwrap().replace("pull = true", "pull = false");
    fs::write(&config, &mended).unwrap();
    assert_not_in_use(&node, "a mended file");

    // As by cp -p, rsync or a package: the time of the content says nothing.
    let good = node.containerd.file("staging/config.toml");
    fs::write(&good, &mended).unwrap();
    let old = SystemTime::now() - Duration::from_hours(24);
    fs::File::options().write(true).open(&good).unwrap().set_modified(old).unwrap();
    fs::rename(&good, &config).unwrap();
    assert_not_in_use(&node, "a file that looks old");
}

#[test]
fn a_file_that_was_imported_and_is_gone_is_still_heeded() {
    let import = |imports: &'static str| {
        move |config: &str| {
            replaced(config, "version = 3", &format!("version = 3\nimports = [\"{imports}\"]"))
        }
    };
    let node = Node::start(import("conf.d/*.toml"), &[("conf.d/1.toml", BYPASS)]);
    fs::remove_file(node.containerd.file("conf.d/1.toml")).unwrap();
    assert_not_in_use(&node, "a file that was removed");
    fs::remove_dir(node.containerd.file("conf.d")).unwrap();
    assert_not_in_use(&node, "a directory that was removed");

    let node = Node::start(
        import("current/1.toml"),
        &[("current/1.toml", BYPASS), ("next/1.toml", "version = 3\n")],
    );
    fs::rename(node.containerd.file("current"), node.containerd.file("last")).unwrap();
    fs::rename(node.containerd.file("next"), node.containerd.file("current")).unwrap();
    assert_not_in_use(&node, "a directory that was replaced");
}

#[test]
fn a_containerd_whose_process_is_not_seen_is_not_called_safe() {
    let node = Node::start(str::to_owned, &[]);
    let finished = |namespaces: &[&str], arguments: &[&str]| {
        let arguments = [&["doctor", "--output", "json", "--offline"], arguments].concat();
        Examined::of(&programs::run(&mut node.containerd.civ_in(namespaces, arguments)))
    };
    let root = node.containerd.root();
    let (config, socket) = (node.containerd.file("config.toml"), node.containerd.file("socket"));
    let paths = ["--config", config.to_str().unwrap(), "--address", socket.to_str().unwrap()];

    // Through the root of that process, by a path that reads as "/", all is seen.
    let examined = finished(&[], &["--root", &root, "--address", socket.to_str().unwrap()]);
    assert_eq!(examined.code, Some(0), "{examined:#?}");
    // Without its PIDs, with another /proc than its own, or among other mounts, it is not.
    for (namespaces, arguments) in
        [(&["--mount"][..], &paths[..]), (&[], &paths), (&["--pid"], &paths)]
    {
        let examined = finished(namespaces, arguments);
        assert_eq!(examined.code, Some(1), "{namespaces:?}: {examined:#?}");
        examined.assert_finds("failure", "config.unseen", None);
    }
}

#[test]
fn another_file_than_containerd_reads_does_not_shut_the_gate() {
    let node = Node::start(with_images("use_local_image_pull = true"), &[]);
    let good = node.containerd.file("good.toml");
    let text = fs::read_to_string(node.containerd.file("config.toml")).unwrap();
    fs::write(&good, text.replace("pull = true", "pull = false")).unwrap();
    let examined = node.doctor(&["--offline", "--config", good.to_str().unwrap()]);
    assert_eq!(examined.code, Some(1), "{examined:#?}");
    examined.assert_finds("failure", "config.not-in-use", None);
    assert!(examined.report.to_string().contains(&format!(
        "reads {} and not {}",
        node.containerd.file("config.toml").display(),
        good.display()
    )));
}

/// As on Bottlerocket, where the other runs host containers.
#[test]
fn of_two_containerds_the_one_that_kubelet_uses_is_examined() {
    const BESIDE: &str = "sed \"s|$1/|$1/host/|g\" \"$1/config.toml\" > \"$1/host.toml\"
        echo '[plugins.\"io.containerd.grpc.v1.cri\"]' >> \"$1/host.toml\"
        mkdir -p \"$1/host\" /run/containerd
        \"$2\" --config \"$1/host.toml\" > \"$1/host.log\" 2>&1 &
        while ! [ -S \"$1/host/socket\" ]; do sleep 0.05; done
        ";
    let node = Node::start_after(BESIDE, str::to_owned, &[]);
    let examined = node.doctor(&["--offline"]);
    assert_eq!(examined.code, Some(1), "nothing says which is meant: {examined:#?}");
    examined.assert_finds("failure", "containerd.several", None);
    let socket = node.containerd.file("socket");
    let examined = node.doctor(&["--offline", "--address", socket.to_str().unwrap()]);
    assert_eq!(examined.code, Some(0), "{examined:#?}");
    // The other has no verifiers.
    let other = node.containerd.file("host/socket");
    let examined = node.doctor(&["--offline", "--address", other.to_str().unwrap()]);
    examined.assert_finds("failure", "directory.absent", None);

    let link = "ln -s \"$1/socket\" /run/containerd/containerd.sock";
    let node = Node::start_after(&format!("{BESIDE}{link}"), str::to_owned, &[]);
    let examined = node.doctor(&["--offline"]);
    assert_eq!(examined.code, Some(0), "{examined:#?}");
    let examined = Examined::of(&programs::run(&mut node.containerd.civ_in(
        &[],
        ["doctor", "--output", "json", "--offline", "--root", &node.containerd.root()],
    )));
    assert_eq!(examined.code, Some(0), "{examined:#?}");
}

#[test]
fn a_socket_that_never_answers_is_not_called_open_nor_shut() {
    let node = Node::start(str::to_owned, &[]);
    let socket = node.containerd.file("silent");
    let _listener = UnixListener::bind(&socket).unwrap();
    let address = socket.to_str().unwrap();
    let arguments =
        ["--offline", "--address", address, "--containerd-version", "2.1.9", "--probe", "r.io/a"];
    let examined = node.doctor(&arguments);
    assert_eq!(examined.code, Some(1), "{examined:#?}");
    examined.assert_finds("unknown", "containerd.unreachable", None);
    examined.assert_finds("unknown", "probe.refused", None);
}

#[test]
fn others_than_root_are_told_that_they_see_too_little() {
    let node = Node::start(str::to_owned, &[]);
    let mut command = node.containerd.civ_in(&["--mount", "--pid", "--setuid", "1000"], ["doctor"]);
    let text = programs::run(&mut command);
    assert_eq!(text.code, Some(1), "{text:#?}");
    assert!(text.stdout.starts_with("failure  rights"), "{text:#?}");
}
