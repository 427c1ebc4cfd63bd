//! RabbitMQ's answers, word for word: refusals, arguments and their equivalence, dead letters,
//! additional keys, permissions and tags of users, policies; and where its versions differ.

pub(crate) mod access;
pub(crate) mod arguments;
pub(crate) mod copies;
pub(crate) mod death;
pub(crate) mod delayed_retry;
pub(crate) mod equivalence;
pub(crate) mod exchange_declaration;
pub(crate) mod filter;
pub(crate) mod firehose;
pub(crate) mod known;
pub(crate) mod policies;
pub(crate) mod profile;
pub(crate) mod refusal;
pub(crate) mod term;
pub(crate) mod version;
