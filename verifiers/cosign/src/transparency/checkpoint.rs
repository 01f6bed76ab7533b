//! Checkpoints: what a log states, under its signature, of its size and root.
//!
//! The format is C2SP's tlog-checkpoint, a signed note: lines of text (the log's origin, the size of
//! its tree, the root in base64, possibly more), an empty line, and one line for each signature, which
//! is an em dash, the signer's name, and in base64 four bytes of the key's id and the signature. Lines
//! of signers that nobody asked about (witnesses) are passed over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::error::CheckpointError;
use super::merkle::Hash;

/// The longest checkpoint read, in bytes. One with a dozen witnesses has two thousand.
const CHECKPOINT_MAX: usize = 16 << 10;
/// The most signatures on one.
const SIGNATURES_MAX: usize = 100;

/// A checkpoint whose signatures nobody has checked.
#[derive(Debug)]
pub(super) struct UntrustedCheckpoint<'text> {
    /// What is signed: all lines up to the empty one, with their ends.
    pub(super) signed: &'text str,
    /// The log's name for itself.
    pub(super) origin: &'text str,
    /// The number of leaves.
    pub(super) size: u64,
    /// The root of the tree.
    pub(super) root: Hash,
    signatures: Vec<NoteSignature<'text>>,
}

#[derive(Debug)]
struct NoteSignature<'text> {
    name: &'text str,
    key_hint: [u8; 4],
    signature: Vec<u8>,
}

impl<'text> UntrustedCheckpoint<'text> {
    pub(super) fn parse(text: &'text str) -> Result<Self, CheckpointError> {
        if text.len() > CHECKPOINT_MAX {
            return Err(CheckpointError::TooLarge { size: text.len(), max: CHECKPOINT_MAX });
        }
        Self::parse_lines(text).ok_or(CheckpointError::Malformed)
    }

    fn parse_lines(text: &'text str) -> Option<Self> {
        if text.chars().any(|character| character != '\n' && character.is_control()) {
            return None;
        }
        let blank = text.rfind("\n\n")?;
        let signed = text.get(..=blank)?;
        let signatures = text.get(blank + 2..)?.strip_suffix('\n')?;
        let mut lines = signed.lines();
        let origin = lines.next().filter(|origin| !origin.is_empty())?;
        let size = lines.next().and_then(parse_number)?;
        let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
        let signatures: Vec<_> = signatures
            .split('\n')
            .take(SIGNATURES_MAX + 1)
            .map(NoteSignature::parse)
            .collect::<Option<_>>()?;
        (signatures.len() <= SIGNATURES_MAX).then_some(Self {
            signed,
            origin,
            size,
            root,
            signatures,
        })
    }

    /// The signature that says that it is of the key with this id and of this log's name. There is
    /// one at most to check, however many lines there are.
    pub(super) fn signature_of(&self, key_id: &Hash) -> Option<&[u8]> {
        let found = self.signatures.iter().find(|signature| {
            key_id.starts_with(&signature.key_hint) && self.is_name_of_origin(signature.name)
        })?;
        Some(&found.signature)
    }

    /// A log signs with its origin as its name. Rekor v1 adds the number of its tree to the origin.
    fn is_name_of_origin(&self, name: &str) -> bool {
        let Some(rest) = self.origin.strip_prefix(name) else {
            return false;
        };
        let tree = rest.strip_prefix(" - ").unwrap_or_default();
        rest.is_empty()
            || (!tree.is_empty() && tree.bytes().all(|character| character.is_ascii_digit()))
    }
}

impl<'text> NoteSignature<'text> {
    fn parse(line: &'text str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        let bytes = STANDARD.decode(encoded).ok()?;
        let (key_hint, signature) = bytes.split_first_chunk::<4>()?;
        let well_formed = !name.is_empty() && !name.contains('+') && !signature.is_empty();
        well_formed.then(|| Self { name, key_hint: *key_hint, signature: signature.to_vec() })
    }
}

/// A decimal number in its only form.
pub(super) fn parse_number(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    canonical.then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ROOT: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    /// A hint of four zero bytes and a signature of two.
    const SIGNATURE: &str = "AAAAAAAA";

    fn note(origin: &str, lines: &str, signatures: &str) -> String {
        format!("{origin}\n{lines}\n\n{signatures}\n")
    }

    #[test]
    fn reads_the_checkpoints_of_both_rekors() {
        for (origin, name, found) in [
            ("log.example", "log.example", true),
            ("log.example - 1193050959916656506", "log.example", true),
            ("log.example - 1193050959916656506", "log", false),
            ("log.example - ", "log.example", false),
            ("log.example - 12x", "log.example", false),
            ("log.example", "other.example", false),
        ] {
            let text = note(
                origin,
                &format!("17\n{ROOT}\nTimestamp: 1"),
                &format!("\u{2014} witness ////////\n\u{2014} {name} {SIGNATURE}"),
            );
            let checkpoint = UntrustedCheckpoint::parse(&text).unwrap();
            assert_eq!((checkpoint.origin, checkpoint.size), (origin, 17));
            assert!(text.starts_with(checkpoint.signed) && checkpoint.signed.ends_with(": 1\n"));
            assert_eq!(checkpoint.signature_of(&[0; 32]).is_some(), found, "{origin} {name}");
            assert!(checkpoint.signature_of(&[1; 32]).is_none());
        }
    }

    #[test]
    fn refuses_what_is_not_to_the_letter() {
        let lines = format!("17\n{ROOT}");
        let line = format!("\u{2014} log {SIGNATURE}");
        UntrustedCheckpoint::parse(&note("log", &lines, &line)).unwrap();
        for text in [
            String::new(),
            "\n\n".to_owned(),
            note("", &lines, &line),
            note("log", &format!("017\n{ROOT}"), &line),
            note("log", &format!("+17\n{ROOT}"), &line),
            note("log", &format!("-1\n{ROOT}"), &line),
            note("log", &format!("18446744073709551616\n{ROOT}"), &line),
            note("log", "17", &line),
            note("log", "17\nAAAA", &line),
            note("log", &format!("17\r\n{ROOT}"), &line),
            note("log", &lines, ""),
            note("log", &lines, &line.replace('\u{2014}', "-")),
            note("log", &lines, &format!("{line}\n{line}x")),
            note("log", &lines, "\u{2014} log AAAAAA=="),
            note("log", &lines, &format!("\u{2014}  {SIGNATURE}")),
            note("log", &lines, &vec![line.as_str(); SIGNATURES_MAX + 1].join("\n")),
            note("log", &lines, &line).trim_end().to_owned(),
            format!("{}x", note("log", &lines, &line)),
        ] {
            assert!(UntrustedCheckpoint::parse(&text).is_err(), "{text:?}");
        }
        let large = note("log", &format!("{lines}\n{}", "x".repeat(CHECKPOINT_MAX)), &line);
        let error = UntrustedCheckpoint::parse(&large).unwrap_err();
        assert!(matches!(error, CheckpointError::TooLarge { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(log|[\\n\u{2014} +=0-9A-Z])*") {
            let _ = UntrustedCheckpoint::parse(&text);
        }
    }
}
