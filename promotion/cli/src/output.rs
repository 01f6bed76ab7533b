//! What goes to stdout: lines for people, or one JSON document for programs.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal as _, Write as _};

use civ_oci::text::one_line;
use clap::ValueEnum;
use serde::Serialize;

/// The longest line that is printed, in bytes: reports hold text of strangers.
const LINE_MAX: usize = 4_096;
/// The longest remark, in bytes.
const REMARK_MAX: usize = 1_000;

/// The form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
}

/// The look of a part of a line, on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colour {
    /// That of the terminal.
    Plain,
    /// As it should be.
    Green,
    /// Refused, rightly.
    Red,
    /// Not sure, or not quite right.
    Yellow,
    /// What must not be.
    Alarm,
}

/// A line for people. Whatever is said in it can neither break it nor control a terminal: its
/// colours alone do.
#[derive(Debug, Default)]
pub(crate) struct Line(Vec<(Colour, String)>);

impl Line {
    /// With this text at its end.
    pub(crate) fn plain(self, text: impl Display) -> Self {
        self.painted(Colour::Plain, text)
    }

    /// With this text at its end, in colour where colour is welcome.
    pub(crate) fn painted(mut self, colour: Colour, text: impl Display) -> Self {
        self.0.push((colour, text.to_string()));
        self
    }

    fn to_text(&self, in_colour: bool) -> String {
        let mut line = String::new();
        for (colour, text) in &self.0 {
            let text = one_line(text, LINE_MAX);
            // Writing to a String cannot fail.
            let _ = match colour.code().filter(|_| in_colour) {
                Some(code) => write!(line, "\u{1b}[{code}m{text}\u{1b}[0m"),
                None => write!(line, "{text}"),
            };
        }
        line
    }
}

impl<T: Into<String>> From<T> for Line {
    fn from(text: T) -> Self {
        Self(vec![(Colour::Plain, text.into())])
    }
}

impl Colour {
    /// The parameter of the terminal's "select graphic rendition".
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Green => Some("32"),
            Self::Red => Some("31"),
            Self::Yellow => Some("33"),
            Self::Alarm => Some("1;31"),
        }
    }
}

/// Prints `result` as JSON, or else as its `lines`.
pub(crate) fn print<L: Into<Line>>(
    format: Format,
    result: &impl Serialize,
    lines: impl FnOnce() -> Vec<L>,
) -> io::Result<()> {
    match format {
        Format::Json => print_bytes(format!("{}\n", to_ascii_json(result)?).as_bytes()),
        Format::Text => print_lines(lines()),
    }
}

/// Prints lines for people, in colour where somebody looks who wants that.
pub(crate) fn print_lines<L: Into<Line>>(lines: impl IntoIterator<Item = L>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let in_colour =
        out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    for line in lines {
        writeln!(out, "{}", line.into().to_text(in_colour))?;
    }
    out.flush()
}

/// Prints a document for a program to read, byte for byte.
pub(crate) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Prints a remark, one line, beside the result: on stderr.
pub(crate) fn remark(line: impl Display) -> io::Result<()> {
    writeln!(io::stderr().lock(), "civ: {}", one_line(&line.to_string(), REMARK_MAX))
}

/// Indented JSON in which all that is not ASCII, or controls a terminal, is escaped: reports hold text of
/// strangers, and end up on terminals as well.
fn to_ascii_json(result: &impl Serialize) -> serde_json::Result<String> {
    Ok(ascii_json(&serde_json::to_string_pretty(result)?))
}

/// JSON that means what `json` means, with only ASCII in it that controls nothing.
pub(crate) fn ascii_json(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        // JSON itself has escaped the controls up to U+001F; outside texts there are only newlines.
        if character.is_ascii() && character != '\u{7f}' {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(ascii, "\\u{unit:04x}");
            }
        }
    }
    ascii
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
    fn json_of_strangers_is_ascii_and_means_the_same() {
        let texts = ["plain", "\u{1b}[2J\u{9b}2J\u{7f}", "\u{202e}evil\u{2028}", "ü😀\"\\\n"];
        let json = to_ascii_json(&texts).unwrap();
        assert!(json.chars().all(|c| c == '\n' || matches!(c, ' '..='~')), "{json}");
        assert_eq!(serde_json::from_str::<Vec<String>>(&json).unwrap(), texts);
    }

    #[test]
    fn a_line_has_no_colour_but_its_own() {
        let line = Line::default().painted(Colour::Red, "no\u{1b}[0m").plain("\nyes");
        assert_eq!(line.to_text(true), "\u{1b}[31mno\\u{1b}[0m\u{1b}[0m\\u{a}yes");
        assert_eq!(line.to_text(false), "no\\u{1b}[0m\\u{a}yes");
    }

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
