//! What happened, for whoever has to find out later.
//!
//! containerd shows a verifier's stderr at debug level only and forgets the reason of an allowed
//! pull, so each verdict also goes to the system log as one line of JSON. Neither may delay or change
//! the verdict: both are written without waiting, the log first, and failures are ignored.

use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Instant;

use civ_oci::text::one_line;
use civ_policy::{Exit, Observer};
use serde_json::Value;

use crate::output;
use crate::request::clock;

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
    fields: Arc<Mutex<Vec<(&'static str, Field)>>>,
}

/// What a name stands for.
#[derive(Clone, Debug)]
enum Field {
    Value(Value),
    /// What it is at the end, whoever ends the process.
    Counter(Arc<AtomicU64>),
}

impl Record {
    /// A record of a call that has just begun.
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, fields: Arc::default() }
    }

    /// A number that counts while others work, and is in the record even if they never return.
    pub fn counter(&self, key: &'static str) -> Arc<AtomicU64> {
        let mut fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        let known = fields.iter().find_map(|(known, field)| match field {
            Field::Counter(counter) if *known == key => Some(Arc::clone(counter)),
            _ => None,
        });
        known.unwrap_or_else(|| {
            let counter = Arc::<AtomicU64>::default();
            fields.push((key, Field::Counter(Arc::clone(&counter))));
            counter
        })
    }

    fn insert(&self, key: &'static str, value: Value) {
        let mut fields = self.fields.lock().unwrap_or_else(PoisonError::into_inner);
        match fields.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = Field::Value(value),
            None => fields.push((key, Field::Value(value))),
        }
    }

    /// Is `value` what was set for `key`? Never waits for a lock: `false` if another thread holds it.
    pub(crate) fn says(&self, key: &str, value: &dyn ToString) -> bool {
        let fields = match self.fields.try_lock() {
            Ok(fields) => fields,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let wanted = value.to_string();
        fields.iter().any(|(known, field)| {
            *known == key && matches!(field, Field::Value(Value::String(set)) if *set == wanted)
        })
    }

    /// Sets a field, unless another thread holds the lock: it may be the one that panicked.
    pub(crate) fn set_at_once(&self, key: &'static str, value: &dyn ToString) {
        if let Ok(mut fields) = self.fields.try_lock() {
            fields.push((key, Field::Value(value.to_string().into())));
        }
    }

    /// Writes the canonical line to the system log and to stderr. Never waits for a lock: the thread
    /// that holds it may be the one that panicked.
    pub(crate) fn finish(&self, program: &str, exit: Exit, verdict: &str, reason: &str) {
        let gathered = match self.fields.try_lock() {
            Ok(fields) => fields.clone(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().clone(),
            Err(TryLockError::WouldBlock) => Vec::new(),
        };
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let first = [
            Some(("verifier", program.into())),
            clock().map(|time| ("time", time.to_string().into())),
        ];
        let last = [
            ("verdict", verdict.into()),
            ("exit", (exit as u8).into()),
            ("reason", reason.into()),
            ("ms", elapsed.into()),
        ];
        let (mut line, mut json) = (String::new(), serde_json::Map::new());
        let gathered = gathered.into_iter().map(|(key, field)| match field {
            Field::Value(value) => (key, value),
            Field::Counter(counter) => (key, counter.load(Ordering::Relaxed).into()),
        });
        for (key, value) in first.into_iter().flatten().chain(gathered).chain(last) {
            let value = match value {
                Value::String(text) => one_line(&text, VALUE_MAX).into(),
                number => number,
            };
            push_pair(&mut line, key, &value);
            json.insert(key.to_owned(), value);
        }
        let priority = if exit == Exit::Allow { ALLOWED } else { REFUSED };
        let json = Value::Object(json);
        send_to_system_log(&format!("<{priority}>{program}[{}]: {json}", std::process::id()));
        output::log(&line);
    }
}

impl Observer for Record {
    /// Sets a field of the canonical line. Text of strangers is escaped when it is written.
    fn set(&self, key: &'static str, value: &dyn ToString) {
        self.insert(key, value.to_string().into());
    }

    fn count(&self, key: &'static str, number: u64) {
        self.insert(key, number.into());
    }

    /// Writes a line about one step to stderr.
    fn step(&self, step: &'static str, details: &[(&'static str, &dyn ToString)]) {
        let mut line = format!("step={step} ms={}", self.started.elapsed().as_millis());
        for (key, value) in details {
            push_pair(&mut line, key, &one_line(&value.to_string(), VALUE_MAX).into());
        }
        output::log(&line);
    }
}

/// Appends ` key=value`, the value being of one line already.
fn push_pair(line: &mut String, key: &str, value: &Value) {
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let is_plain =
        !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '='));
    if !line.is_empty() {
        line.push(' ');
    }
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
        let hostile = one_line("no\nverdict=allow \"quoted\" \\", VALUE_MAX);
        push_pair(&mut line, "reason", &hostile.into());
        assert_eq!(line, r#"verifier=x reason="no\\u{a}verdict=allow \"quoted\" \\""#);
    }

    #[test]
    fn a_field_set_again_is_replaced() {
        let record = Record::new(Instant::now());
        record.set("verdict", &"refuse");
        record.set("verdict", &"allow");
        let fields = record.fields.lock().unwrap();
        let [("verdict", Field::Value(value))] = &fields[..] else { panic!("{fields:?}") };
        assert_eq!(value, "allow");
    }
}
