//! `civ policy digests`

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use civ_authoring::digests::{self, DigestDocument, Form, ResolvedImage};
use civ_authoring::images::{self, FILE_MAX, FoundImage, IMAGES_MAX};
use civ_authoring::settings::USER_DATA_MAX;
use civ_oci::Reference;
use civ_promotion::digests::{self as registry, ImageDigests};
use clap::{Args, ValueHint};

use super::place;
use crate::failure::{Exit, Failure};
use crate::output::{count, print_bytes, remark};
use crate::verb::{client, is_stdin, progress};

/// Arguments of `policy digests`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Digests {
    /// The images, by tag or digest.
    #[arg(value_name = "IMAGE", required_unless_present = "files")]
    images: Vec<Reference>,
    /// The images that a file names; - is stdin. May be repeated.
    #[arg(short, long = "file", value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Write digests alone, as Bottlerocket's own verifier takes them.
    #[arg(long)]
    flat: bool,
    /// Trust each image in its own repository only.
    #[arg(long, conflicts_with = "flat")]
    scoped: bool,
    /// Leave out the platforms of an index: only the index itself may be pulled by digest.
    #[arg(long)]
    no_children: bool,
    /// Write the policy into this file, which is replaced at once.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output_file: Option<PathBuf>,
    /// Ask registries, and write no file.
    #[arg(long, requires = "output_file")]
    dry_run: bool,
}

pub(super) async fn run(args: Digests) -> Result<Exit, Failure> {
    if args.output_file.as_deref().is_some_and(is_stdin) {
        return Err(Failure::usage("--output-file takes a file, and - is none")
            .hint("leave it out, and the policy goes to stdout"));
    }
    // On a thread that may wait for whoever types on stdin.
    let named = tokio::task::spawn_blocking(move || named(&args).map(|found| (args, found))).await;
    let failed = |_| Failure::new(Exit::Internal, "cannot read the names: a task failed");
    let (args, found) = named.map_err(failed)??;
    write(args, found).await
}

async fn write(args: Digests, found: Vec<FoundImage>) -> Result<Exit, Failure> {
    let references: Vec<Reference> = found.iter().map(|image| image.reference.clone()).collect();
    let client = client(&progress(crate::output::Format::Text))?;
    let answers = registry::find_all(&client, &references).await;
    let answers = all_or_failures(answers)?;
    let resolved: Vec<ResolvedImage> = found
        .into_iter()
        .zip(answers)
        .map(|(found, ImageDigests { image, children })| ResolvedImage {
            repository: image.repository,
            name: found.name.unwrap_or_else(|| name_of(&found.reference)),
            digest: image.digest,
            children: (!args.no_children).then_some(children),
        })
        .collect();
    let form = match (args.flat, args.scoped) {
        (true, _) => Form::Flat,
        (_, true) => Form::Scoped,
        _ => Form::Named,
    };
    let document =
        digests::write(&resolved, form).map_err(|error| Failure::new(Exit::Key, error))?;
    match &args.output_file {
        Some(path) if args.dry_run => remark(format_args!("would write {}", path.display()))?,
        Some(path) => {
            place::write(path, document.text.as_bytes())
                .map_err(|error| cannot("write", path, error))?;
        }
        None => print_bytes(document.text.as_bytes())?,
    }
    tell_size(resolved.len(), &document)?;
    Ok(Exit::Success)
}

/// What is asked for, each once: from the command line, then from the files.
fn named(args: &Digests) -> Result<Vec<FoundImage>, Failure> {
    if args.files.iter().filter(|path| is_stdin(path)).count() > 1 {
        return Err(Failure::usage("stdin can be read once; give --file - once"));
    }
    let named = |reference: &Reference| FoundImage { reference: reference.clone(), name: None };
    let mut found: Vec<_> = args.images.iter().map(named).collect();
    for path in &args.files {
        let bytes = read(path).map_err(|error| cannot("read", path, error))?;
        if bytes.len() as u64 > FILE_MAX {
            return Err(cannot("read", path, format_args!("larger than {FILE_MAX} bytes")));
        }
        found.extend(images::read(&bytes).map_err(|error| cannot("read", path, error))?);
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|image| seen.insert((image.reference.clone(), image.name.clone())));
    if found.len() > IMAGES_MAX {
        return Err(Failure::usage(format_args!("more than {IMAGES_MAX} images are named")));
    }
    Ok(found)
}

/// All answers, or what failed: each failure on its own line, the sum of them last.
fn all_or_failures(
    answers: Vec<Result<ImageDigests, civ_promotion::Error>>,
) -> Result<Vec<ImageDigests>, Failure> {
    let asked = answers.len();
    let (mut images, mut failures) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer {
            Ok(image) => images.push(image),
            Err(error) => failures.push(Failure::from(error)),
        }
    }
    let failed = failures.len();
    let mut failures = failures.into_iter();
    let Some(first) = failures.next() else { return Ok(images) };
    if failed == 1 {
        return Err(first);
    }
    let exit = first.exit();
    for failure in [first].into_iter().chain(failures) {
        failure.report();
    }
    Err(Failure::new(exit, format_args!("{failed} of {asked} images failed; nothing was written")))
}

/// The name without the digest that stands beside it, if there is more than that.
fn name_of(reference: &Reference) -> String {
    let digest = reference.digest.clone().filter(|_| reference.tag.is_none());
    Reference { digest, ..reference.clone() }.to_string()
}

/// At most one byte more than may be read.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if is_stdin(path) {
        io::stdin().take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(FILE_MAX + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn cannot(what: &str, path: &Path, problem: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Key, format_args!("cannot {what} {}: {problem}", path.display()))
}

/// A policy that does not fit is refused by AWS, long after it was written.
fn tell_size(images: usize, document: &DigestDocument) -> io::Result<()> {
    let (bytes, encoded) = (document.text.len(), document.base64_len());
    let (images, digests) = (count(images, "image"), count(document.digests, "digest"));
    remark(format_args!("{images}, {digests}: {bytes} bytes, {encoded} in base64"))?;
    if encoded > USER_DATA_MAX {
        remark(format_args!(
            "warning: {encoded} bytes of base64 do not fit into the {USER_DATA_MAX} of EC2 user data; \
             use --flat or --no-children, or give nodes the policy in another way"
        ))?;
    }
    Ok(())
}
