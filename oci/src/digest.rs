//! Content addresses. A digest is the only name of an image that cannot be made to mean something
//! else, so its text form is held to the letter: a registered algorithm and lower-case hexadecimal
//! of exact length ([OCI image spec, descriptor.md](https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests)).

use std::fmt;
use std::str::FromStr;

use ring::digest::{Context, SHA256, SHA512};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The digest of some content, such as `sha256:6c3c624b58dbbcd3c0dd82b4c53f04194d1247c6eebdaab7c610cf7d66709b3b`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

/// The hash algorithms registered by the OCI image specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256, 64 hexadecimal digits.
    Sha256,
    /// SHA-512, 128 hexadecimal digits.
    Sha512,
}

impl Digest {
    /// The digest of `content` under `algorithm`.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// The SHA-256 digest of `content`, which is what civ writes.
    pub fn sha256(content: &[u8]) -> Self {
        Self::of(Algorithm::Sha256, content)
    }

    /// The algorithm of this digest.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal part, lower-case.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Compares `content` with this digest.
    ///
    /// # Errors
    /// [`DigestMismatch`] names both digests.
    pub fn check(&self, content: &[u8]) -> Result<(), DigestMismatch> {
        let actual = Self::of(self.algorithm, content);
        if actual == *self {
            Ok(())
        } else {
            Err(DigestMismatch { expected: self.clone(), actual })
        }
    }

    /// The digest as part of a tag, `sha256-<hex>`: the referrers fallback tag of the OCI
    /// distribution specification, and the stem of cosign's `.sig` tag.
    pub fn as_tag_stem(&self) -> String {
        format!("{}-{}", self.algorithm, self.hex)
    }
}

/// Hashes content that arrives in pieces.
#[derive(Clone)]
pub struct Hasher {
    algorithm: Algorithm,
    context: Context,
}

impl Hasher {
    /// A hasher that has seen nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        let context = Context::new(match algorithm {
            Algorithm::Sha256 => &SHA256,
            Algorithm::Sha512 => &SHA512,
        });
        Self { algorithm, context }
    }

    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.context.update(piece);
    }

    /// The digest of all pieces.
    pub fn finish(self) -> Digest {
        let Self { algorithm, context } = self;
        Digest { algorithm, hex: hex(context.finish().as_ref()) }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 0xf)]).collect()
}

impl Algorithm {
    fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        })
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, hex) = text.split_once(':').ok_or(DigestError::NoAlgorithm)?;
        let algorithm = match algorithm {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::UnknownAlgorithm),
        };
        if hex.len() != algorithm.hex_len() {
            return Err(DigestError::WrongLength {
                algorithm,
                expected: algorithm.hex_len(),
                actual: hex.len(),
            });
        }
        // To the end in any case: without a way out the compiler looks at many digits at once.
        let is_digit = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if !hex.bytes().fold(true, |all, byte| all & is_digit(byte)) {
            return Err(DigestError::NotLowerHex);
        }
        Ok(Self { algorithm, hex: hex.to_owned() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm, self.hex)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DigestVisitor)
    }
}

/// Reads a digest where it stands: a policy may list ten thousand.
struct DigestVisitor;

impl Visitor<'_> for DigestVisitor {
    type Value = Digest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Digest, E> {
        text.parse().map_err(E::custom)
    }
}

/// Why a text is not a digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestError {
    /// No `:` in it.
    #[error("not a digest: no algorithm before a colon")]
    NoAlgorithm,
    /// A character other than `0`–`9`, `a`–`f`.
    #[error("not a digest: only 0-9 and a-f may follow the colon")]
    NotLowerHex,
    /// An algorithm other than sha256 and sha512.
    #[error("not a digest: the algorithm must be sha256 or sha512")]
    UnknownAlgorithm,
    /// Too short or too long.
    #[error("not a digest: {algorithm} has {expected} digits, not {actual}")]
    WrongLength {
        /// The algorithm named.
        algorithm: Algorithm,
        /// The digits it has.
        expected: usize,
        /// The digits found.
        actual: usize,
    },
}

/// Content whose digest is not the one asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("content has digest {actual}, not {expected}")]
pub struct DigestMismatch {
    /// The digest asked for.
    pub expected: Digest,
    /// The digest of what came.
    pub actual: Digest,
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn hashes_the_published_vectors() {
        assert_eq!(Digest::sha256(b"").to_string(), EMPTY);
        assert_eq!(
            Digest::of(Algorithm::Sha512, b"abc").to_string(),
            "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        );
    }

    #[test]
    fn refuses_what_is_not_a_digest_to_the_letter() {
        let hex = EMPTY.strip_prefix("sha256:").unwrap();
        for (text, why) in [
            (String::new(), DigestError::NoAlgorithm),
            (hex.to_owned(), DigestError::NoAlgorithm),
            (format!("sha256-{hex}"), DigestError::NoAlgorithm),
            (format!("SHA256:{hex}"), DigestError::UnknownAlgorithm),
            (format!("sha384:{hex}"), DigestError::UnknownAlgorithm),
            (format!("md5:{hex}"), DigestError::UnknownAlgorithm),
            (format!(" sha256:{hex}"), DigestError::UnknownAlgorithm),
            (format!("sha256:{}", hex.to_uppercase()), DigestError::NotLowerHex),
            (format!("sha256:{}", hex.replace('e', "/")), DigestError::NotLowerHex),
            (
                format!("sha256:{hex}0"),
                DigestError::WrongLength { algorithm: Algorithm::Sha256, expected: 64, actual: 65 },
            ),
            (
                format!("sha512:{hex}"),
                DigestError::WrongLength {
                    algorithm: Algorithm::Sha512,
                    expected: 128,
                    actual: 64,
                },
            ),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(why), "{text}");
        }
    }

    #[test]
    fn check_names_both_digests() {
        let empty: Digest = EMPTY.parse().unwrap();
        assert_eq!(empty.check(b""), Ok(()));
        let mismatch = empty.check(b"x").unwrap_err();
        assert_eq!(mismatch.expected, empty);
        assert_eq!(mismatch.actual, Digest::sha256(b"x"));
    }
}
