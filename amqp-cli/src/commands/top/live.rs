//! The live screen.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use ratatui::crossterm::event::{Event, EventStream};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    draw::{Shown, Theme, draw},
    figures::Figures,
    polling::Source,
    terminal::Terminal,
    view::{Leave, View},
};
use crate::{context::Context, error::Error, exit::Exit};

/// How often the screen is drawn if nothing happens: the figures may have become stale.
const TICK: Duration = Duration::from_secs(1);

/// Shows figures until the user leaves.
///
/// # Errors
/// When the terminal fails. It is restored then, too.
pub(super) async fn show(
    first: Figures,
    source: Source,
    mut view: View,
    theme: Theme,
    context: &Context,
) -> Result<Exit, Error> {
    let period = source.interval;
    let mut terminal = Terminal::take(&context.interrupt, theme.has_colours)?;
    // They end with this function.
    let (mut latest, _polling) = source.poll(first);
    let mut events = EventStream::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        {
            let latest = latest.borrow_and_update();
            let staleness = latest.staleness(Instant::now(), period);
            let shown = Shown { figures: &latest.figures, told: latest.told, staleness };
            terminal.draw(|frame| draw(frame, &mut view, &shown, theme))?;
        }
        tokio::select! {
            biased;
            () = context.interrupt.wait() => return Err(Error::Interrupted),
            event = events.next() => match left(event, &mut view)? {
                Some(Leave::Quit) => return Ok(Exit::Done),
                Some(Leave::Interrupted) => return Err(Error::Interrupted),
                None => {}
            },
            // Its sender lives as long as the tasks.
            _ = latest.changed() => {}
            _ = ticks.tick() => {}
        }
    }
}

fn left(event: Option<std::io::Result<Event>>, view: &mut View) -> Result<Option<Leave>, Error> {
    let gone = || std::io::ErrorKind::UnexpectedEof.into();
    let event = event.unwrap_or_else(|| Err(gone())).map_err(Error::Input)?;
    match event {
        Event::Key(key) => Ok(view.press(key)),
        // All else, such as a new size, is a reason to draw.
        _ => Ok(None),
    }
}
