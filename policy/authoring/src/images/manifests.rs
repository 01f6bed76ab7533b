//! Kubernetes manifests and lock files. Both are YAML of strangers.

use civ_oci::text::one_line;
use civ_oci::{Reference, Tag};
use serde_json::{Map, Value};

use super::{FoundImage, ImagesError, SHOWN_MAX, push};
use crate::yaml;

/// The version of the lock file that imgpkg writes
/// ([ImagesLock](https://carvel.dev/imgpkg/docs/latest/resources/#imageslock)).
pub(super) const LOCK_VERSION: &str = "imgpkg.carvel.dev/v1alpha1";
/// Where kbld notes by what name it found an image.
const KBLD_NAME: &str = "kbld.carvel.dev/id";
/// The lists of a pod's specification that have containers.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
/// The tag that Kubernetes means where none is written.
const DEFAULT_TAG: &str = "latest";
pub(super) fn read(text: &str) -> Result<Vec<FoundImage>, ImagesError> {
    let documents = yaml::documents(text)?;
    let mut images = Vec::new();
    for (document, value) in (1..).zip(&documents) {
        let (Some(version), Some(kind)) = (text_of(value, "apiVersion"), text_of(value, "kind"))
        else {
            return Err(ImagesError::UnknownDocument { document });
        };
        let mut found = Found { document, kind, images: &mut images };
        if kind == "ImagesLock" {
            found.add_locked(version, value)?;
        } else {
            found.add_pods(value)?;
        }
    }
    Ok(images)
}

/// What has been found, and where the search is.
struct Found<'a> {
    document: usize,
    kind: &'a str,
    images: &'a mut Vec<FoundImage>,
}

impl Found<'_> {
    fn add_locked(&mut self, version: &str, lock: &Value) -> Result<(), ImagesError> {
        if version != LOCK_VERSION {
            let version = one_line(version, SHOWN_MAX);
            return Err(ImagesError::UnknownLock { document: self.document, version });
        }
        for image in list_of(lock, "images") {
            let reference = self.parse(image.get("image"), "image")?;
            let name =
                image.get("annotations").and_then(|annotations| text_of(annotations, KBLD_NAME));
            push(self.images, FoundImage { reference, name: name.map(str::to_owned) })?;
        }
        Ok(())
    }

    /// Goes through all of an object: whatever holds containers is the specification of a pod, in
    /// whichever kind of workload. The parser has bounded the depth.
    fn add_pods(&mut self, value: &Value) -> Result<(), ImagesError> {
        match value {
            Value::Object(object) => {
                self.add_pod(object)?;
                object.values().try_for_each(|below| self.add_pods(below))
            }
            Value::Array(list) => list.iter().try_for_each(|below| self.add_pods(below)),
            _ => Ok(()),
        }
    }

    fn add_pod(&mut self, pod: &Map<String, Value>) -> Result<(), ImagesError> {
        let list = |key: &str| pod.get(key).and_then(Value::as_array).into_iter().flatten();
        for container in CONTAINERS.into_iter().flat_map(list) {
            self.add(container.get("image"), "image")?;
        }
        // A volume that is an image, as the specification of a pod has it.
        for image in list("volumes").filter_map(|volume| volume.get("image")) {
            self.add(image.get("reference"), "reference")?;
        }
        Ok(())
    }

    /// An image that may be left out, as in a template that something else completes.
    fn add(&mut self, image: Option<&Value>, place: &'static str) -> Result<(), ImagesError> {
        if image.is_none_or(|image| image.is_null() || image == "") {
            return Ok(());
        }
        let mut reference = self.parse(image, place)?;
        if reference.tag.is_none() && reference.digest.is_none() {
            reference.tag = DEFAULT_TAG.parse::<Tag>().ok();
        }
        push(self.images, FoundImage { reference, name: None })
    }

    fn parse(&self, image: Option<&Value>, place: &'static str) -> Result<Reference, ImagesError> {
        let document = self.document;
        let text = image.and_then(Value::as_str).ok_or_else(|| ImagesError::NotText {
            document,
            place,
            kind: one_line(self.kind, SHOWN_MAX),
        })?;
        text.parse().map_err(|source| ImagesError::Image {
            document,
            text: one_line(text, SHOWN_MAX),
            source,
        })
    }
}

fn text_of<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn list_of<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}
