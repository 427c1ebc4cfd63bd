//! Bindings, and the match of a topic exchange's patterns.

/// A queue's binding to an exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Binding {
    /// The exchange's name.
    pub exchange: String,
    /// The queue's name.
    pub queue: String,
    /// The routing key, or a topic exchange's pattern.
    pub routing_key: String,
}

/// Tells whether a routing key matches a topic exchange's pattern: words are separated by dots, `*`
/// stands for one word, and `#` for any number of words, none included (spec section 3.1.3.3).
pub fn topic_matches(pattern: &str, routing_key: &str) -> bool {
    let words: Vec<_> = words_of(routing_key).collect();
    // The words that the pattern's words so far can have matched, as ends of their ranges.
    let mut ends = vec![false; words.len() + 1];
    ends[0] = true;
    for part in words_of(pattern) {
        let mut next = vec![false; words.len() + 1];
        match part {
            "#" => {
                let first = ends.iter().position(|end| *end).unwrap_or(ends.len());
                next.iter_mut().skip(first).for_each(|end| *end = true);
            }
            part => {
                for (at, word) in words.iter().enumerate() {
                    next[at + 1] = ends[at] && (part == "*" || part == *word);
                }
            }
        }
        ends = next;
    }
    ends.last().copied().unwrap_or(false)
}

/// The words of a key or pattern. As in RabbitMQ, an empty one has none.
fn words_of(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').filter(|_| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_by_words() {
        for (pattern, matching, others) in [
            ("a.*", &["a.b", "a."][..], &["a", "a.b.c", "b.a"][..]),
            ("a.#", &["a", "a.b", "a.b.c"], &["b", "ab"]),
            ("#.z", &["z", "a.z", "a.b.z"], &["a", "z.a"]),
            ("stock.*.nyse.#", &["stock.a.nyse", "stock.a.nyse.b.c"], &["stock.nyse", "stock.a.b.nyse"]),
            ("#", &["", "a", "a.b"], &[]),
            ("*", &["a"], &["", "a.b"]),
            ("", &[""], &["a"]),
            ("#.#", &["", "a.b.c"], &[]),
        ] {
            for key in matching {
                assert!(topic_matches(pattern, key), "{pattern} matches {key}");
            }
            for key in others {
                assert!(!topic_matches(pattern, key), "{pattern} does not match {key}");
            }
        }
    }
}
