//! Settings back to documents, whatever form they are in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use civ_oci::strict_json::{self, JsonError};
use serde_json::Value as Json;

use super::{PLUGINS, PluginName, PluginNameError};
use crate::yaml::{self, YamlError};

/// How what gzip has compressed begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The members that hold a document.
const TRUST_POLICY: [&str; 2] = ["trustpolicy", "trust-policy"];

/// A document from settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The plugin that it is for, if the settings say.
    pub plugin: Option<PluginName>,
    /// The document, byte for byte.
    pub document: Vec<u8>,
    /// The setting that it was in, if that is `NAME-trustpolicy`: Bottlerocket's documentation shows it
    /// so, and Bottlerocket refuses it.
    pub refused_setting: Option<String>,
}

/// Reads the documents from settings: base64, the output of `apiclient get`, TOML or Karpenter user
/// data, base64 of user data as EC2 gives it, or an `apiclient set` command. At least one; each plugin
/// once.
pub fn decode(settings: impl AsRef<[u8]>) -> Result<Vec<Decoded>, DecodeError> {
    let bytes = settings.as_ref();
    if bytes.starts_with(&GZIP) {
        return Err(DecodeError::Compressed);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found = match of_text(text)? {
        Some(found) => found,
        None => of_base64(text)?,
    };
    if found.is_empty() {
        return Err(DecodeError::Nothing);
    }
    for (index, one) in found.iter().enumerate() {
        if let Some(plugin) = &one.plugin
            && found.iter().take(index).any(|other| other.plugin.as_ref() == Some(plugin))
        {
            return Err(DecodeError::Repeated { plugin: plugin.clone() });
        }
    }
    Ok(found)
}

/// What settings in any form but base64 have; `None` of what looks like none of them.
fn of_text(text: &str) -> Result<Option<Vec<Decoded>>, DecodeError> {
    let trimmed = text.trim();
    let found = if trimmed.is_empty() {
        return Ok(None);
    } else if trimmed.starts_with('{') {
        let settings: Json =
            strict_json::from_slice(trimmed.as_bytes()).map_err(DecodeError::Json)?;
        of_settings(&settings)?
    } else if trimmed.starts_with("apiclient ") {
        of_command(trimmed)?
    } else {
        match toml_settings(trimmed) {
            Ok(settings) => of_settings(&settings)?,
            Err(_) if is_yaml(trimmed) => of_settings(&toml_settings(&user_data(trimmed)?)?)?,
            Err(error) if looks_like_toml(trimmed) => return Err(error),
            Err(_) => return Ok(None),
        }
    };
    Ok(Some(found))
}

/// One document, or user data in base64 as a whole.
fn of_base64(text: &str) -> Result<Vec<Decoded>, DecodeError> {
    // A text file ends in a newline that is none of the setting's.
    let base64 = text.strip_suffix('\n').unwrap_or(text);
    let base64 = base64.strip_suffix('\r').unwrap_or(base64);
    let bytes = bytes_of(base64, None)?;
    match check_json(&bytes, None) {
        Ok(()) => Ok(vec![Decoded { plugin: None, document: bytes, refused_setting: None }]),
        Err(_) if bytes.starts_with(&GZIP) => Err(DecodeError::Compressed),
        Err(not_json) => {
            let inner = std::str::from_utf8(&bytes).ok().filter(|inner| !inner.starts_with('{'));
            inner.and_then(|inner| of_text(inner).transpose()).unwrap_or(Err(not_json))
        }
    }
}

/// All that a tree of settings has, whether nested or with dots in its names, from wherever it begins.
/// What the plugins' settings have besides is an error: it could be a policy that nobody reads.
fn of_settings(settings: &Json) -> Result<Vec<Decoded>, DecodeError> {
    let mut leaves = Vec::new();
    collect(settings, &mut Vec::new(), &mut leaves);
    let has_root =
        leaves.iter().any(|(path, _)| matches!(path.first(), Some(&("settings" | PLUGINS))));
    let mut found = Vec::new();
    for (path, value) in leaves {
        let path = path.strip_prefix(&["settings"]).unwrap_or(&path);
        let within = path.strip_prefix(&[PLUGINS]);
        let (plugin, refused_setting) = match (within, path) {
            // Other settings.
            (None, _) if has_root => continue,
            (_, [last]) if within.is_none() && TRUST_POLICY.contains(last) => (None, None),
            _ => match within.unwrap_or(path) {
                ["enabled"] => continue,
                [plugin, last] if TRUST_POLICY.contains(last) => (Some(*plugin), None),
                [setting] => match without_ending(setting) {
                    Some(plugin) => (Some(plugin), Some((*setting).to_owned())),
                    None => return Err(unknown_setting(&[setting])),
                },
                setting => return Err(unknown_setting(setting)),
            },
        };
        let plugin = plugin.map(parse_plugin).transpose()?;
        let base64 =
            value.as_str().ok_or_else(|| DecodeError::NotText { plugin: plugin.clone() })?;
        let document = bytes_of(base64, plugin.as_ref())?;
        check_json(&document, plugin.as_ref())?;
        found.push(Decoded { plugin, document, refused_setting });
    }
    Ok(found)
}

/// The name of the plugin in `NAME-trustpolicy`.
fn without_ending(setting: &str) -> Option<&str> {
    TRUST_POLICY.iter().find_map(|ending| setting.strip_suffix(ending)?.strip_suffix('-'))
}

fn unknown_setting(path: &[&str]) -> DecodeError {
    DecodeError::UnknownSetting { setting: path.join(".") }
}

fn collect<'v>(
    value: &'v Json,
    path: &mut Vec<&'v str>,
    leaves: &mut Vec<(Vec<&'v str>, &'v Json)>,
) {
    let Json::Object(members) = value else {
        leaves.push((path.clone(), value));
        return;
    };
    for (name, value) in members {
        let depth = path.len();
        path.extend(name.split('.'));
        collect(value, path, leaves);
        path.truncate(depth);
    }
}

