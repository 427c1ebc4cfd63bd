//! The numbers of connections and channels that a user has, and may have
//! (<https://www.rabbitmq.com/docs/user-limits>).

use std::sync::Arc;

use crate::sync::Mutex;

/// The entities of a user that are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    Connections,
    Channels,
}

/// A number that may have a limit; a negative limit is none.
#[derive(Clone, Copy, Debug, Default)]
struct Bounded {
    open: i64,
    most: Option<i64>,
}

/// The connections and channels that a user has, and may have.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    user: String,
    connections: Mutex<Bounded>,
    channels: Mutex<Bounded>,
}

/// A connection or a channel of a user.
///
/// # On drop
/// It counts no longer.
#[derive(Debug)]
pub(crate) struct Place {
    tally: Arc<Tally>,
    counted: Counted,
}

impl Tally {
    pub(crate) fn of(user: &str) -> Self {
        Tally { user: user.to_owned(), ..Tally::default() }
    }

    pub(crate) fn user(&self) -> &str {
        &self.user
    }

    fn count(&self, counted: Counted) -> &Mutex<Bounded> {
        match counted {
            Counted::Connections => &self.connections,
            Counted::Channels => &self.channels,
        }
    }

    /// Sets a limit. What is open stays so.
    pub(crate) fn limit(&self, counted: Counted, most: Option<i64>) {
        self.count(counted).lock().most = most.filter(|most| *most >= 0);
    }

    /// Counts one more.
    ///
    /// # Errors
    /// When the user has as many as it may have; the error is the limit.
    pub(crate) fn take(tally: &Arc<Tally>, counted: Counted) -> Result<Place, i64> {
        let mut count = tally.count(counted).lock();
        match count.most {
            Some(most) if count.open >= most => Err(most),
            _ => {
                count.open += 1;
                Ok(Place { tally: Arc::clone(tally), counted })
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.tally.count(self.counted).lock().open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_taken_while_there_is_room_and_given_back_on_drop() {
        let tally = Arc::new(Tally::of("ada"));
        let taken = Tally::take(&tally, Counted::Channels);
        tally.limit(Counted::Channels, Some(1));
        assert_eq!(Tally::take(&tally, Counted::Channels).map(drop), Err(1));
        assert!(Tally::take(&tally, Counted::Connections).is_ok());
        drop(taken);
        assert!(Tally::take(&tally, Counted::Channels).is_ok());
        tally.limit(Counted::Channels, Some(0));
        assert_eq!(Tally::take(&tally, Counted::Channels).map(drop), Err(0));
        tally.limit(Counted::Channels, Some(-1));
        assert!(Tally::take(&tally, Counted::Channels).is_ok());
    }
}
