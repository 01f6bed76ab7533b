//! How many requests a verifier would make for one verdict.
//!
//! On a node the number is bounded, so that one image does not keep fifty verifiers busy. Whoever asks
//! beforehand what a node would say must hear of that bound, too. What counts is the same: each request
//! to a registry, those after a challenge, a redirect or a failure included, those to token services
//! not. It differs where the clients do: a node has no token to begin with, so this client may make one
//! request less where it has one already; it follows five redirects of one request where a node follows
//! three; and it repeats failures of a registry more often, of which a node would have reported the
//! second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::RegistryError;

/// A number of requests that may be made. Clones share what is left.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    limit: u32,
    left: Arc<AtomicU32>,
}

impl Allowance {
    /// Of `limit` requests.
    pub(super) fn of(limit: u32) -> Self {
        Self { limit, left: Arc::new(AtomicU32::new(limit)) }
    }

    /// Takes one of them.
    ///
    /// # Errors
    /// [`RegistryError::Requests`] if none is left.
    pub(super) fn spend(&self) -> Result<(), RegistryError> {
        let less_one = |left: u32| left.checked_sub(1);
        let spent = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less_one);
        spent.map(drop).map_err(|_| RegistryError::Requests { limit: self.limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_what_is_left_and_nothing_follows_the_last() {
        let allowance = Allowance::of(2);
        let other = allowance.clone();
        allowance.spend().unwrap();
        other.spend().unwrap();
        for spent in [&allowance, &other, &allowance] {
            assert!(matches!(spent.spend(), Err(RegistryError::Requests { limit: 2 })));
        }
    }
}
