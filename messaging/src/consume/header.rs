//! Reading a message's headers.

use amqp_client::Properties;

/// Returns a header that holds text.
pub(crate) fn text(properties: &Properties, key: &str) -> Option<String> {
    let value = properties.headers.as_ref()?.get(key)?;
    value.as_str().map(str::to_owned)
}
