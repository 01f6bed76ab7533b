//! How long a verdict may take. The verifiers keep to it, and so does whoever says beforehand what
//! they would say.

use std::time::Duration;

/// For everything. containerd kills a verifier after ten seconds and loses its reason; so a verifier
/// stops before.
pub const VERDICT_MAX: Duration = Duration::from_secs(8);
/// For the work, which ends a little earlier, so that it can say itself what it was waiting for.
pub const WORK_MAX: Duration = Duration::from_millis(7_700);
