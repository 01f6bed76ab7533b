//! `civ doctor`

use std::io::{self, Write as _};
use std::path::PathBuf;

use civ_doctor::finding::Gate;
use civ_doctor::probe::Unfinished;
use civ_doctor::release::Release;
use civ_doctor::{Finding, Options, Report, Severity, examine};
use clap::{Args, ValueHint};

use crate::failure::{Exit, Failure};
use crate::output::{Colour, Format, Line, count, print};
use crate::stop::Stop;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// containerd's configuration; by default that of the running containerd, or else
    /// /etc/containerd/config.toml.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    config: Option<PathBuf>,
    /// containerd's socket; by default that of its configuration.
    #[arg(long, value_name = "SOCKET", value_hint = ValueHint::FilePath)]
    address: Option<PathBuf>,
    /// Where the root of the node is, as seen from here.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    root: Option<PathBuf>,
    /// The version of containerd, where it does not run.
    #[arg(long, value_name = "VERSION", value_parser = version)]
    containerd_version: Option<(Release, String)>,
    /// Ask neither registries nor KMS.
    #[arg(long)]
    offline: bool,
    /// Pull this image, which must be refused and need no credentials. What comes in is removed
    /// again; an image that is on the node already is not pulled.
    #[arg(long, value_name = "REF")]
    probe: Option<String>,
    /// Pull this image, which must be allowed and need no credentials. What comes in is removed
    /// again; an image that is on the node already is not pulled.
    ///
    /// Not the image of --probe, which cannot be both.
    #[arg(long, value_name = "REF")]
    probe_allowed: Option<String>,
    /// The form of the result.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

fn version(text: &str) -> Result<(Release, String), civ_doctor::release::NoRelease> {
    Ok((text.parse()?, text.to_owned()))
}

pub(crate) async fn run(args: Doctor) -> Result<Exit, Failure> {
    let output = args.output;
    if args.probe.is_some() && args.probe == args.probe_allowed {
        let fact =
            "--probe and --probe-allowed name the same image, which cannot be refused and allowed";
        return Err(Failure::new(Exit::Usage, fact));
    }
    let unfinished = Unfinished::default();
    let options = Options {
        root: args.root,
        config: args.config,
        address: args.address,
        version: args.containerd_version,
        offline: args.offline,
        probe: args.probe,
        probe_allowed: args.probe_allowed,
        unfinished: unfinished.clone(),
    };
    let mut stop = Stop::listen()?;
    let report = tokio::select! {
        report = examine(&options) => report,
        exit = stop.told() => {
            if unfinished.is_any() {
                // Whoever closed the terminal reads nothing.
                let _ = writeln!(io::stderr(), "civ: waiting for the probe's pull to end (two minutes at most), to remove what it brings; stop again to leave it there");
            }
            tokio::select! {
                () = unfinished.wait() => {}
                _ = stop.told() => {}
            }
            return Err(Failure::new(exit, "stopped"));
        }
    };
    print(output, &report, || lines(&report))?;
    Ok(if report.gate == Gate::Shut { Exit::Success } else { Exit::Refused })
}

fn lines(report: &Report) -> Vec<Line> {
    let mut lines = Vec::new();
    for Finding { severity, code, fact, at, mend } in &report.findings {
        let severity_text = format!("{severity:<8}");
        let line = Line::default().painted(colour(*severity), severity_text);
        lines.push(line.plain(format!(" {code:<33} {fact}")));
        if let Some(at) = at {
            lines.push(format!("{:8} at {at}", "").into());
        }
        if let Some(mend) = mend {
            lines.push(format!("{:8} to mend: {mend}", "").into());
        }
    }
    let number = |wanted| report.findings.iter().filter(|f| f.severity == wanted).count();
    let worst = match report.gate {
        Gate::Shut => Severity::Ok,
        Gate::Blocked => Severity::Blocked,
        Gate::Unknown => Severity::Unknown,
        Gate::Open => Severity::Failure,
    };
    let gate = match report.gate {
        Gate::Unknown => "whether the gate is shut is not known".to_owned(),
        gate => format!("the gate is {gate}"),
    };
    lines.push(Line::default().painted(colour(worst), gate).plain(format!(
        ": {}, {} that block pulls, {}",
        count(number(Severity::Failure), "failure"),
        number(Severity::Blocked),
        count(number(Severity::Warning), "warning"),
    )));
    lines
}

fn colour(severity: Severity) -> Colour {
    match severity {
        Severity::Ok => Colour::Green,
        Severity::Note => Colour::Plain,
        Severity::Warning | Severity::Unknown => Colour::Yellow,
        Severity::Blocked | Severity::Failure => Colour::Alarm,
    }
}
