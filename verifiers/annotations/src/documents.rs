//! The documents of one image: what is pulled, the manifests that it lists, and their
//! configurations. Each is asked for at most once, and only if a rule needs it.
//!
//! An image's author decides how large they are, and verifiers run dozens at once in containerd's own
//! share of the machine's memory. So all of them together are bounded, and of each only what a rule can
//! ask for outlives its parser.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use civ_oci::{
    Descriptor, Digest, Document, ImageId, ImageManifest, RegistryRead, Selector, StoredManifest,
    media_type, strict_json,
};
use civ_policy::annotations::{Clause, Place, Platforms, Rule, Statement};
use serde::Deserialize;

use crate::platform::{Node, never_runs};
use crate::rejection::Child;
use crate::{Rejection, Site, VerifyError};

/// The most manifests of one index that are looked at for one rule.
pub const MANIFESTS_MAX: usize = 16;
/// The largest document that is parsed, in bytes. A parser takes up to sixteen times as much memory.
pub const DOCUMENT_MAX: u64 = 2 << 20;
/// The most that all documents of one verdict have together, in bytes.
pub const DOCUMENTS_MAX: u64 = 8 << 20;

/// The documents of one image.
pub(crate) struct Documents<'a, R: RegistryRead> {
    image: &'a ImageId,
    registry: &'a R,
    /// The names that a rule of the statement is about.
    wanted: BTreeSet<&'a str>,
    bytes_left: u64,
    pulled: Pulled,
    chosen: Vec<(Platforms, Result<Vec<Site>, Rejection>)>,
    manifests: BTreeMap<Digest, Manifest>,
    labels: BTreeMap<Digest, Named>,
    /// What was asked for in vain.
    failed: BTreeMap<Digest, VerifyError<R::Error>>,
}

/// Annotations or labels, as far as a rule names them.
type Named = BTreeMap<String, String>;

enum Pulled {
    Index { listed: Vec<Child>, annotations: Named },
    Manifest(Manifest),
}

/// What of a manifest a rule can be about.
struct Manifest {
    config: Digest,
    config_length: u64,
    annotations: Named,
}

/// Why a value is not known.
pub(crate) enum Failure {
    /// The image is not fit to be looked at.
    Rejected(Rejection),
    /// What has this digest could not be had; [`Documents::into_error`] knows why.
    Unread(Digest),
}

impl From<Rejection> for Failure {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

/// What of a configuration holds labels. Whoever runs the image reads the rest.
#[derive(Deserialize)]
struct UntrustedConfig {
    config: Option<UntrustedRunConfig>,
}

#[derive(Deserialize)]
struct UntrustedRunConfig {
    #[serde(rename = "Labels")]
    labels: Option<Named>,
}

impl<'a, R: RegistryRead> Documents<'a, R> {
    /// Reads what is pulled, and what the rules of `statement` can ask of it.
    pub(crate) fn of(
        image: &'a ImageId,
        statement: &'a Statement,
        registry: &'a R,
    ) -> Result<Self, VerifyError<R::Error>> {
        let wanted = names(statement);
        let stored = fetch(image, registry, &image.digest)?;
        let bytes_left = charge(DOCUMENTS_MAX, &stored.bytes, None)?;
        // Nothing but the registry says of which type the top document is. Either way its fields
        // must be those of one type only.
        let pulled = match stored.parse() {
            Ok(Document::Manifest(manifest)) => Pulled::Manifest(Manifest::of(*manifest, &wanted)),
            Ok(Document::Index(index)) => Pulled::Index {
                listed: index.manifests.into_iter().map(Child::from).collect(),
                annotations: only(index.annotations, &wanted),
            },
            Err(source) => {
                let source = Arc::new(source);
                return Err(Rejection::Unreadable { site: None, source }.into());
            }
        };
        Ok(Self {
            image,
            registry,
            wanted,
            bytes_left,
            pulled,
            chosen: Vec::new(),
            manifests: BTreeMap::new(),
            labels: BTreeMap::new(),
            failed: BTreeMap::new(),
        })
    }

