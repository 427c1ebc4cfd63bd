//! The findings of a check.

use std::time::Duration;

/// The state of something; the worst counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    Ok,
    Warning,
    Critical,
}

/// The findings of a check.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The broker's name and version, as it says itself.
    pub(super) broker: String,
    /// The time to open a connection and a channel; `None` when it failed.
    pub(super) connected: Option<Duration>,
    /// The time of a message to the broker and back; `None` when none came back.
    pub(super) roundtrip: Option<Duration>,
    pub(super) queues: Vec<Depth>,
    /// Everything that is not well.
    pub(super) problems: Vec<(Status, String)>,
}

/// A queue's depth.
#[derive(Debug)]
pub(super) struct Depth {
    pub(super) queue: String,
    pub(super) messages: u32,
    pub(super) consumers: u32,
    pub(super) status: Status,
}

/// The limits of queues.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limits {
    pub(super) warning: Option<u32>,
    pub(super) critical: Option<u32>,
    pub(super) consumers: Option<u32>,
}

impl Findings {
    pub(super) fn status(&self) -> Status {
        self.problems.iter().map(|(status, _)| *status).max().unwrap_or(Status::Ok)
    }

    /// Adds a queue, and whether it is within the limits.
    pub(super) fn add_queue(&mut self, queue: &str, (messages, consumers): (u32, u32), limits: Limits) {
        let reached = |limit: Option<u32>| limit.filter(|limit| messages >= *limit);
        let mut status = Status::Ok;
        let mut problem = |is: Status, text: String| {
            status = status.max(is);
            self.problems.push((is, text));
        };
        if let Some(limit) = reached(limits.critical) {
            problem(Status::Critical, format!("queue {queue} has {messages} messages, the limit is {limit}"));
        } else if let Some(limit) = reached(limits.warning) {
            problem(Status::Warning, format!("queue {queue} has {messages} messages, the limit is {limit}"));
        }
        if let Some(least) = limits.consumers.filter(|least| consumers < *least) {
            problem(Status::Critical, format!("queue {queue} has {consumers} consumers, and needs {least}"));
        }
        self.queues.push(Depth { queue: queue.to_owned(), messages, consumers, status });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_reached_at_its_number_and_the_worst_counts() {
        let limits = Limits { warning: Some(10), critical: Some(20), consumers: Some(1) };
        let status = |messages, consumers| {
            let mut findings = Findings::default();
            findings.add_queue("q", (messages, consumers), limits);
            (findings.status(), findings.problems.len())
        };
        assert_eq!(status(9, 1), (Status::Ok, 0));
        assert_eq!(status(10, 1), (Status::Warning, 1));
        assert_eq!(status(20, 1), (Status::Critical, 1));
        assert_eq!(status(0, 0), (Status::Critical, 1));
        assert_eq!(status(10, 0), (Status::Critical, 2));
    }
}
