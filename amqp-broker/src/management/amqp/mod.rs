//! Operations that go the way of any client: a connection inside the process, as the user who asks,
//! so that permissions, checks and refusals are those of AMQP.

pub(crate) mod direct;
pub(crate) mod got;
