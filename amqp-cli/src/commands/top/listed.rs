//! The contents of lists: columns, their order, and what a filter leaves.

use std::{cmp::Ordering, fmt};

use super::figures::{ConnectionFigures, QueueFigures};

/// Something that is listed in rows.
pub(super) trait Listed {
    /// The headings of its columns; the first is that of the name, the last of the virtual host.
    const HEADINGS: &'static [&'static str];
    /// The widths of the columns behind the name.
    const WIDTHS: &'static [u16];

    /// The text that a filter looks for.
    fn name(&self) -> &str;

    /// The cell in a column.
    fn cell(&self, column: usize) -> Cell<'_>;
}

/// A cell of a row. Text may be a peer's words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell<'a> {
    Text(&'a str),
    Count(u64),
    /// Messages a second.
    Rate(f64),
    /// Bytes a second.
    Octets(f64),
}

impl Listed for QueueFigures {
    const HEADINGS: &'static [&'static str] =
        &["QUEUE", "READY", "UNACKED", "IN/s", "OUT/s", "CONSUMERS", "VHOST"];
    const WIDTHS: &'static [u16] = &[9, 9, 9, 9, 10, 10];

    fn name(&self) -> &str {
        &self.queue
    }

    fn cell(&self, column: usize) -> Cell<'_> {
        match column {
            0 => Cell::Text(&self.queue),
            1 => Cell::Count(self.ready),
            2 => Cell::Count(self.unacked),
            3 => Cell::Rate(self.in_rate),
            4 => Cell::Rate(self.out_rate),
            5 => Cell::Count(self.consumers),
            _ => Cell::Text(&self.vhost),
        }
    }
}

impl Listed for ConnectionFigures {
    const HEADINGS: &'static [&'static str] =
        &["CONNECTION", "CHANNELS", "RECEIVED/s", "SENT/s", "STATE", "USER", "VHOST"];
    const WIDTHS: &'static [u16] = &[9, 11, 10, 8, 8, 10];

    fn name(&self) -> &str {
        &self.connection
    }

    fn cell(&self, column: usize) -> Cell<'_> {
        match column {
            0 => Cell::Text(&self.connection),
            1 => Cell::Count(self.channels),
            2 => Cell::Octets(self.received_rate),
            3 => Cell::Octets(self.sent_rate),
            4 => Cell::Text(&self.state),
            5 => Cell::Text(&self.user),
            _ => Cell::Text(&self.vhost),
        }
    }
}

impl Cell<'_> {
    pub(super) fn is_number(self) -> bool {
        !matches!(self, Cell::Text(_))
    }

    /// Compares cells of a column: numbers from the largest, text from A.
    fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Cell::Count(own), Cell::Count(other)) => other.cmp(&own),
            (Cell::Rate(own), Cell::Rate(other)) | (Cell::Octets(own), Cell::Octets(other)) => {
                other.total_cmp(&own)
            }
            (Cell::Text(own), Cell::Text(other)) => own.cmp(other),
            _ => Ordering::Equal,
        }
    }
}

impl fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Cell::Text(text) => f.write_str(text),
            Cell::Count(count) => write!(f, "{count}"),
            Cell::Rate(rate) => f.write_str(&rate_text(rate)),
            Cell::Octets(octets) => f.write_str(&octets_text(octets)),
        }
    }
}

/// A rate with as many digits as it is known to.
pub(super) fn rate_text(rate: f64) -> String {
    if rate < 99.95 { format!("{rate:.1}") } else { format!("{rate:.0}") }
}

/// Bytes with a fitting unit.
pub(super) fn octets_text(octets: f64) -> String {
    let mut left = octets;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if left < 999.5 {
            return if unit == "B" { format!("{left:.0} B") } else { format!("{left:.1} {unit}") };
        }
        left /= 1024.0;
    }
    format!("{left:.1} TiB")
}

/// The column by which rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) column: usize,
    /// Numbers from the smallest, text from Z.
    pub(super) is_reversed: bool,
}

/// Returns what a filter leaves, sorted. The filter is a part of the name in any case; what is
/// equal is in the order of the names.
pub(super) fn rows<'a, T: Listed>(all: &'a [T], order: Order, filter: &str) -> Vec<&'a T> {
    let filter = filter.to_lowercase();
    let is_wanted = |item: &&T| filter.is_empty() || item.name().to_lowercase().contains(&filter);
    let mut rows: Vec<&T> = all.iter().filter(is_wanted).collect();
    rows.sort_by(|own, other| {
        let compared = own.cell(order.column).compare(other.cell(order.column));
        let compared = if order.is_reversed { compared.reverse() } else { compared };
        compared.then_with(|| own.name().cmp(other.name()))
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues() -> Vec<QueueFigures> {
        let queue = |name: &str, ready, in_rate| QueueFigures {
            queue: name.to_owned(),
            ready,
            in_rate,
            ..QueueFigures::default()
        };
        vec![queue("b", 5, 1.0), queue("Jobs", 20, 0.5), queue("a", 5, 9.0)]
    }

    fn names(column: usize, is_reversed: bool, filter: &str) -> String {
        let queues = queues();
        let rows = rows(&queues, Order { column, is_reversed }, filter);
        rows.iter().map(|row| row.name()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn numbers_are_from_the_largest_text_from_a_and_what_is_equal_by_name() {
        assert_eq!(names(0, false, ""), "Jobs a b");
        assert_eq!(names(1, false, ""), "Jobs a b");
        assert_eq!(names(1, true, ""), "a b Jobs");
        assert_eq!(names(3, false, ""), "a b Jobs");
        assert_eq!(names(0, false, "jOB"), "Jobs");
        assert_eq!(names(0, false, "x"), "");
    }

    #[test]
    fn every_column_has_a_heading_and_a_width() {
        assert_eq!(QueueFigures::HEADINGS.len(), QueueFigures::WIDTHS.len() + 1);
        assert_eq!(ConnectionFigures::HEADINGS.len(), ConnectionFigures::WIDTHS.len() + 1);
    }

    #[test]
    fn numbers_are_short() {
        let text = [Cell::Rate(0.25), Cell::Rate(12345.6), Cell::Octets(999.0), Cell::Octets(1_572_864.0)];
        assert_eq!(text.map(|cell| cell.to_string()), ["0.2", "12346", "999 B", "1.5 MiB"]);
        assert_eq!(octets_text(5e15), "4547.5 TiB");
    }
}
