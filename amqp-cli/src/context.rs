//! What the program gives each command beside its arguments.

use crate::interrupt::Interrupt;

/// The circumstances in which a command runs.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// SIGINT and SIGTERM. A command that ignores it ends at the second signal only.
    pub(crate) interrupt: Interrupt,
}
