//! The history of a load: what was asked of the broker and what it answered, each with its time, so
//! that it is known for any moment what a power loss must leave.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A change that a step makes, in one virtual host.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(super) enum Effect {
    Declared(usize),
    Deleted(usize),
    Bound(usize),
    Unbound(usize),
    Published { queue: usize, number: u64 },
    Removed(u64),
}

/// One step.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Step {
    pub(super) vhost: usize,
    pub(super) effects: Vec<Effect>,
    /// Set when all of it happens or nothing.
    pub(super) is_atomic: bool,
    /// When it was asked for.
    sent: u64,
    /// When the broker's answer promised it.
    promised: Option<u64>,
}

/// The point that a step had reached at some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Progress {
    NotBegun,
    UnderWay,
    Promised,
}

/// The steps of all virtual hosts, in the order in which each asked for its own.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct History(Mutex<Vec<Step>>);

/// The monotonic clock, in nanoseconds, as the recorder reads it.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

impl History {
    /// Notes a step that is about to be asked for; returns its number.
    pub(super) fn begin(&self, vhost: usize, effects: Vec<Effect>, is_atomic: bool) -> usize {
        self.with(|steps| {
            steps.push(Step { vhost, effects, is_atomic, sent: now(), promised: None });
            steps.len() - 1
        })
    }

    /// Notes that the broker's answer has promised these steps.
    pub(super) fn promised(&self, numbers: impl IntoIterator<Item = usize>) {
        let now = now();
        self.with(|steps| numbers.into_iter().for_each(|number| steps[number].promised = Some(now)));
    }

    /// Returns how many steps were promised.
    pub(super) fn count(&self) -> usize {
        self.with(|steps| steps.iter().filter(|step| step.promised.is_some()).count())
    }

    /// The steps of a virtual host that had begun, and how far they had come at this time.
    pub(super) fn at(&self, vhost: usize, time: u64) -> Vec<(Step, Progress)> {
        self.with(|steps| {
            let own = steps.iter().filter(|step| step.vhost == vhost);
            own.map(|step| (step.clone(), step.progress(time))).collect()
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Step>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Step {
    fn progress(&self, time: u64) -> Progress {
        match self.promised {
            Some(promised) if promised <= time => Progress::Promised,
            _ if self.sent <= time => Progress::UnderWay,
            _ => Progress::NotBegun,
        }
    }
}

/// A queue as it was found: the numbers in it, in order.
#[derive(Debug, Default)]
pub(super) struct FoundQueue {
    pub(super) numbers: Vec<u64>,
    pub(super) is_bound: bool,
}

/// Compares what was found in a virtual host, by queue, with its history; returns what is wrong.
pub(super) fn compare(history: &[(Step, Progress)], found: &[Option<FoundQueue>]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (queue, found) in found.iter().enumerate() {
        compare_queue(history, queue, found.as_ref(), &mut wrong);
    }
    let there: BTreeSet<u64> =
        found.iter().flatten().flat_map(|found| found.numbers.iter().copied()).collect();
    let removals = |number: u64| {
        let removes = |step: &&(Step, Progress)| step.0.effects.contains(&Effect::Removed(number));
        history.iter().filter(removes).map(|(_, progress)| *progress).max().unwrap_or(Progress::NotBegun)
    };
    for (step, progress) in history {
        let mut happened = BTreeSet::new();
        for effect in &step.effects {
            match effect {
                Effect::Published { number, .. } => {
                    let (is_there, removal) = (there.contains(number), removals(*number));
                    match (progress, removal) {
                        (Progress::NotBegun, _) if is_there => {
                            wrong.push(format!("message {number} is there before it was published"));
                        }
                        (Progress::Promised, Progress::NotBegun) if !is_there => {
                            wrong.push(format!("message {number} is lost"));
                        }
                        (Progress::UnderWay, Progress::NotBegun) => drop(happened.insert(is_there)),
                        (_, Progress::Promised) if is_there => {
                            wrong.push(format!("message {number} is there after it was removed"));
                        }
                        _ => {}
                    }
                }
                Effect::Removed(number) if *progress == Progress::UnderWay => {
                    happened.insert(!there.contains(number));
                }
                _ => {}
            }
        }
        if step.is_atomic && *progress == Progress::UnderWay && happened.len() > 1 {
            wrong.push(format!("a part of a transaction is there: {:?}", step.effects));
        }
    }
    wrong
}

fn compare_queue(
    history: &[(Step, Progress)],
    queue: usize,
    found: Option<&FoundQueue>,
    wrong: &mut Vec<String>,
) {
    let exists = after(history, &Effect::Declared(queue), &Effect::Deleted(queue));
    if exists.is_some_and(|exists| exists != found.is_some()) {
        wrong.push(format!("queue {queue} is there: {}", found.is_some()));
    }
    let Some(found) = found else { return };
    let is_bound = after(history, &Effect::Bound(queue), &Effect::Unbound(queue));
    if is_bound.is_some_and(|is_bound| is_bound != found.is_bound) {
        wrong.push(format!("queue {queue} is bound: {}", found.is_bound));
    }
    if found.numbers.windows(2).any(|two| two[0] >= two[1]) {
        wrong.push(format!("queue {queue} is not in order: {:?}", found.numbers));
    }
    for number in &found.numbers {
        let effect = Effect::Published { queue, number: *number };
        if !history.iter().any(|(step, _)| step.effects.contains(&effect)) {
            wrong.push(format!("queue {queue} has message {number}, which was not published to it"));
        }
    }
}

/// Tells whether something is so after all steps, of which `on` makes it so and `off` ends it;
/// `None` when that is open.
fn after(history: &[(Step, Progress)], on: &Effect, off: &Effect) -> Option<bool> {
    let mut is_so = Some(false);
    for (step, progress) in history {
        for effect in step.effects.iter().filter(|effect| *effect == on || *effect == off) {
            match progress {
                Progress::Promised => is_so = Some(effect == on),
                Progress::UnderWay if is_so != Some(effect == on) => is_so = None,
                _ => {}
            }
        }
    }
    is_so
}
