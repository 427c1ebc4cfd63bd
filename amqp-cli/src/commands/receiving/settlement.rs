//! The fate of a message that was printed.

use amqp_client::Acker;
use clap::ValueEnum;

/// The fate of a message that was printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Then {
    /// It is acknowledged
    #[default]
    Ack,
    /// It is dropped, or becomes a dead letter if the queue has an exchange for those
    Nack,
    /// It returns to its queue when the program ends: a look that changes nothing
    Requeue,
    /// The broker forgets it when it sends it
    NoAck,
}

/// The messages that return to their queues at the end.
#[derive(Debug, Default)]
pub(crate) struct Held(Vec<Acker>);

impl Held {
    /// Settles a message that has been printed, or keeps it until the end.
    ///
    /// # Errors
    /// Those of the client. A message whose connection was lost is no error: it is delivered again.
    pub(crate) async fn settle(&mut self, acker: Acker, then: Then) -> amqp_client::Result<()> {
        let settled = match then {
            Then::Ack => acker.ack().await,
            Then::Nack => acker.nack(false).await,
            Then::Requeue => {
                self.0.push(acker);
                Ok(())
            }
            Then::NoAck => Ok(()),
        };
        match settled {
            Err(amqp_client::Error::StaleDelivery { .. }) => Ok(()),
            settled => settled,
        }
    }

    /// Returns what is kept to its queues.
    ///
    /// # Errors
    /// As [`settle`](Self::settle).
    pub(crate) async fn release(self) -> amqp_client::Result<()> {
        for acker in self.0 {
            match acker.nack(true).await {
                Ok(()) | Err(amqp_client::Error::StaleDelivery { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
