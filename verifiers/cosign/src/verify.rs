//! Is one of these signatures what the policy asks for?

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use civ_oci::{Digest, ImageId, RegistryRead, Repository, Selector};
use civ_policy::cosign::Validity;
use civ_policy::{Evidence, UtcTime};

use crate::signatures::{Place, Problem, StoredSignatures, Unreadable, UntrustedContent};
use crate::transparency::{Form, Signed, TransparencyError, UntrustedProofs};
use crate::{
    ClaimError, ImageStatement, PayloadError, SimpleSigning, Trust, TrustedKey, UntrustedSignature,
    check_claims, dsse,
};

/// The most checks of one key against one signature for one verdict, under the `.sig` tag and again
/// in referrers: a flood in one place must not hide what is in the other. One check of a P-521 key
/// over something else takes about four milliseconds, those of RSA keys up to two.
const CHECKS_MAX: usize = 500;

/// Proof that enough trusted keys have signed an image. Made only by [`verify_signatures`].
#[derive(Clone, Debug)]
pub struct VerifiedImage {
    image: ImageId,
    statement: String,
    /// The names of the keys whose signatures counted.
    keys: BTreeSet<String>,
}

impl Evidence for VerifiedImage {
    fn image(&self) -> &ImageId {
        &self.image
    }
}

impl fmt::Display for VerifiedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        write!(f, "signed by {:?} as statement {:?} asks", keys.join(", "), self.statement)
    }
}

/// Checks the signatures in `stored`, one by one, until enough distinct keys of `trust` have signed
/// `image`. `now` is what the clock says.
///
/// A signature counts only if all of this holds for it alone: a trusted key, valid now, made it over
/// the exact bytes of its payload, and that payload makes every claim asked for. No two signatures
/// are ever put together, and none can spoil another.
pub fn verify_signatures<R: RegistryRead>(
    trust: Trust<'_>,
    image: &ImageId,
    now: UtcTime,
    stored: StoredSignatures<'_, R>,
) -> Result<VerifiedImage, VerifyError<R::Error>> {
    let mut tally = Tally::default();
    let affordable = (CHECKS_MAX / trust.keys.len().max(1)).max(1);
    for found in stored {
        let untrusted = match found {
            Ok(untrusted) if *tally.looked_at_in(&untrusted.place) >= affordable => {
                tally.left_out += 1;
                continue;
            }
            Ok(untrusted) => untrusted,
            Err(unreadable) => {
                tally.pass_over::<R>(unreadable);
                continue;
            }
        };
        *tally.looked_at_in(&untrusted.place) += 1;
        match verify_one(trust, image, now, &untrusted) {
            Ok(key) => {
                tally.signers.insert(key.name.clone());
                if tally.signers.len() >= trust.statement.threshold {
                    return Ok(VerifiedImage {
                        image: image.clone(),
                        statement: trust.statement.name.clone(),
                        keys: tally.signers,
                    });
                }
            }
            Err(rejection) => tally.reject(rejection),
        }
    }
    Err(tally.into_error(trust, image))
}

fn verify_one<'policy>(
    trust: Trust<'policy>,
    image: &ImageId,
    now: UtcTime,
    untrusted: &UntrustedSignature,
) -> Result<&'policy TrustedKey, Rejection> {
    let message: Cow<'_, [u8]> = match &untrusted.content {
        UntrustedContent::SimpleSigning(payload) => Cow::Borrowed(payload),
        UntrustedContent::Bundle(bundle) => {
            Cow::Owned(dsse::pre_authentication_encoding(dsse::IN_TOTO, &bundle.payload))
        }
    };
    let signature = &untrusted.signature;
    let key = verify_with_any(trust, &message, signature)?;
    // Only now is the payload worth parsing.
    let form = match &untrusted.content {
        UntrustedContent::SimpleSigning(payload) => {
            let payload = SimpleSigning::parse(payload)?;
            check_claims(trust.statement, image, &payload.claims_about(&image.digest))?;
            Form::SimpleSigning
        }
        UntrustedContent::Bundle(bundle) => {
            let statement = ImageStatement::parse(&bundle.payload)?;
            check_claims(trust.statement, image, &statement.claims_about(&image.digest))?;
            Form::Dsse { payload: &bundle.payload }
        }
    };
    let signed = Signed { key: &key.key, message: &message, signature, form };
    check_time(trust, key, now, &untrusted.proofs, &signed)?;
    Ok(key)
}

