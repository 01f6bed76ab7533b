//! Finding the signatures of an image: every place where cosign keeps them, one after the other, each
//! read only when those before it did not suffice.
//!
//! | place | what is there | written by |
//! |---|---|---|
//! | the tag `sha256-<hex>.sig` | an image of simple-signing payloads | cosign 1 and 2, civ |
//! | a referrer of the image | a bundle | cosign 3, civ |
//! | a referrer of the image | an image of simple-signing payloads | cosign, experimentally |
//!
//! Referrers are listed by the registry, or where it does not offer that by an index under the tag
//! `sha256-<hex>`. Whatever is malformed or cannot be read is passed on as such and spoils nothing
//! else.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::{
    Descriptor, Digest, ImageId, ReferrersPage, RegistryRead, Repository, Selector, Tag, media_type,
};

pub use self::budget::{
    PAYLOAD_MAX, REFERRER_MAX, REFERRERS_BYTES_MAX, REFERRERS_MAX, REQUESTS_MAX, SIGNATURES_MAX,
};
pub use self::problem::{Large, Problem, Unreadable};
pub use self::referrers::{CREATED_ANNOTATION, PREDICATE_ANNOTATION};

use self::budget::{Budget, PAGES_MAX};
use self::referrers::Referrers;
use self::sig_image::{Layer, Layers};
use crate::bundle::{BUNDLE_MAX, UntrustedBundle};
use crate::transparency::UntrustedProofs;

mod budget;
mod problem;
mod referrers;
mod sig_image;

/// The layer annotation that holds a signature, in base64.
pub const SIGNATURE_ANNOTATION: &str = "dev.cosignproject.cosign/signature";

/// A signature as stored, with what it signs. None of it is trusted.
#[derive(Clone, Debug)]
pub struct UntrustedSignature {
    /// Where it was found.
    pub place: Place,
    /// The raw signature.
    pub signature: Vec<u8>,
    /// What it should be a signature of.
    pub content: UntrustedContent,
    /// The log entries and timestamps that came with it.
    pub proofs: UntrustedProofs,
}

/// What a signature signs, in one of cosign's two formats.
#[derive(Clone, Debug)]
pub enum UntrustedContent {
    /// A simple-signing payload.
    SimpleSigning(Arc<[u8]>),
    /// The in-toto statement of a bundle.
    Bundle(Box<UntrustedBundle>),
}

/// A place in a registry where signatures are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The repository.
    pub repository: Repository,
    /// The manifest in it.
    pub name: Selector,
}

/// Reads the signatures of an image, as far as they are asked for: an iterator whose items take
/// requests.
#[derive(Debug)]
pub struct StoredSignatures<'a, R: RegistryRead> {
    registry: &'a R,
    repository: &'a Repository,
    digest: &'a Digest,
    next_place: NextPlace,
    pending: VecDeque<Pending<R::Error>>,
    /// Layers under the tag whose payloads are asked for after the referrers.
    deferred: VecDeque<Pending<R::Error>>,
    /// Payloads that several signatures sign, and `None` for one that could not be had.
    payloads: BTreeMap<Digest, Option<Arc<[u8]>>>,
    budget: Budget,
}

#[derive(Debug)]
enum NextPlace {
    SignatureTag,
    SignatureTagAlone,
    Referrers,
    None,
}

#[derive(Debug)]
enum Pending<E> {
    Layer(Place, Layer),
    Referrer(Descriptor),
    Unreadable(Unreadable<E>),
}

impl<'a, R: RegistryRead> StoredSignatures<'a, R> {
    /// The signatures of `image` in `repository`, which is the image's own unless a policy says
    /// otherwise.
    pub fn of(image: &'a ImageId, repository: &'a Repository, registry: &'a R) -> Self {
        Self {
            registry,
            repository,
            digest: &image.digest,
            next_place: NextPlace::SignatureTag,
            pending: VecDeque::new(),
            deferred: VecDeque::new(),
            payloads: BTreeMap::new(),
            budget: Budget::default(),
        }
    }

    /// Only those under the tag `sha256-<hex>.sig`.
    #[must_use]
    pub fn in_tag(self) -> Self {
        Self { next_place: NextPlace::SignatureTagAlone, ..self }
    }

    /// Only those in this referrer, whether or not it is listed as one.
    #[must_use]
    pub fn in_referrer(self, referrer: Descriptor) -> Self {
        let pending = VecDeque::from([Pending::Referrer(referrer)]);
        Self { next_place: NextPlace::None, pending, ..self }
    }

    fn open_signature_tag(&mut self) -> Result<(), R::Error> {
        let Some(tag) = Tag::of_signatures(self.digest) else { return Ok(()) };
        let place = self.place(Selector::Tag(tag));
        if let Some(manifest) = self.registry.manifest(self.repository, &place.name)? {
            if let Some(layers) = sig_image::parse(&manifest) {
                self.open_signature_image(&place, layers);
            } else {
                let problem = Problem::Place { place, expected: "an image manifest" };
                self.pending.push_front(Pending::Unreadable(problem.into()));
            }
        }
        Ok(())
    }

