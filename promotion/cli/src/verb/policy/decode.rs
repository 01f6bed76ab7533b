//! `civ policy decode`

use std::fs::{self, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use civ_authoring::settings::{self, Decoded, PluginName};
use clap::{Args, ValueHint};

use crate::failure::{Exit, Failure};

/// More than any settings that hold policies a verifier would read.
const SETTINGS_MAX: u64 = 16 * 1024 * 1024;

/// Arguments of `policy decode`.
#[derive(Debug, Args)]
pub(crate) struct Decode {
    /// Settings or base64; - is standard input.
    #[arg(value_name = "FILE", default_value = "-", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Of several plugins, the one whose policy to print.
    #[arg(long, value_name = "NAME", conflicts_with = "directory")]
    plugin: Option<PluginName>,
    /// Write each policy to DIR/NAME/trustpolicy.json, and print where.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    directory: Option<PathBuf>,
    /// Replace files that are there.
    #[arg(long, requires = "directory")]
    force: bool,
}

pub(super) fn run(args: &Decode) -> Result<Exit, Failure> {
    let text = read(&args.file)?;
    let decoded = settings::decode(&text).map_err(|error| failed(&args.file, error))?;
    if let Some(directory) = &args.directory {
        return write_all(directory, &decoded, args.force);
    }
    let names: Vec<&str> =
        decoded.iter().filter_map(|one| one.plugin.as_ref().map(PluginName::as_str)).collect();
    let chosen = match (&args.plugin, decoded.as_slice()) {
        (None, [one]) => one,
        (None, _) => {
            return Err(Failure::usage(format_args!(
                "there are policies of several plugins: {}",
                names.join(", ")
            ))
            .hint("choose one with --plugin NAME, or write all with --directory DIR"));
        }
        (Some(plugin), all) => {
            all.iter().find(|one| one.plugin.as_ref() == Some(plugin)).ok_or_else(|| {
                let there =
                    if names.is_empty() { "no plugin's name".to_owned() } else { names.join(", ") };
                failed(&args.file, format_args!("no policy of plugin {plugin}; there is {there}"))
            })?
        }
    };
    let mut out = io::stdout().lock();
    out.write_all(&chosen.document)?;
    out.flush()?;
    Ok(Exit::Success)
}

fn read(path: &Path) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let outcome = if path == Path::new("-") {
        io::stdin().lock().take(SETTINGS_MAX + 1).read_to_end(&mut bytes)
    } else {
        fs::File::open(path).and_then(|file| file.take(SETTINGS_MAX + 1).read_to_end(&mut bytes))
    };
    outcome.map_err(|error| failed(path, error))?;
    if bytes.len() as u64 > SETTINGS_MAX {
        return Err(failed(path, format_args!("larger than {SETTINGS_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| failed(path, "not UTF-8"))
}

/// Writes all or, if one of them is there and must stay, none.
fn write_all(directory: &Path, decoded: &[Decoded], force: bool) -> Result<Exit, Failure> {
    let mut files = Vec::with_capacity(decoded.len());
    for one in decoded {
        // A plugin's name has no slash and no dot: it leads nowhere else.
        let plugin = one.plugin.as_ref().ok_or_else(|| {
            Failure::usage("base64 alone does not say which plugin it is for")
                .hint("print it instead: leave --directory out")
        })?;
        let path = directory.join(plugin.as_str()).join("trustpolicy.json");
        if !force && fs::symlink_metadata(&path).is_ok() {
            return Err(failed(&path, "it is there already").hint("--force replaces it"));
        }
        files.push((path, &one.document));
    }
    let mut out = io::stdout().lock();
    for (path, document) in files {
        write(&path, document, force).map_err(|error| failed(&path, error))?;
        writeln!(out, "{}", path.display())?;
    }
    out.flush()?;
    Ok(Exit::Success)
}

/// Puts `document` at `path` at once; a link there is replaced, not followed.
fn write(path: &Path, document: &[u8], force: bool) -> io::Result<()> {
    let parent = path.parent().ok_or(io::ErrorKind::NotADirectory)?;
    fs::create_dir_all(parent)?;
    if !force {
        return OpenOptions::new().write(true).create_new(true).open(path)?.write_all(document);
    }
    let mut staged = tempfile::NamedTempFile::new_in(parent)?;
    staged.write_all(document)?;
    staged.persist(path)?;
    Ok(())
}

fn failed(path: &Path, problem: impl std::fmt::Display) -> Failure {
    let name =
        if path == Path::new("-") { "standard input".into() } else { path.to_string_lossy() };
    Failure::new(Exit::Key, format_args!("{name}: {problem}"))
}
