//! Text of strangers on one line.
//!
//! Names, annotations and error bodies come from whoever runs the registry, and end up in kubelet
//! events, logs and terminals. Here they lose the power to start a new line, move a cursor or turn
//! the reading direction.

use std::fmt::Write as _;

/// `text` on one line: control and other invisible or direction-changing characters escaped as
/// `\u{…}`, cut (at a character, marked by `…`) so that the result has at most `max_bytes` bytes.
pub fn one_line(text: &str, max_bytes: usize) -> String {
    const MORE: &str = "…";
    let mut line = String::new();
    // The length up to which `line` may be kept if the mark has to follow.
    let mut keep = 0;
    for character in text.chars() {
        if is_harmless(character) {
            line.push(character);
        } else {
            // Writing to a String cannot fail.
            let _ = write!(line, "{}", character.escape_unicode());
        }
        if line.len() > max_bytes {
            line.truncate(keep);
            if line.len() + MORE.len() <= max_bytes {
                line.push_str(MORE);
            }
            return line;
        }
        if line.len() + MORE.len() <= max_bytes {
            keep = line.len();
        }
    }
    line
}

fn is_harmless(character: char) -> bool {
    match character {
        // What Unicode calls default-ignorable: zero-width characters, direction marks and
        // overrides, the byte order mark, the soft hyphen, fillers, variation selectors, tags.
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fff8}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => false,
        // Line and paragraph separators, and spaces that only look like one.
        _ if character.is_whitespace() => character == ' ',
        _ => !character.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_what_could_forge_another_line() {
        assert_eq!(one_line("plain – ü", 300), "plain – ü");
        assert_eq!(one_line("a\nallowed\r\x1b[2J", 300), r"a\u{a}allowed\u{d}\u{1b}[2J");
        assert_eq!(one_line("\u{202e}evil\u{2028}", 300), r"\u{202e}evil\u{2028}");
        assert_eq!(one_line("a\u{3164}b\u{a0}c\u{fe0f}", 300), r"a\u{3164}b\u{a0}c\u{fe0f}");
    }

    #[test]
    fn cuts_at_a_character_and_says_so() {
        assert_eq!(one_line("abcdef", 6), "abcdef");
        assert_eq!(one_line("abcdefg", 6), "abc…");
        assert_eq!(one_line("üüüüü", 6), "ü…");
        assert_eq!(one_line("\n\n\n", 8), r"\u{a}…");
        assert_eq!(one_line("abc", 2), "");
        for max in 0..40 {
            assert!(one_line("ab\u{1b}cü\n–\u{202e}defghijklmnop", max).len() <= max);
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_line_or_the_limit(text in any::<String>(), max in 0_usize..80) {
            let line = one_line(&text, max);
            prop_assert!(line.len() <= max && line.chars().all(is_harmless));
        }
    }
}
