//! The account of a stream of messages: what became of each, as its publisher knows it, and how
//! often it was handled. It takes an octet a message, so that a run of hours stays small.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use super::history::{Event, History};

/// The outcome of a publish, as its publisher knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The broker has confirmed it.
    Confirmed,
    /// The broker has confirmed it, and it was published more than once, or may have been.
    ConfirmedAgain,
    /// It is unknown whether the broker has it.
    Unknown,
    /// The broker does not have it.
    Refused,
}

/// The account of one stream of messages, numbered from 0.
#[derive(Debug)]
pub struct Account {
    name: &'static str,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    states: Vec<u8>,
    sums: Sums,
    wrong: Vec<String>,
    history: History,
}

/// The sums of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Messages whose publish was begun.
    pub published: usize,
    /// Messages that the broker has confirmed.
    pub confirmed: usize,
    /// Messages of which nobody knows whether the broker has them.
    pub unknown: usize,
    /// Messages that the broker does not have.
    pub refused: usize,
    /// Messages that were handled, each once.
    pub delivered: usize,
    /// Further times that messages were handled, flagged as redelivered.
    pub redelivered: usize,
    /// Further times that messages were handled which were published more than once, or may have
    /// been.
    pub again: usize,
    /// Messages that were confirmed and not handled.
    pub lost: usize,
}

/// The fate is settled; which it is, is in the next three.
const SETTLED: u8 = 1;
const CONFIRMED: u8 = 1 << 1;
const REFUSED: u8 = 1 << 2;
/// It may come more than once.
const REPEATABLE: u8 = 1 << 3;
const HANDLED: u8 = 1 << 4;
/// It was handled without the flag.
const UNFLAGGED: u8 = 1 << 5;
/// It was handled twice without the flag, before its fate was known.
const DOUBLED: u8 = 1 << 6;

/// The most wrongs that are told one by one.
const MOST_TOLD: usize = 20;

impl Account {
    /// An empty account of messages of this kind.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Account { name, books: Mutex::default() }
    }

    /// The kind of its messages.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Adds a message that is about to be published; returns its number.
    pub fn publish(&self) -> usize {
        self.with(|books| {
            books.states.push(0);
            books.sums.published += 1;
            let number = books.states.len() - 1;
            books.history.add(number, Event::Published);
            number
        })
    }

    /// Notes the outcome of a publish.
    pub fn settle(&self, number: usize, fate: Fate) {
        self.with(|books| books.settle(number, fate));
    }

    /// Notes that a message was handled, by the consumer of this number.
    pub fn handle(&self, number: usize, by: usize, redelivered: bool) {
        self.with(|books| {
            books.history.add(number, Event::Handled { by: by as u16, redelivered });
            books.handle(number, redelivered);
        });
    }

    /// Notes something that must not happen.
    pub fn wrong(&self, what: impl Into<String>) {
        self.with(|books| books.tell(what.into()));
    }

    /// Tells whether every fate is known, and every confirmed message was handled.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.with(|books| {
            let is_done = |state: u8| state & SETTLED > 0 && state & (CONFIRMED | HANDLED) != CONFIRMED;
            books.states.iter().all(|state| is_done(*state))
        })
    }

    /// The sums so far. What is not handled yet counts as lost only if `is_over`.
    #[must_use]
    pub fn sums(&self, is_over: bool) -> Sums {
        self.with(|books| {
            let lost = |state: &&u8| **state & (CONFIRMED | HANDLED) == CONFIRMED;
            let lost = if is_over { books.states.iter().filter(lost).count() } else { 0 };
            Sums { lost, ..books.sums }
        })
    }

    /// Returns everything that is wrong when nothing is in progress any more.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        self.with(|books| {
            for number in 0..books.states.len() {
                let state = books.states[number];
                if state & SETTLED == 0 {
                    books.tell(format!("nobody was told what became of message {number}"));
                } else if state & (CONFIRMED | HANDLED) == CONFIRMED {
                    books.tell(format!("message {number} was confirmed, and is lost"));
                } else if state & (REFUSED | HANDLED) == REFUSED | HANDLED {
                    books.tell(format!("message {number} was refused, and was handled"));
                }
            }
            let more = books.wrong.len().saturating_sub(MOST_TOLD);
            let mut wrong: Vec<_> =
                books.wrong.iter().take(MOST_TOLD).map(|what| format!("{}: {what}", self.name)).collect();
            if more > 0 {
                wrong.push(format!("{}: and {more} more", self.name));
            }
            wrong
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        work(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Books {
    fn settle(&mut self, number: usize, fate: Fate) {
        let Some(state) = self.states.get_mut(number) else {
            return self.tell(format!("message {number} was never published"));
        };
        if *state & SETTLED > 0 {
            return self.tell(format!("message {number} was settled twice"));
        }
        let (bits, sum) = match fate {
            Fate::Confirmed => (CONFIRMED, &mut self.sums.confirmed),
            Fate::ConfirmedAgain => (CONFIRMED | REPEATABLE, &mut self.sums.confirmed),
            Fate::Unknown => (REPEATABLE, &mut self.sums.unknown),
            Fate::Refused => (REFUSED, &mut self.sums.refused),
        };
        *sum += 1;
        *state |= SETTLED | bits;
        let state = *state;
        self.history.add(number, Event::Settled(fate.name()));
        if state & DOUBLED > 0 && state & REPEATABLE == 0 {
            self.tell_double(number);
        }
    }

    fn handle(&mut self, number: usize, redelivered: bool) {
        let Some(state) = self.states.get_mut(number) else {
            return self.tell(format!("message {number} was handled and never published"));
        };
        let (is_first, was_unflagged) = (*state & HANDLED == 0, *state & UNFLAGGED > 0);
        *state |= HANDLED | if redelivered { 0 } else { UNFLAGGED };
        if is_first {
            self.sums.delivered += 1;
        } else if redelivered || !was_unflagged {
            // The delivery with the flag may overtake the one before it, which is on another
            // connection.
            self.sums.redelivered += 1;
        } else {
            self.sums.again += 1;
            match *state & (SETTLED | REPEATABLE) {
                0 => *state |= DOUBLED,
                SETTLED => self.tell_double(number),
                _ => {}
            }
        }
    }

    fn tell_double(&mut self, number: usize) {
        let history = self.history.of(number);
        self.tell(format!(
            "message {number} was published once, and handled twice without the flag ({history})"
        ));
    }

    fn tell(&mut self, what: String) {
        self.wrong.push(what);
    }
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Fate::Confirmed => "confirmed",
            Fate::ConfirmedAgain => "confirmed, not at first",
            Fate::Unknown => "given up",
            Fate::Refused => "refused",
        }
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sums { published, confirmed, unknown, refused, delivered, redelivered, again, lost } = self;
        write!(
            f,
            "{published:>9} | {confirmed:>9} | {unknown:>7} | {refused:>7} | {delivered:>9} | {redelivered:>11} | {again:>15} | {lost:>4}"
        )
    }
}

