//! A channel in transaction mode (spec section 1.9).

#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Whether something was published or settled since the last commit.
    pub(crate) has_work: bool,
    /// Whether the connection was lost meanwhile, which undid a part: nothing complete is left to
    /// commit.
    pub(crate) is_lost: bool,
}
