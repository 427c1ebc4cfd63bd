//! Bindings as members of an exchange's set.

use std::collections::HashSet;

use crate::backend::{ExchangeKind, topic_matches};

/// A binding: routing key, Python's regular expression for it, queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BindingMember {
    pub(crate) routing_key: String,
    /// What publishers in Python match a routing key with; empty but for topic exchanges.
    pub(crate) pattern: String,
    pub(crate) queue: String,
}

/// A part of a binding contains the separator of its columns, so that nobody could read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {0} contains the separator of a binding's columns")]
pub(crate) struct SeparatorInside(pub(crate) &'static str);

impl BindingMember {
    /// The member for a queue's binding to an exchange of this kind.
    pub(crate) fn new(kind: ExchangeKind, routing_key: &str, queue: &str) -> Self {
        let pattern = match kind {
            ExchangeKind::Topic => python_pattern(routing_key),
            ExchangeKind::Direct | ExchangeKind::Fanout => String::new(),
        };
        BindingMember { routing_key: routing_key.to_owned(), pattern, queue: queue.to_owned() }
    }

    /// Its form in the set.
    ///
    /// # Errors
    /// A column contains the separator.
    pub(crate) fn write(&self, separator: &str) -> Result<String, SeparatorInside> {
        for (column, what) in [(&self.routing_key, "routing key"), (&self.queue, "queue's name")] {
            if column.contains(separator) {
                return Err(SeparatorInside(what));
            }
        }
        Ok([&self.routing_key, &self.pattern, &self.queue].map(String::as_str).join(separator))
    }

    /// Reads a member; `None` when it is none.
    pub(crate) fn read(member: &[u8], separator: &str) -> Option<Self> {
        let mut columns = str::from_utf8(member).ok()?.split(separator);
        let (routing_key, pattern, queue) = (columns.next()?, columns.next()?, columns.next()?);
        if columns.next().is_some() {
            return None;
        }
        let [routing_key, pattern, queue] = [routing_key, pattern, queue].map(str::to_owned);
        Some(BindingMember { routing_key, pattern, queue })
    }
}

/// An exchange's bindings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BindingTable {
    members: Vec<BindingMember>,
}

impl BindingTable {
    /// Reads the members of an exchange's set. Those that are no bindings are left out.
    pub(crate) fn read(members: impl IntoIterator<Item: AsRef<[u8]>>, separator: &str) -> Self {
        let read = |member: &[u8]| BindingMember::read(member, separator);
        let mut members: Vec<_> = members.into_iter().filter_map(|member| read(member.as_ref())).collect();
        // Redis has no order for them.
        members.sort_unstable();
        BindingTable { members }
    }

    /// The bindings, in the order in which they were read.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &BindingMember> {
        self.members.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The kind of an exchange that nobody has declared here, as far as its bindings tell. A fanout
    /// exchange looks like a direct one. `None` when there are no bindings.
    pub(crate) fn kind(&self) -> Option<ExchangeKind> {
        let is_topic = self.members.iter().any(|member| !member.pattern.is_empty());
        let kind = if is_topic { ExchangeKind::Topic } else { ExchangeKind::Direct };
        (!self.is_empty()).then_some(kind)
    }

    /// Tells whether this may be a fanout exchange of kombu's: all its bindings have an empty key,
    /// as those of a direct exchange seldom have.
    pub(crate) fn may_be_fanout(&self) -> bool {
        let is_empty = |member: &BindingMember| member.routing_key.is_empty() && member.pattern.is_empty();
        !self.is_empty() && self.members.iter().all(is_empty)
    }

    /// The queues that a message goes to, each once, by AMQP's rules: the patterns in Python differ
    /// from them, and are not used.
    pub(crate) fn route(&self, kind: ExchangeKind, routing_key: &str) -> Vec<&str> {
        let matches = |member: &&BindingMember| match kind {
            ExchangeKind::Direct => member.routing_key == routing_key,
            ExchangeKind::Fanout => true,
            ExchangeKind::Topic => topic_matches(&member.routing_key, routing_key),
        };
        let mut seen = HashSet::new();
        let queues = self.members.iter().filter(matches).map(|member| member.queue.as_str());
        queues.filter(|queue| !queue.is_empty() && seen.insert(*queue)).collect()
    }
}

impl FromIterator<BindingMember> for BindingTable {
    fn from_iter<T: IntoIterator<Item = BindingMember>>(members: T) -> Self {
        BindingTable { members: members.into_iter().collect() }
    }
}

/// How long an expiring queue's bindings stay after they were written or refreshed, in
/// milliseconds, as for kombu. They are refreshed thrice in this time.
pub(crate) fn binding_lifetime(expires: u64) -> u64 {
    const LEAST: u64 = 3_600_000;
    expires.saturating_mul(2).max(LEAST)
}

/// The regular expression that kombu 5.7 writes for a topic exchange's binding key.
///
/// It differs from kombu's in one case: a `*` that is only a part of a word is escaped, because it
/// stands for itself, and because Python refuses expressions such as `^*a$`, in which kombu leaves
/// it as it is.
fn python_pattern(binding_key: &str) -> String {
    let words: Vec<_> = binding_key.split('.').map(python_word).collect();
    ["^", &words.join(r"\."), "$"].concat()
}

