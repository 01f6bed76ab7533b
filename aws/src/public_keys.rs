//! The public keys that a policy leaves to KMS: from the cache while an answer is young, else from KMS,
//! and where the policy says so from an older answer while AWS cannot be reached.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use civ_policy::{KeySource, KmsCache, KmsKeyRef, Observer};

use crate::cache::{self, Cache, CacheError};
use crate::credentials::{Credentials, StsLocation};
use crate::kms::{self, KmsError};
use crate::{Environment, Network};

/// The part of a verdict's time that AWS may take, credentials and all keys together: there must be
/// enough left to ask the registry.
const AWS_TIME: Duration = Duration::from_secs(4);

/// How keys are found.
#[derive(Clone, Debug)]
pub struct Options {
    /// When to give up; AWS gets at most 4 s of what is left.
    pub deadline: Instant,
    /// The variables that say where credentials are.
    pub environment: Environment,
    /// How long an answer is used.
    pub cache: KmsCache,
    /// Where answers are kept.
    pub cache_directory: PathBuf,
    /// The time of day.
    pub clock: fn() -> SystemTime,
    /// Where credentials are asked for.
    pub endpoints: Endpoints,
    /// A PEM file of certificate authorities to use instead of the system's.
    pub authorities: Option<PathBuf>,
    /// Counts every request as it is made, those for credentials included.
    pub counter: Arc<AtomicU64>,
}

impl Options {
    /// As a verifier has them.
    pub fn until(deadline: Instant, environment: Environment, cache: KmsCache) -> Self {
        Self {
            deadline,
            environment,
            cache,
            cache_directory: cache::DIRECTORY.into(),
            clock: SystemTime::now,
            endpoints: Endpoints::default(),
            authorities: None,
            counter: Arc::default(),
        }
    }
}

/// Where credentials are asked for: base addresses, without a slash at the end. For tests; no variable
/// changes them.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The instance metadata service.
    pub instance_metadata: String,
    /// What a container's relative address is relative to.
    pub container: String,
    /// STS, instead of the region's.
    pub sts: Option<String>,
}

impl Default for Endpoints {
    fn default() -> Self {
        Self {
            instance_metadata: "http://169.254.169.254".to_owned(),
            container: "http://169.254.170.2".to_owned(),
            sts: None,
        }
    }
}

/// Where a key came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// An answer that is young enough.
    Cache,
    /// KMS.
    Kms,
    /// An answer that is too old, as AWS cannot be reached and the policy allows for it.
    StaleCache,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cache => "cache",
            Self::Kms => "kms",
            Self::StaleCache => "stale-cache",
        })
    }
}

/// How a key was found, for the record.
struct Lookup<'a> {
    key: &'a KmsKeyRef,
    origin: Origin,
    /// How old the answer is.
    age: Duration,
    /// Why the cache could not be used, read or written. The verdict does not depend on it.
    cache_problem: Option<CacheError>,
    /// Why KMS was of no use, where an old answer took its place.
    outage: Option<KmsError>,
}

impl Lookup<'_> {
    fn tell(&self, observer: &dyn Observer) {
        let age = self.age.as_secs();
        let mut details: Vec<(_, &dyn ToString)> =
            vec![("kms", self.key), ("from", &self.origin), ("age_s", &age)];
        if let Some(problem) = &self.cache_problem {
            details.push(("cache", problem));
        }
        if let Some(outage) = &self.outage {
            details.push(("outage", outage));
        }
        observer.step("key", &details);
    }
}

/// The public keys of KMS keys, for one verdict.
pub struct PublicKeys<'a> {
    options: Options,
    network: Network,
    cache: Cache,
    credentials: OnceCell<Credentials>,
    observer: &'a dyn Observer,
}

impl std::fmt::Debug for PublicKeys<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicKeys").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<'a> PublicKeys<'a> {
    /// Asks nobody yet. `observer` hears of each key that is found.
    pub fn new(options: Options, observer: &'a dyn Observer) -> Self {
        let deadline = options.deadline.min(Instant::now() + AWS_TIME);
        let network =
            Network::until(deadline, options.authorities.clone(), Arc::clone(&options.counter));
        let cache = Cache::at(options.cache_directory.clone());
        Self { options, network, cache, credentials: OnceCell::new(), observer }
    }

    fn ask(&self, key: &KmsKeyRef) -> Result<Vec<u8>, KmsError> {
        let credentials = if let Some(found) = self.credentials.get() {
            found
        } else {
            let found = self.find_credentials(key)?;
            self.credentials.get_or_init(|| found)
        };
        kms::get_public_key(key, credentials, &self.network, (self.options.clock)())
    }

    fn find_credentials(&self, key: &KmsKeyRef) -> Result<Credentials, KmsError> {
        let location = StsLocation {
            region: key.region().unwrap_or_default(),
            suffix: key.partition().and_then(kms::partition_suffix).unwrap_or("amazonaws.com"),
        };
        let Options { environment, endpoints, .. } = &self.options;
        Ok(Credentials::find(environment, &self.network, endpoints, &location)?)
    }
}

impl KeySource for PublicKeys<'_> {
    type Error = KmsError;

    fn is_about_key(error: &KmsError) -> bool {
        error.is_about_key()
    }

    fn public_key(&self, key: &KmsKeyRef) -> Result<Vec<u8>, KmsError> {
        let now = (self.options.clock)();
        let (kept, mut cache_problem) = match self.cache.read(key, now) {
            Ok(kept) => (kept, None),
            Err(problem) => (None, Some(problem)),
        };
        let policy = self.options.cache;
        let (spki, origin, age, outage) = match kept {
            Some(kept) if kept.age <= policy.max_age => (kept.spki, Origin::Cache, kept.age, None),
            kept => match (self.ask(key), kept) {
                (Ok(spki), _) => {
                    let written = self.cache.write(key, &spki, now).err();
                    cache_problem = cache_problem.or(written);
                    (spki, Origin::Kms, Duration::ZERO, None)
                }
                (Err(outage), Some(kept)) if policy.use_stale && outage.is_outage() => {
                    (kept.spki, Origin::StaleCache, kept.age, Some(outage))
                }
                (Err(error), _) => return Err(error),
            },
        };
        Lookup { key, origin, age, cache_problem, outage }.tell(self.observer);
        Ok(spki)
    }
}
