//! Names of plugins: a key of Bottlerocket's settings, and the name of a directory on the node.

use std::fmt;
use std::str::FromStr;

/// The longest name, in bytes: a part of the executable's file name, `<plugin>-image-verifier`.
const LENGTH_MAX: usize = 76;

/// The name of an image verifier plugin, as Bottlerocket's settings allow it (`Identifier`): letters,
/// digits and dashes of ASCII.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PluginName(String);

impl PluginName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PluginName {
    type Err = PluginNameError;

    fn from_str(text: &str) -> Result<Self, PluginNameError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        match text {
            "" => Err(PluginNameError::Empty),
            "enabled" => Err(PluginNameError::Reserved),
            _ if text.len() > LENGTH_MAX => Err(PluginNameError::TooLong),
            _ if !text.bytes().all(is_allowed) => Err(PluginNameError::Character),
            _ => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not the name of a plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PluginNameError {
    /// A character that Bottlerocket does not allow.
    #[error("not a plugin's name: Bottlerocket allows A-Z a-z 0-9 and - only")]
    Character,
    /// Nothing.
    #[error("not a plugin's name: it is empty")]
    Empty,
    /// `enabled`, which is a setting of its own.
    #[error("not a plugin's name: \"enabled\" is the setting that turns all plugins on")]
    Reserved,
    /// Too long.
    #[error("not a plugin's name: it is longer than {LENGTH_MAX} bytes")]
    TooLong,
}
