//! A node on this machine, for `civ demo` and the tests: what containerd does with a pull, and a
//! containerd that does it.
//!
//! Whoever is asked to stop sets the flag that every wait here takes: what is running is then ended
//! at once, and what was started is gone when its value is dropped.
//!
//! | module | what it holds |
//! |---|---|
//! | [`verifier`] | one call of a verifier, just as containerd makes it |
//! | [`containerd`] | [`Containerd`]: a private one, in namespaces of its own |
//! | [`place`] | directories that a verifier accepts a policy from, and containerd can work in |

pub mod containerd;
pub mod place;
mod server;
pub mod verifier;

pub use containerd::{Containerd, Setup, StartError};
pub use verifier::{Outcome, Stdin};
