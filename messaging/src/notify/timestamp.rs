//! Times as oslo.messaging writes them: `2026-11-20 12:31:19.573817`, UTC without saying so.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

/// A moment in UTC. Times before 1970 are taken for 1970.
pub(crate) struct Timestamp(pub(crate) SystemTime);

/// Python's `str(datetime)`: without the fraction when it is zero.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")?;
        match since.subsec_micros() {
            0 => Ok(()),
            micros => write!(f, ".{micros:06}"),
        }
    }
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    /// From 0000-03-01 to 1970-01-01. Years are counted from March, so that the leap day is the last of its year.
    const EPOCH: u64 = 719_468;
    const DAYS_IN_400_YEARS: u64 = 146_097;
    let day = days + EPOCH;
    let era = day / DAYS_IN_400_YEARS;
    let day_of_era = day % DAYS_IN_400_YEARS;
    // Every 4th year is a leap year, but not every 100th, but every 400th.
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, the lengths of months repeat every five of them, which have 153 days.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day_of_month)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        assert_eq!(Timestamp(UNIX_EPOCH - Duration::from_secs(1)).to_string(), "1970-01-01 00:00:00");
    }
}
