//! Policies: arguments that operators give to queues and exchanges by their names
//! (<https://www.rabbitmq.com/docs/parameters#policies>).

pub(crate) mod invalid_policy;
pub(crate) mod keys;
pub(crate) mod policy;
pub(crate) mod settings;
pub(crate) mod vhost_policies;
