//! Ids of what a virtual host holds. This file is below all others, so that everything can name
//! everything.

use crate::core::collections::arena::Id;

macro_rules! ids {
    ($($(#[$doc:meta])* $id:ident of $of:ident;)*) => {
        $(
            pub(crate) enum $of {}

            $(#[$doc])*
            pub(crate) type $id = Id<$of>;
        )*
    };
}

ids! {
    /// Names a connection for as long as it exists.
    ConnectionId of ConnectionKey;
    /// Names a channel for as long as it is open.
    ChannelId of ChannelKey;
    /// Names a consumer for as long as it exists.
    ConsumerId of ConsumerKey;
    /// Names a queue for as long as it exists.
    QueueId of QueueKey;
    /// Names an exchange for as long as it exists.
    ExchangeId of ExchangeKey;
}
