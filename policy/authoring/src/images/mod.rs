//! The images that a file names: what `civ policy digests` is given instead of references.
//!
//! | form | images |
//! |---|---|
//! | a list | a reference on each line; blank lines and `#` comments are passed over |
//! | imgpkg's `ImagesLock` | those that it locks, by the name that kbld noted where it did |
//! | Kubernetes manifests, in YAML or JSON | those of every pod, wherever its specification is |
//!
//! A file of manifests may hold many documents, empty ones too, as Helm writes it. What is of no use
//! here is passed over; what could be an image and cannot be read as one is an error.

use civ_oci::text::one_line;
use civ_oci::{Reference, ReferenceError};

use crate::yaml::YamlError;

mod manifests;

/// The largest file that is read, in bytes.
pub const FILE_MAX: u64 = 8 << 20;
/// The most images that a file may name, each as often as it does.
pub const IMAGES_MAX: usize = 10_000;
/// How much of a stranger's text is shown, in bytes.
const SHOWN_MAX: usize = 200;

/// An image that a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundImage {
    /// Where it is.
    pub reference: Reference,
    /// What its author called it, where that is something else.
    pub name: Option<String>,
}

/// Reads a file of any of the forms. The caller has bounded its length to [`FILE_MAX`].
pub fn read(bytes: &[u8]) -> Result<Vec<FoundImage>, ImagesError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ImagesError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let images = match read_list(text) {
        Err(ImagesError::Line { text: line, .. }) if looks_like_yaml(&line) => {
            manifests::read(text)?
        }
        list => list?,
    };
    if images.is_empty() {
        return Err(ImagesError::NoImages);
    }
    Ok(images)
}

fn read_list(text: &str) -> Result<Vec<FoundImage>, ImagesError> {
    let mut images = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let reference = text.parse().map_err(|source| ImagesError::Line {
            line,
            text: one_line(text, SHOWN_MAX),
            source,
        })?;
        push(&mut images, FoundImage { reference, name: None })?;
    }
    Ok(images)
}

/// Is a line that is no reference the first of a YAML or JSON document?
fn looks_like_yaml(line: &str) -> bool {
    line.starts_with(['{', '[', '-', '%', '"']) || line.contains(": ") || line.ends_with(':')
}

fn push(images: &mut Vec<FoundImage>, image: FoundImage) -> Result<(), ImagesError> {
    if images.len() == IMAGES_MAX {
        return Err(ImagesError::TooMany);
    }
    images.push(image);
    Ok(())
}

