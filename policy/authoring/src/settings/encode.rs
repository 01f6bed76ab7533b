//! Documents to settings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::{PLUGINS, PluginName};

/// A form of settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A command line for the node's admin container.
    Apiclient,
    /// What `apiclient apply` reads, and what `apiclient get` prints.
    Json,
    /// User data within the part of a Karpenter `EC2NodeClass` that holds it. Karpenter adds what the
    /// node needs to join its cluster.
    KubernetesUserData,
    /// The tables of the plugins, for user data that has `[settings.image-verifier-plugins]` already.
    Toml,
    /// User data that turns the plugins on and says nothing else: complete on ECS and for EKS managed
    /// node groups, which add what the node needs to join its cluster.
    UserData,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Apiclient, Self::Json, Self::KubernetesUserData, Self::Toml, Self::UserData];

    /// Is this what EC2 gets, so that its limit is the limit?
    pub fn is_user_data(self) -> bool {
        matches!(self, Self::KubernetesUserData | Self::Toml | Self::UserData)
    }
}

/// Writes the documents of some plugins as settings in this form, ending in a newline.
///
/// Only what Bottlerocket would take is written: each document is JSON, each plugin is named once. Who
/// asks the verifiers is the caller.
pub fn encode(documents: &[(PluginName, &[u8])], form: Form) -> Result<String, EncodeError> {
    let mut plugins: Vec<(&PluginName, String)> = Vec::with_capacity(documents.len());
    for (plugin, document) in documents {
        if plugins.iter().any(|(known, _)| *known == plugin) {
            return Err(EncodeError::Repeated { plugin: plugin.clone() });
        }
        serde_json::from_slice::<serde::de::IgnoredAny>(document)
            .map_err(|source| EncodeError::NotJson { plugin: plugin.clone(), source })?;
        plugins.push((plugin, STANDARD.encode(document)));
    }
    if plugins.is_empty() {
        return Err(EncodeError::Nothing);
    }
    Ok(match form {
        Form::Apiclient => apiclient(&plugins),
        Form::Json => json_document(&plugins),
        Form::Toml => tables(&plugins),
        Form::UserData => user_data(&plugins),
        Form::KubernetesUserData => {
            let user_data = user_data(&plugins);
            let indented = user_data.lines().map(|line| match line {
                "" => "\n".to_owned(),
                line => format!("    {line}\n"),
            });
            format!("spec:\n  userData: |\n{}", indented.collect::<String>())
        }
    })
}

// Neither plugin names nor base64 have characters that a shell, TOML or YAML would take for its own.

fn apiclient(plugins: &[(&PluginName, String)]) -> String {
    let settings = plugins
        .iter()
        .map(|(plugin, base64)| format!(" settings.{PLUGINS}.{plugin}.trustpolicy={base64}"));
    format!("apiclient set settings.{PLUGINS}.enabled=true{}\n", settings.collect::<String>())
}

fn json_document(plugins: &[(&PluginName, String)]) -> String {
    let mut settings = serde_json::Map::new();
    settings.insert("enabled".to_owned(), json!(true));
    for (plugin, base64) in plugins {
        settings.insert(plugin.to_string(), json!({ "trustpolicy": base64 }));
    }
    format!("{:#}\n", json!({ "settings": { PLUGINS: settings } }))
}

fn tables(plugins: &[(&PluginName, String)]) -> String {
    let tables: Vec<String> = plugins
        .iter()
        .map(|(plugin, base64)| {
            format!("[settings.{PLUGINS}.{plugin}]\ntrustpolicy = \"{base64}\"\n")
        })
        .collect();
    tables.join("\n")
}

fn user_data(plugins: &[(&PluginName, String)]) -> String {
    format!("[settings.{PLUGINS}]\nenabled = true\n\n{}", tables(plugins))
}

/// Why documents cannot be written as settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A document is not JSON, which Bottlerocket refuses.
    #[error("the document of plugin {plugin} is not JSON: {source}")]
    NotJson {
        /// The plugin.
        plugin: PluginName,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// No document.
    #[error("no document was given")]
    Nothing,
    /// One plugin has two documents.
    #[error("plugin {plugin} was given two documents; name each plugin once")]
    Repeated {
        /// The plugin.
        plugin: PluginName,
    },
}
