//! `civ policy lint`

use std::path::PathBuf;
use std::time::SystemTime;

use civ_authoring::Kind;
use civ_authoring::lint::{self, Report, Severity, Written};
use civ_policy::UtcTime;
use clap::{Args, ValueHint};
use serde::Serialize;

use super::kind::{self, KindArgument};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format, print};
use crate::verb::read_bytes;

/// Arguments of `policy lint`.
#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// Trust policies; - is stdin. Those of one node belong together: some findings need several.
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// The verifier that the files are for, if neither their directory nor what is in them says it.
    #[arg(long, value_enum)]
    kind: Option<KindArgument>,
    /// Fail on warnings, too, with exit code 1.
    #[arg(long)]
    strict: bool,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Serialize)]
struct Outcome {
    files: Vec<FileReport>,
}

#[derive(Serialize)]
struct FileReport {
    file: String,
    /// Absent if it could be for any verifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(flatten)]
    report: Report,
}

pub(super) fn run(args: &Lint) -> Result<Exit, Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
    let now = now
        .and_then(UtcTime::from_unix)
        .ok_or_else(|| Failure::new(Exit::Internal, "the clock is before 1970 or after 9999"))?;
    let mut read = Vec::with_capacity(args.files.len());
    for path in &args.files {
        let bytes = read_bytes(path)?;
        read.push((path, kind::find(args.kind, path, &bytes), bytes));
    }
    let documents: Vec<Written<'_>> =
        read.iter().map(|(_, kind, bytes)| Written { kind: *kind, bytes }).collect();
    let reports = lint::lint(&documents, now);
    let files = read.iter().zip(reports).map(|((path, kind, _), report)| FileReport {
        file: path.display().to_string(),
        kind: kind.map(Kind::name),
        report,
    });
    let result = Outcome { files: files.collect() };
    print(args.output, &result, || result.lines())?;
    Ok(match (result.count(Severity::Error), result.count(Severity::Warning)) {
        (0, 0) => Exit::Success,
        (0, _) if !args.strict => Exit::Success,
        (0, _) => Exit::Refused,
        _ => Exit::Key,
    })
}

impl Outcome {
    fn count(&self, severity: Severity) -> usize {
        let findings = self.files.iter().flat_map(|file| &file.report.findings);
        findings.filter(|finding| finding.severity == severity).count()
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for FileReport { file, report, .. } in &self.files {
            for finding in &report.findings {
                let (position, severity) = (finding.position, finding.severity);
                lines.push(format!(
                    "{file}:{}:{}: {severity}[{}]: {}",
                    position.line, position.column, finding.code, finding.message
                ));
            }
        }
        for FileReport { file, kind, report } in &self.files {
            let what = kind.map_or_else(
                || "of no verifier that shows".to_owned(),
                |kind| format!("a policy for {kind}-image-verifier"),
            );
            lines.push(format!(
                "{file}: {what}, {} ({} as base64)",
                output::count(report.bytes, "byte"),
                report.base64_bytes
            ));
        }
        lines.push(format!(
            "{}, {}",
            output::count(self.count(Severity::Error), "error"),
            output::count(self.count(Severity::Warning), "warning")
        ));
        lines
    }
}
