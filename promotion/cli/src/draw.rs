//! Progress on stderr: a bar where somebody watches, lines where somebody reads later.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;

use civ_oci::{Descriptor, ImageId, Reference};
use civ_promotion::plan::Plan;
use civ_promotion::progress::{Arrival, Progress, Silent};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::output::{Format, bytes};

/// What suits the form of the result and stderr.
pub(crate) fn progress(output: Format) -> Arc<dyn Progress> {
    if output == Format::Json {
        Arc::new(Silent)
    } else if io::stderr().is_terminal() {
        Arc::new(Bar(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr())))
    } else {
        Arc::new(Lines)
    }
}

/// One line per event. A stderr that is gone does not stop anything.
struct Lines;

impl Lines {
    fn say(text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

impl Progress for Lines {
    fn blob_restarted(&self, blob: &Descriptor) {
        Self::say(&format!("blob     {} again", blob.digest));
    }

    fn blob_done(&self, blob: &Descriptor, how: Arrival) {
        let how = match how {
            Arrival::Copied => "",
            Arrival::Mounted => " (mounted)",
        };
        Self::say(&format!("blob     {} {}{how}", blob.digest, bytes(blob.size)));
    }

    fn manifest_written(&self, image: &ImageId) {
        Self::say(&format!("manifest {}", image.digest));
    }

    fn signed(&self, image: &ImageId, added: bool) {
        let before = if added { "" } else { " (before)" };
        Self::say(&format!("signed   {}{before}", image.digest));
    }

    fn verified(&self, image: &ImageId) {
        Self::say(&format!("verified {}", image.digest));
    }

    fn tagged(&self, tag: &Reference, moved: bool) {
        let before = if moved { "" } else { " (before)" };
        Self::say(&format!("tagged   {tag}{before}"));
    }
}

/// One bar over all bytes. It is gone when the work is done.
struct Bar(ProgressBar);

impl Progress for Bar {
    fn planned(&self, plan: &Plan) {
        const TEMPLATE: &str = "{bar:32} {bytes}/{total_bytes} {bytes_per_sec} {msg}";
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            self.0.set_style(style);
        }
        self.0.set_length(plan.missing_blobs().map(|blob| blob.size).sum());
        self.0.set_message("copying");
    }

    fn blob_moved(&self, _: &Descriptor, bytes: u64) {
        self.0.inc(bytes);
    }

    fn blob_restarted(&self, blob: &Descriptor) {
        self.0.inc_length(blob.size);
        self.0.set_message("copying (one blob again)");
    }

    fn blob_done(&self, blob: &Descriptor, how: Arrival) {
        if how == Arrival::Mounted {
            self.0.inc(blob.size);
        }
    }

    fn manifest_written(&self, _: &ImageId) {
        self.0.set_message("signing");
    }

    fn signed(&self, _: &ImageId, _: bool) {
        self.0.set_message("asking the gate");
    }

    fn tagged(&self, _: &Reference, _: bool) {
        self.0.finish_and_clear();
    }
}
