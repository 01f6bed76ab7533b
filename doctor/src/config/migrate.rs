//! Files of earlier versions: which of their settings containerd carries over to the plugin that
//! pulls images for CRI (`plugins/cri/images/plugin.go`).

use super::value::{self, Node, Table, Value};
use crate::settings::{CRI, CRI_IMAGES};

/// What CRI was called before version 2.
const CRI_OF_VERSION_1: &str = "cri";
/// What is carried over from the table of CRI.
const FROM_CRI: [&str; 3] = ["registry", "max_concurrent_downloads", "image_pull_with_sync_fs"];
/// What is carried over from `containerd` therein.
const FROM_CONTAINERD: [&str; 2] = ["disable_snapshot_annotations", "discard_unpacked_layers"];

/// Carries over what containerd carries over, and returns what some release may heed beside.
///
/// Version 2: those of `containerd` only where that table has `runtimes` as well. Versions without
/// plugin names of their own (none, 1) are not carried over by 2.1; 3 is by those releases whose own
/// version is 4.
pub(super) fn images(plugins: &mut Table, version: i64) -> Option<Table> {
    let legacy = plugins
        .get(CRI)
        .or_else(|| plugins.get(CRI_OF_VERSION_1).filter(|_| version < 2))
        .and_then(Node::table)?
        .clone();
    let containerd = legacy.get("containerd").and_then(Node::table);
    let has_runtimes = containerd.is_some_and(|table| table.contains_key("runtimes"));
    let of_cri = pick(&legacy, &FROM_CRI);
    let of_containerd = containerd.map_or_else(Table::new, |table| pick(table, &FROM_CONTAINERD));
    let mut doubtful = Table::new();
    if version == 2 {
        carry_over(plugins, of_cri, &legacy);
        if has_runtimes {
            carry_over(plugins, of_containerd, &legacy);
        } else {
            doubtful = of_containerd;
        }
    } else {
        doubtful = of_cri;
        value::merge(&mut doubtful, of_containerd);
    }
    (!doubtful.is_empty()).then_some(doubtful)
}

/// Sets what `from` says, each as a whole, whatever the new table says.
fn carry_over(plugins: &mut Table, from: Table, legacy: &Table) {
    let Some(at) = legacy.values().next().map(|node| node.at.clone()) else { return };
    let images = plugins
        .entry(CRI_IMAGES.to_owned())
        .or_insert_with(|| Node { at, value: Value::Table(Table::new()) });
    if let Value::Table(images) = &mut images.value {
        images.extend(from);
    }
}

fn pick(table: &Table, names: &[&str]) -> Table {
    let entry = |name: &&str| Some(((*name).to_owned(), table.get(*name)?.clone()));
    names.iter().filter_map(entry).collect()
}

/// A disabled plugin by its present name.
pub(super) fn disabled_plugin(node: Node, version: i64) -> Node {
    match node.text() {
        Some(CRI_OF_VERSION_1) if version < 2 => {
            Node { value: Value::Text(CRI.to_owned()), ..node }
        }
        _ => node,
    }
}
