//! The latest events of a stream of messages, to tell what happened to one that is wrong.

use std::collections::VecDeque;

use tokio::time::Instant;

/// The most events that are kept.
const MOST: usize = 40_000;

/// The latest events.
#[derive(Debug)]
pub(super) struct History {
    began: Instant,
    events: VecDeque<Noted>,
}

#[derive(Clone, Copy, Debug)]
struct Noted {
    milliseconds: u32,
    number: u32,
    event: Event,
}

/// Something that happened to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Published,
    Settled(&'static str),
    /// It was handled by a consumer of this number.
    Handled {
        by: u16,
        redelivered: bool,
    },
}

impl Default for History {
    fn default() -> Self {
        History { began: Instant::now(), events: VecDeque::new() }
    }
}

impl History {
    pub(super) fn add(&mut self, number: usize, event: Event) {
        if self.events.len() == MOST {
            self.events.pop_front();
        }
        let milliseconds = self.began.elapsed().as_millis() as u32;
        self.events.push_back(Noted { milliseconds, number: number as u32, event });
    }

    /// Returns the history of a message, as far as it is known, in words.
    pub(super) fn of(&self, number: usize) -> String {
        let its = self.events.iter().filter(|noted| noted.number as usize == number);
        let told: Vec<_> = its.map(Noted::told).collect();
        told.join(", ")
    }
}

impl Noted {
    fn told(&self) -> String {
        let seconds = f64::from(self.milliseconds) / 1000.0;
        match self.event {
            Event::Published => format!("{seconds:.3} s published"),
            Event::Settled(fate) => format!("{seconds:.3} s {fate}"),
            Event::Handled { by, redelivered: false } => format!("{seconds:.3} s handled by {by}"),
            Event::Handled { by, redelivered: true } => format!("{seconds:.3} s handled again by {by}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_events_of_a_message_are_told_and_old_ones_are_forgotten() {
        let mut history = History::default();
        history.add(7, Event::Published);
        history.add(8, Event::Published);
        advance(Duration::from_millis(1500)).await;
        history.add(7, Event::Settled("confirmed"));
        history.add(7, Event::Handled { by: 1, redelivered: true });
        assert_eq!(history.of(7), "0.000 s published, 1.500 s confirmed, 1.500 s handled again by 1");
        (0..MOST).for_each(|_| history.add(9, Event::Published));
        assert_eq!(history.of(7), "");
    }
}