    /// The newest signature first: signers append.
    fn open_signature_image(&mut self, place: &Place, layers: Layers) {
        let none_is_good = layers.signatures.is_empty() && layers.malformed > 0;
        let malformed =
            none_is_good.then(|| Problem::Layers { place: place.clone(), count: layers.malformed });
        let left_out = (layers.left_out > 0).then_some(Problem::LeftOut { count: layers.left_out });
        for problem in [left_out, malformed].into_iter().flatten() {
            self.pending.push_front(Pending::Unreadable(problem.into()));
        }
        for layer in layers.signatures {
            self.pending.push_front(Pending::Layer(place.clone(), layer));
        }
    }

    /// What a list holds comes before what is wrong with it.
    fn open_referrers(&mut self) -> Result<(), R::Error> {
        let mut listed = Referrers::default();
        let unreadable = match self.registry.referrers(self.repository, self.digest, None)? {
            Some(first) => self.read_pages(first, &mut listed).err(),
            None => self.read_referrers_tag(&mut listed)?,
        };
        let left_out = listed.left_out;
        let referrers = listed.in_order().into_iter().map(Pending::Referrer);
        self.pending.extend(referrers);
        let left_out = (left_out > 0).then(|| Problem::LeftOut { count: left_out }.into());
        let unreadable = [left_out, unreadable].into_iter().flatten();
        self.pending.extend(unreadable.map(Pending::Unreadable));
        Ok(())
    }

    fn read_pages(
        &self,
        first: ReferrersPage,
        listed: &mut Referrers,
    ) -> Result<(), Unreadable<R::Error>> {
        let mut page = first;
        for number in 1.. {
            let referrers = referrers::parse(&page.bytes).ok_or_else(|| self.no_list())?;
            listed.extend(referrers);
            let Some(next) = page.next else { break };
            if number == PAGES_MAX {
                let place = self.place(Selector::Digest(self.digest.clone()));
                return Err(Problem::Pages { place, limit: PAGES_MAX }.into());
            }
            let found = self.registry.referrers(self.repository, self.digest, Some(&next));
            page = found.map_err(Unreadable::Registry)?.ok_or_else(|| self.no_list())?;
        }
        Ok(())
    }

    /// cosign puts a copy of the image itself under this tag, which then lists no referrers.
    fn read_referrers_tag(
        &self,
        listed: &mut Referrers,
    ) -> Result<Option<Unreadable<R::Error>>, R::Error> {
        let tag = Selector::Tag(Tag::of_referrers(self.digest));
        let index = self.registry.manifest(self.repository, &tag)?;
        let index = index
            .filter(|index| media_type::essence(&index.media_type) == media_type::OCI_INDEX)
            .filter(|index| index.digest != *self.digest);
        let Some(index) = index else { return Ok(None) };
        match referrers::parse(&index.bytes) {
            Some(referrers) => {
                listed.extend(referrers);
                Ok(None)
            }
            None => Ok(Some(self.no_list())),
        }
    }

    fn no_list(&self) -> Unreadable<R::Error> {
        let place = self.place(Selector::Digest(self.digest.clone()));
        Problem::Referrers { place }.into()
    }

    /// Fetches a referrer. One that holds a bundle is a signature; one that holds an image of
    /// signatures becomes pending.
    fn open_referrer(
        &mut self,
        referrer: &Descriptor,
    ) -> Result<Option<UntrustedSignature>, Unreadable<R::Error>> {
        self.budget.bytes_for(Large::Manifest, referrer.size)?;
        self.budget.spend_referrer()?;
        let place = self.place(Selector::Digest(referrer.digest.clone()));
        let manifest = self.registry.manifest(self.repository, &place.name);
        let Some(manifest) = manifest.map_err(Unreadable::Registry)? else {
            return Err(Problem::Place { place, expected: "there" }.into());
        };
        self.budget.spend_bytes(Large::Manifest, &manifest.bytes)?;
        let Some(mut layers) = sig_image::parse(&manifest) else {
            return Err(Problem::Place { place, expected: "an image manifest" }.into());
        };
        drop(manifest);
        if let Some(bundle) = layers.bundle() {
            self.read_bundle(place, &bundle).map(Some)
        } else {
            self.open_signature_image(&place, layers);
            Ok(None)
        }
    }

