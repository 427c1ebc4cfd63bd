//! Progress on standard error, where that is a terminal.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

/// The time after which the line is written anew.
const INTERVAL: Duration = Duration::from_millis(250);

/// A line that counts messages, with their rate and the time left.
///
/// # On drop
/// The line is erased.
#[derive(Debug)]
pub(crate) struct Progress {
    is_shown: bool,
    begin: Instant,
    written: Option<Instant>,
    total: Option<u64>,
}

impl Progress {
    /// A line that nobody sees unless standard error is a terminal and standard output is not,
    /// so that the two do not mix.
    pub(crate) fn new(total: Option<u64>, prints: bool) -> Self {
        let is_shown = io::stderr().is_terminal() && !(prints && io::stdout().is_terminal());
        Progress { is_shown, begin: Instant::now(), written: None, total }
    }

    /// Shows how many are done.
    pub(crate) fn show(&mut self, done: u64) {
        if !self.is_shown {
            return;
        }
        let now = Instant::now();
        if now - self.written.unwrap_or(self.begin) < INTERVAL {
            return;
        }
        self.written = Some(now);
        // If standard error is closed, nobody sees it.
        let _ = write!(io::stderr(), "\r\x1b[K{}", line(done, self.total, now - self.begin));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.written.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    match total {
        Some(total) if rate > 0.0 => {
            let left = total.saturating_sub(done) as f64 / rate;
            format!("{done} of {total} messages, {rate:.0}/s, {left:.0} s left")
        }
        _ => format!("{done} messages, {rate:.0}/s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_rate_and_time_left() {
        let second = Duration::from_secs(1);
        assert_eq!(line(50, Some(200), second), "50 of 200 messages, 50/s, 3 s left");
        assert_eq!(line(50, None, second), "50 messages, 50/s");
        assert_eq!(line(0, Some(5), second), "0 messages, 0/s");
    }
}
