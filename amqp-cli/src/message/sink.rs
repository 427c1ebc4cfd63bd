//! Where received messages go.

use crate::{error::Error, message::view::MessageView};

/// Where received messages go: to standard output, or into a folder.
pub(crate) trait MessageSink {
    /// Takes a message. It is not safe there before [`flush`](Self::flush).
    ///
    /// # Errors
    /// When it cannot be written.
    fn put(&mut self, message: &MessageView) -> Result<(), Error>;

    /// Makes all messages safe: what has been put may be acknowledged afterwards.
    ///
    /// # Errors
    /// When they cannot be written.
    fn flush(&mut self) -> Result<(), Error>;
}
