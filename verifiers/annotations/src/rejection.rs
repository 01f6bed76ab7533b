//! Why an image is not as its policy asks, in words for whoever has to mend it.

use std::fmt;
use std::sync::Arc;

use civ_oci::strict_json::JsonError;
use civ_oci::text::one_line;
use civ_oci::{Descriptor, Digest, DocumentError, Platform};
use civ_policy::annotations::{Matcher, Mismatch, matcher::VALUE_MAX};

/// A place where an annotation or label was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// The index that is pulled.
    Index,
    /// The manifest that is pulled.
    Manifest,
    /// A manifest that the index lists.
    Child(Box<Child>),
}

/// A manifest that an index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes, as the index states it.
    pub size: u64,
    /// Its media type, by which containerd will read it.
    pub media_type: String,
    /// What the index says that it is for.
    pub platform: Option<Platform>,
}

impl From<Descriptor> for Child {
    fn from(listed: Descriptor) -> Self {
        let Descriptor { digest, size, media_type, platform, .. } = listed;
        Self { digest, size, media_type, platform }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index => f.write_str("the index"),
            Self::Manifest => f.write_str("the manifest"),
            Self::Child(child) => child.fmt(f),
        }
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex: String = self.digest.hex().chars().take(12).collect();
        write!(f, "manifest {}:{hex}…", self.digest.algorithm())?;
        let Some(Platform { os, architecture, variant, .. }) = &self.platform else {
            return Ok(());
        };
        let variant = variant.iter().flat_map(|variant| ["/", variant]).collect::<String>();
        write!(f, " ({})", one_line(&format!("{os}/{architecture}{variant}"), 40))
    }
}

/// Text of a stranger between quotation marks, at most about `.1` bytes of it.
struct Quoted<'a>(&'a str, usize);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is longer than it may be is longer still when escaped.
        let start: String = self.0.chars().take(self.1 + 1).collect();
        let escaped = start.replace('\\', r"\\").replace('"', "\\\"");
        write!(f, "\"{}\"", one_line(&escaped, self.1))
    }
}

/// A place, or `None` for what is pulled.
struct Pulled<'a>(Option<&'a Site>);

impl fmt::Display for Pulled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(site) => site.fmt(f),
            None => f.write_str("image"),
        }
    }
}

/// An annotation or label that is not as a rule asks.
#[derive(Clone, Debug)]
pub struct NotAsAsked {
    /// The annotation's or label's name.
    pub name: String,
    /// Whether it is a label.
    pub is_label: bool,
    /// Where it was looked for.
    pub site: Site,
    /// What was found there. Not where absence is asked for: it may be a secret that got there.
    pub found: Option<String>,
    /// What is wrong with it.
    pub mismatch: Mismatch,
    /// What was asked for.
    pub asked: Matcher,
    /// The statement that asks.
    pub statement: String,
}

impl NotAsAsked {
    fn asks_for_absence(&self) -> bool {
        matches!(self.asked, Matcher::Absent)
    }
}

impl fmt::Display for NotAsAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = if self.is_label { "label" } else { "annotation" };
        let name = Quoted(&self.name, 64);
        let site = &self.site;
        let found = Quoted(self.found.as_deref().unwrap_or_default(), 48);
        match self.mismatch {
            Mismatch::Missing => write!(f, "{noun} {name} missing from {site}")?,
            Mismatch::Blank => write!(f, "{noun} {name} of {site} is blank")?,
            Mismatch::TooLong { length } => write!(
                f,
                "limit reached: {noun} {name} of {site} has {length} bytes, more than {VALUE_MAX}"
            )?,
            _ if self.asks_for_absence() => write!(f, "{noun} {name} is set in {site}")?,
            _ => write!(f, "{noun} {name} of {site} is {found}")?,
        }
        f.write_str(match self.mismatch {
            Mismatch::InFuture => ", which is still to come",
            Mismatch::NoTime => ", no time as RFC 3339 writes it",
            Mismatch::NoVersion => ", no semantic version",
            Mismatch::TooOld => ", too long ago",
            _ => "",
        })?;
        let asked = one_line(&self.asked.to_string(), 56);
        write!(f, "; statement {} asks for {asked}", Quoted(&self.statement, 32))?;
        f.write_str(match (self.mismatch, &self.site) {
            (Mismatch::Missing, Site::Index) if !self.is_label => {
                "; set it on the index, or see \"from\" for its manifests"
            }
            (Mismatch::InFuture, _) => "; are the clocks of builder and node right?",
            (Mismatch::TooOld, _) => "; rebuild the image",
            (_, _) if self.asks_for_absence() => "; pull another image",
            _ => "; set it when the image is built",
        })
    }
}

