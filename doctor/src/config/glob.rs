//! Patterns as Go matches them (`filepath.Match`): `*` and `?` within a name, `[…]` and `\`. A crate
//! for patterns would read `**`, `[^…]` and leading dots in another way than containerd does.

/// The longest name or pattern that is looked at, in characters. Longer ones match nothing.
const LENGTH_MAX: usize = 1024;

/// The pattern is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct BadPattern;

/// Does the whole of `name`, one component of a path, match `pattern`?
pub fn matches(pattern: &str, name: &str) -> Result<bool, BadPattern> {
    let parts = parse(pattern)?;
    let name: Vec<char> = name.chars().collect();
    if name.len() > LENGTH_MAX || parts.len() > LENGTH_MAX {
        return Ok(false);
    }
    // reached[i]: the parts so far can have matched the first i characters.
    let mut reached = vec![false; name.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for part in &parts {
        let mut next = vec![false; name.len() + 1];
        if matches!(part, Part::Any) {
            let mut open = false;
            for (next, reached) in next.iter_mut().zip(&reached) {
                open |= reached;
                *next = open;
            }
        } else {
            let steps = next.iter_mut().skip(1).zip(&reached).zip(&name);
            for ((next, reached), character) in steps {
                *next = *reached && part.matches(*character);
            }
        }
        reached = next;
    }
    Ok(reached.last().copied().unwrap_or(false))
}

#[derive(Debug)]
enum Part {
    Any,
    One,
    Literal(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Part {
    fn matches(&self, character: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Literal(literal) => *literal == character,
            Self::Class { negated, ranges } => {
                let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
                inside != *negated
            }
        }
    }
}

fn parse(pattern: &str) -> Result<Vec<Part>, BadPattern> {
    let mut parts = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        parts.push(match character {
            '*' => Part::Any,
            '?' => Part::One,
            '\\' => Part::Literal(rest.next().ok_or(BadPattern)?),
            '[' => {
                let negated = rest.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                while ranges.is_empty() || rest.peek() != Some(&']') {
                    let low = class_character(&mut rest)?;
                    let high = match rest.next_if_eq(&'-') {
                        Some(_) => class_character(&mut rest)?,
                        None => low,
                    };
                    ranges.push((low, high));
                }
                rest.next();
                Part::Class { negated, ranges }
            }
            literal => Part::Literal(literal),
        });
    }
    Ok(parts)
}

fn class_character(rest: &mut impl Iterator<Item = char>) -> Result<char, BadPattern> {
    match rest.next().ok_or(BadPattern)? {
        '-' | ']' => Err(BadPattern),
        '\\' => rest.next().ok_or(BadPattern),
        character => Ok(character),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, name, expected) in [
            ("*.toml", "10-a.toml", Ok(true)),
            ("*.toml", ".toml", Ok(true)),
            ("*.toml", "a.toml.bak", Ok(false)),
            ("a*b*c", "axxbyyc", Ok(true)),
            ("**", "anything", Ok(true)),
            ("a?c", "abc", Ok(true)),
            ("a?c", "ac", Ok(false)),
            ("[a-c]x", "bx", Ok(true)),
            ("[^a-c]x", "bx", Ok(false)),
            ("[!a]x", "!x", Ok(true)),
            (r"\*x", "*x", Ok(true)),
            (r"\*x", "ax", Ok(false)),
            ("[]a]", "]", Err(BadPattern)),
            ("[a", "a", Err(BadPattern)),
            ("[-]", "-", Err(BadPattern)),
            ("a\\", "a", Err(BadPattern)),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn any_pattern_is_matched_or_refused(pattern in "\\PC{0,40}", name in "\\PC{0,40}") {
            let _ = matches(&pattern, &name);
        }

        #[test]
        fn a_name_matches_itself_quoted_and_with_a_star_put_in(name in "[a-z.*?\\[\\]-]{1,20}", at in 0_usize..20) {
            let quoted: Vec<String> = name.chars().map(|c| format!("\\{c}")).collect();
            prop_assert_eq!(matches(&quoted.concat(), &name), Ok(true));
            let at = at.min(quoted.len());
            let starred = format!("{}*{}", quoted[..at].concat(), quoted[at..].concat());
            prop_assert_eq!(matches(&starred, &name), Ok(true));
        }
    }
}
