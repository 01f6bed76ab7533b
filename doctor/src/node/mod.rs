//! The node as files: what is below a root directory, which containerd runs, and what a verdict
//! depends on beside.

pub mod process;
pub mod root;
pub mod surroundings;

pub use process::Running;
pub use root::Root;