fn of_command(text: &str) -> Result<Vec<Decoded>, DecodeError> {
    let mut settings = serde_json::Map::new();
    for word in text.split_whitespace() {
        let Some((name, value)) = word.split_once('=') else { continue };
        let unquoted = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        let value = unquoted('"').or_else(|| unquoted('\'')).unwrap_or(value);
        if settings.insert(name.to_owned(), Json::from(value)).is_some() {
            return Err(DecodeError::RepeatedSetting { setting: name.to_owned() });
        }
    }
    of_settings(&Json::Object(settings))
}

fn toml_settings(text: &str) -> Result<Json, DecodeError> {
    toml::from_str(text).map_err(|error| DecodeError::Toml {
        message: error.message().to_owned(),
        line: error
            .span()
            .map_or(0, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1),
    })
}

/// Is text that is no TOML meant to be?
fn looks_like_toml(text: &str) -> bool {
    ["[", " = ", "=\"", "='"].iter().any(|mark| text.contains(mark))
}

fn is_yaml(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("userData:"))
}

/// The user data within a Karpenter node class.
fn user_data(text: &str) -> Result<String, DecodeError> {
    let documents = yaml::documents(text)?;
    let user_data = documents.iter().find_map(|document| {
        document.pointer("/spec/userData").or_else(|| document.get("userData"))
    });
    user_data.and_then(Json::as_str).map(str::to_owned).ok_or(DecodeError::Nothing)
}

fn parse_plugin(name: &str) -> Result<PluginName, DecodeError> {
    name.parse().map_err(|source| DecodeError::Plugin { name: name.to_owned(), source })
}

/// What base64 as Bottlerocket accepts it stands for.
fn bytes_of(base64: &str, plugin: Option<&PluginName>) -> Result<Vec<u8>, DecodeError> {
    let fail = |source| DecodeError::Base64 { plugin: plugin.cloned(), source };
    if base64.is_empty() {
        return Err(fail(Base64Error::Empty));
    }
    STANDARD.decode(base64).map_err(|error| fail(Base64Error::of(&error)))
}

/// Bottlerocket takes JSON, whatever it says.
fn check_json(document: &[u8], plugin: Option<&PluginName>) -> Result<(), DecodeError> {
    serde_json::from_slice::<serde::de::IgnoredAny>(document)
        .map(drop)
        .map_err(|source| DecodeError::NotJson { plugin: plugin.cloned(), source })
}

