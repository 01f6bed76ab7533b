//! An entry in the forms that logs have: alone, behind a syslog header, or in what
//! `journalctl --output=json` writes.

use civ_policy::UtcTime;
use serde::Deserialize;

use crate::Entry;

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// A verifier's.
    Entry {
        /// What it says.
        entry: Box<Entry>,
        /// Whether the log says that root wrote it, as journald does.
        of_root: bool,
    },
    /// Something else.
    Foreign,
    /// Like a verifier's, and cut off, or of a version that writes another form.
    Unreadable,
    /// It looks like a verifier's, and journald says that another user than root wrote it.
    NotRoots,
}

/// What is read of a line of `journalctl --output=json`
/// ([systemd.journal-fields(7)](https://www.freedesktop.org/software/systemd/man/systemd.journal-fields.html)).
#[derive(Deserialize)]
struct Journald {
    #[serde(rename = "MESSAGE")]
    message: Message,
    #[serde(rename = "_UID")]
    uid: Option<String>,
    /// Microseconds since 1970.
    #[serde(rename = "__REALTIME_TIMESTAMP")]
    received: Option<String>,
}

/// Text that is not printable is written as numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Bytes(Vec<u8>),
}

impl Line {
    /// Reads a line. No line is an error: logs hold everything.
    pub fn parse(line: &[u8]) -> Self {
        let Ok(line) = std::str::from_utf8(line) else { return Self::Foreign };
        if let Ok(journald) = serde_json::from_str::<Journald>(line) {
            return journald.line();
        }
        Self::of_text(line, false)
    }

    fn of_text(text: &str, of_root: bool) -> Self {
        // Behind a header, or at once. A header holds no brace: its words are a time, a host and a
        // program's name.
        let json = text.find('{').and_then(|start| text.get(start..)).unwrap_or_default();
        match serde_json::from_str(json.trim_end()) {
            Ok(entry) => Self::Entry { entry, of_root },
            Err(_) if looks_like_a_verifiers(text) => Self::Unreadable,
            Err(_) => Self::Foreign,
        }
    }
}

/// By the member that only verifiers write, or by the name of the program in front.
fn looks_like_a_verifiers(text: &str) -> bool {
    text.contains(r#""verifier":"#) || text.contains("-image-verifier[")
}

impl Journald {
    fn line(self) -> Line {
        let text = match self.message {
            Message::Text(text) => text,
            Message::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        let of_root = self.uid.as_deref() == Some("0");
        let mut line = Line::of_text(&text, of_root);
        if line != Line::Foreign && self.uid.is_some() && !of_root {
            return Line::NotRoots;
        }
        if let Line::Entry { entry, .. } = &mut line
            && entry.time.is_none()
        {
            entry.time = self.received.and_then(|micros| {
                let micros: u64 = micros.parse().ok()?;
                UtcTime::from_unix(std::time::Duration::from_micros(micros))
            });
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENTRY: &str = r#"{"verifier":"cosign-image-verifier","verdict":"audit","exit":0,"audited_exit":1,"reason":"audit only, would refuse: unsigned","ms":3,"later":[1]}"#;

    #[test]
    fn an_entry_is_found_in_every_form_that_logs_have() {
        let escaped = serde_json::Value::from(ENTRY).to_string();
        let numbers = serde_json::Value::from(ENTRY.as_bytes().to_vec()).to_string();
        for line in [
            ENTRY.to_owned(),
            format!("{ENTRY}\r\n"),
            format!("<30>cosign-image-verifier[12]: {ENTRY}"),
            format!("Nov 22 05:00:01 node cosign-image-verifier[12]: {ENTRY}"),
            format!(r#"{{"MESSAGE":{escaped},"_UID":"0","PRIORITY":"6"}}"#),
            format!(r#"{{"MESSAGE":{numbers},"_UID":"0"}}"#),
            format!(r#"{{"MESSAGE":{escaped}}}"#),
        ] {
            let Line::Entry { entry, of_root } = Line::parse(line.as_bytes()) else {
                panic!("{line}")
            };
            assert_eq!(of_root, line.contains("_UID"), "{line}");
            assert_eq!((entry.exit, entry.audited_exit, entry.ms), (0, Some(1), 3), "{line}");
        }
        let late = format!(r#"{{"MESSAGE":{escaped},"__REALTIME_TIMESTAMP":"1763800000000000"}}"#);
        let Line::Entry { entry, .. } = Line::parse(late.as_bytes()) else { panic!() };
        assert_eq!(entry.time.unwrap().to_string(), "2025-11-22T08:26:40Z");
    }

    #[test]
    fn a_line_that_another_user_wrote_proves_nothing() {
        let escaped = serde_json::Value::from(ENTRY).to_string();
        let line = format!(r#"{{"MESSAGE":{escaped},"_UID":"1000"}}"#);
        assert_eq!(Line::parse(line.as_bytes()), Line::NotRoots);
    }

    #[test]
    fn a_record_that_is_cut_off_or_of_another_form_is_noticed() {
        let cut = ENTRY.split_at(60).0;
        let escaped = serde_json::Value::from(cut).to_string();
        for line in [
            cut.to_owned(),
            format!("Nov 22 05:00:01 node cosign-image-verifier[12]: {cut}"),
            "Nov 22 05:00:01 node cosign-image-verifier[12]: {".to_owned(),
            format!(r#"{{"MESSAGE":{escaped},"_UID":"0"}}"#),
            r#"{"verifier":"x"}"#.to_owned(),
            r#"{"verifier":"x","verdict":"maybe","exit":0}"#.to_owned(),
            r#"{"verifier":"x","verdict":"allow","exit":"0"}"#.to_owned(),
        ] {
            assert_eq!(Line::parse(line.as_bytes()), Line::Unreadable, "{line}");
        }
    }

    #[test]
    fn other_lines_are_passed_over() {
        for line in [
            "",
            "x",
            "{}",
            r#"{"MESSAGE":null}"#,
            r#"{"MESSAGE":"{}"}"#,
            r#"time="x" level=info msg="{""#,
        ] {
            assert_eq!(Line::parse(line.as_bytes()), Line::Foreign, "{line}");
        }
        assert_eq!(Line::parse(b"\xff{}"), Line::Foreign);
    }

    proptest! {
        #[test]
        fn no_line_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Line::parse(&bytes);
        }
    }
}