/// Why the images of a file cannot be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImagesError {
    /// An image of a document is no reference.
    #[error("document {document}: {text:?} is no image: {source}")]
    Image {
        /// Which document of the file, the first that is not empty being 1.
        document: usize,
        /// What is there instead, shortened.
        text: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// A line of a list is no reference.
    #[error("line {line}: {text:?} is no image: {source}")]
    Line {
        /// The line, the first being 1.
        line: usize,
        /// What is there instead, shortened.
        text: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// There is no image in it.
    #[error("no image is named in it")]
    NoImages,
    /// Something else than text where the name of an image belongs.
    #[error("document {document}: {place} of {kind:?} is no text")]
    NotText {
        /// Which document of the file, the first that is not empty being 1.
        document: usize,
        /// Where: `image` of a container, or `reference` of a volume's image.
        place: &'static str,
        /// What kind of object it is, shortened.
        kind: String,
    },
    /// Bytes that are no UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// More than [`IMAGES_MAX`].
    #[error("it names more than {IMAGES_MAX} images")]
    TooMany,
    /// A document that is neither a lock file nor an object of Kubernetes.
    #[error(
        "document {document} is neither an ImagesLock nor an object of Kubernetes: it has no apiVersion and kind"
    )]
    UnknownDocument {
        /// Which document of the file, the first that is not empty being 1.
        document: usize,
    },
    /// A version of the lock file that civ does not know.
    #[error("document {document}: ImagesLock {version:?} is not known; {known:?} is", known = manifests::LOCK_VERSION)]
    UnknownLock {
        /// Which document of the file, the first that is not empty being 1.
        document: usize,
        /// Its `apiVersion`, shortened.
        version: String,
    },
    /// No YAML, or more of it than civ reads.
    #[error(transparent)]
    Yaml(#[from] YamlError),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn names(text: &str) -> Vec<String> {
        let images = read(text.replace("$D", D).as_bytes());
        let images = images.unwrap_or_else(|error| panic!("{text}: {error}"));
        images.iter().map(|image| image.reference.to_string()).collect()
    }

    fn refusal(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_list_has_a_reference_on_each_line() {
        let list =
            "\u{feff}# released\r\nr.io/a:1\r\n\n  busybox@$D  \n#r.io/b:2\nlocalhost:5000/c\n";
        let busybox = format!("docker.io/library/busybox@{D}");
        assert_eq!(names(list), ["r.io/a:1", &busybox, "localhost:5000/c"]);
        for (text, words) in [
            ("", "no image"),
            ("# nothing\n", "no image"),
            ("r.io/a:1\nr.io/b 2\n", r#"line 2: "r.io/b 2" is no image"#),
            ("r.io/A:1", "line 1"),
            ("r.io/a:1 r.io/b:1", "line 1"),
            ("r.io/a\u{1b}[2J", r"\\u{1b}"),
        ] {
            assert!(refusal(text).contains(words), "{text}: {}", refusal(text));
        }
    }

    #[test]
    fn a_lock_file_gives_what_it_locks_with_the_names_that_it_had() {
        let lock = format!(
            "---\napiVersion: imgpkg.carvel.dev/v1alpha1\nkind: ImagesLock\nimages:\n\
             - image: r.io/bundle@{D}\n  annotations:\n    kbld.carvel.dev/id: my-app:1.0\n\
             - image: r.io/other@{D}\n"
        );
        let images = read(lock.as_bytes()).unwrap();
        assert_eq!(images[0].reference.to_string(), format!("r.io/bundle@{D}"));
        assert_eq!(images[0].name.as_deref(), Some("my-app:1.0"));
        assert_eq!(images[1].name, None);
        let newer = lock.replace("v1alpha1", "v2");
        assert!(refusal(&newer).contains("\"imgpkg.carvel.dev/v2\" is not known"));
        let without = lock.replace("- image: r.io/other", "- picture: r.io/other");
        assert!(refusal(&without).contains("image of \"ImagesLock\" is no text"));
    }

    #[test]
    fn every_kind_of_workload_gives_the_images_of_its_pods() {
        let pod = "containers: [{name: a, image: 'r.io/a:1'}]\ninitContainers:\n- image: r.io/b:1\nephemeralContainers:\n- image: r.io/c:1\nvolumes:\n- name: v\n  image: {reference: 'r.io/d:1', pullPolicy: Always}\n- name: w\n  emptyDir: {}";
        let indented = |by: usize| pod.replace('\n', &format!("\n{}", " ".repeat(by)));
        for (kind, path) in [
            ("Pod", "spec:"),
            ("Deployment", "spec:\n template:\n  spec:"),
            ("StatefulSet", "spec:\n template:\n  spec:"),
            ("DaemonSet", "spec:\n template:\n  spec:"),
            ("ReplicaSet", "spec:\n template:\n  spec:"),
            ("Job", "spec:\n template:\n  spec:"),
            ("CronJob", "spec:\n jobTemplate:\n  spec:\n   template:\n    spec:"),
            ("PodTemplate", "template:\n spec:"),
            ("Rollout", "spec:\n template:\n  spec:"),
        ] {
            let document = format!("apiVersion: v1\nkind: {kind}\n{path}\n     {}\n", indented(5));
            let mut found = names(&document);
            found.sort();
            assert_eq!(found, ["r.io/a:1", "r.io/b:1", "r.io/c:1", "r.io/d:1"], "{document}");
            let list = format!(
                "apiVersion: v1\nkind: List\nitems:\n- {}\n",
                document.trim_end().replace('\n', "\n  ")
            );
            assert_eq!(names(&list).len(), 4, "{list}");
        }
    }

    #[test]
    fn what_helm_renders_is_read_to_its_end() {
        let rendered = "---\n# Source: chart/templates/empty.yaml\n---\n# Source: chart/templates/cm.yaml\napiVersion: v1\nkind: ConfigMap\ndata:\n  image: not/an IMAGE\n  80: x\n  true: y\n---\n\n---\napiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: \"nginx\"\n    securityContext: {runAsUser: 0}\n---\napiVersion: v1\nkind: Pod\nspec: {containers: [{image: r.io/b}, {name: none}, {image: ''}]}\n...\n";
        assert_eq!(names(rendered), ["docker.io/library/nginx:latest", "r.io/b:latest"]);
        let json = r#"{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Pod","spec":{"containers":[{"image":"r.io/a@$D"}]}}]}"#;
        assert_eq!(names(json), [format!("r.io/a@{D}")]);
    }

    #[test]
    fn refuses_what_could_be_an_image_and_what_is_no_manifest() {
        let pod = |image: &str| {
            format!("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: {image}\n")
        };
        let multiply = |(next, last): (char, char)| {
            format!("{next}: &{next} [{}]\n", vec![format!("*{last}"); 10].join(","))
        };
        let lines: Vec<_> = ('b'..'i').zip('a'..).map(multiply).collect();
        let bomb =
            format!("apiVersion: v1\nkind: Pod\na: &a [x,x,x,x,x,x,x,x,x,x]\n{}", lines.concat());
        for (text, words) in [
            (pod("r.io/A B"), "is no image"),
            (pod("[x]"), "image of \"Pod\" is no text"),
            (pod("12"), "image of \"Pod\" is no text"),
            (pod("r.io/a:1\n    image: r.io/b:1"), "not YAML that civ reads"),
            (pod("{{ .Values.image }}"), ""),
            (bomb, "not YAML that civ reads"),
            (format!("a: {}", "[".repeat(100_000)), "not YAML that civ reads"),
            ("kind: Pod\nspec: {}\n".to_owned(), "neither an ImagesLock nor"),
            ("- r.io/a:1\n".to_owned(), "neither an ImagesLock nor"),
            ("apiVersion: v1\nkind: Service\n".to_owned(), "no image"),
        ] {
            assert!(refusal(&text).contains(words), "{text:.100}: {}", refusal(&text));
            assert_eq!(refusal(&text).lines().count(), 1);
        }
        assert!(matches!(read(b"\xff"), Err(ImagesError::NotUtf8)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }

        #[test]
        fn no_yaml_makes_the_parsers_panic(
            lines in proptest::collection::vec("[ -]{0,4}(image|containers|items|kind|apiVersion|&a|<<)(: ?[*&a-z{}\\[\\],\"'|>!]{0,5})?", 0..20),
        ) {
            let _ = read(lines.join("\n").as_bytes());
        }
    }
}