    /// Where `rule`, which is of the statement called `statement`, wants to be looked at.
    pub(crate) fn sites(&mut self, rule: &Rule, statement: &str) -> Result<Vec<Site>, Rejection> {
        match (&self.pulled, rule.place) {
            (Pulled::Index { .. }, Place::Pulled | Place::Index) => Ok(vec![Site::Index]),
            (Pulled::Manifest(_), Place::Index) => Err(Rejection::NoIndex {
                digest: self.image.digest.clone(),
                name: rule.annotation.clone(),
                statement: statement.to_owned(),
            }),
            (Pulled::Manifest(_), _) => Ok(vec![Site::Manifest]),
            (
                Pulled::Index { listed, .. },
                Place::Manifest(platforms) | Place::Labels(platforms),
            ) => {
                let chosen = self.chosen.iter().find(|(known, _)| *known == platforms);
                if let Some((_, sites)) = chosen {
                    return sites.clone();
                }
                let sites = children(listed, platforms);
                self.chosen.push((platforms, sites.clone()));
                sites
            }
        }
    }

    /// The value that `rule` is about, as it is at `site`.
    pub(crate) fn value(&mut self, rule: &Rule, site: &Site) -> Result<Option<&str>, Failure> {
        if let Site::Child(child) = site {
            self.once(&child.digest, |documents| documents.read_manifest(child))?;
        }
        let is_about_labels = matches!(rule.place, Place::Labels(_));
        if is_about_labels && let Some(manifest) = self.manifest_at(site) {
            let (config, length) = (manifest.config.clone(), manifest.config_length);
            self.once(&config, |documents| documents.read_labels(&config, length, site))?;
        }
        let manifest = self.manifest_at(site);
        let named = if is_about_labels {
            manifest.and_then(|manifest| self.labels.get(&manifest.config))
        } else {
            match (&self.pulled, site) {
                (Pulled::Index { annotations, .. }, Site::Index) => Some(annotations),
                _ => manifest.map(|manifest| &manifest.annotations),
            }
        };
        Ok(named.and_then(|named| named.get(&rule.annotation)).map(String::as_str))
    }

    /// What `failure` comes down to.
    pub(crate) fn into_error(mut self, failure: Failure) -> VerifyError<R::Error> {
        match failure {
            Failure::Rejected(rejection) => rejection.into(),
            Failure::Unread(digest) => self.failed.remove(&digest).unwrap_or_else(|| {
                VerifyError::NotStored { image: self.image.repository.image(digest) }
            }),
        }
    }

    fn manifest_at(&self, site: &Site) -> Option<&Manifest> {
        match (site, &self.pulled) {
            (Site::Manifest, Pulled::Manifest(manifest)) => Some(manifest),
            (Site::Child(child), _) => self.manifests.get(&child.digest),
            _ => None,
        }
    }

    /// Reads what has `digest`, unless that failed before.
    fn once(
        &mut self,
        digest: &Digest,
        read: impl FnOnce(&mut Self) -> Result<(), VerifyError<R::Error>>,
    ) -> Result<(), Failure> {
        if !self.failed.contains_key(digest) {
            match read(self) {
                Ok(()) => return Ok(()),
                Err(error) => self.failed.insert(digest.clone(), error),
            };
        }
        Err(match self.failed.get(digest) {
            Some(VerifyError::Rejected(rejection)) => Failure::Rejected(rejection.clone()),
            _ => Failure::Unread(digest.clone()),
        })
    }

    fn read_manifest(&mut self, child: &Child) -> Result<(), VerifyError<R::Error>> {
        if self.manifests.contains_key(&child.digest) {
            return Ok(());
        }
        let site = Site::Child(Box::new(child.clone()));
        check_length(child.size, self.bytes_left, Some(&site))?;
        let stored = fetch(self.image, self.registry, &child.digest)?;
        self.bytes_left = charge(self.bytes_left, &stored.bytes, Some(&site))?;
        match Document::parse(&stored.bytes, &child.media_type) {
            Ok(Document::Manifest(manifest)) => {
                let manifest = Manifest::of(*manifest, &self.wanted);
                self.manifests.insert(child.digest.clone(), manifest);
                Ok(())
            }
            Ok(Document::Index(_)) => Err(Rejection::NestedIndex { site }.into()),
            Err(source) => {
                Err(Rejection::Unreadable { site: Some(site), source: Arc::new(source) }.into())
            }
        }
    }

