//! What a session does at a time.

use amqp_codec::{Frame, ReplyCode};

/// The frames of one act, and what the broker must do about them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Step {
    /// The frames, in order. None when the session has to wait.
    pub frames: Vec<Frame>,
    /// What the broker must refuse.
    pub refused: Option<Refused>,
}

/// The close that a broker must answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The channel that is closed; 0 for the whole connection.
    pub channel: u16,
    /// The reply code.
    pub code: ReplyCode,
}

impl From<Vec<Frame>> for Step {
    fn from(frames: Vec<Frame>) -> Self {
        Step { frames, refused: None }
    }
}
