//! `civ log`

use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use civ_journal::{Filter, Finding, Group, Outcome, Summary, Tally, read};
use civ_oci::Digest;
use civ_oci::text::one_line;
use civ_policy::UtcTime;
use clap::{Args, ValueHint};
use serde::Serialize;

use super::read_policy;
use crate::failure::{Exit, Failure};
use crate::output::{Format, count, print};

/// The most of a word of the log that is shown, in bytes.
const WORD_MAX: usize = 400;

/// Arguments of `log`.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Logs to read: syslog files, output of journalctl (as JSON, with who wrote each line), or - for
    /// standard input. A file does not say who wrote it: anybody on a node may.
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Read the journal in this directory, such as /.bottlerocket/rootfs/var/log/journal.
    #[arg(long, value_name = "DIR", conflicts_with = "files", value_hint = ValueHint::DirPath)]
    journal: Option<PathBuf>,
    /// Only verdicts of this time and later: 2026-11-21T08:00:00Z, or an age such as 90m, 24h or 7d.
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<UtcTime>,
    /// Only verdicts of this plugin.
    #[arg(long, value_name = "NAME")]
    plugin: Option<String>,
    /// Only verdicts of this statement.
    #[arg(long, value_name = "NAME")]
    statement: Option<String>,
    /// Only verdicts under this very document, byte for byte, and those that found no policy to read.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    policy: Option<PathBuf>,
    /// Succeed only on evidence that strict changes nothing: pulls were checked, none was refused or
    /// would have been, and no record was cut off. Otherwise fail (1).
    #[arg(long)]
    check: bool,
    /// Findings shown of each statement; the most frequent come first. JSON has all.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    would_be_refused: u64,
    refused: u64,
    #[serde(flatten)]
    summary: Summary,
}

pub(super) fn run(args: Log) -> Result<Exit, Failure> {
    let policy_sha256 = match &args.policy {
        Some(path) => Some(Digest::sha256(&read_policy(path)?).hex().to_owned()),
        None => None,
    };
    let Log { since, plugin, statement, .. } = args;
    let mut tally = Tally::new(Filter { since, plugin, statement, policy_sha256 });
    if args.files.is_empty() {
        read_journal(args.journal.as_deref(), args.since, &mut tally)?;
    }
    for file in &args.files {
        read_file(file, &mut tally).map_err(|error| {
            Failure::new(Exit::Key, format_args!("log {}: {error}", file.display()))
        })?;
    }
    let summary = tally.summary();
    let (would_be_refused, refused) = (summary.audited(), summary.refused());
    let report = Report { would_be_refused, refused, summary };
    print(args.output, &report, || report.lines(args.top))?;
    if args.output == Format::Text {
        report.warn()?;
    }
    let holds = !args.check || report.summary.is_evidence();
    Ok(if holds { Exit::Success } else { Exit::Refused })
}

fn read_file(file: &Path, tally: &mut Tally) -> io::Result<()> {
    if file == Path::new("-") {
        return read(io::stdin().lock(), |line| tally.add(line));
    }
    read(BufReader::new(File::open(file)?), |line| tally.add(line))
}

/// Reads what root wrote to the journal by way of /dev/log.
fn read_journal(
    directory: Option<&Path>,
    since: Option<UtcTime>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let fail = |error| {
        Failure::new(Exit::Key, format_args!("cannot read the journal: {error}"))
            .hint("name a log file, or - for standard input")
    };
    let mut journalctl = Command::new("journalctl");
    // All: without it, a field of more than 4 KiB is left out.
    journalctl.args(["--output=json", "--all", "--no-pager", "--quiet"]);
    journalctl.args(["_UID=0", "_TRANSPORT=syslog"]);
    if let Some(directory) = directory {
        journalctl.arg("--directory").arg(directory);
    }
    if let Some(since) = since {
        journalctl.arg(format!("--since=@{}", since.unix_seconds()));
    }
    let mut child =
        journalctl.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(&fail)?;
    let read = match child.stdout.take() {
        Some(stdout) => read(BufReader::new(stdout), |line| tally.add(line)),
        None => Ok(()),
    };
    let ended = child.wait().map_err(&fail)?;
    read.map_err(&fail)?;
    // It has said on stderr what is wrong.
    if ended.success() {
        Ok(())
    } else {
        Err(fail(io::Error::other(format!("journalctl ended with {ended}"))))
    }
}

