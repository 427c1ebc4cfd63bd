//! The result of one turn of an operation.

/// Whether an operation is done, or goes on in a later turn.
#[derive(Debug)]
pub(crate) enum Step<T, W> {
    Done(T),
    Paused(W),
}
