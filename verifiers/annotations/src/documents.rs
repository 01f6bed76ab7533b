//! The documents of one image: what is pulled, the manifests that it lists, and their
//! configurations. Each is read once, and only if a rule needs it.

use std::collections::{BTreeMap, BTreeSet};

use civ_oci::{
    Descriptor, Digest, Document, ImageId, ImageIndex, ImageManifest, RegistryRead, Selector,
    StoredManifest, media_type, strict_json,
};
use civ_policy::annotations::{Place, Platforms, Rule};
use serde::Deserialize;

use crate::platform::{Node, never_runs};
use crate::rejection::Child;
use crate::{Rejection, Site, VerifyError};

/// The most manifests of one index that are looked at for one rule.
pub const MANIFESTS_MAX: usize = 16;
/// The largest configuration read, in bytes.
pub const CONFIG_MAX: u64 = 4 << 20;

/// The documents of one image.
pub(crate) struct Documents<'a, R> {
    image: &'a ImageId,
    registry: &'a R,
    pulled: Document,
    manifests: BTreeMap<Digest, ImageManifest>,
    labels: BTreeMap<Digest, BTreeMap<String, String>>,
}

/// What of a configuration holds labels. Whoever runs the image reads the rest.
#[derive(Deserialize)]
struct UntrustedConfig {
    config: Option<UntrustedRunConfig>,
}

#[derive(Deserialize)]
struct UntrustedRunConfig {
    #[serde(rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

impl<'a, R: RegistryRead> Documents<'a, R> {
    /// Reads what is pulled.
    pub(crate) fn of(image: &'a ImageId, registry: &'a R) -> Result<Self, VerifyError<R::Error>> {
        let stored = fetch(image, registry, &image.digest)?;
        // Nothing but the registry says of which type the top document is. Either way its fields
        // must be those of one type only.
        let pulled =
            stored.parse().map_err(|source| Rejection::Unreadable { site: None, source })?;
        let (manifests, labels) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { image, registry, pulled, manifests, labels })
    }

    /// Where `rule`, which is of the statement called `statement`, wants to be looked at.
    pub(crate) fn sites(&self, rule: &Rule, statement: &str) -> Result<Vec<Site>, Rejection> {
        match (&self.pulled, rule.place) {
            (Document::Index(_), Place::Pulled | Place::Index) => Ok(vec![Site::Index]),
            (Document::Manifest(_), Place::Index) => Err(Rejection::NoIndex {
                digest: self.image.digest.clone(),
                name: rule.annotation.clone(),
                statement: statement.to_owned(),
            }),
            (Document::Manifest(_), _) => Ok(vec![Site::Manifest]),
            (Document::Index(index), Place::Manifest(platforms) | Place::Labels(platforms)) => {
                children(index, platforms)
            }
        }
    }

    /// The value that `rule` is about, as it is at `site`.
    pub(crate) fn value(
        &mut self,
        rule: &Rule,
        site: &Site,
    ) -> Result<Option<&str>, VerifyError<R::Error>> {
        if let Site::Child(child) = site {
            self.read_manifest(child)?;
        }
        let is_about_labels = matches!(rule.place, Place::Labels(_));
        if is_about_labels {
            self.read_labels(site)?;
        }
        let manifest = self.manifest_at(site);
        let named = if is_about_labels {
            manifest.and_then(|manifest| self.labels.get(&manifest.config.digest))
        } else {
            match (&self.pulled, site) {
                (Document::Index(index), Site::Index) => Some(&index.annotations),
                _ => manifest.map(|manifest| &manifest.annotations),
            }
        };
        Ok(named.and_then(|named| named.get(&rule.annotation)).map(String::as_str))
    }

    fn manifest_at(&self, site: &Site) -> Option<&ImageManifest> {
        match (site, &self.pulled) {
            (Site::Manifest, Document::Manifest(manifest)) => Some(manifest),
            (Site::Child(child), _) => self.manifests.get(&child.digest),
            _ => None,
        }
    }

    fn read_manifest(&mut self, child: &Child) -> Result<(), VerifyError<R::Error>> {
        if self.manifests.contains_key(&child.digest) {
            return Ok(());
        }
        let stored = fetch(self.image, self.registry, &child.digest)?;
        let site = || Site::Child(Box::new(child.clone()));
        match Document::parse(&stored.bytes, &child.media_type) {
            Ok(Document::Manifest(manifest)) => {
                self.manifests.insert(child.digest.clone(), *manifest);
                Ok(())
            }
            Ok(Document::Index(_)) => Err(Rejection::NestedIndex { site: site() }.into()),
            Err(source) => Err(Rejection::Unreadable { site: Some(site()), source }.into()),
        }
    }

    fn read_labels(&mut self, site: &Site) -> Result<(), VerifyError<R::Error>> {
        let Some(manifest) = self.manifest_at(site) else { return Ok(()) };
        let Descriptor { digest, size: length, .. } = &manifest.config;
        let (digest, length) = (digest.clone(), *length);
        if self.labels.contains_key(&digest) {
            return Ok(());
        }
        if length > CONFIG_MAX {
            let site = site.clone();
            return Err(Rejection::ConfigTooLarge { site, length, limit: CONFIG_MAX }.into());
        }
        let repository = &self.image.repository;
        let bytes = self.registry.blob(repository, &digest, CONFIG_MAX);
        let bytes = bytes.map_err(VerifyError::Registry)?;
        let untrusted: UntrustedConfig = strict_json::from_slice(&bytes)
            .map_err(|source| Rejection::Config { site: site.clone(), source })?;
        let labels = untrusted.config.and_then(|config| config.labels).unwrap_or_default();
        self.labels.insert(digest, labels);
        Ok(())
    }
}

fn fetch<R: RegistryRead>(
    image: &ImageId,
    registry: &R,
    digest: &Digest,
) -> Result<StoredManifest, VerifyError<R::Error>> {
    let stored = registry.manifest(&image.repository, &Selector::Digest(digest.clone()));
    stored
        .map_err(VerifyError::Registry)?
        .ok_or_else(|| VerifyError::NotStored { image: image.repository.image(digest.clone()) })
}

/// The manifests of `index` for `platforms`, each once however often it is listed.
fn children(index: &ImageIndex, platforms: Platforms) -> Result<Vec<Site>, Rejection> {
    let is_meant = |listed: &&Descriptor| match platforms {
        Platforms::Every => !never_runs(listed.platform.as_ref()),
        Platforms::Node => Node::HERE.could_run(listed.platform.as_ref()),
    };
    let mut seen = BTreeSet::new();
    let mut found: Vec<&Descriptor> = Vec::new();
    for listed in index.manifests.iter().filter(is_meant) {
        if matches!(&*listed.media_type, media_type::OCI_INDEX | media_type::DOCKER_LIST) {
            return Err(Rejection::NestedIndex { site: listed.into() });
        }
        if seen.insert(&listed.digest) {
            found.push(listed);
        }
    }
    match found.len() {
        0 => Err(Rejection::NoManifest {
            listed: index.manifests.len(),
            for_node: platforms == Platforms::Node,
        }),
        1..=MANIFESTS_MAX => Ok(found.into_iter().map(Site::from).collect()),
        count => Err(Rejection::TooManyManifests { count, limit: MANIFESTS_MAX }),
    }
}
