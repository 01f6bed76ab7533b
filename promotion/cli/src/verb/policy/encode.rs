//! `civ policy encode`

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use civ_authoring::lint::USER_DATA_MAX;
use civ_authoring::settings::{self, Form, PluginName};
use civ_authoring::{Document, Kind};
use clap::{Args, ValueEnum};

use super::kind::{self, KindArgument};
use crate::failure::{Exit, Failure};
use crate::verb::{bad_policy, read_policy};

/// Arguments of `policy encode`.
#[derive(Debug, Args)]
pub(crate) struct Encode {
    /// Trust policies: PLUGIN=FILE, or FILE with --plugin, or PLUGIN/trustpolicy.json.
    #[arg(value_name = "[PLUGIN=]FILE", required = true)]
    files: Vec<String>,
    /// The name of the plugin, for one FILE: what comes before -image-verifier in its executable's name.
    #[arg(long, value_name = "NAME")]
    plugin: Option<PluginName>,
    /// The verifier that checks the files first, if the plugins' names do not say it. Those of others
    /// need only be JSON.
    #[arg(long, value_enum)]
    kind: Option<KindArgument>,
    /// The form of the settings.
    #[arg(short, long, value_enum)]
    format: SettingsFormat,
}

/// A form of Bottlerocket's settings.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SettingsFormat {
    /// An `apiclient set` command for the node's admin container.
    Apiclient,
    /// What `apiclient apply` reads.
    Json,
    /// User data in a node class of Karpenter.
    KubernetesUserData,
    /// Tables for user data that has [settings.image-verifier-plugins] already.
    Toml,
    /// User data that turns image verifier plugins on.
    UserData,
}

impl From<SettingsFormat> for Form {
    fn from(format: SettingsFormat) -> Self {
        match format {
            SettingsFormat::Apiclient => Self::Apiclient,
            SettingsFormat::Json => Self::Json,
            SettingsFormat::KubernetesUserData => Self::KubernetesUserData,
            SettingsFormat::Toml => Self::Toml,
            SettingsFormat::UserData => Self::UserData,
        }
    }
}

pub(super) fn run(args: &Encode) -> Result<Exit, Failure> {
    if args.plugin.is_some() && args.files.len() > 1 {
        return Err(Failure::usage("--plugin names one FILE")
            .hint("with several, write PLUGIN=FILE for each"));
    }
    let mut documents = Vec::with_capacity(args.files.len());
    for argument in &args.files {
        let (plugin, path) = plugin_and_path(args.plugin.as_ref(), argument)?;
        let bytes = read_policy(&path)?;
        check(args.kind, &plugin, &path, &bytes)?;
        documents.push((plugin, bytes));
    }
    let documents: Vec<(PluginName, &[u8])> =
        documents.iter().map(|(plugin, bytes)| (plugin.clone(), bytes.as_slice())).collect();
    let form = args.format.into();
    let settings =
        settings::encode(&documents, form).map_err(|error| Failure::new(Exit::Key, error))?;
    if form.is_user_data() && settings.len() > USER_DATA_MAX {
        writeln!(
            io::stderr().lock(),
            "civ: warning: {} bytes, and EC2 takes {USER_DATA_MAX} bytes of user data; compress it with gzip, or let nodes fetch the settings: apiclient apply s3://BUCKET/KEY",
            settings.len()
        )?;
    }
    let mut out = io::stdout().lock();
    out.write_all(settings.as_bytes())?;
    out.flush()?;
    Ok(Exit::Success)
}

fn plugin_and_path(
    plugin: Option<&PluginName>,
    argument: &str,
) -> Result<(PluginName, PathBuf), Failure> {
    let (name, path) = match (plugin, argument.split_once('=')) {
        (Some(plugin), _) => return Ok((plugin.clone(), PathBuf::from(argument))),
        (None, Some((name, path))) => (name, Path::new(path)),
        (None, None) => {
            let path = Path::new(argument);
            let name = kind::plugin_of(path).ok_or_else(|| {
                Failure::usage(format_args!("no plugin is named for {argument}"))
                    .hint("write PLUGIN=FILE, or add --plugin NAME")
            })?;
            (name, path)
        }
    };
    let plugin =
        name.parse().map_err(|error| Failure::usage(format_args!("{name:?} is {error}")))?;
    Ok((plugin, path.to_owned()))
}

/// Refuses what the plugin's verifier would refuse on the node.
fn check(
    said: Option<KindArgument>,
    plugin: &PluginName,
    path: &Path,
    bytes: &[u8],
) -> Result<(), Failure> {
    if let Some(kind) = said.map(Kind::from).or_else(|| Kind::of_plugin(plugin.as_str())) {
        return Document::parse(kind, bytes).map(drop).map_err(|error| {
            bad_policy(path, error).hint(format_args!(
                "{kind}-image-verifier refuses every pull with it; see civ policy lint"
            ))
        });
    }
    writeln!(
        io::stderr().lock(),
        "civ: warning: {} is not checked, since plugin {plugin} is of no verifier that civ knows; if it is a copy of one, say which with --kind",
        path.display()
    )?;
    Ok(())
}
