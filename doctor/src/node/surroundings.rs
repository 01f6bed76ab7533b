//! What a verdict depends on beside containerd: the clock, the system log, FIPS mode, `SELinux`.

use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::Root;
use crate::finding::{Code, Finding, Location, Severity};

/// The year that this was written in. No node's clock is before it, unless it is wrong.
const YEAR_OF_THIS_CODE: u64 = 2026;
/// Clocks that differ by more than this are said to.
const SKEW_MAX: Duration = Duration::from_mins(5);
const SECONDS_OF_A_YEAR: u64 = 31_556_952;

/// The clock, on its own.
pub fn clock(now: SystemTime) -> Finding {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let year = 1970 + since_epoch.as_secs() / SECONDS_OF_A_YEAR;
    if year < YEAR_OF_THIS_CODE {
        let fact = format_args!(
            "the clock says {year}: certificates, signatures and keys are judged by it"
        );
        return Finding::new(Severity::Warning, Code::Clock, fact)
            .mend("set the clock, and keep it by NTP");
    }
    Finding::new(Severity::Ok, Code::Clock, format_args!("the clock says {year}"))
}

/// The clock, compared with what `host` says the time is.
pub fn skew(now: SystemTime, host: &str, theirs: SystemTime) -> Option<Finding> {
    let skew = now.duration_since(theirs).unwrap_or_else(|error| error.duration());
    (skew > SKEW_MAX).then(|| {
        let fact = format_args!("the clock differs from that of {host} by {} s", skew.as_secs());
        Finding::new(Severity::Warning, Code::Clock, fact).mend("set the clock, and keep it by NTP")
    })
}

/// FIPS mode, `SELinux` and the system log.
pub fn findings(root: &Root) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_on =
        |path: &str| root.read(Path::new(path), 16).is_ok_and(|bytes| bytes.trim_ascii() == b"1");
    if is_on("/proc/sys/crypto/fips_enabled") {
        let fact = "the kernel is in FIPS mode, and the cryptography of civ's verifiers (ring and RustCrypto) is not validated for FIPS 140";
        findings.push(Finding::new(Severity::Note, Code::Fips, fact));
    }
    if is_on("/sys/fs/selinux/enforce") {
        let fact = "SELinux is enforcing: verifiers run with the label that the policy gives to files of their directory";
        findings.push(Finding::new(Severity::Note, Code::Selinux, fact));
    }
    let log = Path::new("/dev/log");
    let is_there = root.metadata(log).is_ok_and(|metadata| metadata.file_type().is_socket());
    findings.push(
        if is_there {
            Finding::new(Severity::Ok, Code::SystemLog, "verdicts are recorded in the system log")
        } else {
            Finding::new(
                Severity::Note,
                Code::SystemLog,
                "no system log: verdicts are recorded nowhere",
            )
            .mend("run a system log that listens there")
        }
        .at(Location::file(log)),
    );
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_never_set_or_differs_is_told() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!(clock(at(0)).severity, Severity::Warning);
        assert_eq!(clock(at(1_800_000_000)).severity, Severity::Ok);
        assert!(skew(at(1_000), "r", at(1_200)).is_none());
        assert!(
            skew(at(1_000), "r", at(1_301)).is_some() && skew(at(1_301), "r", at(1_000)).is_some()
        );
    }
}