/// Why settings hold no documents that can be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not base64 as Bottlerocket accepts it.
    #[error("{} is not base64 as Bottlerocket takes it: {source}", of(plugin.as_ref()))]
    Base64 {
        /// The plugin, if it is said.
        plugin: Option<PluginName>,
        /// What is wrong with it.
        source: Base64Error,
    },
    /// Compressed, as user data may be.
    #[error("compressed with gzip; decompress it first (gunzip)")]
    Compressed,
    /// It begins as JSON and is none, or says something twice.
    #[error("not JSON: {0}")]
    Json(JsonError),
    /// Nothing in it is a document.
    #[error(
        "no trust policy in it: expected base64, or settings with image-verifier-plugins.NAME.trustpolicy"
    )]
    Nothing,
    /// What the base64 stands for is not JSON.
    #[error("{} is base64, but not of JSON: {source}", of(plugin.as_ref()))]
    NotJson {
        /// The plugin, if it is said.
        plugin: Option<PluginName>,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Bytes that are no UTF-8.
    #[error("not UTF-8")]
    NotUtf8,
    /// A trust policy is not a string.
    #[error("{} is not a string", of(plugin.as_ref()))]
    NotText {
        /// The plugin, if it is said.
        plugin: Option<PluginName>,
    },
    /// A plugin has a name that it cannot have.
    #[error("plugin {name:?}: {source}")]
    Plugin {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: PluginNameError,
    },
    /// A plugin has two documents.
    #[error("plugin {plugin} has two trust policies; each may be there once")]
    Repeated {
        /// The plugin.
        plugin: PluginName,
    },
    /// A command sets something twice.
    #[error("{setting} is set twice; each may be there once")]
    RepeatedSetting {
        /// The setting.
        setting: String,
    },
    /// It looks like TOML and is none.
    #[error("not TOML: {message} at line {line}")]
    Toml {
        /// What is wrong with it.
        message: String,
        /// At which line, from 1.
        line: usize,
    },
    /// Something that is no setting of plugins, among those.
    #[error(
        "Bottlerocket knows no setting image-verifier-plugins.{setting}; there are enabled and NAME.trustpolicy"
    )]
    UnknownSetting {
        /// The setting, from there.
        setting: String,
    },
    /// It looks like YAML and is none.
    #[error(transparent)]
    Yaml(#[from] YamlError),
}

/// What is wrong with base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Base64Error {
    /// A character that is none of its alphabet's.
    #[error("character {character:?} at {at} is none of it")]
    Character {
        /// The character.
        character: char,
        /// Its place, from 1.
        at: usize,
    },
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// The length is that of no base64.
    #[error("its length is wrong; a part is missing")]
    Length,
    /// In several lines.
    #[error("it has a line break; write it in one line (base64 -w0)")]
    LineBreak,
    /// No `=` at the end, or too few or many.
    #[error("its padding (=) is missing or wrong; do not remove it")]
    Padding,
    /// Bits at the end that stand for nothing.
    #[error("its last character has bits that stand for nothing; encode the document again")]
    TrailingBits,
    /// The alphabet for URLs.
    #[error("it is of the alphabet for URLs (- and _); use the standard one (+ and /)")]
    UrlAlphabet,
}

impl Base64Error {
    fn of(error: &base64::DecodeError) -> Self {
        match error {
            base64::DecodeError::InvalidByte(_, b'\n' | b'\r') => Self::LineBreak,
            base64::DecodeError::InvalidByte(_, b'-' | b'_') => Self::UrlAlphabet,
            base64::DecodeError::InvalidByte(_, b'=') | base64::DecodeError::InvalidPadding => {
                Self::Padding
            }
            base64::DecodeError::InvalidByte(at, byte) => {
                Self::Character { character: char::from(*byte), at: at + 1 }
            }
            base64::DecodeError::InvalidLength(_) => Self::Length,
            base64::DecodeError::InvalidLastSymbol { .. } => Self::TrailingBits,
        }
    }
}

fn of(plugin: Option<&PluginName>) -> String {
    plugin.map_or_else(|| "it".to_owned(), |plugin| format!("the trust policy of {plugin}"))
}
