//! What happened, for whoever has to find out later.
//!
//! containerd shows a verifier's stderr at debug level only and forgets the reason of an allowed
//! pull, so each verdict also goes to the system log as one line of JSON. Neither may delay or change
//! the verdict: the log is written without blocking, and failures are ignored.

use std::io::Write as _;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use civ_oci::text::one_line;

const SYSTEM_LOG: &str = "/dev/log";
/// The longest value written, in bytes.
const VALUE_MAX: usize = 600;
// RFC 5424: facility daemon (3), severity informational (6) or warning (4).
const ALLOWED: u8 = 3 * 8 + 6;
const REFUSED: u8 = 3 * 8 + 4;

/// The fields of one call's canonical log line. Clones share the fields.
#[derive(Clone, Debug)]
pub struct Record {
    started: Instant,
    fields: Arc<Mutex<Vec<(&'static str, String)>>>,
}

impl Record {
    /// A record of a call that has just begun.
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, fields: Arc::default() }
    }

    /// Sets a field of the canonical line. Text of strangers is escaped when it is written.
    pub fn set(&self, key: &'static str, value: &impl ToString) {
        set(
            &mut self.fields.lock().unwrap_or_else(PoisonError::into_inner),
            key,
            value.to_string(),
        );
    }

    /// Writes a line about one step to stderr.
    pub fn step(&self, step: &'static str, details: &[(&'static str, &dyn ToString)]) {
        let mut line = format!("step={step} ms={}", self.started.elapsed().as_millis());
        for (key, value) in details {
            push_pair(&mut line, key, &value.to_string());
        }
        write_stderr(&line);
    }

    /// Writes the canonical line to stderr and to the system log. Never waits for a lock: the thread
    /// that holds it may be the one that panicked.
    pub(crate) fn finish(&self, program: &str, allowed: bool, last: &[(&'static str, &str)]) {
        let mut fields: Vec<_> = match self.fields.try_lock() {
            Ok(fields) => fields.clone(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().clone(),
            Err(TryLockError::WouldBlock) => Vec::new(),
        };
        fields.extend(last.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let mut line = format!("verifier={program}");
        let mut json = serde_json::Map::new();
        json.insert("verifier".to_owned(), program.into());
        for (key, value) in &fields {
            push_pair(&mut line, key, value);
            json.insert((*key).to_owned(), one_line(value, VALUE_MAX).into());
        }
        let elapsed = self.started.elapsed().as_millis();
        push_pair(&mut line, "ms", &elapsed.to_string());
        json.insert("ms".to_owned(), u64::try_from(elapsed).unwrap_or(u64::MAX).into());
        write_stderr(&line);
        let priority = if allowed { ALLOWED } else { REFUSED };
        let json = serde_json::Value::Object(json);
        send_to_system_log(&format!("<{priority}>{program}[{}]: {json}", std::process::id()));
    }
}

fn set(fields: &mut MutexGuard<'_, Vec<(&'static str, String)>>, key: &'static str, value: String) {
    match fields.iter_mut().find(|(known, _)| *known == key) {
        Some((_, old)) => *old = value,
        None => fields.push((key, value)),
    }
}

fn push_pair(line: &mut String, key: &str, value: &str) {
    let value = one_line(value, VALUE_MAX);
    let is_plain =
        !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '='));
    line.push(' ');
    line.push_str(key);
    line.push('=');
    if is_plain {
        line.push_str(&value);
    } else {
        line.push('"');
        line.push_str(&value.replace('\\', r"\\").replace('"', "\\\""));
        line.push('"');
    }
}

fn write_stderr(line: &str) {
    // One write per line, so that lines of several verifiers do not mix.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn send_to_system_log(line: &str) {
    if let Ok(socket) = UnixDatagram::unbound()
        && socket.set_nonblocking(true).is_ok()
    {
        let _ = socket.send_to(line.as_bytes(), SYSTEM_LOG);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_forge_fields_or_lines() {
        let mut line = "verifier=x".to_owned();
        push_pair(&mut line, "reason", "no\nverdict=allow \"quoted\" \\");
        assert_eq!(line, r#"verifier=x reason="no\\u{a}verdict=allow \"quoted\" \\""#);
    }

    #[test]
    fn a_field_set_again_is_replaced() {
        let record = Record::new(Instant::now());
        record.set("verdict", &"refuse");
        record.set("verdict", &"allow");
        let fields = record.fields.lock().unwrap();
        assert_eq!(*fields, [("verdict", "allow".to_owned())]);
    }
}
