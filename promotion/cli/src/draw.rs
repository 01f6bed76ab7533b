//! Progress on stderr: a bar where somebody watches, lines where somebody reads later.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use civ_oci::text::one_line;
use civ_oci::{Descriptor, ImageId, Reference};
use civ_promotion::plan::Plan;
use civ_promotion::progress::{Arrival, Progress, Wait};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{Format, bytes};

/// The longest line, in bytes: it may hold words of a registry.
const LINE_MAX: usize = 1_000;

/// What happens, drawn.
#[derive(Debug)]
pub(crate) struct Drawn {
    form: Form,
    copied: AtomicBool,
}

#[derive(Debug)]
enum Form {
    /// Nothing but the result.
    Nothing,
    /// One line per event.
    Lines,
    /// One bar over all bytes, which is gone when the work is done, and lines on what goes wrong.
    Bar(ProgressBar),
}

impl Drawn {
    /// What suits the form of the result and stderr.
    pub(crate) fn to_suit(output: Format) -> Self {
        let form = if output == Format::Json {
            Form::Nothing
        } else if io::stderr().is_terminal() {
            Form::Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()))
        } else {
            Form::Lines
        };
        Self { form, copied: AtomicBool::new(false) }
    }

    /// Whether something was copied.
    pub(crate) fn has_copied(&self) -> bool {
        self.copied.load(Ordering::Relaxed)
    }

    /// A line for whoever reads later.
    fn note(&self, line: impl FnOnce() -> String) {
        if let Form::Lines = self.form {
            say(&line());
        }
    }

    /// A line for whoever waits, too.
    fn warn(&self, line: impl FnOnce() -> String) {
        match &self.form {
            Form::Nothing => {}
            Form::Lines => say(&line()),
            Form::Bar(bar) => bar.suspend(|| say(&line())),
        }
    }

    fn bar(&self) -> Option<&ProgressBar> {
        match &self.form {
            Form::Bar(bar) => Some(bar),
            Form::Nothing | Form::Lines => None,
        }
    }

    fn message(&self, text: &'static str) {
        if let Some(bar) = self.bar() {
            bar.set_message(text);
        }
    }
}

/// A stderr that is gone does not stop anything.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{}", one_line(line, LINE_MAX));
}

impl Progress for Drawn {
    fn planned(&self, plan: &Plan) {
        const TEMPLATE: &str =
            "{bar:32} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} {msg}";
        let Some(bar) = self.bar() else { return };
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.set_length(plan.missing_blob_bytes());
        bar.set_draw_target(ProgressDrawTarget::stderr());
        bar.set_message("copying");
    }

    fn waiting(&self, wait: &Wait<'_>) {
        self.warn(|| wait.to_string());
    }

    fn blob_moved(&self, _: &Descriptor, bytes: u64) {
        if let Some(bar) = self.bar() {
            bar.inc(bytes);
        }
    }

    fn blob_restarted(&self, blob: &Descriptor, why: &Wait<'_>) {
        self.warn(|| format!("blob     {} {why}", blob.digest));
        if let Some(bar) = self.bar() {
            bar.inc_length(blob.size);
        }
    }

    fn blob_done(&self, blob: &Descriptor, how: Arrival) {
        self.copied.store(true, Ordering::Relaxed);
        let how = match how {
            Arrival::Copied => "",
            Arrival::Mounted => {
                if let Some(bar) = self.bar() {
                    bar.inc(blob.size);
                }
                " (mounted)"
            }
        };
        self.note(|| format!("blob     {} {}{how}", blob.digest, bytes(blob.size)));
    }

    fn manifest_written(&self, image: &ImageId) {
        self.copied.store(true, Ordering::Relaxed);
        self.note(|| format!("manifest {}", image.digest));
        self.message("signing");
    }

    fn signed(&self, image: &ImageId, added: bool) {
        let before = if added { "" } else { " (before)" };
        self.note(|| format!("signed   {}{before}", image.digest));
        self.message("asking the gate");
    }

    fn verified(&self, image: &ImageId) {
        self.note(|| format!("verified {}", image.digest));
    }

    fn tagged(&self, tag: &Reference, moved: bool) {
        let before = if moved { "" } else { " (before)" };
        self.note(|| format!("tagged   {tag}{before}"));
        if let Some(bar) = self.bar() {
            bar.finish_and_clear();
        }
    }
}