/// Why an image is not as a statement asks.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The configuration that has the labels says that it is too large to be read.
    #[error("limit reached: configuration of {site} has {length} bytes, more than {limit}")]
    ConfigTooLarge {
        /// The image's manifest.
        site: Site,
        /// The length that the manifest states, in bytes.
        length: u64,
        /// How much is read, in bytes.
        limit: u64,
    },
    /// The configuration that has the labels cannot be read.
    #[error("configuration of {site} is malformed, so it has no labels to go by: {source}")]
    Config {
        /// The image's manifest.
        site: Site,
        /// What is wrong with it.
        source: Arc<JsonError>,
    },
    /// A manifest or index is too large to be read.
    #[error(
        "limit reached: {} has {length} bytes, more than {limit}; push an image with less in it",
        Pulled(site.as_ref())
    )]
    DocumentTooLarge {
        /// Which; `None` for what is pulled.
        site: Option<Site>,
        /// Its length in bytes, or what the index says that it is.
        length: u64,
        /// How much is read, in bytes.
        limit: u64,
    },
    /// The image's documents are too large together.
    #[error(
        "limit reached: with {} the documents to look at have more than {limit} bytes together; \"platforms\": \"node\" looks at fewer",
        Pulled(site.as_ref())
    )]
    DocumentsTooLarge {
        /// The manifest, or that of the configuration, which is one too many.
        site: Option<Site>,
        /// How much is read in all, in bytes.
        limit: u64,
    },
    /// Of the rules of a group, none holds.
    #[error("none of {count} alternatives holds; the first: {first}")]
    NoneHolds {
        /// How many there are.
        count: usize,
        /// What is wrong with the first.
        first: Box<Rejection>,
    },
    /// An annotation or label is not as asked.
    #[error("{0}")]
    NotAsAsked(Box<NotAsAsked>),
    /// A manifest was pulled by its own digest, and a rule is about the index.
    #[error(
        "no index: {digest} is a manifest, and statement {} asks for annotation {} of an index; pull the index's digest",
        Quoted(statement, 32),
        Quoted(name, 64)
    )]
    NoIndex {
        /// The digest pulled.
        digest: Digest,
        /// The annotation's name.
        name: String,
        /// The statement that asks.
        statement: String,
    },
    /// The index lists something that is no image.
    #[error(
        "no image manifest: the index lists {site} with media type {}; attach it to the image instead (subject), or list it for platform unknown/unknown",
        Quoted(media_type, 64)
    )]
    NoImage {
        /// What is listed.
        site: Site,
        /// Its media type, as the index states it.
        media_type: String,
    },
    /// The index lists no manifest that the rule is about.
    #[error(
        "no manifest for {}: the index lists {listed} others; push an index that lists one",
        if *for_node { "this node" } else { "any platform" }
    )]
    NoManifest {
        /// How many the index lists that the rule is not about.
        listed: usize,
        /// Whether the rule is about those for the node.
        for_node: bool,
    },
    /// The statement asks for nothing.
    #[error("statement {} asks for nothing", Quoted(statement, 32))]
    NothingAsked {
        /// The statement.
        statement: String,
    },
    /// An index lists an index, and which manifests are in it is not looked at.
    #[error("index within the index: {site} is one; push an index that lists manifests only")]
    NestedIndex {
        /// The one that is listed.
        site: Site,
    },
    /// The index lists more manifests than are looked at.
    #[error(
        "limit reached: the index lists {count} manifests to look at, more than {limit}; \"platforms\": \"node\" looks at fewer"
    )]
    TooManyManifests {
        /// How many there are.
        count: usize,
        /// How many are looked at.
        limit: usize,
    },
    /// A document of the image cannot be read.
    #[error("{} unreadable: {source}", Pulled(site.as_ref()))]
    Unreadable {
        /// Which; `None` for what is pulled.
        site: Option<Site>,
        /// What is wrong with it.
        source: Arc<DocumentError>,
    },
}
