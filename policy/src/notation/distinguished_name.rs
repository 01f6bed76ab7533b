//! Distinguished names as trust policies write them: RFC 4514, read as notation reads it.
//!
//! notation parses with go-ldap's `ParseDN` and adds rules of its own (`internal/pkix`): one attribute
//! a part, each type once, `S` for `ST`, and `C`, `ST` and `O` at least. Types and values are compared
//! as they are, case included.

use std::collections::BTreeMap;
use std::str::FromStr;

/// The longest name that is read, in bytes: several times what any authority certifies.
pub const LENGTH_MAX: usize = 4_096;

/// The attributes without which a name says too little.
const MANDATORY: [&str; 3] = ["C", "ST", "O"];

/// Characters that stand for themselves after a backslash (RFC 4514 §2.4 and §3).
const ESCAPABLE: &[u8] = b" \"#+,;<=>\\";

/// Attributes that a certificate's subject must have: types and values. At least `C`, `ST` and `O`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistinguishedName {
    attributes: BTreeMap<String, String>,
}

impl DistinguishedName {
    /// The attributes, by type.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(kind, value)| (kind.as_str(), value.as_str()))
    }

    /// Does `other` have all of these attributes?
    pub fn is_part_of(&self, other: &Self) -> bool {
        self.attributes.iter().all(|(kind, value)| other.attributes.get(kind) == Some(value))
    }
}

impl FromStr for DistinguishedName {
    type Err = DistinguishedNameError;

    fn from_str(text: &str) -> Result<Self, DistinguishedNameError> {
        if text.len() > LENGTH_MAX {
            return Err(DistinguishedNameError::TooLong);
        }
        // A value in hexadecimal BER; parsing one is what CVE-2023-25656 is about.
        if text.contains("=#") {
            return Err(DistinguishedNameError::Hexadecimal);
        }
        let mut attributes = BTreeMap::new();
        for part in split_parts(text)? {
            let (kind, value) = part.split_once('=').ok_or(DistinguishedNameError::NoAttribute)?;
            let kind = match unescape(kind)?.as_str() {
                "" => return Err(DistinguishedNameError::NoAttribute),
                "S" => "ST".to_owned(),
                kind => kind.to_owned(),
            };
            let value = unescape(value)?;
            if attributes.insert(kind.clone(), value).is_some() {
                return Err(DistinguishedNameError::Repeated { kind });
            }
        }
        let has = |kind: &str| attributes.get(kind).is_some_and(|value| !value.is_empty());
        match MANDATORY.into_iter().find(|kind| !has(kind)) {
            Some(kind) => Err(DistinguishedNameError::Missing { kind }),
            None => Ok(Self { attributes }),
        }
    }
}

/// The text between commas (and semicolons, as RFC 2253 had them) that are not escaped.
fn split_parts(text: &str) -> Result<Vec<&str>, DistinguishedNameError> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'+' => return Err(DistinguishedNameError::SeveralValues),
            b',' | b';' => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            b'"' | b'<' | b'>' | 0 => return Err(DistinguishedNameError::Escape),
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    Ok(parts)
}

/// Without white space around it, and with each escape replaced by what it stands for.
fn unescape(text: &str) -> Result<String, DistinguishedNameError> {
    let text = text.trim_start();
    let trimmed = text.trim_end();
    // A space that is escaped is a part of the value.
    let escapes = trimmed.bytes().rev().take_while(|byte| *byte == b'\\').count();
    let text = match escapes % 2 {
        0 => trimmed,
        _ => text.get(..=trimmed.len()).ok_or(DistinguishedNameError::Escape)?,
    };
    let mut bytes = text.bytes();
    let mut unescaped = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            unescaped.push(byte);
            continue;
        }
        let first = bytes.next().ok_or(DistinguishedNameError::Escape)?;
        if ESCAPABLE.contains(&first) {
            unescaped.push(first);
            continue;
        }
        let second = bytes.next().ok_or(DistinguishedNameError::Escape)?;
        let digit =
            |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (high, low) = digit(first).zip(digit(second)).ok_or(DistinguishedNameError::Escape)?;
        unescaped.push(high << 4 | low);
    }
    String::from_utf8(unescaped).map_err(|_| DistinguishedNameError::Escape)
}

/// Why a text is not a distinguished name that a policy may trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DistinguishedNameError {
    /// A character that must be escaped and is not, or an escape of nothing.
    #[error("not a distinguished name: \" + , ; < > \\ are written with \\ before them")]
    Escape,
    /// A value after `=#`.
    #[error("not a distinguished name: values in hexadecimal (\"=#\") are not accepted")]
    Hexadecimal,
    /// An attribute that must be there is not, or is empty.
    #[error("the distinguished name has no {kind}; it must have C, ST and O at least")]
    Missing {
        /// The attribute's type.
        kind: &'static str,
    },
    /// A part is not `type=value`.
    #[error("not a distinguished name: each part between commas is type=value")]
    NoAttribute,
    /// An attribute's type is there twice.
    #[error("the distinguished name has {kind} twice")]
    Repeated {
        /// The attribute's type.
        kind: String,
    },
    /// Several attributes in one part.
    #[error("the distinguished name has several attributes in one part, joined by +")]
    SeveralValues,
    /// Longer than [`LENGTH_MAX`].
    #[error("the distinguished name is longer than {LENGTH_MAX} bytes")]
    TooLong,
}