fn verify_with_any<'policy>(
    trust: Trust<'policy>,
    message: &[u8],
    signature: &[u8],
) -> Result<&'policy TrustedKey, Rejection> {
    let verifies = |trusted: &&TrustedKey| trusted.key.verify_signature(message, signature).is_ok();
    trust.keys.iter().find(verifies).ok_or_else(|| {
        let names: Vec<String> =
            trust.keys.iter().map(|trusted| format!("{:?}", trusted.name)).collect();
        Rejection::NoTrustedKey { keys: names.join(" or ") }
    })
}

/// The log entries and timestamps that the policy asks for, and whether the key counted when the
/// signature was made, or where nobody trusted says when that was, counts now.
fn check_time(
    trust: Trust<'_>,
    key: &TrustedKey,
    now: UtcTime,
    proofs: &UntrustedProofs,
    signed: &Signed<'_>,
) -> Result<(), Rejection> {
    let signed_at = trust.transparency.check(proofs, signed).map_err(Box::new)?;
    let vouched = signed_at.map(|time| Duration::from_secs(time.unix_seconds));
    let time = vouched.and_then(UtcTime::from_unix).unwrap_or(now);
    if key.validity.contains(time) {
        Ok(())
    } else {
        let (key, validity) = (key.name.clone(), key.validity);
        Err(Rejection::NotValid { key, validity, time, vouched: vouched.is_some() })
    }
}

/// What the signatures looked at came to.
struct Tally<E> {
    signers: BTreeSet<String>,
    closest: Option<Rejection>,
    fetch_failure: Option<E>,
    /// The first thing that was not asked for, for want of requests.
    not_asked: Option<E>,
    /// More pages of a list than are read.
    pages: Option<Problem>,
    /// More bytes of referrers than are read.
    bytes: Option<Problem>,
    in_tag: usize,
    in_referrers: usize,
    left_out: usize,
}

impl<E> Default for Tally<E> {
    fn default() -> Self {
        Self {
            signers: BTreeSet::new(),
            closest: None,
            fetch_failure: None,
            not_asked: None,
            pages: None,
            bytes: None,
            in_tag: 0,
            in_referrers: 0,
            left_out: 0,
        }
    }
}

impl<E: std::error::Error + 'static> Tally<E> {
    /// How many signatures were looked at in places of this kind.
    fn looked_at_in(&mut self, place: &Place) -> &mut usize {
        match place.name {
            Selector::Tag(_) => &mut self.in_tag,
            Selector::Digest(_) => &mut self.in_referrers,
        }
    }

    fn pass_over<R: RegistryRead<Error = E>>(&mut self, unreadable: Unreadable<E>) {
        match unreadable {
            Unreadable::Registry(error) if R::is_out_of_requests(&error) => {
                self.not_asked.get_or_insert(error);
            }
            // Before time was up, other things may have been amiss; that it is decides.
            Unreadable::Registry(error) => match &self.fetch_failure {
                Some(known) if R::is_deadline(known) || !R::is_deadline(&error) => {}
                _ => self.fetch_failure = Some(error),
            },
            Unreadable::Problem(Problem::LeftOut { count }) => self.left_out += count,
            Unreadable::Problem(problem @ Problem::Pages { .. }) => self.pages = Some(problem),
            Unreadable::Problem(problem @ Problem::Bytes { .. }) => self.bytes = Some(problem),
            Unreadable::Problem(problem) => self.reject(Rejection::Unreadable(problem)),
        }
    }

    fn reject(&mut self, rejection: Rejection) {
        if self.closest.as_ref().is_none_or(|known| rejection.rank() > known.rank()) {
            self.closest = Some(rejection);
        }
    }

    fn into_error(self, trust: Trust<'_>, image: &ImageId) -> VerifyError<E> {
        let Self { signers, closest, fetch_failure, not_asked, pages, bytes, .. } = self;
        let (looked_at, left_out) = (self.in_tag + self.in_referrers, self.left_out);
        let closest = closest.map(Box::new);
        // What could not be read might have been the one that was missing: say so first.
        if let Some(error) = fetch_failure {
            return VerifyError::Registry(error);
        }
        if let Some(source) = not_asked {
            return VerifyError::Requests { source, closest };
        }
        if let Some(source) = bytes {
            return VerifyError::Limit { source, closest };
        }
        if left_out > 0 {
            return VerifyError::TooManySignatures { looked_at, left_out, closest };
        }
        if let Some(source) = pages {
            return VerifyError::Limit { source, closest };
        }
        if !signers.is_empty() {
            return VerifyError::Threshold {
                signers,
                threshold: trust.statement.threshold,
                statement: trust.statement.name.clone(),
            };
        }
        match closest {
            Some(closest) => VerifyError::Rejected { closest, looked_at },
            None => VerifyError::Unsigned {
                repository: trust.signature_repository(image).clone(),
                digest: image.digest.clone(),
            },
        }
    }
}

