//! What of a frame is secret.

use amqp_codec::{Arguments as _, MethodId, method::connection};

use crate::{transcript::item::Item, wire_frame::WireFrame};

/// The text that stands for a secret.
pub(super) const REDACTED: &str = "[redacted]";

const METHODS: [MethodId; 3] =
    [connection::StartOk::ID, connection::SecureOk::ID, connection::UpdateSecret::ID];

/// Returns whether an argument is a secret: a login's response, or what replaces it.
pub(super) fn is_secret(method: MethodId, argument: &str) -> bool {
    METHODS.contains(&method) && matches!(argument, "response" | "new_secret")
}

/// Returns whether octets may hold one: there is a method in them that has one.
pub(super) fn may_hold(octets: &[u8]) -> bool {
    METHODS.iter().any(|method| octets.windows(4).any(|window| window == method.octets()))
}

/// The octets of what is no frame of the protocol.
pub(super) fn odd_octets(item: &Item) -> Option<&[u8]> {
    match item {
        Item::Frame(_) => None,
        Item::Wire(WireFrame { payload, .. }) => Some(payload),
        Item::Octets(octets) => Some(octets),
    }
}
