//! Lines of bounded length: a log may hold one of any size.

use std::io::{self, BufRead, Read as _};

use crate::Line;

/// The longest line that is read, in bytes. A verifier's has at most a few thousand, and twice that in
/// a journal's JSON.
pub const LINE_MAX: u64 = 64 << 10;

/// Reads `log` to its end and gives each line to `take`. A line of more than [`LINE_MAX`] bytes is
/// foreign.
pub fn read(mut log: impl BufRead, mut take: impl FnMut(Line)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = log.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)?;
        if length == 0 {
            return Ok(());
        }
        let is_whole = line.ends_with(b"\n") || (length as u64) < LINE_MAX;
        if is_whole {
            take(Line::parse(&line));
        } else {
            log.skip_until(b'\n')?;
            take(Line::Foreign);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_hides_neither_what_comes_before_nor_after() {
        let entry = r#"{"verifier":"x","verdict":"allow","exit":0}"#;
        let long = "x".repeat(usize::try_from(LINE_MAX).unwrap() * 2);
        let exact = "x".repeat(usize::try_from(LINE_MAX).unwrap());
        let lines = format!("{entry}\n{long}\n{entry}\n{exact}\n{entry}");
        let mut entries = 0;
        let mut foreign = 0;
        read(lines.as_bytes(), |line| match line {
            Line::Entry { .. } => entries += 1,
            Line::Foreign => foreign += 1,
            Line::NotRoots | Line::Unreadable => panic!(),
        })
        .unwrap();
        assert_eq!((entries, foreign), (3, 2));
    }
}
