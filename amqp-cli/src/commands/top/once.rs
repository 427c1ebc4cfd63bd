//! One frame in plain text or JSON.

use super::{
    figures::{Figures, Overview},
    listed::{Listed, Order, octets_text, rate_text, rows},
};
use crate::{
    error::Error,
    output::{screen::Screen, table::Table},
};

/// Prints the sums, the queues in this order and the connections.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn print(screen: &mut Screen, figures: &Figures, order: Order) -> Result<(), Error> {
    screen.objects(std::slice::from_ref(&figures.overview), overview)?;
    let by_name = Order { column: 0, is_reversed: false };
    screen.objects(&rows(&figures.queues, order, ""), table)?;
    screen.objects(&rows(&figures.connections, by_name, ""), table)
}

fn overview(all: &[Overview]) -> Table {
    let mut table = Table::new(&[
        "BROKER",
        "PUBLISH/s",
        "DELIVER/s",
        "ACK/s",
        "READY",
        "UNACKED",
        "CONNECTIONS",
        "CHANNELS",
        "CONSUMERS",
        "MEMORY",
    ]);
    for own in all {
        let memory = own.memory.map(|bytes| octets_text(bytes as f64));
        table.row([
            own.broker.clone(),
            rate_text(own.publish_rate),
            rate_text(own.deliver_rate),
            rate_text(own.ack_rate),
            own.ready.to_string(),
            own.unacked.to_string(),
            own.connections.to_string(),
            own.channels.to_string(),
            own.consumers.to_string(),
            memory.unwrap_or_default(),
        ]);
    }
    table
}

fn table<T: Listed>(rows: &[&T]) -> Table {
    let mut table = Table::new(T::HEADINGS);
    for row in rows {
        table.row((0..T::HEADINGS.len()).map(|column| row.cell(column).to_string()));
    }
    table
}