    fn read_labels(
        &mut self,
        digest: &Digest,
        length: u64,
        site: &Site,
    ) -> Result<(), VerifyError<R::Error>> {
        if self.labels.contains_key(digest) {
            return Ok(());
        }
        if length > DOCUMENT_MAX {
            let site = site.clone();
            return Err(Rejection::ConfigTooLarge { site, length, limit: DOCUMENT_MAX }.into());
        }
        check_length(length, self.bytes_left, Some(site))?;
        let limit = DOCUMENT_MAX.min(self.bytes_left);
        let bytes = self.registry.blob(&self.image.repository, digest, limit);
        let bytes = bytes.map_err(VerifyError::Registry)?;
        self.bytes_left = charge(self.bytes_left, &bytes, Some(site))?;
        let untrusted: UntrustedConfig = strict_json::from_slice(&bytes)
            .map_err(|source| Rejection::Config { site: site.clone(), source: Arc::new(source) })?;
        let labels = untrusted.config.and_then(|config| config.labels).unwrap_or_default();
        self.labels.insert(digest.clone(), only(labels, &self.wanted));
        Ok(())
    }
}

impl Manifest {
    fn of(manifest: ImageManifest, wanted: &BTreeSet<&str>) -> Self {
        let Descriptor { digest: config, size: config_length, .. } = manifest.config;
        Self { config, config_length, annotations: only(manifest.annotations, wanted) }
    }
}

/// The names that the rules of `statement` are about.
fn names(statement: &Statement) -> BTreeSet<&str> {
    let rules = statement.clauses.iter().flat_map(|clause| match clause {
        Clause::Rule(rule) => std::slice::from_ref(rule),
        Clause::AnyOf(rules) => rules,
    });
    rules.map(|rule| rule.annotation.as_str()).collect()
}

fn only(named: Named, wanted: &BTreeSet<&str>) -> Named {
    named.into_iter().filter(|(name, _)| wanted.contains(name.as_str())).collect()
}

/// May a document of `length` bytes be read, if `left` bytes may be read yet?
fn check_length(length: u64, left: u64, site: Option<&Site>) -> Result<(), Rejection> {
    let site = || site.cloned();
    if length > DOCUMENT_MAX {
        Err(Rejection::DocumentTooLarge { site: site(), length, limit: DOCUMENT_MAX })
    } else if length > left {
        Err(Rejection::DocumentsTooLarge { site: site(), limit: DOCUMENTS_MAX })
    } else {
        Ok(())
    }
}

/// What may be read yet after `bytes`.
fn charge(left: u64, bytes: &[u8], site: Option<&Site>) -> Result<u64, Rejection> {
    let length = bytes.len() as u64;
    check_length(length, left, site)?;
    Ok(left.saturating_sub(length))
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

/// Those of `listed` for `platforms`, each once however often it is listed.
fn children(listed: &[Child], platforms: Platforms) -> Result<Vec<Site>, Rejection> {
    let is_meant = |child: &&Child| match platforms {
        Platforms::Every => !never_runs(child.platform.as_ref()),
        Platforms::Node => Node::HERE.could_run(child.platform.as_ref()),
    };
    let mut seen = BTreeSet::new();
    let mut found: Vec<&Child> = Vec::new();
    for child in listed.iter().filter(is_meant) {
        let site = || Site::Child(Box::new(child.clone()));
        match &*child.media_type {
            media_type::OCI_MANIFEST | media_type::DOCKER_MANIFEST => {}
            media_type::OCI_INDEX | media_type::DOCKER_LIST => {
                return Err(Rejection::NestedIndex { site: site() });
            }
            other => {
                let media_type = other.to_owned();
                return Err(Rejection::NoImage { site: site(), media_type });
            }
        }
        if seen.insert(&child.digest) {
            found.push(child);
        }
    }
    match found.len() {
        0 => Err(Rejection::NoManifest {
            listed: listed.len(),
            for_node: platforms == Platforms::Node,
        }),
        1..=MANIFESTS_MAX => {
            Ok(found.into_iter().map(|child| Site::Child(Box::new(child.clone()))).collect())
        }
        count => Err(Rejection::TooManyManifests { count, limit: MANIFESTS_MAX }),
    }
}
