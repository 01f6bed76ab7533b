//! What goes to stdout: lines for people, or one JSON document for programs.

use std::io::{self, Write as _};

use clap::ValueEnum;
use serde::Serialize;

/// The form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
}

/// Prints `result` as JSON, or else as its `lines`.
pub(crate) fn print(
    format: Format,
    result: &impl Serialize,
    lines: impl FnOnce() -> Vec<String>,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Json => {
            serde_json::to_writer_pretty(&mut out, result)?;
            writeln!(out)?;
        }
        Format::Text => {
            for line in lines() {
                writeln!(out, "{line}")?;
            }
        }
    }
    out.flush()
}

/// A number of bytes for people: `12.3 MB`.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut amount = count as f64;
    let mut unit = "bytes";
    for next in UNITS {
        if amount < 1000.0 {
            break;
        }
        amount /= 1000.0;
        unit = next;
    }
    if unit == "bytes" { format!("{count} bytes") } else { format!("{amount:.1} {unit}") }
}

/// `1 blob`, `2 blobs`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        for (count, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (12_345_678, "12.3 MB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!((count(1, "blob"), count(2, "blob")), ("1 blob".into(), "2 blobs".into()));
    }
}
