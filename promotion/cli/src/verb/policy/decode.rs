//! `civ policy decode`

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use civ_authoring::settings::{self, Decoded, PluginName};
use clap::{Args, ValueHint};

use super::place;
use crate::failure::{Exit, Failure};
use crate::output::{Format, print, print_bytes, remark};
use crate::verb::is_stdin;

/// More than any settings that hold policies a verifier would read.
const SETTINGS_MAX: u64 = 16 * 1024 * 1024;

/// Arguments of `policy decode`.
#[derive(Debug, Args)]
pub(crate) struct Decode {
    /// Settings or base64; - is standard input.
    #[arg(value_name = "FILE", default_value = "-", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Of several plugins, the one whose policy to take; the plugin that a policy in base64 is for.
    #[arg(long, value_name = "NAME")]
    plugin: Option<PluginName>,
    /// Write each policy to DIR/NAME/trustpolicy.json, and print where.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: Option<PathBuf>,
    /// Replace files that are there.
    #[arg(long, requires = "directory")]
    force: bool,
}

pub(super) fn run(args: &Decode) -> Result<Exit, Failure> {
    let bytes = read(&args.file)?;
    let mut decoded = settings::decode(bytes).map_err(|error| failed(&args.file, error))?;
    if let Some(plugin) = &args.plugin {
        decoded = vec![of_plugin(args, plugin, decoded)?];
    }
    for setting in decoded.iter().filter_map(|one| one.refused_setting.as_ref()) {
        remark(format_args!(
            "warning: Bottlerocket refuses {setting}; write a table [settings.image-verifier-plugins.NAME] with trustpolicy in it, as civ policy encode does"
        ))?;
    }
    if let Some(directory) = &args.directory {
        return write_all(directory, &decoded, args.force);
    }
    let [one] = decoded.as_slice() else {
        let names: Vec<_> = names(&decoded).collect();
        return Err(Failure::usage(format_args!(
            "there are policies of several plugins: {}",
            names.join(", ")
        ))
        .hint("choose one with --plugin NAME, or write all with --directory DIR"));
    };
    print_bytes(&one.document)?;
    Ok(Exit::Success)
}

/// The document of `plugin`; of base64 alone, it is the one.
fn of_plugin(args: &Decode, plugin: &PluginName, all: Vec<Decoded>) -> Result<Decoded, Failure> {
    let there = names(&all).collect::<Vec<_>>().join(", ");
    let named = all.into_iter().find(|one| one.plugin.as_ref().is_none_or(|name| name == plugin));
    let one = named.ok_or_else(|| {
        failed(&args.file, format_args!("no policy of plugin {plugin}; there is {there}"))
    })?;
    Ok(Decoded { plugin: Some(plugin.clone()), ..one })
}

fn names(decoded: &[Decoded]) -> impl Iterator<Item = &str> {
    decoded.iter().filter_map(|one| one.plugin.as_ref().map(PluginName::as_str))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let outcome = if is_stdin(path) {
        io::stdin().lock().take(SETTINGS_MAX + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(SETTINGS_MAX + 1).read_to_end(&mut bytes))
    };
    outcome.map_err(|error| failed(path, error))?;
    if bytes.len() as u64 > SETTINGS_MAX {
        return Err(failed(path, format_args!("larger than {SETTINGS_MAX} bytes")));
    }
    Ok(bytes)
}

/// Writes all or, if one of them is there and must stay, none.
fn write_all(directory: &Path, decoded: &[Decoded], force: bool) -> Result<Exit, Failure> {
    let mut files = Vec::with_capacity(decoded.len());
    for one in decoded {
        // A plugin's name has no slash and no dot: it leads nowhere else.
        let plugin = one.plugin.as_ref().ok_or_else(|| {
            Failure::usage("base64 alone does not say which plugin it is for")
                .hint("say which with --plugin NAME")
        })?;
        let below = directory.join(plugin.as_str());
        let path = below.join("trustpolicy.json");
        for path in [&below, &path] {
            if fs::symlink_metadata(path).is_ok_and(|file| file.is_symlink()) {
                return Err(failed(
                    path,
                    "it is a link, and policies are not written through links",
                ));
            }
        }
        if !force && fs::symlink_metadata(&path).is_ok() {
            return Err(failed(&path, "it is there already").hint("--force replaces it"));
        }
        files.push((path, &one.document));
    }
    let mut lines = Vec::with_capacity(files.len());
    for (path, document) in files {
        write(&path, document, force).map_err(|error| failed(&path, error))?;
        lines.push(path.display().to_string());
    }
    print(Format::Text, &(), || lines)?;
    Ok(Exit::Success)
}

fn write(path: &Path, document: &[u8], force: bool) -> io::Result<()> {
    fs::create_dir_all(path.parent().ok_or(io::ErrorKind::NotADirectory)?)?;
    if force { place::write(path, document) } else { place::create(path, document) }
}

fn failed(path: &Path, problem: impl std::fmt::Display) -> Failure {
    let name = if is_stdin(path) { "standard input".into() } else { path.to_string_lossy() };
    Failure::new(Exit::Key, format_args!("{name}: {problem}"))
}