fn since(text: &str) -> Result<UtcTime, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 60 * 60,
        Some(b'd') => 24 * 60 * 60,
        _ => 0,
    };
    let number = text.get(..text.len().saturating_sub(1)).and_then(|text| text.parse().ok());
    let age = number.and_then(|number: u64| number.checked_mul(unit)).filter(|_| unit > 0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok();
    now.zip(age)
        .and_then(|(now, age)| UtcTime::from_unix(now.checked_sub(Duration::from_secs(age))?))
        .ok_or_else(|| "write a time such as 2026-11-21T08:00:00Z, or an age such as 7d".to_owned())
}

impl Report {
    fn lines(&self, top: usize) -> Vec<String> {
        let Summary { verdicts, span, groups, .. } = &self.summary;
        let mut lines = Vec::new();
        for group in groups {
            lines.extend(lines_of(group, top));
        }
        let number = count(usize::try_from(*verdicts).unwrap_or(usize::MAX), "verdict");
        let span = match (span.first, span.last) {
            (Some(first), Some(last)) => format!(", {first} to {last}"),
            _ => String::new(),
        };
        lines.push(format!(
            "{number}{span}: {} refused, {} that strict would have refused",
            self.refused, self.would_be_refused
        ));
        lines
    }

    fn warn(&self) -> io::Result<()> {
        let Summary { not_roots, unreadable, undated, unattributed, left_out, .. } = self.summary;
        let mut stderr = io::stderr().lock();
        for (number, what) in [
            (not_roots, "that another user than root wrote were passed over"),
            (unreadable, "of verifiers cannot be read: cut off by the log, or of another version"),
            (undated, "do not say when, and were left out"),
            (left_out, "are of more statements than can be told apart, and were left out"),
            (unattributed, "do not say who wrote them; only the journal does"),
        ] {
            if number > 0 {
                let lines = count(usize::try_from(number).unwrap_or(usize::MAX), "line");
                writeln!(stderr, "civ: warning: {lines} {what}")?;
            }
        }
        if self.summary.verdicts == 0 {
            writeln!(stderr, "civ: no verdict found; does civ doctor say that the gate is asked?")?;
        }
        Ok(())
    }
}

fn lines_of(group: &Group, top: usize) -> Vec<String> {
    let word = |text: &str| one_line(text, WORD_MAX);
    let key = &group.key;
    let statement = match (&key.statement, &group.level) {
        (Some(statement), Some(level)) => {
            format!("statement {} ({})", word(statement), word(level))
        }
        (Some(statement), None) => format!("statement {}", word(statement)),
        (None, _) => "no statement".to_owned(),
    };
    let policy = match (&key.policy, &key.policy_sha256) {
        (Some(path), Some(sha256)) => {
            format!("policy {} sha256:{}", word(path), one_line(sha256, 12))
        }
        _ => "no policy read".to_owned(),
    };
    let mut lines = vec![
        format!("{}, {statement}, {policy}", word(&key.verifier)),
        format!(
            "  {} allowed, {} not checked, {} refused, {} that strict would have refused; slowest {} ms",
            group.allowed, group.skipped, group.refused, group.audited, group.slowest_ms
        ),
    ];
    lines.extend(group.findings.iter().take(top).map(line_of));
    let more = group.findings.len().saturating_sub(top);
    if more > 0 || group.findings_left_out > 0 {
        lines.push(format!("  and {} more; see --top and --output json", count(more, "finding")));
    }
    lines
}

fn line_of(finding: &Finding) -> String {
    let what = match finding.verdict {
        Outcome::Audit => "would refuse",
        Outcome::Refuse => "refused",
        Outcome::Allow => "allowed",
    };
    let image = finding.image.as_deref().unwrap_or("a call without an image");
    let last = finding.span.last.map(|last| format!(", last {last}")).unwrap_or_default();
    format!(
        "  {}x {what} {} (exit {}{last}): {}",
        finding.count,
        one_line(image, WORD_MAX),
        finding.exit,
        one_line(&finding.reason, WORD_MAX)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_moment_or_an_age() {
        assert_eq!(since("2026-11-21T08:00:00Z").unwrap().to_string(), "2026-11-21T08:00:00Z");
        assert!(since("1d").unwrap() < since("1h").unwrap());
        for wrong in ["", "d", "7", "7w", "-1d", "99999999999999999999d", "999999999999d", "é"] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
