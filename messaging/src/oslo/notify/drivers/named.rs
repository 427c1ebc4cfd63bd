//! The lookup of drivers by their names in the configuration of oslo.messaging.

use std::sync::Arc;

use super::{log::Log, messaging::Messaging, noop::Noop, test::Test};
use crate::{
    error::Error, oslo::error::notify::NotifyError, oslo::notify::driver::Driver, transport::Transport,
};

/// Returns the driver of this name: `messaging` or `messagingv2` to these topics, `log`, `noop`,
/// `test`.
///
/// # Errors
/// [`NotifyError::UnknownDriver`], also for `routing`, which needs rules:
/// [`Routing::new`](super::Routing::new).
pub fn by_name(name: &str, transport: &Transport, topics: &[&str]) -> Result<Arc<dyn Driver>, Error> {
    let messaging = |enveloped| -> Arc<dyn Driver> {
        match topics {
            [] => Arc::new(Messaging::new(transport, "notifications").enveloped(enveloped)),
            [first, others @ ..] => {
                let messaging = Messaging::new(transport, *first).enveloped(enveloped);
                Arc::new(others.iter().fold(messaging, |messaging, topic| messaging.topic(*topic)))
            }
        }
    };
    Ok(match name {
        "messaging" => messaging(false),
        "messagingv2" => messaging(true),
        "log" => Arc::new(Log),
        "noop" => Arc::new(Noop),
        "test" => Arc::new(Test::new()),
        _ => return Err(NotifyError::UnknownDriver(name.to_owned()).into()),
    })
}