    fn read_bundle(
        &mut self,
        place: Place,
        layer: &Descriptor,
    ) -> Result<UntrustedSignature, Unreadable<R::Error>> {
        let bytes = if let Some(inline) = inline_content(layer, BUNDLE_MAX) {
            inline
        } else {
            let limit = self.budget.bytes_for(Large::Bundle, layer.size)?;
            self.budget.spend_blob(&place)?;
            let blob = self.registry.blob(self.repository, &layer.digest, limit);
            let blob = blob.map_err(Unreadable::Registry)?;
            self.budget.spend_bytes(Large::Bundle, &blob)?;
            blob
        };
        match UntrustedBundle::parse(&bytes) {
            Ok(mut bundle) => Ok(UntrustedSignature {
                place,
                signature: std::mem::take(&mut bundle.signature),
                proofs: UntrustedProofs::from_bundle(bundle.material.get()),
                content: UntrustedContent::Bundle(Box::new(bundle)),
            }),
            Err(source) => Err(Problem::Bundle { place, source }.into()),
        }
    }

    /// A layer with its payload. `None` if that payload could not be had before.
    fn read_layer(
        &mut self,
        place: Place,
        layer: Layer,
    ) -> Result<Option<UntrustedSignature>, Unreadable<R::Error>> {
        let payload = match layer.inline_payload {
            Some(inline) => Some(inline),
            None => self.fetch_payload(&place, &layer.payload_digest, layer.payload_size)?,
        };
        Ok(payload.map(|payload| UntrustedSignature {
            place,
            signature: layer.signature,
            proofs: layer.proofs,
            content: UntrustedContent::SimpleSigning(payload),
        }))
    }

    fn fetch_payload(
        &mut self,
        place: &Place,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Arc<[u8]>>, Unreadable<R::Error>> {
        if size > PAYLOAD_MAX {
            let what = Large::Payload;
            return Err(Problem::TooLarge { what, size, limit: PAYLOAD_MAX }.into());
        }
        if let Some(known) = self.payloads.get(digest) {
            return Ok(known.clone());
        }
        self.budget.spend_blob(place)?;
        let fetched = self.registry.blob(self.repository, digest, PAYLOAD_MAX);
        let (payload, failure) = match fetched {
            Ok(payload) => (Some(Arc::from(payload)), None),
            Err(error) => (None, Some(error)),
        };
        self.payloads.insert(digest.clone(), payload.clone());
        match failure {
            Some(error) => {
                self.defer_payloads();
                Err(Unreadable::Registry(error))
            }
            None => Ok(payload),
        }
    }

    /// After a payload under the tag could not be had, and that may have taken long, the others wait
    /// until referrers were looked at: they must not take all the time there is.
    fn defer_payloads(&mut self) {
        if matches!(self.next_place, NextPlace::Referrers) {
            let is_in_line = |pending: &Pending<_>| match pending {
                Pending::Layer(_, layer) => layer.inline_payload.is_some(),
                Pending::Referrer(_) | Pending::Unreadable(_) => true,
            };
            let (now, later) = std::mem::take(&mut self.pending).into_iter().partition(is_in_line);
            (self.pending, self.deferred) = (now, later);
        }
    }

    fn place(&self, name: Selector) -> Place {
        Place { repository: self.repository.clone(), name }
    }
}

impl<R: RegistryRead> Iterator for StoredSignatures<'_, R> {
    type Item = Result<UntrustedSignature, Unreadable<R::Error>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let read = match self.pending.pop_front() {
                Some(Pending::Layer(place, layer)) => self.read_layer(place, layer),
                Some(Pending::Referrer(referrer)) => self.open_referrer(&referrer),
                Some(Pending::Unreadable(unreadable)) => Err(unreadable),
                None => {
                    let (place, after) = match self.next_place {
                        NextPlace::SignatureTag => {
                            (self.open_signature_tag(), NextPlace::Referrers)
                        }
                        NextPlace::SignatureTagAlone => {
                            (self.open_signature_tag(), NextPlace::None)
                        }
                        NextPlace::Referrers => (self.open_referrers(), NextPlace::None),
                        NextPlace::None if self.deferred.is_empty() => return None,
                        NextPlace::None => {
                            self.pending.append(&mut self.deferred);
                            continue;
                        }
                    };
                    self.next_place = after;
                    place.map(|()| None).map_err(Unreadable::Registry)
                }
            };
            if let Some(found) = read.transpose() {
                return Some(found);
            }
        }
    }
}

/// The content that a descriptor holds inline, if it is short enough and has the descriptor's
/// digest.
pub fn inline_content(descriptor: &Descriptor, limit: u64) -> Option<Vec<u8>> {
    let content = STANDARD.decode(descriptor.data.as_ref()?).ok()?;
    let is_it = content.len() as u64 <= limit && descriptor.digest.check(&content).is_ok();
    is_it.then_some(content)
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Selector::Tag(tag) => write!(f, "{}:{tag}", self.repository),
            Selector::Digest(digest) => write!(f, "{}@{digest}", self.repository),
        }
    }
}
