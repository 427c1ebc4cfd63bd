//! The names of keys and channels.

use crate::kombu::priorities::PrioritySteps;

/// What the names are made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyOptions {
    /// Precedes every key and channel.
    pub(crate) global_keyprefix: String,
    /// The number of the database, which is part of channels.
    pub(crate) database: u32,
    /// Stands between a queue's name and a priority step, and between the columns of a binding.
    pub(crate) separator: String,
    pub(crate) priority_steps: PrioritySteps,
    pub(crate) unacked: String,
    pub(crate) unacked_index: String,
    pub(crate) unacked_mutex: String,
    /// Precedes the exchange in a channel; `{db}` in it stands for the database.
    pub(crate) fanout_prefix: String,
    /// Whether a fanout message's routing key is part of its channel.
    pub(crate) fanout_patterns: bool,
}

impl Default for KeyOptions {
    fn default() -> Self {
        KeyOptions {
            global_keyprefix: String::new(),
            database: 0,
            separator: "\x06\x16".to_owned(),
            priority_steps: PrioritySteps::default(),
            unacked: "unacked".to_owned(),
            unacked_index: "unacked_index".to_owned(),
            unacked_mutex: "unacked_mutex".to_owned(),
            fanout_prefix: "/{db}.".to_owned(),
            fanout_patterns: true,
        }
    }
}

/// Names keys and channels as kombu's Redis transport does. What only this project writes begins
/// with `_amqp.`.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    options: KeyOptions,
    /// The prefix of channels, with the database in it.
    fanout_prefix: String,
}

