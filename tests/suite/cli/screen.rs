//! What is on the screen of a terminal on which ratatui draws.

use super::terminal::{COLUMNS, ROWS, Terminal};

impl Terminal {
    /// Waits until all of this is on the screen at the same time.
    pub(super) async fn screen_has(&mut self, texts: &[&str]) {
        let has = |shown: &str| {
            let screen = screen(shown);
            texts.iter().all(|text| screen.contains(text))
        };
        self.shows_what(&texts.join(", "), has).await;
    }

    /// Waits until this is not on the screen.
    pub(super) async fn screen_lacks(&mut self, text: &str) {
        self.shows_what(&format!("no {text}"), |shown| !screen(shown).contains(text)).await;
    }
}

/// The screen of a terminal that was shown this. Of the sequences it knows those that ratatui moves
/// the cursor and erases with.
fn screen(shown: &str) -> String {
    let mut rows = vec![[' '; COLUMNS]; ROWS];
    let (mut row, mut column) = (0, 0);
    let mut rest = shown;
    while let Some(character) = rest.chars().next() {
        if let Some(sequence) = rest.strip_prefix("\u{1b}[") {
            // The end may not be read yet.
            let Some(end) = sequence.find(|last: char| last.is_ascii_alphabetic()) else { break };
            match &sequence[end..=end] {
                "H" => {
                    let mut numbers = sequence[..end].split(';').map(|number| number.parse().unwrap_or(1));
                    row = numbers.next().unwrap_or(1) - 1;
                    column = numbers.next().unwrap_or(1) - 1;
                }
                "J" => rows.fill([' '; COLUMNS]),
                _ => {}
            }
            rest = &sequence[end + 1..];
            continue;
        }
        rest = &rest[character.len_utf8()..];
        if let Some(cell) = rows.get_mut(row).and_then(|row| row.get_mut(column)) {
            *cell = character;
        }
        column += 1;
    }
    let lines = rows.iter().map(|row| row.iter().collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_written_over_is_not_on_the_screen() {
    let shown = screen("\u{1b}[?1049h\u{1b}[2Jold\u{1b}[2;3Hat\u{1b}[1;1H\u{1b}[36mn\u{1b}[39m\u{1b}[");
    let mut lines = shown.lines().map(str::trim_end);
    assert_eq!((lines.next(), lines.next()), (Some("nld"), Some("  at")));
}
