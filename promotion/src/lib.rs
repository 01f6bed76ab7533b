//! Bring an image to the registry a fleet pulls from, with the signatures that its gate enforces.
//!
//! A promotion takes these steps, in this order, and can be stopped and run again at any of them:
//!
//! 1. [`promote::plan`]: which image does the tag name, what is it made of, what of it is missing?
//! 2. [`copy`]: blobs side by side, then manifests from the bottom up, all by digest;
//! 3. [`sign`]: the payloads and the places that cosign uses, signed by a [`Signer`];
//! 4. [`gate`]: the code that runs on the nodes must accept the signature;
//! 5. the tag, last. Whoever pulls it gets the old image or the new one with its signature.
//!
//! | module | what it holds |
//! |---|---|
//! | [`promote`] | [`Promotion`], and the steps in order |
//! | [`plan`] | [`Plan`]: what has to be done |
//! | [`copy`] | blobs and manifests on their way |
//! | [`sign`] | adding signatures to an image, in both formats, while others do the same |
//! | [`signer`] | [`Signer`]: AWS KMS or a key file |
//! | [`gate`] | the check before anything is published |
//! | [`judge`] | what a node with some policy would say |
//! | [`attached`] | what is attached to an image, and deleting it |
//! | [`digests`] | the digests that an image can be pulled by |
//! | [`annotations`] | `key=value` texts |
//! | [`registry`] | a registry client that writes |
//! | [`progress`] | [`Progress`]: what happens while it happens |
//! | [`error`] | [`Error`]: what failed, where, why, and what to do |

pub mod annotations;
pub mod attached;
pub mod copy;
pub mod digests;
pub mod error;
pub mod gate;
pub mod judge;
pub mod plan;
pub mod progress;
pub mod promote;
mod referrers;
pub mod registry;
pub mod sign;
pub mod signer;

pub use error::{Cause, Error, Kind, Step};
pub use plan::Plan;
pub use progress::Progress;
pub use promote::{Promoted, Promotion};
pub use registry::{Client, Credentials, Retry};
pub use sign::{Format, Formats, Signatures};
pub use signer::{KeyRef, Signer};
