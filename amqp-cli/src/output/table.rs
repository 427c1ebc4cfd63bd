//! Tables with aligned columns.

use unicode_width::UnicodeWidthStr as _;

use crate::output::{escape::escaped_line, style::Style};

/// A table. Its cells may hold a peer's words: they are escaped when it is drawn.
#[derive(Debug)]
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(headings: &[&'static str]) -> Self {
        Table { headings: headings.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, which has a cell for each heading.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Draws it, with two spaces between columns. Columns of numbers are aligned to the right.
    pub(crate) fn draw(&self, style: Style) -> String {
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| escaped_line(cell).into_owned()).collect())
            .collect();
        let columns: Vec<Column> = self
            .headings
            .iter()
            .enumerate()
            .map(|(at, heading)| {
                Column::of(heading, &rows.iter().filter_map(|row| row.get(at)).collect::<Vec<_>>())
            })
            .collect();
        let headings: Vec<String> = self.headings.iter().map(|heading| (*heading).to_owned()).collect();
        let mut drawn = style.bold(&line(&columns, &headings));
        drawn.push('\n');
        for row in &rows {
            drawn.push_str(&line(&columns, row));
            drawn.push('\n');
        }
        drawn
    }
}

/// The width of a column, and the side to which it is aligned.
#[derive(Debug)]
struct Column {
    width: usize,
    is_numeric: bool,
}

impl Column {
    fn of(heading: &str, cells: &[&String]) -> Self {
        let widest = cells.iter().map(|cell| cell.width()).max().unwrap_or_default();
        let is_number = |cell: &&String| cell.is_empty() || cell.parse::<f64>().is_ok();
        let is_numeric = cells.iter().any(|cell| !cell.is_empty()) && cells.iter().all(is_number);
        Column { width: widest.max(heading.width()), is_numeric }
    }
}

fn line(columns: &[Column], cells: &[String]) -> String {
    let mut line = String::new();
    for (at, (column, cell)) in columns.iter().zip(cells).enumerate() {
        if at > 0 {
            line.push_str("  ");
        }
        let padding = " ".repeat(column.width.saturating_sub(cell.width()));
        match column.is_numeric {
            true => line.extend([&padding, cell.as_str()]),
            false => line.extend([cell, padding.as_str()]),
        }
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_what_is_seen_and_numbers_to_the_right() {
        let mut table = Table::new(&["queue", "messages", "state"]);
        table.row(["\u{6f22}\u{5b57}".to_owned(), "7".to_owned(), "idle".to_owned()]);
        table.row(["a\x1b".to_owned(), "1200".to_owned(), String::new()]);
        let drawn = "queue    messages  state\n\u{6f22}\u{5b57}            7  idle\na\\u{1b}      1200\n";
        assert_eq!(table.draw(Style::PLAIN), drawn);
    }
}
