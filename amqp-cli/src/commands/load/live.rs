//! The line on standard error while a load runs.

use indicatif::{ProgressBar, ProgressStyle};

use crate::load::measured::Interval;

/// The line; nobody sees it unless standard error is a terminal.
///
/// # On drop
/// The line is erased.
#[derive(Debug)]
pub(crate) struct Live(ProgressBar);

impl Live {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Live(bar)
    }

    /// Shows what goes on.
    pub(crate) fn show(&self, live: &Interval) {
        self.0.set_message(line(live));
        self.0.tick();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn line(live: &Interval) -> String {
    let mut line = match live.end < 0.0 {
        true => format!("warm-up, {:.0} s left", -live.end),
        false => format!("{:.0} s", live.end),
    };
    for (what, rate) in
        [("published", live.published), ("confirmed", live.confirmed), ("consumed", live.consumed)]
    {
        if rate > 0.0 {
            line.push_str(&format!(", {what} {rate:.0}/s"));
        }
    }
    if let (Some(p50), Some(p99)) = (live.p50, live.p99) {
        line.push_str(&format!(", latency p50 {} p99 {}", duration(p50), duration(p99)));
    }
    line
}

/// Microseconds with a fitting unit.
pub(crate) fn duration(microseconds: f64) -> String {
    match microseconds {
        under if under < 1e3 => format!("{under:.0} us"),
        under if under < 1e6 => format!("{:.1} ms", under / 1e3),
        other => format!("{:.1} s", other / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_what_flows_and_how_late_it_is() {
        let warm = Interval { end: -2.0, published: 5.0, ..Interval::default() };
        assert_eq!(line(&warm), "warm-up, 2 s left, published 5/s");
        let live = Interval {
            end: 7.4,
            published: 1e6,
            confirmed: 2.0,
            consumed: 3.0,
            p50: Some(86.2),
            p99: Some(1250.0),
            max: None,
        };
        let expected = "7 s, published 1000000/s, confirmed 2/s, consumed 3/s, latency p50 86 us p99 1.2 ms";
        assert_eq!(line(&live), expected);
        assert_eq!(duration(2_500_000.0), "2.5 s");
    }
}
