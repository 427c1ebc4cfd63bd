//! Publishing to exchanges, with confirms and retries.

pub(crate) mod attempt;
pub(crate) mod json_message;
pub(crate) mod kept;
pub(crate) mod options;
pub(crate) mod producer;
pub(crate) mod publish_all;
pub(crate) mod publish_channel;
pub(crate) mod publishing;
pub(crate) mod refusal;
pub(crate) mod route;
pub(crate) mod slow;
pub(crate) mod traced;