impl Sums {
    /// The heads of the columns that `Display` writes.
    pub const HEADS: &str =
        "published | confirmed | unknown | refused | delivered | redelivered | published again | lost";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the verdicts of an account with this history.
    fn wrong(history: impl FnOnce(&Account)) -> Vec<String> {
        let account = Account::new("tasks");
        history(&account);
        account.check()
    }

    #[test]
    fn what_is_in_order_is_not_told() {
        let account = Account::new("tasks");
        let [once, again, unknown, gone, refused] = [0; 5].map(|_| account.publish());
        account.handle(once, 1, false);
        account.settle(once, Fate::Confirmed);
        account.handle(once, 1, true);
        account.handle(again, 1, true);
        account.handle(again, 1, false);
        account.handle(again, 1, false);
        account.settle(again, Fate::ConfirmedAgain);
        account.handle(again, 1, false);
        account.settle(unknown, Fate::Unknown);
        account.handle(unknown, 1, false);
        account.handle(unknown, 1, false);
        account.settle(gone, Fate::Unknown);
        assert!(!account.is_complete());
        account.settle(refused, Fate::Refused);
        assert!(account.is_complete());
        assert_eq!(account.check(), Vec::<String>::new());
        let sums = Sums {
            published: 5,
            confirmed: 2,
            unknown: 2,
            refused: 1,
            delivered: 3,
            redelivered: 2,
            again: 3,
            lost: 0,
        };
        assert_eq!(account.sums(true), sums);
    }

    #[test]
    fn a_delivery_with_the_flag_may_overtake_the_one_without() {
        let handled = |deliveries: &[bool]| {
            wrong(|account| {
                let number = account.publish();
                account.settle(number, Fate::Confirmed);
                deliveries.iter().for_each(|redelivered| account.handle(number, 1, *redelivered));
            })
        };
        assert_eq!(handled(&[true, false, true]), Vec::<String>::new());
        assert_eq!(handled(&[true, false, false]).len(), 1);
    }

    #[test]
    fn a_message_that_is_lost_is_told() {
        let account = Account::new("tasks");
        let number = account.publish();
        account.settle(number, Fate::Confirmed);
        assert_eq!((account.is_complete(), account.sums(false).lost, account.sums(true).lost), (false, 0, 1));
        assert_eq!(account.check(), ["tasks: message 0 was confirmed, and is lost"]);
    }

    #[test]
    fn a_double_without_the_flag_is_told_whenever_its_fate_is_known() {
        let twice = "tasks: message 0 was published once, and handled twice without the flag (";
        let before = wrong(|account| {
            let number = account.publish();
            account.settle(number, Fate::Confirmed);
            (0..2).for_each(|_| account.handle(number, 1, false));
        });
        let after = wrong(|account| {
            let number = account.publish();
            (0..2).for_each(|_| account.handle(number, 1, false));
            account.settle(number, Fate::Confirmed);
        });
        assert_eq!((before.len(), after.len()), (1, 1));
        assert!(before[0].starts_with(twice) && after[0].starts_with(twice), "{before:?} {after:?}");
    }

    #[test]
    fn a_publish_that_never_ends_is_told() {
        let told = wrong(|account| _ = account.publish());
        assert_eq!(told, ["tasks: nobody was told what became of message 0"]);
    }

    #[test]
    fn what_was_refused_and_comes_nevertheless_is_told() {
        let told = wrong(|account| {
            let number = account.publish();
            account.settle(number, Fate::Refused);
            account.handle(number, 1, false);
        });
        assert_eq!(told, ["tasks: message 0 was refused, and was handled"]);
    }

    #[test]
    fn what_nobody_published_or_two_settled_is_told() {
        assert_eq!(wrong(|account| account.handle(3, 1, false)).len(), 1);
        assert_eq!(wrong(|account| account.settle(3, Fate::Confirmed)).len(), 1);
        let told = wrong(|account| {
            let number = account.publish();
            (0..2).for_each(|_| account.settle(number, Fate::Unknown));
        });
        assert_eq!(told, ["tasks: message 0 was settled twice"]);
    }

    #[test]
    fn of_many_wrongs_the_first_are_told_and_the_others_counted() {
        let told = wrong(|account| (0..100).for_each(|_| _ = account.publish()));
        assert_eq!((told.len(), told.last().map(String::as_str)), (21, Some("tasks: and 80 more")));
    }
}
