//! The account of remote calls.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
};

/// The account of calls of one kind. All end, by an answer or an error.
#[derive(Debug)]
pub(super) struct Calls {
    name: &'static str,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    made: u64,
    answered: u64,
    /// The calls that a server has run.
    run: u64,
    /// The errors, by what they say.
    failed: BTreeMap<String, u64>,
    wrong: Vec<String>,
}

impl Calls {
    pub(super) fn new(name: &'static str) -> Self {
        Calls { name, books: Mutex::default() }
    }

    /// The kind of the calls.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Notes a call that begins.
    pub(super) fn begin(&self) {
        self.with(|books| books.made += 1);
    }

    /// Notes that a server runs a call.
    pub(super) fn run(&self) {
        self.with(|books| books.run += 1);
    }

    /// Notes an answer.
    pub(super) fn answer(&self) {
        self.with(|books| books.answered += 1);
    }

    /// Notes an error, which a word or two tell from others.
    pub(super) fn fail(&self, why: impl Into<String>) {
        self.with(|books| *books.failed.entry(why.into()).or_default() += 1);
    }

    /// Notes something that must not happen.
    pub(super) fn wrong(&self, what: impl Into<String>) {
        self.with(|books| books.wrong.push(what.into()));
    }

    /// Returns everything that is wrong when no call is under way any more.
    pub(super) fn check(&self) -> Vec<String> {
        self.with(|books| {
            let ended = books.answered + books.failed.values().sum::<u64>();
            let mut wrong = books.wrong.clone();
            if ended != books.made {
                wrong.push(format!("of {} calls {ended} have ended", books.made));
            }
            if books.run < books.answered {
                wrong.push(format!("{} calls were run, and {} answered", books.run, books.answered));
            }
            wrong.iter().map(|what| format!("{}: {what}", self.name)).collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Books) -> T) -> T {
        work(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|Books { made, answered, run, failed, .. }| {
            write!(f, "{made} made, {answered} answered, {run} run")?;
            failed.iter().try_for_each(|(why, count)| write!(f, ", {count} {why}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_end_are_in_order() {
        let calls = Calls::new("calls");
        (0..2).for_each(|_| calls.begin());
        calls.run();
        calls.answer();
        calls.fail("timed out");
        assert_eq!(calls.check(), Vec::<String>::new());
        assert_eq!(calls.to_string(), "2 made, 1 answered, 1 run, 1 timed out");
    }

    #[test]
    fn one_that_does_not_end_or_that_nobody_ran_is_told() {
        let calls = Calls::new("calls");
        calls.begin();
        assert_eq!(calls.check(), ["calls: of 1 calls 0 have ended"]);
        calls.answer();
        assert_eq!(calls.check(), ["calls: 0 calls were run, and 1 answered"]);
    }
}
