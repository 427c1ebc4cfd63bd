//! The next step for a message that was not handled, in words for the log.

use std::{fmt, time::Duration};

use crate::consume::settle::on_failure::{OnFailure, RetryLater};

/// The next step.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextStep {
    Requeued,
    /// The message is kept: its body was withheld, and no dead-letter exchange would get it.
    Kept,
    HandledAgain(Duration),
    /// The message is moved to the queue of this name.
    SetAside(String),
    Rejected {
        /// Whether its queue has a dead-letter exchange.
        dead_letters: bool,
    },
}

impl NextStep {
    /// Returns the step after a failure of a message that was retried `retries` times before.
    pub(crate) fn after_failure(policy: &OnFailure, queue: &str, retries: u32, dead_letters: bool) -> Self {
        match policy {
            OnFailure::Requeue => NextStep::Requeued,
            OnFailure::Retry(later) if !later.is_exhausted(retries) && !queue.is_empty() => {
                NextStep::HandledAgain(later.pause(retries))
            }
            OnFailure::Retry(later) => NextStep::set_aside(later, queue, dead_letters),
            OnFailure::Reject => NextStep::Rejected { dead_letters },
        }
    }

    /// Returns the step for an undecodable message; `withheld` is the size of a body that was
    /// withheld.
    pub(crate) fn of_unreadable(
        policy: &OnFailure,
        queue: &str,
        withheld: Option<u64>,
        dead_letters: bool,
    ) -> Self {
        match policy {
            _ if withheld.is_some() && !dead_letters => NextStep::Kept,
            _ if withheld.is_some() => NextStep::Rejected { dead_letters },
            OnFailure::Retry(later) => NextStep::set_aside(later, queue, dead_letters),
            OnFailure::Requeue | OnFailure::Reject => NextStep::Rejected { dead_letters },
        }
    }

    fn set_aside(later: &RetryLater, queue: &str, dead_letters: bool) -> Self {
        match later.dead_queue(queue) {
            Some(dead) => NextStep::SetAside(dead.name().to_owned()),
            None => NextStep::Rejected { dead_letters },
        }
    }
}

impl fmt::Display for NextStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NextStep::Kept => f.write_str("it is kept"),
            NextStep::Requeued => f.write_str("it goes back to its queue"),
            NextStep::HandledAgain(pause) => write!(f, "it is handled again in {} ms", pause.as_millis()),
            NextStep::SetAside(queue) => write!(f, "it is set aside in queue {queue:?}"),
            NextStep::Rejected { dead_letters: true } => {
                f.write_str("it is rejected and goes to its queue's dead-letter exchange")
            }
            NextStep::Rejected { dead_letters: false } => {
                f.write_str("it is rejected, and the broker drops it unless a policy dead-letters it")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_says_what_comes_next() {
        let later = RetryLater::after(Duration::from_millis(100)).limit(1);
        let kept = OnFailure::Retry(later.clone().dead_letter(true));
        let next = |policy: &OnFailure, retries, dead_letters| {
            NextStep::after_failure(policy, "q", retries, dead_letters).to_string()
        };
        assert_eq!(next(&kept, 0, false), "it is handled again in 100 ms");
        assert_eq!(next(&kept, 1, false), "it is set aside in queue \"q.dead\"");
        assert!(next(&OnFailure::Retry(later), 1, false).contains("drops it"));
        assert_eq!(next(&OnFailure::Requeue, 7, false), "it goes back to its queue");
        assert!(next(&OnFailure::Reject, 0, true).contains("dead-letter exchange"));
        assert_eq!(NextStep::of_unreadable(&kept, "q", None, false), NextStep::SetAside("q.dead".into()));
        assert_eq!(NextStep::of_unreadable(&kept, "q", Some(9), false), NextStep::Kept);
        assert!(NextStep::of_unreadable(&kept, "", None, false).to_string().contains("drops it"));
    }
}
