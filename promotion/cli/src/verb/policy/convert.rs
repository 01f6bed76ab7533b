//! `civ policy convert`

use std::fs;
use std::io;
use std::path::PathBuf;

use civ_authoring::convert::{self, ConvertError, Note, Source};
use clap::{Args, ValueEnum, ValueHint};
use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::output::{self, Format, ascii_json, print, print_bytes, remark};
use crate::verb::{bad_policy, read_bytes};

/// The longest file of a public key that is read, in bytes.
const KEY_MAX: u64 = 64 * 1024;

/// Arguments of `policy convert`.
#[derive(Debug, Args)]
pub(crate) struct Convert {
    /// The policy to convert; - is stdin.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
    /// Whose policy it is, if it does not show.
    #[arg(long, value_enum)]
    from: Option<From>,
    /// Write what maps, even if something does not. What does not is refused by the result.
    #[arg(long)]
    allow_partial: bool,
    /// The form of the result: the document, or a report with the document in it.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// A tool's policy.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// Of sigstore's policy-controller.
    ClusterImagePolicy,
    /// Of podman, CRI-O and skopeo: policy.json.
    ContainersPolicy,
    /// Of Talos.
    Talos,
}

#[derive(Serialize)]
struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    notes: Vec<Note>,
}

pub(super) fn run(args: &Convert) -> Result<Exit, Failure> {
    let text = String::from_utf8(read_bytes(&args.file)?)
        .map_err(|_| bad_policy(&args.file, "not UTF-8"))?;
    let source = match args.from {
        Some(From::ClusterImagePolicy) => Source::ClusterImagePolicy,
        Some(From::ContainersPolicy) => Source::ContainersPolicy,
        Some(From::Talos) => Source::Talos,
        None => convert::detect(&text).ok_or_else(|| {
            bad_policy(&args.file, "not a policy that civ converts")
                .hint("say whose it is with --from")
        })?,
    };
    let read_key = |path: &str| {
        let is_small = fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() <= KEY_MAX);
        is_small.then(|| fs::read_to_string(path).ok())?
    };
    match convert::convert(source, &text, &read_key) {
        Ok(converted) => {
            let lost = converted.notes.iter().filter(|note| note.kind == convert::NoteKind::Lost);
            let lost = lost.count();
            let written = args.allow_partial || converted.is_complete();
            let document = written.then_some(converted.document);
            report(args, &Report { document, notes: converted.notes })?;
            if written {
                return Ok(Exit::Success);
            }
            let fact = format!(
                "{} cannot be converted, so nothing was written",
                output::count(lost, "part")
            );
            Err(bad_policy(&args.file, fact)
                .hint("--allow-partial writes the rest, which refuses them"))
        }
        Err(ConvertError::Nothing { notes }) => {
            report(args, &Report { document: None, notes })?;
            Err(bad_policy(&args.file, "nothing in it can be said in civ's document"))
        }
        Err(error) => Err(bad_policy(&args.file, error)),
    }
}

/// The document on stdout and each note on a line of stderr, or both in one report.
fn report(args: &Convert, report: &Report) -> io::Result<()> {
    if args.output == Format::Json {
        return print(Format::Json, report, Vec::<String>::new);
    }
    for Note { kind, place, message } in &report.notes {
        remark(format_args!("{kind}: {place}: {message}"))?;
    }
    let document = report.document.as_deref().map(ascii_json);
    print_bytes(document.unwrap_or_default().as_bytes())
}