/// The names of keys that are the same for all queues.
macro_rules! fixed_keys {
    ($($(#[$doc:meta])* $name:ident = $key:expr;)*) => {
        impl Keys {
            $($(#[$doc])* pub(crate) fn $name(&self) -> String {
                let key: fn(&KeyOptions) -> &str = $key;
                self.prefixed(key(&self.options))
            })*
        }
    };
}

fixed_keys! {
    /// Hash: delivery tag to claim.
    unacked = |options| &options.unacked;
    /// Sorted set: delivery tag by the time of its claim.
    unacked_index = |options| &options.unacked_index;
    /// The lock of whoever restores.
    unacked_mutex = |options| &options.unacked_mutex;
    /// Sorted set: exchange by the time (unix milliseconds) when its bindings may be swept.
    binding_deadlines = |_| "_kombu.binding_deadlines";
    /// Hash: exchange to the words of its declaration.
    exchanges = |_| "_amqp.exchanges";
    /// Set: the queues whose messages wait for a time and then go to another queue.
    delayed = |_| "_amqp.delayed";
    /// Set: the queues that belong to one connection.
    exclusive = |_| "_amqp.exclusive";
}

impl Keys {
    pub(crate) fn new(options: KeyOptions) -> Self {
        let fanout_prefix = options.fanout_prefix.replace("{db}", &options.database.to_string());
        Keys { options, fanout_prefix }
    }

    /// A key of any other name, with the prefix of all keys.
    pub(crate) fn prefixed(&self, key: &str) -> String {
        [&self.options.global_keyprefix, key].concat()
    }

    /// What stands between the columns of a binding.
    pub(crate) fn separator(&self) -> &str {
        &self.options.separator
    }

    /// List: a queue's messages of a priority (as on the wire), the next one last.
    pub(crate) fn list(&self, queue: &str, priority: u8) -> String {
        self.list_of_step(queue, self.options.priority_steps.step(priority))
    }

    /// All lists of a queue, the first to be emptied first.
    pub(crate) fn lists(&self, queue: &str) -> Vec<String> {
        self.options.priority_steps.iter().map(|step| self.list_of_step(queue, step)).collect()
    }

    fn list_of_step(&self, queue: &str, step: u8) -> String {
        let prefix = &self.options.global_keyprefix;
        match step {
            0 => [prefix, queue].concat(),
            step => [prefix, queue, &self.options.separator, &step.to_string()].concat(),
        }
    }

    /// String: a queue's declaration. Each has a key of its own, so that it can expire with its
    /// queue, and its change is told without those of all others.
    pub(crate) fn queue(&self, queue: &str) -> String {
        [&self.options.global_keyprefix, "_amqp.queue.", queue].concat()
    }

    /// Hash: who consumes from a queue, and with how many consumers.
    pub(crate) fn consumers(&self, queue: &str) -> String {
        [&self.options.global_keyprefix, "_amqp.consumers.", queue].concat()
    }

    /// String: it is there as long as a holder is that nobody can see otherwise.
    pub(crate) fn lease(&self, holder: &str) -> String {
        [&self.options.global_keyprefix, "_amqp.lease.", holder].concat()
    }

    /// List: what was found in a queue and cannot be read.
    pub(crate) fn undecodable(&self, queue: &str) -> String {
        [&self.options.global_keyprefix, queue, ".undecodable"].concat()
    }

    /// Set: an exchange's bindings.
    pub(crate) fn bindings(&self, exchange: &str) -> String {
        [&self.options.global_keyprefix, "_kombu.binding.", exchange].concat()
    }

    /// Set: those of an exchange's bindings whose queues do not expire. Where it is not empty,
    /// nobody sweeps the exchange's bindings.
    pub(crate) fn permanent_bindings(&self, exchange: &str) -> String {
        [&self.options.global_keyprefix, "_kombu.binding_permanent.", exchange].concat()
    }

    /// The channel that a message to a fanout exchange is published to.
    pub(crate) fn channel(&self, exchange: &str, routing_key: &str) -> String {
        self.channel_of(&self.fanout_prefix, exchange, routing_key)
    }

    /// As [`channel`](Self::channel), as kombu before 5.4 named it with Sentinel: the database is
    /// not filled in. `None` when the two are the same.
    pub(crate) fn legacy_channel(&self, exchange: &str, routing_key: &str) -> Option<String> {
        let prefix = &self.options.fanout_prefix;
        (*prefix != self.fanout_prefix).then(|| self.channel_of(prefix, exchange, routing_key))
    }

    fn channel_of(&self, fanout_prefix: &str, exchange: &str, routing_key: &str) -> String {
        let exchange = [&self.options.global_keyprefix, fanout_prefix, exchange].concat();
        if self.has_pattern(routing_key) { [&exchange, "/", routing_key].concat() } else { exchange }
    }

    /// The pattern of the channels that a queue bound to a fanout exchange listens to.
    pub(crate) fn channel_pattern(&self, exchange: &str, binding_key: &str) -> String {
        self.pattern_of(&self.fanout_prefix, exchange, binding_key)
    }

    /// The pattern for [`legacy_channel`](Self::legacy_channel).
    pub(crate) fn legacy_channel_pattern(&self, exchange: &str, binding_key: &str) -> Option<String> {
        let prefix = &self.options.fanout_prefix;
        (*prefix != self.fanout_prefix).then(|| self.pattern_of(prefix, exchange, binding_key))
    }

    /// In names, characters that are special in Redis's patterns are escaped. In the binding key
    /// they are not, as in kombu, where `#` also becomes `*`.
    fn pattern_of(&self, fanout_prefix: &str, exchange: &str, binding_key: &str) -> String {
        let mut pattern = String::new();
        for name in [&self.options.global_keyprefix, fanout_prefix, exchange] {
            push_literal(&mut pattern, name);
        }
        if self.has_pattern(binding_key) {
            pattern.push('/');
            pattern.push_str(&binding_key.replace('#', "*"));
        }
        pattern
    }

    fn has_pattern(&self, routing_key: &str) -> bool {
        self.options.fanout_patterns && !routing_key.is_empty()
    }
}

/// Appends text that a pattern of Redis is to match literally.
fn push_literal(pattern: &mut String, text: &str) {
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(change: impl FnOnce(&mut KeyOptions)) -> Keys {
        let mut options = KeyOptions::default();
        change(&mut options);
        Keys::new(options)
    }

    #[test]
    fn a_queue_has_a_list_for_each_step() {
        let plain = keys(|_| {});
        assert_eq!(plain.lists("q"), ["q", "q\x06\x163", "q\x06\x166", "q\x06\x169"]);
        assert_eq!(plain.list("q", 2), "q");
        assert_eq!(plain.list("q", 5), "q\x06\x163");
        assert_eq!(plain.list("q", 12), "q\x06\x169");
        let tagged = keys(|options| options.global_keyprefix = "{app}:".to_owned());
        assert_eq!(tagged.lists("q")[..2], ["{app}:q", "{app}:q\x06\x163"]);
    }

    #[test]
    fn channels_and_patterns_are_kombus() {
        let plain = keys(|options| options.database = 7);
        assert_eq!(plain.channel("celery.pidbox", ""), "/7.celery.pidbox");
        assert_eq!(plain.channel("celeryev", "worker.online"), "/7.celeryev/worker.online");
        assert_eq!(plain.channel_pattern("celeryev", "worker.#"), "/7.celeryev/worker.*");
        assert_eq!(plain.legacy_channel("x", "k").unwrap(), "/{db}.x/k");
        assert_eq!(plain.legacy_channel_pattern("x", "").unwrap(), "/{db}.x");
        assert_eq!(plain.channel_pattern("a[1]*", ""), r"/7.a\[1\]\*");

        let tagged = keys(|options| {
            options.database = 7;
            options.global_keyprefix = "{app}:".to_owned();
            options.fanout_patterns = false;
        });
        assert_eq!(tagged.channel("kfx", "ignored"), "{app}:/7.kfx");
        assert_eq!(tagged.channel_pattern("kfx", "ignored.#"), "{app}:/7.kfx");

        let other = keys(|options| options.fanout_prefix = "/mine.".to_owned());
        assert_eq!(other.channel("x", "k"), "/mine.x/k");
        assert_eq!(other.legacy_channel("x", "k"), None);
        assert_eq!(keys(|options| options.fanout_prefix.clear()).channel("x", ""), "x");
    }

    #[test]
    fn every_key_has_the_prefix() {
        let keys = keys(|options| {
            options.global_keyprefix = "p:".to_owned();
            options.unacked = "held".to_owned();
        });
        assert_eq!(keys.unacked(), "p:held");
        assert_eq!(keys.unacked_index(), "p:unacked_index");
        assert_eq!(keys.unacked_mutex(), "p:unacked_mutex");
        assert_eq!(keys.bindings("x"), "p:_kombu.binding.x");
        assert_eq!(keys.permanent_bindings("x"), "p:_kombu.binding_permanent.x");
        assert_eq!(keys.binding_deadlines(), "p:_kombu.binding_deadlines");
        assert_eq!(keys.exchanges(), "p:_amqp.exchanges");
        assert_eq!(keys.delayed(), "p:_amqp.delayed");
        assert_eq!(keys.exclusive(), "p:_amqp.exclusive");
        assert_eq!(keys.queue("q"), "p:_amqp.queue.q");
        assert_eq!(keys.consumers("q"), "p:_amqp.consumers.q");
        assert_eq!(keys.lease("h"), "p:_amqp.lease.h");
        assert_eq!(keys.undecodable("q"), "p:q.undecodable");
    }
}
