//! The bindings of headers exchanges
//! (<https://www.rabbitmq.com/tutorials/amqp-concepts.html#exchange-headers>).

use std::cmp::Ordering;

use amqp_codec::{ShortString, Table, Value};

use crate::core::rabbitmq::{
    profile::Profile,
    refusal::Refusal,
    term::{as_f64, same, shown, type_name},
};

/// The headers of a message, sorted by name.
#[derive(Debug, Default)]
pub(crate) struct SortedHeaders(Vec<(ShortString, Value)>);

impl SortedHeaders {
    /// Sorts the headers; those of one name keep their order.
    pub(crate) fn new(mut headers: Vec<(ShortString, Value)>) -> Self {
        headers.sort_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
        SortedHeaders(headers)
    }
}

/// The parsed arguments of a binding.
#[derive(Debug)]
pub(crate) struct HeadersMatch {
    /// Whether all wanted headers must match, not just one.
    all: bool,
    /// The wanted headers, sorted by name.
    wanted: Vec<(ShortString, Value)>,
}

impl HeadersMatch {
    /// Reads binding arguments: `x-match` (`all` when there is none) and the headers wanted. Names
    /// that start with `x-` count in the `-with-x` forms only, `x-match` itself never.
    ///
    /// # Errors
    /// An `x-match` of another value or type.
    pub(crate) fn parse(arguments: &Table) -> Result<Self, Refusal> {
        let (all, with_x) = match arguments.get("x-match") {
            None => (true, false),
            Some(Value::LongString(text)) => match text.as_bytes() {
                b"all" => (true, false),
                b"any" => (false, false),
                b"all-with-x" => (true, true),
                b"any-with-x" => (false, true),
                _ => return Err(Refusal::InvalidMatch(text.to_string())),
            },
            Some(other) => {
                return Err(Refusal::InvalidMatchType { kind: type_name(&other), value: shown(&other) });
            }
        };
        let counts =
            |name: &ShortString| name != "x-match" && (with_x || !name.as_bytes().starts_with(b"x-"));
        let wanted = arguments.iter().filter(|(name, _)| counts(name)).collect();
        Ok(HeadersMatch { all, wanted: SortedHeaders::new(wanted).0 })
    }

    /// How many headers the binding wants.
    pub(crate) fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Tells whether a message with these headers matches. A wanted value of type void demands only
    /// that the header is present.
    ///
    /// Both lists are walked once, in the order of their names, as RabbitMQ does: when a name
    /// occurs several times, the first is compared with the first, the second with the second.
    pub(crate) fn matches(&self, headers: &SortedHeaders, profile: &Profile) -> bool {
        let mut headers = headers.0.iter().peekable();
        for (name, wanted) in &self.wanted {
            let mut is_there = false;
            while let Some((other, value)) = headers.peek() {
                match other.as_bytes().cmp(name.as_bytes()) {
                    Ordering::Less => drop(headers.next()),
                    Ordering::Greater => break,
                    Ordering::Equal => {
                        is_there = matches!(wanted, Value::Void) || is_equal(wanted, value, profile);
                        headers.next();
                        break;
                    }
                }
            }
            if is_there != self.all {
                return is_there;
            }
        }
        self.all
    }
}
/// Numbers are equal by value, in some versions even an integer and a float. The comparison of
/// declarations is stricter.
#[inline]
fn is_equal(wanted: &Value, value: &Value, profile: &Profile) -> bool {
    if let (Value::LongString(wanted), Value::LongString(value)) = (wanted, value) {
        return wanted == value;
    }
    match profile.float_equals_integer {
        true => is_equal_by_value(wanted, value),
        false => same(wanted, value),
    }
}

fn is_equal_by_value(wanted: &Value, value: &Value) -> bool {
    match (wanted.as_i64(), as_f64(value), as_f64(wanted), value.as_i64()) {
        (Some(integer), Some(float), ..) | (.., Some(float), Some(integer)) => integer as f64 == float,
        _ => same(wanted, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rabbitmq::version::RabbitMq;

    fn table(entries: &[(&str, Value)]) -> Table {
        let mut table = Table::new();
        for (key, value) in entries {
            table.insert(key, value.clone()).unwrap();
        }
        table
    }

    fn matches(binding: &[(&str, Value)], headers: &[(&str, Value)]) -> bool {
        matches_in(RabbitMq::V3_10, binding, headers)
    }

    fn matches_in(version: RabbitMq, binding: &[(&str, Value)], headers: &[(&str, Value)]) -> bool {
        let profile = version.profile();
        HeadersMatch::parse(&table(binding))
            .unwrap()
            .matches(&SortedHeaders::new(table(headers).iter().collect()), profile)
    }

    #[test]
    fn all_is_the_default_and_any_needs_one() {
        let both = [("a", Value::from("1")), ("b", Value::from("2"))];
        assert!(matches(&both, &both));
        assert!(!matches(&both, &both[..1]));
        let any = [("x-match", Value::from("any")), both[0].clone(), both[1].clone()];
        assert!(matches(&any, &both[1..]));
        assert!(!matches(&any, &[]));
        assert!(matches(&[], &[]));
    }

    #[test]
    fn headers_are_found_whatever_their_order() {
        let three = [("c", Value::from("3")), ("a", Value::from("1")), ("b", Value::from("2"))];
        assert!(matches(&[three[2].clone(), three[0].clone()], &three));
        assert!(!matches(&[("ab", Value::Void), three[0].clone()], &three));
        assert!(matches(&[("x-match", Value::from("any")), ("d", Value::Void), three[0].clone()], &three));
    }

    #[test]
    fn names_with_x_count_only_when_asked_for() {
        let wanted = [("x-match", Value::from("all")), ("x-a", Value::from("1"))];
        assert!(matches(&wanted, &[]));
        let wanted = [("x-match", Value::from("all-with-x")), ("x-a", Value::from("1"))];
        assert!(!matches(&wanted, &[]));
        assert!(matches(&wanted, &wanted[1..]));
    }

    #[test]
    fn a_void_matches_presence_and_integers_match_by_value() {
        assert!(matches(&[("a", Value::Void)], &[("a", Value::from("anything"))]));
        assert!(!matches(&[("a", Value::Void)], &[("b", Value::Void)]));
        assert!(matches(&[("a", Value::I32(5))], &[("a", Value::I64(5))]));
        assert!(!matches(&[("a", Value::I32(5))], &[("a", Value::from("5"))]));
        assert!(matches(&[("a", Value::I32(5))], &[("a", Value::F64(5.0))]));
        assert!(matches(&[("a", Value::F32(5.0))], &[("a", Value::I64(5))]));
        assert!(!matches(&[("a", Value::I32(5))], &[("a", Value::F64(5.5))]));
    }

    #[test]
    fn from_4_0_on_a_float_is_no_integer() {
        let (float, integer) = ([("a", Value::F64(1.0))], [("a", Value::I32(1))]);
        for (wanted, given, old, new) in [
            (&float, &integer, true, false),
            (&integer, &float, true, false),
            (&float, &[("a", Value::F32(1.0))], true, true),
            (&integer, &[("a", Value::I64(1))], true, true),
        ] {
            assert_eq!(matches_in(RabbitMq::V3_10, wanted, given), old, "{wanted:?} {given:?}");
            assert_eq!(matches_in(RabbitMq::V4_0, wanted, given), new, "{wanted:?} {given:?}");
        }
    }
}
