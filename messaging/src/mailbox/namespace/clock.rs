//! The logical clock that the nodes and callers of a mailbox share.

use amqp_client::{Table, Value};

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The header that carries the sender's time.
pub(crate) const HEADER: &str = "clock";

/// The most by which a received time may be ahead. A peer that sends a larger one would otherwise
/// use up the range of the clock for everybody.
const MOST_AHEAD: u64 = 1 << 32;

/// The largest time that Python's libraries can send.
const LAST: u64 = i64::MAX as u64;

/// A Lamport clock. It never runs backwards.
#[derive(Debug, Default)]
pub(crate) struct Clock(AtomicU64);

/// The time in the headers of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// A time; 0 if the message has none, as kombu takes it.
    Time(u64),
    /// The header is no time.
    Malformed,
}

impl Received {
    /// Reads the time from the headers of a message.
    pub(crate) fn of(headers: Option<&Table>) -> Self {
        match headers.and_then(|headers| headers.get(HEADER)) {
            None | Some(Value::Void) => Received::Time(0),
            Some(value) => match value.as_i64().map(u64::try_from) {
                Some(Ok(time)) => Received::Time(time),
                _ => Received::Malformed,
            },
        }
    }
}

impl Clock {
    /// Returns the present time.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// Advances by one, and returns the new time, which is sent with a message.
    pub(crate) fn tick(&self) -> u64 {
        self.advance_beyond(0)
    }

    /// Advances beyond a received time. Returns `false` if that is no time or too far ahead: then
    /// the clock only goes on by one.
    pub(crate) fn receive(&self, received: Received) -> bool {
        match received {
            Received::Time(time) if time <= self.now().saturating_add(MOST_AHEAD) => {
                self.advance_beyond(time);
                true
            }
            Received::Time(_) | Received::Malformed => {
                self.tick();
                false
            }
        }
    }

    /// Advances to one after the later of the two times, and returns that.
    fn advance_beyond(&self, time: u64) -> u64 {
        let later = |own: u64| own.max(time).saturating_add(1).min(LAST);
        self.0.fetch_update(Relaxed, Relaxed, |own| Some(later(own))).map_or(LAST, later)
    }
}

/// Returns a time as the header's value, in the shortest form that py-amqp would choose.
pub(crate) fn header_value(time: u64) -> Value {
    i32::try_from(time).map_or(Value::I64(time.try_into().unwrap_or(i64::MAX)), Value::I32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_received_time_is_passed_and_its_absence_counts_as_zero() {
        let clock = Clock::default();
        assert!(clock.receive(Received::Time(41)));
        assert_eq!((clock.now(), clock.tick()), (42, 43));
        assert!(clock.receive(Received::Time(7)));
        assert_eq!(clock.now(), 44);
        for headers in [None, Some(Table::new())] {
            assert_eq!(Received::of(headers.as_ref()), Received::Time(0));
        }
    }

    #[test]
    fn no_peer_can_poison_the_clock() {
        let clock = Clock::default();
        clock.receive(Received::Time(10));
        for poison in [Received::Time(11 + MOST_AHEAD + 1), Received::Time(u64::MAX), Received::Malformed] {
            let before = clock.now();
            assert!(!clock.receive(poison), "{poison:?}");
            assert_eq!(clock.now(), before + 1, "{poison:?}");
        }
        assert!(clock.receive(Received::Time(clock.now() + MOST_AHEAD)));
    }

    #[test]
    fn what_is_no_non_negative_integer_is_no_time() {
        let long = Value::LongString("12".to_owned().into());
        for value in [Value::I64(-1), Value::F64(3.0), Value::Bool(true), long] {
            let mut headers = Table::new();
            headers.insert(HEADER, value.clone()).unwrap();
            assert_eq!(Received::of(Some(&headers)), Received::Malformed, "{value:?}");
        }
    }

    #[test]
    fn a_time_has_the_form_that_python_gives_it() {
        assert_eq!(header_value(7), Value::I32(7));
        assert_eq!(header_value(1 << 31), Value::I64(1 << 31));
    }

    proptest! {
        #[test]
        fn times_sent_never_decrease(received in proptest::collection::vec(any::<u64>(), 0..40)) {
            let clock = Clock::default();
            let mut sent = 0;
            for time in received {
                clock.receive(Received::Time(time));
                let next = clock.tick();
                prop_assert!(next > sent && next <= LAST);
                sent = next;
            }
        }
    }
}
