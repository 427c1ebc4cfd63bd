//! The holders of queues and consumers, and the owners of exclusive queues.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::redis::connect::Seat;

/// A holder of queues and consumers: the connections of a gateway to Redis, which end together.
/// When they are gone, so is all that they hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Holder {
    /// No other has the same.
    pub(crate) id: Uuid,
    /// The seat that shows whether it is there. Without one, it has a lease.
    pub(crate) seat: Option<Seat>,
}

/// A text that names no holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no holder of this backend")]
pub(crate) struct NoHolder;

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id.simple())?;
        match &self.seat {
            Some(Seat { server, client }) => write!(f, " {server} {client}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Holder {
    type Err = NoHolder;

    fn from_str(text: &str) -> Result<Self, NoHolder> {
        let mut words = text.split(' ');
        let id = words.next().and_then(|id| Uuid::try_parse(id).ok()).ok_or(NoHolder)?;
        let seat = match (words.next(), words.next()) {
            (None, _) => None,
            (Some(server), Some(client)) => {
                let client = client.parse().map_err(|_| NoHolder)?;
                Some(Seat { server: server.to_owned(), client })
            }
            _ => return Err(NoHolder),
        };
        Ok(Holder { id, seat })
    }
}

impl From<Holder> for String {
    fn from(holder: Holder) -> Self {
        holder.to_string()
    }
}

impl TryFrom<String> for Holder {
    type Error = NoHolder;

    fn try_from(text: String) -> Result<Self, NoHolder> {
        text.parse()
    }
}

/// The AMQP connection that an exclusive queue belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub(crate) holder: Holder,
    /// The connection's number among those of its holder; `None` for whoever deletes the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let id = Uuid::new_v4();
        for seat in [None, Some(Seat { server: "5ab1".to_owned(), client: 7 })] {
            let holder = Holder { id, seat };
            assert_eq!(holder.to_string().parse(), Ok(holder));
        }
        for text in ["", "q", "5ab1 7", &format!("{id} 5ab1"), &format!("{id} 5ab1 x")] {
            assert_eq!(text.parse::<Holder>(), Err(NoHolder), "{text}");
        }
    }
}