fn python_word(word: &str) -> String {
    match word {
        "*" => r"[^\.]+".to_owned(),
        "#" => ".*?".to_owned(),
        word => word.chars().fold(String::new(), |mut escaped, c| {
            if !c.is_alphanumeric() && c != '#' {
                escaped.push('\\');
            }
            match c {
                '\0' => escaped.push_str("000"),
                c => escaped.push(c),
            }
            escaped
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEPARATOR: &str = "\x06\x16";

    fn table(members: &[&str]) -> BindingTable {
        BindingTable::read(members, SEPARATOR)
    }

    #[test]
    fn patterns_are_kombus() {
        // Each was written by kombu 5.7.
        for (key, pattern) in [
            ("", "^$"),
            ("#", "^.*?$"),
            ("*", r"^[^\.]+$"),
            ("a.b", r"^a\.b$"),
            ("stock.*.nyse.#", r"^stock\.[^\.]+\.nyse\..*?$"),
            ("a.#.b", r"^a\..*?\.b$"),
            ("a-b_c", r"^a\-b\_c$"),
            ("a b", r"^a\ b$"),
            ("x+y(z)[1]{2}^$|?\\/", r"^x\+y\(z\)\[1\]\{2\}\^\$\|\?\\\/$"),
            ("é.ü", r"^é\.ü$"),
            ("a\0b", r"^a\000b$"),
            ("a\nb", "^a\\\nb$"),
            ("a..b", r"^a\.\.b$"),
            ("#.", r"^.*?\.$"),
            ("a#b.c", r"^a#b\.c$"),
            ("٣²½漢Ⅷªー", "^٣²½漢Ⅷªー$"),
            ("a\u{301}", "^a\\\u{301}$"),
            ("😀", r"^\😀$"),
        ] {
            assert_eq!(python_pattern(key), pattern, "{key:?}");
        }
    }

    #[test]
    fn an_asterisk_within_a_word_stands_for_itself() {
        for (key, pattern) in [("a*b", r"^a\*b$"), ("*b", r"^\*b$"), ("**", r"^\*\*$")] {
            assert_eq!(python_pattern(key), pattern);
        }
    }

    #[test]
    fn members_are_kombus() {
        for (kind, routing_key, queue, member) in [
            (ExchangeKind::Fanout, "", "w1.celery.pidbox", "\x06\x16\x06\x16w1.celery.pidbox"),
            (ExchangeKind::Direct, "demo", "demo", "demo\x06\x16\x06\x16demo"),
            (
                ExchangeKind::Topic,
                "stock.*.nyse.#",
                "tq",
                "stock.*.nyse.#\x06\x16^stock\\.[^\\.]+\\.nyse\\..*?$\x06\x16tq",
            ),
        ] {
            let binding = BindingMember::new(kind, routing_key, queue);
            assert_eq!(binding.write(SEPARATOR).unwrap(), member);
            assert_eq!(BindingMember::read(member.as_bytes(), SEPARATOR), Some(binding));
        }
    }

    #[test]
    fn columns_cannot_hold_their_separator() {
        let inside = BindingMember::new(ExchangeKind::Direct, "a\x06\x16b", "q");
        assert_eq!(inside.write(SEPARATOR), Err(SeparatorInside("routing key")));
        let inside = BindingMember::new(ExchangeKind::Direct, "a", "q\x06\x16");
        assert_eq!(inside.write(SEPARATOR), Err(SeparatorInside("queue's name")));
        for member in [&b""[..], b"a", b"a\x06\x16b", b"a\x06\x16\x06\x16b\x06\x16", b"\xff\x06\x16\x06\x16q"]
        {
            assert_eq!(BindingMember::read(member, SEPARATOR), None, "{member:?}");
        }
    }

    #[test]
    fn a_message_goes_to_each_queue_once() {
        let table = table(&[
            "#\x06\x16^.*?$\x06\x16b",
            "a.#\x06\x16^a\\..*?$\x06\x16b",
            "a.#\x06\x16^a\\..*?$\x06\x16a",
            "a\x06\x16\x06\x16c",
            "a.*\x06\x16never\x06\x16",
            "damaged",
        ]);
        assert_eq!(table.iter().count(), 5);
        // Kombu's pattern for `a.#` does not match `a`; AMQP's does.
        assert_eq!(table.route(ExchangeKind::Topic, "a"), ["b", "c", "a"]);
        assert_eq!(table.route(ExchangeKind::Topic, "b.c"), ["b"]);
        assert_eq!(table.route(ExchangeKind::Direct, "a"), ["c"]);
        assert_eq!(table.route(ExchangeKind::Direct, "b"), Vec::<&str>::new());
        assert_eq!(table.route(ExchangeKind::Fanout, "b"), ["b", "c", "a"]);
    }

    #[test]
    fn bindings_tell_a_topic_exchange_from_others() {
        assert_eq!(table(&[]).kind(), None);
        assert_eq!(table(&["a\x06\x16\x06\x16q"]).kind(), Some(ExchangeKind::Direct));
        let both = table(&["a\x06\x16\x06\x16q", "b\x06\x16^b$\x06\x16q"]);
        assert_eq!(both.kind(), Some(ExchangeKind::Topic));
    }

    #[test]
    fn bindings_outlive_their_queue_by_its_own_time_and_an_hour_at_least() {
        assert_eq!(binding_lifetime(10_000), 3_600_000);
        assert_eq!(binding_lifetime(3_600_000), 7_200_000);
        assert_eq!(binding_lifetime(u64::MAX), u64::MAX);
    }
}
