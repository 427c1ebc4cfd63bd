//! Commands that may be sent again when nobody knows whether they were executed.

use redis::{Arg, Cmd};

/// The commands that only read, or write the same again, and whose answer is as good then.
const REPEATABLE: [&str; 18] = [
    "EXISTS",
    "GET",
    "HEXISTS",
    "HGET",
    "HGETALL",
    "HKEYS",
    "HLEN",
    "HMGET",
    "LLEN",
    "PING",
    "SCARD",
    "SISMEMBER",
    "SMEMBERS",
    "TIME",
    "ZCARD",
    "ZRANGE",
    "ZRANGEBYSCORE",
    "ZSCORE",
];

/// Tells whether a command may be sent again. Claims are renewed by `ZADD` with `XX`: its answer
/// does not count the second time either.
pub(crate) fn is_repeatable(command: &Cmd) -> bool {
    let mut arguments = command.args_iter();
    let mut next = || match arguments.next() {
        Some(Arg::Simple(argument)) => std::str::from_utf8(argument).ok(),
        _ => None,
    };
    match next() {
        Some("ZADD") => next().is_some() && next() == Some("XX"),
        Some(name) => REPEATABLE.contains(&name),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_or_puts_is_not_repeated() {
        let is = |words: &[&str]| is_repeatable(redis::cmd(words[0]).arg(&words[1..]));
        assert!(is(&["GET", "key"]));
        assert!(is(&["ZADD", "index", "XX", "1", "tag"]));
        for words in [&["ZADD", "delayed", "1", "message"][..], &["RPOP", "q"], &["SET", "lock", "x", "NX"]] {
            assert!(!is(words), "{words:?}");
        }
    }
}
