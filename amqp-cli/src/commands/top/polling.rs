//! Asking for figures again and again, beside what goes on at the terminal.

use std::time::{Duration, Instant};

use amqp_client::Report;
use chrono::{DateTime, Local};
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::figures::Figures;
use crate::{
    api_error::ApiError,
    management::{endpoint::Endpoint, http::within},
};

/// The time that an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The subject of the questions.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) endpoint: Endpoint,
    pub(super) vhost: Option<String>,
    pub(super) interval: Duration,
}

/// The latest figures, and what went wrong since.
#[derive(Debug)]
pub(super) struct Latest {
    pub(super) figures: Figures,
    /// The time at which they were told.
    pub(super) told: DateTime<Local>,
    arrived: Instant,
    problem: Option<String>,
}

impl Latest {
    pub(super) fn now(figures: Figures) -> Self {
        Latest { figures, told: Local::now(), arrived: Instant::now(), problem: None }
    }

    /// Returns why the figures are stale, if they are.
    pub(super) fn staleness(&self, now: Instant, interval: Duration) -> Option<String> {
        match &self.problem {
            Some(problem) => Some(problem.clone()),
            // The next answer is due after an interval, and may take a while.
            None if now.saturating_duration_since(self.arrived) > 2 * interval + Duration::from_secs(1) => {
                Some("no answer yet".to_owned())
            }
            None => None,
        }
    }
}

impl Source {
    /// Asks once.
    ///
    /// # Errors
    /// When there is no answer in time, or another than was asked for.
    pub(super) async fn ask(&self) -> Result<Figures, ApiError> {
        within(PATIENCE, Figures::ask(&self.endpoint, self.vhost.as_deref())).await
    }

    /// Asks at each interval, for as long as the set lives.
    pub(super) fn poll(self, first: Figures) -> (watch::Receiver<Latest>, JoinSet<()>) {
        let (sender, receiver) = watch::channel(Latest::now(first));
        let mut polling = JoinSet::new();
        polling.spawn(async move {
            loop {
                sleep(self.interval).await;
                match self.ask().await {
                    Ok(figures) => drop(sender.send_replace(Latest::now(figures))),
                    Err(error) => {
                        let problem = Report(&error).to_string();
                        sender.send_modify(|latest| latest.problem = Some(problem));
                    }
                }
            }
        });
        (receiver, polling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_stale_when_asking_failed_and_when_no_answer_comes() {
        let mut latest = Latest::now(Figures::default());
        let interval = Duration::from_secs(2);
        let after = |latest: &Latest, seconds| {
            latest.staleness(latest.arrived + Duration::from_secs(seconds), interval)
        };
        assert_eq!(after(&latest, 5), None);
        assert_eq!(after(&latest, 6).as_deref(), Some("no answer yet"));
        latest.problem = Some("gone".to_owned());
        assert_eq!(after(&latest, 0).as_deref(), Some("gone"));
    }
}
