//! Is the gate of this node shut? What stands between a pull and the verifiers is containerd's
//! configuration, a directory and some files, and most mistakes in them let every pull through.
//!
//! Collecting facts is apart from judging them. Nothing of the node is executed, and nothing is
//! changed, but for what a probe pulls and removes again.
//!
//! | module | what it holds | I/O |
//! |---|---|---|
//! | [`mod@examine`] | [`examine()`]: all checks, in order | yes |
//! | [`finding`] | [`Finding`], [`Code`], [`Report`] | no |
//! | [`subject`] | which containerd is examined | yes |
//! | [`config`] | containerd's configuration, merged as containerd does, each value with its line | by a trait |
//! | [`loaded`] | whether containerd has read it as it is now | yes |
//! | [`settings`] | what a configuration means for the gate | no |
//! | [`release`] | what a release of containerd does by itself | no |
//! | [`verifiers`] | the files in the verifier directory | no |
//! | [`elf`] | the header of an executable | no |
//! | [`policies`] | the trust policies of the verifiers | no |
//! | [`node`] | files below a root; the running containerd; clock, log, FIPS | yes |
//! | [`network`] | registries and keys, asked as the verifiers ask | yes |
//! | [`cri`] | containerd's socket: CRI's images, and the version | yes |
//! | [`mod@probe`] | pulls that must be refused, or must not | yes |

pub mod config;
pub mod cri;
pub mod elf;
pub mod examine;
pub mod finding;
pub mod loaded;
pub mod network;
pub mod node;
pub mod policies;
pub mod probe;
pub mod release;
pub mod settings;
pub mod subject;
pub mod verifiers;

pub use examine::{Options, examine};
pub use finding::{Code, Finding, Location, Report, Severity};
