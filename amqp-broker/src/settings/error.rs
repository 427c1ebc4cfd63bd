//! Errors in the operator's settings.

use crate::core::rabbitmq::{
    access::{pattern::InvalidPattern, tags::UnknownUserTag},
    policies::invalid_policy::InvalidPolicy,
};

/// Invalid settings. Each error names the flag or key, and the user or other entity concerned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("user '{0}' is given more than once")]
    UserTwice(String),
    #[error("virtual host '{0}' is given more than once")]
    VhostTwice(String),
    #[error("permissions of user '{user}' in virtual host '{vhost}' are given more than once")]
    PermissionsTwice { user: String, vhost: String },
    #[error(
        "topic permissions of user '{user}' in virtual host '{vhost}' on exchange '{exchange}' are given more than once"
    )]
    TopicPermissionsTwice { user: String, vhost: String, exchange: String },
    #[error("tags of user '{0}' are given more than once")]
    TagsTwice(String),
    #[error("a user has no name")]
    NamelessUser,
    #[error(
        "user '{0}' has an empty password: give one, or --user-without-password for a user who logs in by certificate"
    )]
    EmptyPassword(String),
    #[error("virtual host '{0}' cannot be named by clients: a name has from 1 to 255 bytes")]
    UnusableVhost(String),
    #[error("{what} user '{user}', but there is no such user: the users are {users}")]
    UnknownUser { what: &'static str, user: String, users: String },
    #[error(
        "permissions of user '{user}' are for virtual host '{vhost}', but there is none of that name: the virtual \
         hosts are {vhosts}"
    )]
    UnknownVhost { user: String, vhost: String, vhosts: String },
    #[error("permissions of user '{user}' in virtual host '{vhost}': {why}")]
    BadPattern { user: String, vhost: String, why: InvalidPattern },
    #[error("topic permissions of user '{user}' in virtual host '{vhost}' on exchange '{exchange}': {why}")]
    BadTopicPattern { user: String, vhost: String, exchange: String, why: InvalidPattern },
    #[error("policy '{name}' of virtual host '{vhost}' is given more than once")]
    PolicyTwice { name: String, vhost: String },
    #[error("policy '{name}': {why}")]
    BadPolicy { name: String, why: InvalidPolicy },
    #[error("policy '{name}': {key} is a string, a whole number, a float, true or false")]
    BadPolicySetting { name: String, key: String },
    #[error(
        "policy '{name}' applies to '{target}': it may apply to all, queues, classic_queues, quorum_queues, streams or \
         exchanges"
    )]
    BadPolicyTarget { name: String, target: String },
    #[error("policy '{0}' is for virtual host '/', whose other side is a Redis, which has no policies")]
    PolicyForRedis(String),
    #[error(
        "policy '{name}' is for virtual host '{vhost}', but there is none of that name: the virtual hosts are {vhosts}"
    )]
    PolicyOfUnknownVhost { name: String, vhost: String, vhosts: String },
    #[error("tags of user '{user}': {why}")]
    BadTag { user: String, why: UnknownUserTag },
    #[error("--{flag} is {value}: it is at least {least}{why}")]
    TooLow { flag: &'static str, value: u64, least: u64, why: &'static str },
    #[error("--{flag} is {value}: it is at most {most}")]
    TooHigh { flag: &'static str, value: u64, most: u64 },
    #[error("--repair needs --data: there is no folder to be repaired")]
    NothingToRepair,
    #[error("TLS needs --tls-certificate and --tls-key")]
    HalfCertificate,
    #[error(
        "a certificate, a key or authorities of clients are given, but no --listen-tls that would use them, and no --http-tls"
    )]
    NoTlsListener,
}
