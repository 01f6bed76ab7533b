//! What the verifiers wrote to the system log, read back and summed up, so that an operator goes from
//! `audit` to `strict` with evidence.
//!
//! Whoever may write to the log may write lines that look like a verifier's. Where the log says who
//! wrote a line (journald does), only root's count.
//!
//! | module | what it holds |
//! |---|---|
//! | [`entry`] | [`Entry`]: the record of one verdict |
//! | [`mod@line`] | [`Line`]: an entry in the forms that logs have |
//! | [`reader`] | [`read`]: lines of bounded length |
//! | [`summary`] | [`Summary`]: verdicts by policy and statement, and what would have been refused |

pub mod entry;
pub mod line;
pub mod reader;
pub mod summary;

pub use entry::{Entry, Outcome};
pub use line::Line;
pub use reader::read;
pub use summary::{Filter, Finding, Group, Summary, Tally};
