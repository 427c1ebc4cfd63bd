//! The properties by which a broker tells what it is.

use amqp_codec::{Table, Value};

/// Tells whether the broker with these server properties is a RabbitMQ of this version, given by
/// its first two numbers, or a later one.
pub(crate) fn is_rabbitmq_since(properties: &Table, version: (u32, u32)) -> bool {
    let text = |name| properties.get(name).as_ref().and_then(Value::as_str).map(str::to_owned);
    text("product").is_some_and(|product| product == "RabbitMQ")
        && text("version").as_deref().and_then(numbers).is_some_and(|said| said >= version)
}

/// Reads the first two numbers of a version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split(['.', '-', '+']).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(product: &str, version: &str) -> Table {
        let mut properties = Table::new();
        properties.insert("product", product).unwrap();
        properties.insert("version", version).unwrap();
        properties
    }

    #[test]
    fn only_rabbitmq_of_that_version_or_later_is_one() {
        for (version, is_since) in [
            ("4.3.0", true),
            ("4.3.0-rc.1", true),
            ("4.10.2", true),
            ("5.0.0+3", true),
            ("4.3", true),
            ("4.2.9", false),
            ("3.13.7", false),
            ("4", false),
            ("next", false),
            ("", false),
        ] {
            assert_eq!(is_rabbitmq_since(&properties("RabbitMQ", version), (4, 3)), is_since, "{version}");
        }
        assert!(!is_rabbitmq_since(&properties("LavinMQ", "5.0.0"), (4, 3)));
        assert!(!is_rabbitmq_since(&Table::new(), (4, 3)));
    }
}
