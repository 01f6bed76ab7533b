//! Trust policies as Bottlerocket's settings hold them: base64 of a document's bytes, under the name of
//! a plugin in `settings.image-verifier-plugins`.
//!
//! Bottlerocket accepts standard base64 with padding, in one line, of valid JSON. Here nothing else is
//! written or read, so that what is decoded is byte for byte what was encoded.
//!
//! | module | what it holds |
//! |---|---|
//! | [`mod@encode`] | [`encode()`]: documents to settings, in the forms that people use |
//! | [`mod@decode`] | [`decode()`]: any of these back to documents |
//! | [`plugin`] | [`PluginName`] |

pub mod decode;
pub mod encode;
pub mod plugin;

pub use decode::{DecodeError, Decoded, decode};
pub use encode::{EncodeError, Form, encode};
pub use plugin::{PluginName, PluginNameError};

/// What Bottlerocket calls the settings of image verifiers.
const PLUGINS: &str = "image-verifier-plugins";

/// What EC2 takes as user data, in bytes, before base64 of the whole: all settings of a node. Bottlerocket
/// accepts it compressed with gzip, too.
pub const USER_DATA_MAX: usize = 16 * 1024;
