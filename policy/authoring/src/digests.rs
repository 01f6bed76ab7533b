//! Writing the document of `digestion-image-verifier`: the digests of images, in the forms that an
//! operator may want. Each is read by the verifier's parser before it is given out.

use std::collections::{BTreeMap, BTreeSet};

use civ_oci::{Digest, Repository};
use civ_policy::PolicyError;
use civ_policy::digestion::{NAME_MAX, Policy};
use civ_policy::file::POLICY_MAX;
use serde::Serialize;

/// An image whose digest is to be trusted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResolvedImage {
    /// Where it is.
    pub repository: Repository,
    /// What people call it.
    pub name: String,
    /// Its digest: of an index, or of a manifest.
    pub digest: Digest,
    /// The manifests and indexes below an index. `None` where nobody has looked: the index alone is
    /// listed.
    pub children: Option<Vec<Digest>>,
}

/// How the digests are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As Bottlerocket's own verifier takes them: digests and nothing else.
    Flat,
    /// With names, for all repositories.
    Named,
    /// With names, each repository's for itself.
    Scoped,
}

/// A document, and what it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestDocument {
    /// The document, indented, with a newline at its end.
    pub text: String,
    /// The digests in it, each as often as it is listed.
    pub digests: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    version: &'static str,
    #[serde(flatten)]
    list: List<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    trust_policies: Vec<Statement<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Statement<'a> {
    name: String,
    registry_scopes: [String; 1],
    #[serde(flatten)]
    list: List<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    trusted_digests: BTreeSet<&'a Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Image<'a>>,
}

#[derive(Serialize)]
struct Image<'a> {
    name: &'a str,
    digest: &'a Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<&'a [Digest]>,
}

/// Writes the document that trusts `images`, the same for the same images in any order. Either all of
/// them have their children or none has.
pub fn write(images: &[ResolvedImage], form: Form) -> Result<DigestDocument, WriteError> {
    let images: BTreeSet<&ResolvedImage> = images.iter().collect();
    let (list, trust_policies) = match form {
        Form::Flat => (List::flat(images), Vec::new()),
        Form::Named => (List::named(images), Vec::new()),
        Form::Scoped => {
            let mut repositories: BTreeMap<&Repository, Vec<&ResolvedImage>> = BTreeMap::new();
            for image in images {
                repositories.entry(&image.repository).or_default().push(image);
            }
            let statements = repositories.into_iter().map(|(repository, images)| Statement {
                name: repository.to_string(),
                registry_scopes: [repository.to_string()],
                list: List::named(images),
            });
            (List::default(), statements.collect())
        }
    };
    let lists = trust_policies.iter().map(|statement| &statement.list).chain([&list]);
    let digests = lists.map(List::len).sum();
    let document = Document { version: "1.0", list, trust_policies };
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    if text.len() as u64 > POLICY_MAX {
        return Err(WriteError::TooLarge { bytes: text.len() });
    }
    Policy::parse(text.as_bytes())?;
    Ok(DigestDocument { text, digests })
}

impl DigestDocument {
    /// Its length in base64, as Bottlerocket's settings take it, in bytes.
    pub fn base64_len(&self) -> usize {
        self.text.len().div_ceil(3) * 4
    }
}

impl<'a> List<'a> {
    fn flat(images: impl IntoIterator<Item = &'a ResolvedImage>) -> Self {
        let digests = images
            .into_iter()
            .flat_map(|image| image.children.iter().flatten().chain([&image.digest]));
        Self { trusted_digests: digests.collect(), ..Self::default() }
    }

    fn named(images: impl IntoIterator<Item = &'a ResolvedImage>) -> Self {
        let mut list = Self::default();
        for image in images {
            let children = image.children.as_deref();
            list.children = children.map(|_| "resolve");
            list.images.push(Image { name: name_of(image), digest: &image.digest, children });
        }
        list
    }

    fn len(&self) -> usize {
        let children = self.images.iter().map(|image| image.children.unwrap_or_default().len());
        self.trusted_digests.len() + self.images.len() + children.sum::<usize>()
    }
}

/// The name as far as the verifier takes it.
fn name_of(image: &ResolvedImage) -> &str {
    let mut end = image.name.len().min(NAME_MAX);
    while !image.name.is_char_boundary(end) {
        end -= 1;
    }
    image.name.get(..end).unwrap_or_default()
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The verifier does not accept it.
    #[error("the verifier would not accept the document: {0}")]
    Policy(#[from] PolicyError),
    /// It cannot be written as JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Larger than a verifier reads.
    #[error("the document would have {bytes} bytes, and verifiers read at most {POLICY_MAX}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use civ_oci::ImageId;

    use super::*;

    fn digest(of: &str) -> Digest {
        Digest::sha256(of.as_bytes())
    }

    fn image(path: &str, tag: &str, children: Option<&[&str]>) -> ResolvedImage {
        let children =
            children.map(|children| children.iter().map(|child| digest(child)).collect());
        ResolvedImage {
            repository: path.parse().unwrap(),
            name: format!("{path}:{tag}"),
            digest: digest(tag),
            children,
        }
    }

    fn admits(document: &DigestDocument, path: &str, of: &str) -> bool {
        let policy = Policy::parse(document.text.as_bytes()).unwrap();
        let image = ImageId { repository: path.parse().unwrap(), digest: digest(of) };
        policy.check_listed(&image).is_ok()
    }

    #[test]
    fn each_form_admits_what_it_says_and_is_the_same_for_any_order() {
        let mut images = [
            image("r.io/a", "1", Some(&["c", "d"])),
            image("r.io/b", "2", Some(&[])),
            image("r.io/a", "3", Some(&["c"])),
            image("r.io/a", "1", Some(&["c", "d"])),
        ];
        // form, digests listed, whether r.io/b may run what is of r.io/a
        for (form, digests, elsewhere) in
            [(Form::Flat, 5, true), (Form::Named, 6, true), (Form::Scoped, 6, false)]
        {
            let document = write(&images, form).unwrap();
            assert_eq!(document.digests, digests, "{}", document.text);
            for (path, of, allowed) in [
                ("r.io/a", "1", true),
                ("r.io/a", "c", true),
                ("r.io/a", "d", true),
                ("r.io/b", "2", true),
                ("r.io/b", "d", elsewhere),
                ("r.io/a", "x", false),
            ] {
                assert_eq!(admits(&document, path, of), allowed, "{form:?} {path} {of}");
            }
            images.reverse();
            assert_eq!(write(&images, form).unwrap(), document);
        }
        let flat = write(&images, Form::Flat).unwrap();
        assert!(!flat.text.contains("images") && !flat.text.contains("children"));
    }

    #[test]
    fn without_children_an_index_stands_for_itself() {
        let images = [image("r.io/a", "1", None)];
        for form in [Form::Flat, Form::Named, Form::Scoped] {
            let document = write(&images, form).unwrap();
            assert!(!document.text.contains("children"), "{}", document.text);
            assert!(admits(&document, "r.io/a", "1"));
        }
    }

    #[test]
    fn what_no_verifier_would_read_is_not_written() {
        let many: Vec<_> = (0..8000).map(|n| image("r.io/a", &n.to_string(), None)).collect();
        assert!(matches!(write(&many, Form::Named), Err(WriteError::TooLarge { .. })));
        assert!(matches!(write(&[], Form::Flat), Err(WriteError::Policy(_))));
        let long = ResolvedImage { name: "ü".repeat(NAME_MAX), ..image("r.io/a", "1", None) };
        write(&[long], Form::Named).unwrap();
    }
}
