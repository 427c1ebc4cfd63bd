//! The comparison of a second declaration of a queue or an exchange with the first.

use amqp_codec::{Table, Value};

use super::{
    arguments::{Entity, QueueType, age},
    known::queue_arguments,
    profile::Profile,
    refusal::Refusal,
    term::{same, shown, type_name},
};

/// Checks that a repeated queue declaration has the same arguments, of those that its type
/// compares.
pub(crate) fn compare_all(
    (kind, profile): (QueueType, &Profile),
    current: &Table,
    received: &Table,
    queue: Entity<'_>,
) -> Result<(), Refusal> {
    queue_arguments(kind, profile).iter().try_for_each(|argument| match *argument {
        "x-queue-type" if profile.queue_type_is_known => compare_types(current, received, queue),
        "x-max-age" if profile.ages_are_compared_as_times && are_as_long(current, received) => Ok(()),
        argument => compare(argument, current, received, queue),
    })
}

/// Tells whether both tables have maximum ages that are as long: a day is 24 hours.
fn are_as_long(current: &Table, received: &Table) -> bool {
    let time = |table: &Table| age(table.get("x-max-age")?.as_str()?).ok().flatten();
    time(current).zip(time(received)).is_some_and(|(one, other)| one == other)
}

/// Checks that both tables have the same type of queue, which is classic if they name none.
fn compare_types(current: &Table, received: &Table, queue: Entity<'_>) -> Result<(), Refusal> {
    const TYPE: &str = "x-queue-type";
    let kind = |table: &Table| table.get(TYPE).map_or_else(|| "classic".to_owned(), |value| shown(&value));
    let (received, current) = (kind(received), kind(current));
    if received == current {
        return Ok(());
    }
    Err(inequivalent(TYPE, queue, format!("received '{received}' but current is '{current}'")))
}

/// Checks that both tables have the same value for `argument`.
pub(crate) fn compare(
    argument: &str,
    current: &Table,
    received: &Table,
    entity: Entity<'_>,
) -> Result<(), Refusal> {
    let difference = match (received.get(argument), current.get(argument)) {
        (None, None) => return Ok(()),
        (Some(received), Some(current)) if same(&received, &current) => return Ok(()),
        // No `x-queue-type` means classic.
        (Some(one), None) | (None, Some(one))
            if argument == "x-queue-type" && one.as_str() == Some("classic") =>
        {
            return Ok(());
        }
        (Some(received), Some(current)) => {
            format!("received {} but current is {}", quoted(&received), quoted(&current))
        }
        (received, current) => format!("received {} but current is {}", told(received), told(current)),
    };
    Err(inequivalent(argument, entity, difference))
}

/// A value beside another one; void beside a value is none.
fn quoted(value: &Value) -> String {
    match value {
        Value::Void => "none".to_owned(),
        other => format!("'{}'", shown(other)),
    }
}

fn told(value: Option<Value>) -> String {
    value.map_or_else(
        || "none".to_owned(),
        |value| format!("the value '{}' of type '{}'", shown(&value), type_name(&value)),
    )
}

/// Checks one property of a repeated declaration.
pub(crate) fn compare_property<T: PartialEq + std::fmt::Display + Copy>(
    property: &str,
    current: T,
    received: T,
    entity: Entity<'_>,
) -> Result<(), Refusal> {
    if current == received {
        return Ok(());
    }
    let difference = format!("received '{received}' but current is '{current}'");
    Err(inequivalent(property, entity, difference))
}

fn inequivalent(argument: &str, entity: Entity<'_>, difference: String) -> Refusal {
    Refusal::Inequivalent {
        argument: argument.to_owned(),
        what: entity.what,
        name: entity.name.to_owned(),
        vhost: entity.vhost.to_owned(),
        difference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rabbitmq::version::RabbitMq;

    const CLASSIC: (QueueType, &Profile) = (QueueType::Classic, RabbitMq::V3_10.profile());

    const QUEUE: Entity<'_> = Entity { what: "queue", name: "q", vhost: "/" };

    fn table(entries: &[(&str, Value)]) -> Table {
        let mut table = Table::new();
        for (key, value) in entries {
            table.insert(key, value.clone()).unwrap();
        }
        table
    }

    #[test]
    fn integer_arguments_are_equal_by_value_whatever_their_width() {
        let narrow = table(&[("x-expires", Value::I32(1_800_000))]);
        let wide = table(&[("x-expires", Value::I64(1_800_000))]);
        assert_eq!(compare_all(CLASSIC, &narrow, &wide, QUEUE), Ok(()));
    }

    #[test]
    fn a_queue_of_the_usual_type_needs_no_type_and_one_of_another_does() {
        for (kind, equal) in [("classic", true), ("quorum", false)] {
            let typed = table(&[("x-queue-type", kind.into())]);
            assert_eq!(compare_all(CLASSIC, &typed, &Table::new(), QUEUE).is_ok(), equal);
            assert_eq!(compare_all(CLASSIC, &Table::new(), &typed, QUEUE).is_ok(), equal);
        }
    }

    #[test]
    fn from_4_0_on_a_queue_without_a_type_is_classic_by_name() {
        let quorum = table(&[("x-queue-type", "quorum".into())]);
        for (current, received, told) in [
            (&Table::new(), &quorum, "received 'quorum' but current is 'classic'"),
            (&quorum, &Table::new(), "received 'classic' but current is 'quorum'"),
        ] {
            let old = compare_all(CLASSIC, current, received, QUEUE).unwrap_err().to_string();
            assert!(old.contains(" none"), "{old}");
            let new = (QueueType::Classic, RabbitMq::V4_0.profile());
            let error = compare_all(new, current, received, QUEUE).unwrap_err().to_string();
            assert!(error.ends_with(told), "{error}");
        }
    }

    #[test]
    fn an_argument_nobody_knows_does_not_count() {
        let odd = table(&[("x-whatever", Value::Bool(true))]);
        assert_eq!(compare_all(CLASSIC, &Table::new(), &odd, QUEUE), Ok(()));
    }

    #[test]
    fn an_argument_that_was_left_away_is_told_with_value_and_type() {
        let error = compare_all(CLASSIC, &table(&[("x-expires", Value::I32(60000))]), &Table::new(), QUEUE)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "inequivalent arg 'x-expires' for queue 'q' in vhost '/': \
             received none but current is the value '60000' of type 'signedint'"
        );
    }
}
