//! Progress on stderr: a bar where somebody watches, lines where somebody reads later.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use civ_oci::text::one_line;
use civ_oci::{Descriptor, Digest, ImageId, Reference};
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
    Bar(ProgressBar, Mutex<Moved>),
}

/// How many bytes of each blob the bar counts.
type Moved = HashMap<Digest, u64>;

impl Form {
    fn of(bar: ProgressBar) -> Self {
        Self::Bar(bar, Mutex::default())
    }
}

impl Drawn {
    /// What suits the form of the result and stderr.
    pub(crate) fn to_suit(output: Format) -> Self {
        let form = if output == Format::Json {
            Form::Nothing
        } else if io::stderr().is_terminal() {
            Form::of(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()))
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
            Form::Bar(bar, _) => bar.suspend(|| say(&line())),
        }
    }

    fn bar(&self) -> Option<&ProgressBar> {
        match &self.form {
            Form::Bar(bar, _) => Some(bar),
            Form::Nothing | Form::Lines => None,
        }
    }

    /// Has the bar count `bytes` of `blob`, given how many it counted so far.
    fn count(&self, blob: &Descriptor, bytes: impl FnOnce(u64) -> u64) {
        let Form::Bar(bar, moved) = &self.form else { return };
        let mut moved = moved.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = moved.entry(blob.digest.clone()).or_default();
        let (before, now) = (*counted, bytes(*counted));
        *counted = now;
        bar.inc(now.saturating_sub(before));
        bar.dec(before.saturating_sub(now));
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

    fn blob_moved(&self, blob: &Descriptor, bytes: u64) {
        self.count(blob, |counted| counted.saturating_add(bytes));
    }

    fn blob_restarted(&self, blob: &Descriptor, why: &Wait<'_>) {
        self.warn(|| format!("blob     {} {why}", blob.digest));
        self.count(blob, |_| 0);
    }

    fn blob_done(&self, blob: &Descriptor, how: Arrival) {
        self.copied.store(true, Ordering::Relaxed);
        self.count(blob, |_| blob.size);
        let how = match how {
            Arrival::Copied => "",
            Arrival::Mounted => " (mounted)",
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

#[cfg(test)]
mod tests {
    use civ_promotion::registry::RegistryError;

    use super::*;

    #[test]
    fn a_bar_gets_to_its_end_whatever_happens_to_its_blobs() {
        let why = RegistryError::Unauthorized;
        let wait = Wait { host: "r.example", why: &why, next: None };
        let blob = Descriptor::of("application/octet-stream", b"0123456789");
        for moved in [0, 4, 10] {
            for (again, how) in [(10, Arrival::Copied), (0, Arrival::Copied), (0, Arrival::Mounted)]
            {
                let bar = ProgressBar::with_draw_target(Some(10), ProgressDrawTarget::hidden());
                let drawn = Drawn { form: Form::of(bar.clone()), copied: AtomicBool::new(false) };
                drawn.blob_moved(&blob, moved);
                drawn.blob_restarted(&blob, &wait);
                assert_eq!(bar.position(), 0, "{moved} {again}");
                drawn.blob_moved(&blob, again);
                drawn.blob_done(&blob, how);
                assert_eq!((bar.position(), bar.length()), (10, Some(10)), "{moved} {again}");
            }
        }
    }
}
