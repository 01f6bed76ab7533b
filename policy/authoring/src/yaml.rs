//! YAML of strangers, read in one way: what is nested deeply, says a key twice or grows by aliases is
//! refused by the parser's budget, and what is wrong is said in one line.

use civ_oci::text::one_line;
use serde_json::Value;

/// More documents than any chart renders.
const DOCUMENTS_MAX: usize = 10_000;
/// The deepest nesting.
const DEPTH_MAX: usize = 64;
/// The most nodes that a file may have.
const NODES_MAX: usize = 1_000_000;
/// The most nodes that aliases may add.
const REPLAYED_MAX: usize = 100_000;
/// How much of the parser's words is shown, in bytes.
const SHOWN_MAX: usize = 200;

/// The documents of a YAML stream, of which JSON is one. The caller has bounded its length.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>, YamlError> {
    let mut options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_documents: DOCUMENTS_MAX, max_depth: DEPTH_MAX, max_nodes: NODES_MAX, max_events: 2 * NODES_MAX },
        with_snippet: false,
    };
    options.alias_limits.max_total_replayed_events = REPLAYED_MAX;
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| YamlError { problem: one_line(&error.to_string(), SHOWN_MAX) })
}

/// No YAML, or more of it than civ reads: deep nesting, duplicate keys, aliases that multiply.
#[derive(Debug, thiserror::Error)]
#[error("not YAML that civ reads: {problem}")]
pub struct YamlError {
    /// The parser's words, on one line.
    problem: String,
}
