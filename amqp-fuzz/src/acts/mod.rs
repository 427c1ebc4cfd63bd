//! What a client does: each act has its frames, and what it changes of what the client knows.

pub(crate) mod binding;
pub(crate) mod channels;
pub(crate) mod consuming;
pub(crate) mod declaring;
pub(crate) mod publishing;
pub(crate) mod refusals;
pub(crate) mod settling;
pub(crate) mod violations;
