//! The outcomes of messages that were published.

use std::{collections::VecDeque, time::Duration};

use amqp_client::{Confirm, Confirmation};
use tokio::time::timeout;

use crate::{error::Error, output::notes::note};

/// The number of confirms that may be open.
const WINDOW: usize = 4096;

/// The number of messages that are named one by one if they were not taken.
const NAMED: u64 = 10;

/// The open confirms in the order of the messages, and what the answered ones said.
#[derive(Debug)]
pub(crate) struct Outcomes {
    open: VecDeque<(u64, Confirm)>,
    deadline: Duration,
    pub(crate) taken: u64,
    not_taken: u64,
    first: Option<Error>,
}

impl Outcomes {
    pub(crate) fn new(deadline: Duration) -> Self {
        Outcomes { open: VecDeque::new(), deadline, taken: 0, not_taken: 0, first: None }
    }

    /// Adds the confirm of a message, and waits for the oldest one when too many are open.
    ///
    /// # Errors
    /// [`Error::Broker`] when an answer is the end of the connection, or does not come.
    pub(crate) async fn add(&mut self, number: u64, confirm: Confirm) -> Result<(), Error> {
        self.open.push_back((number, confirm));
        if self.open.len() >= WINDOW { self.answer().await } else { Ok(()) }
    }

    /// Waits for all answers, and returns how many messages the broker took.
    ///
    /// # Errors
    /// As [`add`](Self::add), and [`Error::NotTaken`] with the first message that was not taken.
    pub(crate) async fn all(mut self) -> Result<u64, Error> {
        while !self.open.is_empty() {
            self.answer().await?;
        }
        if self.not_taken > NAMED {
            note(&format!("{} messages were not taken", self.not_taken));
        }
        self.first.map_or(Ok(self.taken), Err)
    }

    async fn answer(&mut self) -> Result<(), Error> {
        let Some((number, confirm)) = self.open.pop_front() else { return Ok(()) };
        let operation = || format!("publish message {number}");
        let answer = timeout(self.deadline, confirm).await.map_err(|_| {
            let after = self.deadline;
            let source = amqp_client::Error::CallTimeout { method: "basic.publish", after };
            Error::broker(operation())(source)
        })?;
        let why = match answer.map_err(Error::broker(operation()))? {
            Confirmation::Ack => {
                self.taken += 1;
                return Ok(());
            }
            Confirmation::Nack => "it was nacked".to_owned(),
            Confirmation::Returned(returned) => {
                format!("it was returned: {} {}", returned.code().0, returned.text())
            }
        };
        self.not_taken += 1;
        let error = Error::NotTaken { number, why };
        match self.first {
            None => self.first = Some(error),
            Some(_) if self.not_taken <= NAMED => note(&error.to_string()),
            Some(_) => {}
        }
        Ok(())
    }
}
