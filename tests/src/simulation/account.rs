//! The account of all messages of a run: who published what, who received it, and what became of
//! it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    scenario::{Batch, SHARED_QUEUES, Target, UNACKED_QUEUE},
    transcript::Log,
};

/// The account. Clones are handles of the same.
#[derive(Clone)]
pub(super) struct Account {
    books: Arc<Mutex<Books>>,
    log: Log,
}

#[derive(Default)]
struct Books {
    messages: Vec<Message>,
    /// The fate of a message in a queue.
    copies: BTreeMap<(String, usize), Copy>,
    /// The last first delivery, by receiver, queue and publisher.
    last: BTreeMap<(u64, String, Origin), usize>,
}

/// A publisher whose messages keep their order: its channel, on one link.
type Origin = (u64, u64);

/// A message that somebody published.
struct Message {
    target: Target,
    size: usize,
    persistent: bool,
    origin: Origin,
    republish: bool,
    /// The number of times that it may have been published again.
    repeats: u64,
    outcome: Option<Outcome>,
}

/// The outcome of a publish, as its publisher knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Confirmed,
    Nacked,
    Returned,
    /// It is unknown whether the broker has it.
    Lost,
    /// It was certainly not sent.
    Unsent,
}

/// A message in a queue.
#[derive(Default)]
struct Copy {
    /// Deliveries without the redelivered flag, and with it.
    fresh: u64,
    flagged: u64,
    /// The number of them that were settled for good, as far as the consumer asked for it.
    asked: u64,
    /// The number that were settled for good as the broker must have seen.
    settled: u64,
    /// Set when it was found in the queue at the end.
    found: bool,
}

/// A delivery of a message.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    queue: String,
    number: usize,
}

impl Account {
    pub(super) fn new(log: Log) -> Self {
        Account { books: Arc::default(), log }
    }

    /// Notes a message that is about to be published; returns its number.
    pub(super) fn publish(&self, batch: &Batch, channel: u64) -> usize {
        let Batch { target, size, persistent, republish, .. } = *batch;
        self.with(|books| {
            let origin = (channel, 0);
            let message = Message { target, size, persistent, origin, republish, repeats: 0, outcome: None };
            books.messages.push(message);
            books.messages.len() - 1
        })
    }

    /// Notes on which of its client's links a message was published.
    pub(super) fn published_on(&self, number: usize, link: u64) {
        self.with(|books| books.messages[number].origin.1 = link);
    }

    /// Notes the outcome of a publish, and on how many links it may have been published again.
    pub(super) fn outcome(&self, number: usize, outcome: Outcome, repeats: u64) {
        self.log.add(format_args!("message {number}: {outcome:?}"));
        self.with(|books| {
            let message = &mut books.messages[number];
            message.outcome = Some(outcome);
            message.repeats = if message.republish { repeats } else { 0 };
        });
    }

    /// Notes a delivery; `receiver` is the consumer or the channel that receives it.
    pub(super) fn deliver(
        &self,
        receiver: u64,
        queue: &str,
        body: &[u8],
        redelivered: bool,
    ) -> Option<Receipt> {
        let Some(number) = number_of(body) else {
            self.log.violation(format!("a body from {queue} that nobody published: {} octets", body.len()));
            return None;
        };
        let flag = if redelivered { " again" } else { "" };
        self.log.add(format_args!("message {number} from {queue} to {receiver}{flag}"));
        let wrong = self.with(|books| books.deliver(receiver, queue, (number, body), redelivered));
        wrong.into_iter().for_each(|wrong| self.log.violation(wrong));
        Some(Receipt { queue: queue.to_owned(), number })
    }

    /// Notes that a consumer asks the broker to settle a delivery for good.
    pub(super) fn asked(&self, receipt: &Receipt) {
        self.copy(receipt, |copy| copy.asked += 1);
    }

    /// Notes that the broker must have settled a delivery for good.
    pub(super) fn settled(&self, receipt: &Receipt) {
        self.copy(receipt, |copy| copy.settled += 1);
    }

    /// Notes that a message was still in its queue at the end.
    pub(super) fn found(&self, receipt: &Receipt) {
        self.copy(receipt, |copy| copy.found = true);
    }

    /// Checks everything when nothing is in progress any more. The broker has died so often, and
    /// transient messages with it.
    pub(super) fn check(&self, deaths: u64) {
        let wrong = self.with(|books| books.check(deaths));
        wrong.into_iter().for_each(|wrong| self.log.violation(wrong));
    }

    fn copy(&self, receipt: &Receipt, act: impl FnOnce(&mut Copy)) {
        self.with(|books| act(books.copies.entry((receipt.queue.clone(), receipt.number)).or_default()));
    }

