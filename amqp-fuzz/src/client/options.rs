//! What a session is told before it begins.

use crate::pools::Pools;

/// The login, the names, and how far a session goes.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The user's name.
    pub user: String,
    /// The user's password.
    pub password: String,
    /// The virtual host, `/` unless told.
    pub virtual_host: String,
    /// The names and channels to use.
    pub pools: Pools,
    /// The largest frame to ask for, in bytes with its header and end marker.
    pub frame_max: u32,
    /// The longest body to publish, in bytes.
    pub most_body: usize,
    /// Whether the session also does what a broker must refuse by closing a channel, and says
    /// which reply code it expects. It opens the channel again afterwards.
    pub refusals: bool,
    /// Whether what the broker sends is told to the session. If not, it takes for granted that
    /// every request succeeds, uses no names that the broker makes, and settles only all
    /// deliveries at once.
    pub is_told: bool,
}

/// A guest who is told what the broker sends, and is never refused.
impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            user: "guest".to_owned(),
            password: "guest".to_owned(),
            virtual_host: "/".to_owned(),
            pools: Pools::new("fuzz."),
            frame_max: 4096,
            most_body: 10_000,
            refusals: false,
            is_told: true,
        }
    }
}
