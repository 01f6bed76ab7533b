//! `civ policy encode`

use std::path::{Path, PathBuf};

use civ_authoring::settings::{self, Form, PluginName, USER_DATA_MAX};
use civ_authoring::{Document, Kind};
use clap::{Args, ValueEnum};

use super::kind::{self, KindArgument};
use crate::failure::{Exit, Failure};
use crate::output::{print_bytes, remark};
use crate::verb::{bad_policy, read_policy};

/// Arguments of `policy encode`.
#[derive(Debug, Args)]
pub(crate) struct Encode {
    /// Trust policies: PLUGIN=FILE, or FILE with --plugin, or PLUGIN/trustpolicy.json. A FILE
    /// of - is stdin.
    #[arg(value_name = "[PLUGIN=]FILE", required = true)]
    files: Vec<String>,
    /// The name of the plugin, for one FILE: what comes before -image-verifier in its executable's name.
    #[arg(long, value_name = "NAME")]
    plugin: Option<PluginName>,
    /// The verifier that checks the files first, if the plugins' names do not say it. Those of others
    /// need only be JSON.
    #[arg(long, value_enum)]
    kind: Option<KindArgument>,
    /// Write documents that their verifiers refuse, too, with a warning. They still have to be JSON.
    #[arg(long)]
    unchecked: bool,
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
        check(args, &plugin, &path, &bytes)?;
        documents.push((plugin, bytes));
    }
    let documents: Vec<(PluginName, &[u8])> =
        documents.iter().map(|(plugin, bytes)| (plugin.clone(), bytes.as_slice())).collect();
    let form = args.format.into();
    let settings =
        settings::encode(&documents, form).map_err(|error| Failure::new(Exit::Key, error))?;
    if form.is_user_data() && settings.len() > USER_DATA_MAX {
        remark(format_args!(
            "warning: {} bytes, and EC2 takes {USER_DATA_MAX} bytes of user data; compress it with gzip, or let nodes fetch the settings: apiclient apply s3://BUCKET/KEY",
            settings.len()
        ))?;
    }
    print_bytes(settings.as_bytes())?;
    Ok(Exit::Success)
}

fn plugin_and_path(
    plugin: Option<&PluginName>,
    argument: &str,
) -> Result<(PluginName, PathBuf), Failure> {
    // A path may have `=` in it, and a name has neither slash nor dot.
    let assigned = argument.split_once('=').filter(|(name, _)| !name.contains(['/', '.']));
    let (name, path) = match (plugin, assigned) {
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
fn check(args: &Encode, plugin: &PluginName, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let Some(kind) = kind_of(args.kind, plugin)? else {
        remark(format_args!(
            "warning: {} is not checked, since plugin {plugin} is of no verifier that civ knows; if it is a copy of one, say which with --kind",
            path.display()
        ))?;
        return Ok(());
    };
    let Err(error) = Document::parse(kind, bytes) else { return Ok(()) };
    let refusal = bad_policy(path, error);
    let consequence = format!("{kind}-image-verifier refuses every pull with it");
    if args.unchecked {
        remark(format_args!("warning: {}; {consequence}", refusal.fact()))?;
        return Ok(());
    }
    Err(refusal.hint(format_args!(
        "{consequence}; see civ policy lint, or write it all the same with --unchecked"
    )))
}

/// The verifier that the plugin is. One that is called as it is released is that one.
fn kind_of(said: Option<KindArgument>, plugin: &PluginName) -> Result<Option<Kind>, Failure> {
    let said = said.map(Kind::from);
    match (Kind::of_plugin(plugin.as_str()), said) {
        (Some(known), Some(said)) if said != known => Err(Failure::usage(format_args!(
            "plugin {plugin} is {known}-image-verifier, and --kind says {said}"
        ))
        .hint("name each plugin by the verifier that it is, or encode them one by one")),
        (known, said) => Ok(known.or(said)),
    }
}
