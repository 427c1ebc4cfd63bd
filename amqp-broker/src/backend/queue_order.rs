//! Which of a consumer's queues comes first.

/// In which order queues are emptied that share a prefetch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueOrder {
    /// Queues take turns.
    #[default]
    RoundRobin,
    /// In the order in which they were first consumed from: a queue gives messages only when those
    /// before it have none.
    Priority,
    /// By name, in the same way.
    Sorted,
}
