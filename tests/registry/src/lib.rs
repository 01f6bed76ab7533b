//! A small OCI registry in memory, on loopback, for `civ demo` and the hermetic tests.
//!
//! It speaks the [OCI distribution specification](https://github.com/opencontainers/distribution-spec)
//! over plain HTTP well enough for the real clients, and it lies, stalls and floods when told to. It
//! stands on threads and sockets of the standard library, because most faults are about bytes that
//! an HTTP library would refuse to write. It is meant for one machine and a short life: content and
//! log stay in memory, and nothing limits the connections.
//!
//! ```no_run
//! use civ_embedded_registry::image::{Fixture, SmallImage};
//! use civ_embedded_registry::{Action, Fault, Registry};
//!
//! let registry = Registry::start()?;
//! let digest = SmallImage::new("demo", "linux/amd64").seed_into(&registry, "team/app", "v1");
//! registry.fault(Fault::new(Action::FlipBit).method("GET").path_contains("/manifests/").nth(2));
//! println!("{}/team/app@{digest}", registry.host());
//! # std::io::Result::Ok(())
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`registry`] | [`Registry`]: start, stop, the content, the log; [`Builder`]: what it is like |
//! | [`fault`] | [`Fault`]: which request goes wrong, and [`Action`]: how |
//! | [`http`] | [`Request`] and [`Response`], as faults and the log see them |
//! | [`log`] | [`LoggedRequest`]: what was asked |
//! | [`image`] | images to put into a registry, this one or a real one |
//! | `server`, `exchange`, `wire` | threads and sockets: connections, one exchange, its bytes |
//! | `api`, `access`, `store` | the distribution API, who may use it, and what it keeps |

mod access;
mod api;
mod exchange;
pub mod fault;
pub mod http;
pub mod image;
pub mod log;
pub mod registry;
mod server;
mod store;
mod wire;

pub use fault::{Action, AtAccept, Fault};
pub use http::{Request, Response};
pub use log::LoggedRequest;
pub use registry::{Builder, Manifest, Registry};
