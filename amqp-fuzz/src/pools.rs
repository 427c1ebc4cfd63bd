//! The names that a session uses: few, so that its parts meet.

use amqp_codec::ShortString;

/// Names, keys and channel numbers to choose from.
#[derive(Clone, Debug)]
pub struct Pools {
    /// The queues that may be declared.
    pub queues: Vec<ShortString>,
    /// The exchanges that may be declared.
    pub exchanges: Vec<ShortString>,
    /// Routing keys, and patterns of them.
    pub keys: Vec<ShortString>,
    /// The channels that may be opened, at least one.
    pub channels: Vec<u16>,
}

impl Pools {
    /// Eight queues, six exchanges and four channels. All names begin with `prefix`, so that
    /// sessions with different prefixes do not meet; it has at most 100 bytes.
    pub fn new(prefix: &str) -> Self {
        let named = |kind: &str, count: usize| {
            (0..count).map(|number| text(&format!("{prefix}{kind}{number}"))).collect()
        };
        let keys = ["", "a", "a.b", "a.b.c", "b.c", "a.*", "*.b.#", "#"].map(text);
        Pools {
            queues: named("queue.", 8),
            exchanges: named("exchange.", 6),
            keys: keys.into(),
            channels: vec![1, 2, 3, 4],
        }
    }
}

/// A text that is known to be short.
pub(crate) fn text(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap_or_default()
}
