//! Times in oslo.messaging's form: `2026-11-20 12:31:19.573817`, in UTC without saying so.

use std::{fmt, time::SystemTime};

use chrono::{DateTime, Datelike as _, Timelike as _, Utc};

/// A moment in UTC.
pub(crate) struct Timestamp(pub(crate) SystemTime);

/// Writes it as Python's `str(datetime)`: to the microsecond, without the fraction when it is zero.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::<Utc>::from(self.0).naive_utc();
        let (year, month, day) = (time.year(), time.month(), time.day());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")?;
        match time.nanosecond() / 1000 {
            0 => Ok(()),
            micros => write!(f, ".{micros:06}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_written_as_python_writes_them() {
        for (micros, written) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399_000_000, "2000-02-28 23:59:59"),
            (951_782_400_000_000, "2000-02-29 00:00:00"),
            (951_868_800_000_001, "2000-03-01 00:00:00.000001"),
            (1_795_177_879_573_817, "2026-11-20 12:31:19.573817"),
            (4_107_542_400_000_000, "2100-03-01 00:00:00"),
        ] {
            let time = UNIX_EPOCH + Duration::from_micros(micros);
            assert_eq!(Timestamp(time).to_string(), written);
        }
        assert_eq!(Timestamp(UNIX_EPOCH - Duration::from_secs(1)).to_string(), "1969-12-31 23:59:59");
    }
}
