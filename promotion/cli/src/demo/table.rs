//! The demo's table, for a terminal of any width: the reason comes last and may wrap.

use std::io::IsTerminal as _;

use super::node::Verdict;
use super::stage::Scene;

/// One pull and what came of it.
#[derive(Debug)]
pub(crate) struct Row {
    image: &'static str,
    asked: &'static str,
    expected: bool,
    verdict: Verdict,
}

impl Row {
    /// `asked` gave `verdict` on the image of `scene`.
    pub(crate) fn new(scene: &Scene, asked: &'static str, verdict: Verdict) -> Self {
        Self { image: scene.title, asked, expected: scene.allowed, verdict }
    }
}

/// Prints the rows under a heading, in columns.
pub(crate) fn print(rows: &[Row]) {
    let paint = Paint::for_stdout();
    let width = rows.iter().map(|row| row.image.len()).max().unwrap_or_default();
    println!(
        "  {:width$}  {:11}  {:7}  {:>4}  {:>7}  reason",
        "image", "asked", "verdict", "exit", "ms"
    );
    for Row { image, asked, expected, verdict } in rows {
        let word = match (verdict.allowed, expected) {
            (true, true) => paint.green("allowed"),
            (false, false) => paint.red("refused"),
            (true, false) => paint.alarm("ALLOWED"),
            (false, true) => paint.alarm("REFUSED"),
        };
        let exit = verdict.exit.map_or_else(|| "-".to_owned(), |exit| exit.to_string());
        let ms = verdict.wall.as_secs_f64() * 1e3;
        println!("  {image:width$}  {asked:11}  {word}  {exit:>4}  {ms:>7.1}  {}", verdict.reason);
    }
}

/// Colours, where somebody looks who wants them.
#[derive(Clone, Copy)]
struct Paint {
    on: bool,
}

impl Paint {
    fn for_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { on: wanted && std::io::stdout().is_terminal() }
    }

    fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    fn alarm(self, text: &str) -> String {
        self.paint("1;7;31", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
