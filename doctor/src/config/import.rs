//! What a file imports: paths relative to it, and patterns as Go expands them (`filepath.Glob`).

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use super::{Files, Node, glob};
use crate::finding::{Code, Finding, Location, Severity};

/// The most paths that imports may stand for, those that do not exist included.
const PATHS_MAX: usize = 10_000;

/// Why imports are not followed.
#[derive(Debug, thiserror::Error)]
enum ImportError {
    #[error("containerd does not start: {0}")]
    Pattern(#[from] glob::BadPattern),
    #[error("imports stand for more than {PATHS_MAX} files")]
    TooMany,
}

/// The paths that the `imports` of the file at `parent` stand for, in containerd's order. `listed` gets
/// the directories that were looked at for them.
pub(super) fn resolve(
    files: &impl Files,
    parent: &Path,
    imports: &[Node],
    listed: &mut BTreeSet<PathBuf>,
) -> Result<Vec<(PathBuf, Location)>, Finding> {
    let mut found = Vec::new();
    for import in imports {
        let Some(text) = import.text() else { continue };
        let directory = parent.parent().unwrap_or(Path::new(""));
        let path = clean(&directory.join(text));
        // Only the asterisk makes containerd look for matches.
        let paths = if path.to_string_lossy().contains('*') {
            expand(files, &path, listed)
        } else {
            Ok(vec![path])
        };
        let failed = |error: ImportError| {
            let fact = format_args!("{error}: {text:?}");
            let finding = Finding::new(Severity::Failure, Code::ConfigImport, fact);
            finding.at(import.at.clone()).mend("write a pattern of filepath.Match, which matches fewer files; * ? [a-z] are special")
        };
        let paths = paths.map_err(failed)?;
        if found.len() + paths.len() > PATHS_MAX {
            return Err(failed(ImportError::TooMany));
        }
        found.extend(paths.into_iter().map(|path| (path, import.at.clone())));
    }
    Ok(found)
}

/// `filepath.Clean`: without `.` and, by the letters alone, without `..`.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if cleaned.file_name().is_some() => {
                cleaned.pop();
            }
            Component::ParentDir if cleaned.has_root() => {}
            other => cleaned.push(other),
        }
    }
    cleaned
}

/// Every path that matches, component by component, sorted within each directory.
fn expand(
    files: &impl Files,
    pattern: &Path,
    listed: &mut BTreeSet<PathBuf>,
) -> Result<Vec<PathBuf>, ImportError> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(part) = component else {
            for path in &mut found {
                path.push(component);
            }
            continue;
        };
        let part = part.to_string_lossy();
        if !part.contains(['*', '?', '[', '\\']) {
            for path in &mut found {
                path.push(part.as_ref());
            }
            continue;
        }
        glob::matches(&part, "")?;
        let mut next = Vec::new();
        for directory in &found {
            listed.insert(directory.clone());
            let mut names = files.names(directory);
            names.retain(|name| glob::matches(&part, name) == Ok(true));
            names.sort_unstable();
            next.extend(names.into_iter().map(|name| directory.join(name)));
            if next.len() > PATHS_MAX {
                return Err(ImportError::TooMany);
            }
        }
        found = next;
    }
    Ok(found)
}
