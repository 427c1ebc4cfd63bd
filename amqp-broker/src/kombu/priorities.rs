//! Priorities: which of a queue's lists a message of a priority goes to.

/// The highest priority: kombu takes higher ones for it.
const HIGHEST: u8 = 9;

/// The priorities that a queue has a list for. Each message goes to the list of the highest step
/// that its priority reaches; the lists are emptied in the order of the steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrioritySteps(Vec<u8>);

impl PrioritySteps {
    /// Takes steps in any order; `None` when there are none.
    pub(crate) fn new(mut steps: Vec<u8>) -> Option<Self> {
        steps.sort_unstable();
        steps.dedup();
        (!steps.is_empty()).then_some(PrioritySteps(steps))
    }

    /// The step of a priority on the wire.
    pub(crate) fn step(&self, priority: u8) -> u8 {
        let reached = self.0.partition_point(|step| *step <= priority.min(HIGHEST));
        // As in kombu, a priority below all steps goes to the last.
        let index = reached.checked_sub(1).unwrap_or(self.0.len() - 1);
        self.0[index]
    }

    /// The steps, the first to be emptied first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u8> {
        self.0.iter().copied()
    }
}

impl Default for PrioritySteps {
    fn default() -> Self {
        PrioritySteps(vec![0, 3, 6, 9])
    }
}

/// Which priority is delivered first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum PriorityOrder {
    /// 0, as everywhere on kombu's Redis transport: the numbers go to Redis unchanged.
    #[default]
    LowerFirst,
    /// 9, as in AMQP: the numbers are turned round on their way to Redis and back.
    HigherFirst,
}

impl PriorityOrder {
    /// The number that is written for an AMQP priority.
    pub(crate) fn wire(self, priority: u8) -> u8 {
        match self {
            PriorityOrder::LowerFirst => priority,
            PriorityOrder::HigherFirst => HIGHEST - priority.min(HIGHEST),
        }
    }

    /// The AMQP priority for the number that was read.
    pub(crate) fn amqp(self, priority: u8) -> u8 {
        self.wire(priority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_priority_goes_to_the_highest_step_that_it_reaches() {
        let steps = PrioritySteps::default();
        let reached: Vec<_> = (0..=12).map(|priority| steps.step(priority)).collect();
        assert_eq!(reached, [0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9, 9]);
        assert_eq!(steps.step(255), 9);
    }

    #[test]
    fn a_priority_below_all_steps_goes_to_the_last_as_in_kombu() {
        let steps = PrioritySteps::new(vec![6, 3, 6]).unwrap();
        assert_eq!(steps.iter().collect::<Vec<_>>(), [3, 6]);
        assert_eq!([steps.step(0), steps.step(3), steps.step(9)], [6, 3, 6]);
        assert_eq!(PrioritySteps::new(Vec::new()), None);
    }

    #[test]
    fn priorities_are_turned_round_both_ways() {
        for priority in 0..=9 {
            assert_eq!(PriorityOrder::LowerFirst.wire(priority), priority);
            let wire = PriorityOrder::HigherFirst.wire(priority);
            assert_eq!(wire, 9 - priority);
            assert_eq!(PriorityOrder::HigherFirst.amqp(wire), priority);
        }
        assert_eq!(PriorityOrder::HigherFirst.wire(200), 0);
        assert_eq!(PriorityOrder::LowerFirst.wire(200), 200);
    }
}
