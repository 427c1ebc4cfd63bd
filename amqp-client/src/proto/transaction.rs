//! A channel in transaction mode (spec section 1.9).

#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Something was published or settled since the last commit.
    pub(crate) has_work: bool,
    /// What was done before the connection was lost is undone: there is nothing whole to commit.
    pub(crate) is_lost: bool,
}