/// Why one signature does not count.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// A trusted key signed it, but not for this.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// No trusted key made it, or its payload was changed.
    #[error("signature invalid: not made by {keys} over this payload")]
    NoTrustedKey {
        /// The names of the keys tried.
        keys: String,
    },
    /// The key that made it does not count at that time.
    #[error(
        "key {key:?} is valid {}; {} {time}",
        Window(*validity),
        if *vouched { "it signed at" } else { "this machine's clock says" }
    )]
    NotValid {
        /// The key.
        key: String,
        /// When it counts.
        validity: Validity,
        /// When it was made, or what the clock says.
        time: UtcTime,
        /// Whether somebody whom the policy trusts vouches for the time.
        vouched: bool,
    },
    /// A trusted key signed something else than an image.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// It lacks a log entry or a timestamp that the policy asks for.
    #[error(transparent)]
    Transparency(#[from] Box<TransparencyError>),
    /// It cannot be read as a signature.
    #[error(transparent)]
    Unreadable(#[from] Problem),
}

impl Rejection {
    /// How close the signature came: the reason names the closest.
    fn rank(&self) -> u8 {
        match self {
            Self::Unreadable(Problem::TooLarge { .. }) => 2,
            Self::Unreadable(_) => 0,
            Self::NoTrustedKey { .. } => 1,
            Self::Payload(_) => 3,
            Self::Claim(ClaimError::OtherDigest { .. }) => 4,
            Self::Claim(ClaimError::NoRepository | ClaimError::OtherRepository { .. }) => 5,
            Self::Claim(_) => 6,
            Self::Transparency(_) => 7,
            Self::NotValid { .. } => 8,
        }
    }
}

/// Why an image is not verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError<E: std::error::Error + 'static> {
    /// The registry failed.
    #[error(transparent)]
    Registry(E),
    /// There are signatures, and none counts.
    #[error("{closest}{}", Others(*looked_at))]
    Rejected {
        /// The failure of the one that came closest.
        closest: Box<Rejection>,
        /// How many were looked at.
        looked_at: usize,
    },
    /// Some keys have signed, but not enough.
    #[error("signed by {} of {threshold} keys that statement {statement:?} asks for: {}", signers.len(), Names(signers))]
    Threshold {
        /// The names of the keys that have.
        signers: BTreeSet<String>,
        /// How many are asked for.
        threshold: usize,
        /// The statement that asks.
        statement: String,
    },
    /// Those looked at do not suffice, and there are more.
    #[error(
        "limit reached: {looked_at} signatures do not suffice, and {left_out} more were not looked at; remove those that no policy asks for{}",
        Closest(closest.as_deref())
    )]
    TooManySignatures {
        /// How many were looked at.
        looked_at: usize,
        /// How many were not.
        left_out: usize,
        /// The failure of the one that came closest.
        closest: Option<Box<Rejection>>,
    },
    /// Those looked at do not suffice, and the list of referrers goes on, or what it lists is too large.
    #[error("{source}, and no signature before suffices{}", Closest(closest.as_deref()))]
    Limit {
        /// What is too long.
        source: Problem,
        /// The failure of the one that came closest.
        closest: Option<Box<Rejection>>,
    },
    /// Those looked at do not suffice, and to look at more would take too many requests.
    #[error("{source}{}", Closest(closest.as_deref()))]
    Requests {
        /// What was not asked for.
        source: E,
        /// The failure of the one that came closest.
        closest: Option<Box<Rejection>>,
    },
    /// There is no signature.
    #[error(
        "unsigned: no signature for {digest} in {repository}; sign it, or pull by the digest that was signed"
    )]
    Unsigned {
        /// Where one would be.
        repository: Repository,
        /// The digest that has none.
        digest: Digest,
    },
}

struct Others(usize);

impl fmt::Display for Others {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 | 1 => Ok(()),
            looked_at => write!(f, " (the closest of {looked_at} signatures)"),
        }
    }
}

struct Closest<'a>(Option<&'a Rejection>);

impl fmt::Display for Closest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rejection) => write!(f, " (the closest: {rejection})"),
            None => Ok(()),
        }
    }
}

struct Names<'a>(&'a BTreeSet<String>);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        f.write_str(&names.join(", "))
    }
}

struct Window(Validity);

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.after, self.0.before) {
            (Some(after), Some(before)) => write!(f, "from {after} until {before}"),
            (Some(after), None) => write!(f, "from {after}"),
            (None, Some(before)) => write!(f, "until {before}"),
            (None, None) => f.write_str("always"),
        }
    }
}