    fn with<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        work(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Books {
    fn deliver(
        &mut self,
        receiver: u64,
        queue: &str,
        (number, body): (usize, &[u8]),
        redelivered: bool,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let Some(message) = self.messages.get(number) else {
            return vec![format!("message {number} from {queue} was never published")];
        };
        if body != body_of(number, message.size) {
            wrong.push(format!("message {number} from {queue} has another body than was published"));
        }
        if is_shared(queue) && !message.target.queues().contains(&queue) {
            wrong.push(format!("message {number} for {:?} is in {queue}", message.target));
        }
        let origin = message.origin;
        let copy = self.copies.entry((queue.to_owned(), number)).or_default();
        *(if redelivered { &mut copy.flagged } else { &mut copy.fresh }) += 1;
        if !redelivered && !message.republish {
            let last = self.last.insert((receiver, queue.to_owned(), origin), number);
            if let Some(last) = last.filter(|last| *last >= number) {
                wrong.push(format!(
                    "message {number} came behind message {last} of the same channel, from {queue}"
                ));
            }
        }
        wrong
    }

    fn check(&self, deaths: u64) -> Vec<String> {
        let mut wrong = Vec::new();
        for (number, message) in self.messages.iter().enumerate() {
            if message.outcome.is_none() {
                wrong.push(format!("message {number} has no outcome"));
            }
            if message.is_safe(deaths) {
                for queue in message.target.queues() {
                    let is_there = self.copies.contains_key(&(queue.to_owned(), number));
                    if !is_there {
                        wrong.push(format!("message {number} was confirmed, and {queue} lost it"));
                    }
                }
            }
        }
        for ((queue, number), copy) in &self.copies {
            if let Some(message) = self.messages.get(*number)
                && let Some(what) = message.wrong(queue, copy, deaths)
            {
                wrong.push(format!("message {number} in {queue} {what}"));
            }
        }
        wrong
    }
}

impl Message {
    /// Tells whether the broker must not lose it.
    fn is_safe(&self, deaths: u64) -> bool {
        self.outcome == Some(Outcome::Confirmed) && (self.persistent || deaths == 0)
    }

    /// Returns what is wrong with a copy that was delivered or found.
    fn wrong(&self, queue: &str, copy: &Copy, deaths: u64) -> Option<String> {
        let (most, Copy { fresh, flagged, asked, settled, found }) = (1 + self.repeats, copy);
        match self.outcome {
            Some(outcome @ (Outcome::Nacked | Outcome::Returned | Outcome::Unsent)) if !self.republish => {
                return Some(format!("was {outcome:?} and is there"));
            }
            _ => {}
        }
        if *fresh > most {
            return Some(format!("was delivered {fresh} times without the flag"));
        }
        // Settlements are not synced: a broker that dies may forget the last ones.
        if *settled >= most && *found && deaths == 0 {
            return Some("was acknowledged and is there again".to_owned());
        }
        if *settled > most + deaths {
            return Some(format!("was settled {settled} times"));
        }
        let is_kept = is_shared(queue);
        if is_kept && self.is_safe(deaths) && *asked == 0 && !found {
            return Some(format!("was delivered {} times, never acknowledged, and lost", fresh + flagged));
        }
        None
    }
}

fn is_shared(queue: &str) -> bool {
    SHARED_QUEUES.contains(&queue) && queue != UNACKED_QUEUE
}

/// The body of a message: its number, and octets that follow from it.
pub(super) fn body_of(number: usize, size: usize) -> Vec<u8> {
    let mut body = format!("{number} ").into_bytes();
    let head = body.len();
    body.extend((head..size.max(head)).map(|at| (at * 7 + number) as u8));
    body
}

fn number_of(body: &[u8]) -> Option<usize> {
    let end = body.iter().position(|octet| *octet == b' ')?;
    std::str::from_utf8(body.get(..end)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{super::scenario::QUEUES, *};

    const BATCH: Batch = Batch {
        target: Target::Queue(0),
        count: 1,
        size: 10,
        persistent: true,
        mandatory: false,
        republish: false,
    };

    /// Returns what the account finds wrong with a history.
    fn wrong(history: impl FnOnce(&Account)) -> Vec<String> {
        let log = Log::new(false);
        let account = Account::new(log.clone());
        history(&account);
        account.check(0);
        log.take().2
    }

    fn published(account: &Account, outcome: Outcome) -> usize {
        let number = account.publish(&BATCH, 1);
        account.outcome(number, outcome, 0);
        number
    }

    fn delivered(account: &Account, number: usize, redelivered: bool) -> Receipt {
        account.deliver(1, QUEUES[0], &body_of(number, 10), redelivered).unwrap()
    }

    #[test]
    fn what_is_in_order_is_not_found_wrong() {
        let found = wrong(|account| {
            let (first, second) = (published(account, Outcome::Confirmed), published(account, Outcome::Lost));
            let receipt = delivered(account, first, false);
            delivered(account, second, false);
            account.asked(&receipt);
            account.settled(&receipt);
        });
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn each_kind_of_disorder_is_found() {
        type History = fn(&Account);
        let histories: [(&str, History); 8] = [
            ("lost it", |account| _ = published(account, Outcome::Confirmed)),
            ("no outcome", |account| _ = account.publish(&BATCH, 1)),
            ("is there", |account| _ = delivered(account, published(account, Outcome::Nacked), false)),
            ("without the flag", |account| {
                let number = published(account, Outcome::Lost);
                delivered(account, number, false);
                account.deliver(2, QUEUES[0], &body_of(number, 10), false);
            }),
            ("never acknowledged, and lost", |account| {
                delivered(account, published(account, Outcome::Confirmed), false);
            }),
            ("there again", |account| {
                let receipt = delivered(account, published(account, Outcome::Confirmed), false);
                account.asked(&receipt);
                account.settled(&receipt);
                account.found(&receipt);
            }),
            ("came behind", |account| {
                let (first, second) = (published(account, Outcome::Lost), published(account, Outcome::Lost));
                delivered(account, second, false);
                delivered(account, first, false);
            }),
            ("another body", |account| {
                let number = published(account, Outcome::Lost);
                account.deliver(1, QUEUES[0], &body_of(number, 11), false);
            }),
        ];
        for (what, history) in histories {
            let found = wrong(history);
            assert!(found.iter().any(|found| found.contains(what)), "{what}: {found:?}");
        }
    }
}
