//! containerd's bindir image-verifier protocol: a call comes in as argv and stdin, a verdict goes
//! out as an exit code and one line on stdout.
//!
//! containerd executes every file in its verifier directory before each pull
//! ([docs/image-verification.md](https://github.com/containerd/containerd/blob/main/docs/image-verification.md)),
//! takes exit code 0 for "allow" and anything else for "refuse", and kills what has not answered in
//! ten seconds. [`answer()`] is the whole contract; a verifier brings a function from [`Request`] to
//! [`Verdict`](civ_policy::Verdict). Whatever goes wrong on the way, a panic included, refuses.
//!
//! | module | what it holds |
//! |---|---|
//! | [`call`] | argv: [`Call`], [`CallError`] |
//! | [`stdin`] | the descriptor that containerd writes |
//! | [`plugin`] | [`PluginName`]: which policy this executable reads |
//! | [`request`] | [`Request`]: a call that has been checked |
//! | `output` | stdout and stderr, which keep no verdict waiting |
//! | [`record`] | [`Record`]: stderr and the system log |
//! | [`mod@answer`] | [`answer()`]: deadline, panic hook, exit |

pub mod answer;
pub mod call;
mod output;
pub mod plugin;
pub mod record;
pub mod request;
pub mod stdin;

pub use answer::{Verifier, answer};
pub use call::{Call, CallError};
pub use plugin::PluginName;
pub use record::Record;
pub use request::Request;
