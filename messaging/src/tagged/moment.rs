//! Dates and times, as Python's `isoformat` writes them and `fromisoformat` reads them.

use chrono::{
    DateTime, Datelike as _, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Timelike as _,
    Utc,
};

use super::tag::{Plain, Tagged};
use crate::serialize::BoxError;

const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;

fn date(date: NaiveDate) -> Result<String, BoxError> {
    if YEARS.contains(&date.year()) {
        Ok(date.format("%Y-%m-%d").to_string())
    } else {
        Err(format!("the year {} is not one of Python's, 1 to 9999", date.year()).into())
    }
}

fn time(time: NaiveTime) -> String {
    let text = format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
    // A leap second is the last microsecond before, for Python has none.
    match (time.nanosecond() / 1000).min(999_999) {
        0 => text,
        microseconds => format!("{text}.{microseconds:06}"),
    }
}

fn datetime(moment: NaiveDateTime) -> Result<String, BoxError> {
    Ok(format!("{}T{}", date(moment.date())?, time(moment.time())))
}

fn zone(offset: FixedOffset) -> String {
    let seconds = offset.local_minus_utc();
    let sign = if seconds < 0 { '-' } else { '+' };
    let (hours, minutes, seconds) = (seconds.abs() / 3600, seconds.abs() / 60 % 60, seconds.abs() % 60);
    let zone = format!("{sign}{hours:02}:{minutes:02}");
    if seconds == 0 { zone } else { format!("{zone}:{seconds:02}") }
}

pub(crate) fn time_with_zone(at: NaiveTime, offset: FixedOffset) -> String {
    time(at) + &zone(offset)
}

/// `2024-01-02`, or what kombu wrote before it had tags, `2024-01-02T00:00:00`.
pub(crate) fn parse_date(text: &str) -> Result<NaiveDate, BoxError> {
    Ok(parse_datetime(text)?.0.date())
}

/// A date, and when it is there a time, and a zone.
pub(crate) fn parse_datetime(text: &str) -> Result<(NaiveDateTime, Option<FixedOffset>), BoxError> {
    let parsed = || {
        let (date, rest) = text.split_at_checked("2024-01-02".len())?;
        let date = NaiveDate::parse_from_str(date, "%Y-%m-%d").ok()?;
        if rest.is_empty() {
            return Some((date.and_time(NaiveTime::MIN), None));
        }
        let (time, offset) = parse_time(rest.strip_prefix(['T', 't', ' '])?).ok()?;
        Some((date.and_time(time), offset))
    };
    parsed().ok_or_else(|| format!("{text:?} is no ISO date and time").into())
}

/// A time, and when it is there a zone.
pub(crate) fn parse_time(text: &str) -> Result<(NaiveTime, Option<FixedOffset>), BoxError> {
    let parsed = || {
        let (time, offset) = match text.strip_suffix(['Z', 'z']) {
            Some(time) => (time, FixedOffset::east_opt(0)),
            None => match text.find(['+', '-']) {
                Some(at) => (text.get(..at)?, Some(parse_zone(text.get(at..)?)?)),
                None => (text, None),
            },
        };
        let formats = ["%H:%M:%S%.f", "%H:%M"];
        let time = formats.iter().find_map(|format| NaiveTime::parse_from_str(time, format).ok())?;
        Some((in_microseconds(time)?, offset))
    };
    parsed().ok_or_else(|| format!("{text:?} is no ISO time").into())
}

/// What Python makes of it: digits beyond the sixth are cut, and a leap second is none.
fn in_microseconds(time: NaiveTime) -> Option<NaiveTime> {
    let microseconds = time.nanosecond() / 1000;
    if microseconds < 1_000_000 { time.with_nanosecond(microseconds * 1000) } else { None }
}

/// `+01:00`, `-0330`, `+05`; also with seconds, whose fraction is cut.
fn parse_zone(text: &str) -> Option<FixedOffset> {
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text.split('.').next()?.chars().skip(1).filter(|&c| c != ':').collect();
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) || ![2, 4, 6].contains(&digits.len()) {
        return None;
    }
    let part = |at: usize| digits.get(at..at + 2).map_or(Some(0), |part| part.parse::<i32>().ok());
    let (hours, minutes, seconds) = (part(0)?, part(2)?, part(4)?);
    let valid = minutes < 60 && seconds < 60;
    FixedOffset::east_opt(sign * (hours * 3600 + minutes * 60 + seconds)).filter(|_| valid)
}

fn without_zone<T>((moment, zone): (T, Option<FixedOffset>)) -> Result<T, BoxError> {
    match zone {
        None => Ok(moment),
        Some(zone) => Err(format!("it has the time zone {zone}, and the type has none").into()),
    }
}

impl Tagged for NaiveDateTime {
    type Payload = String;
    const TAGS: &'static [&'static str] = &["datetime"];

    fn to_tagged(&self) -> Result<(&'static str, String), BoxError> {
        Ok(("datetime", datetime(*self)?))
    }

    fn from_tagged(_tag: &str, payload: String) -> Result<Self, BoxError> {
        Self::from_text(&payload)
    }

    fn to_plain(&self) -> Result<Plain<'_>, BoxError> {
        Ok(Plain::Text(datetime(*self)?))
    }

    fn from_text(text: &str) -> Result<Self, BoxError> {
        without_zone(parse_datetime(text)?)
    }
}

impl Tagged for DateTime<FixedOffset> {
    type Payload = String;
    const TAGS: &'static [&'static str] = &["datetime"];

    fn to_tagged(&self) -> Result<(&'static str, String), BoxError> {
        Ok(("datetime", datetime(self.naive_local())? + &zone(*self.offset())))
    }

    fn from_tagged(_tag: &str, payload: String) -> Result<Self, BoxError> {
        Self::from_text(&payload)
    }

    fn to_plain(&self) -> Result<Plain<'_>, BoxError> {
        Ok(Plain::Text(self.to_tagged()?.1))
    }

    fn from_text(text: &str) -> Result<Self, BoxError> {
        let (moment, offset) = parse_datetime(text)?;
        let offset = offset.ok_or_else(|| format!("{text:?} has no time zone"))?;
        let moment = offset.from_local_datetime(&moment).single();
        moment.ok_or_else(|| format!("{text:?} is beyond all times").into())
    }
}

impl Tagged for DateTime<Utc> {
    type Payload = String;
    const TAGS: &'static [&'static str] = &["datetime"];

    fn to_tagged(&self) -> Result<(&'static str, String), BoxError> {
        self.fixed_offset().to_tagged()
    }

    fn from_tagged(_tag: &str, payload: String) -> Result<Self, BoxError> {
        Self::from_text(&payload)
    }

    fn to_plain(&self) -> Result<Plain<'_>, BoxError> {
        Ok(Plain::Text(self.to_tagged()?.1))
    }

    fn from_text(text: &str) -> Result<Self, BoxError> {
        Ok(DateTime::<FixedOffset>::from_text(text)?.to_utc())
    }
}

impl Tagged for NaiveDate {
    type Payload = String;
    const TAGS: &'static [&'static str] = &["date"];

    fn to_tagged(&self) -> Result<(&'static str, String), BoxError> {
        Ok(("date", date(*self)?))
    }

    fn from_tagged(_tag: &str, payload: String) -> Result<Self, BoxError> {
        Self::from_text(&payload)
    }

    fn to_plain(&self) -> Result<Plain<'_>, BoxError> {
        Ok(Plain::Text(date(*self)?))
    }

    fn from_text(text: &str) -> Result<Self, BoxError> {
        parse_date(text)
    }
}

impl Tagged for NaiveTime {
    type Payload = String;
    const TAGS: &'static [&'static str] = &["time"];

    fn to_tagged(&self) -> Result<(&'static str, String), BoxError> {
        Ok(("time", time(*self)))
    }

    fn from_tagged(_tag: &str, payload: String) -> Result<Self, BoxError> {
        Self::from_text(&payload)
    }

    fn to_plain(&self) -> Result<Plain<'_>, BoxError> {
        Ok(Plain::Text(time(*self)))
    }

    fn from_text(text: &str) -> Result<Self, BoxError> {
        without_zone(parse_time(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written<T: Tagged<Payload = String>>(text: &str) -> String {
        T::from_text(text).unwrap().to_tagged().unwrap().1
    }

    #[test]
    fn what_pythons_isoformat_writes_is_read_and_written_the_same() {
        for text in [
            "2024-01-02T03:04:05",
            "2024-01-02T03:04:05.678901",
            "0001-01-01T00:00:00.000001",
            "9999-12-31T23:59:59",
        ] {
            assert_eq!(written::<NaiveDateTime>(text), text);
        }
        for zone in ["+00:00", "-03:30", "+05:53:28", "-23:59:59"] {
            let text = format!("2024-01-02T03:04:05.678901{zone}");
            assert_eq!(written::<DateTime<FixedOffset>>(&text), text);
        }
        assert_eq!(written::<DateTime<Utc>>("2024-01-02T03:04:05+02:00"), "2024-01-02T01:04:05+00:00");
        assert_eq!(written::<NaiveDate>("0987-01-02"), "0987-01-02");
        for text in ["03:04:05", "03:04:05.000006"] {
            assert_eq!(written::<NaiveTime>(text), text);
        }
    }

    #[test]
    fn older_and_shorter_forms_are_read() {
        for (text, same) in [
            ("2024-01-02", "2024-01-02T00:00:00"),
            ("2024-01-02 03:04", "2024-01-02T03:04:00"),
            ("2024-01-02T03:04:05.678", "2024-01-02T03:04:05.678000"),
            ("2024-01-02T03:04:05.678901999", "2024-01-02T03:04:05.678901"),
        ] {
            assert_eq!(written::<NaiveDateTime>(text), same);
            assert_eq!(NaiveDateTime::from_text(text).unwrap(), NaiveDateTime::from_text(same).unwrap());
        }
        for zone in ["Z", "+0000", "+00"] {
            assert_eq!(
                written::<DateTime<Utc>>(&format!("2024-01-02T03:04:05{zone}")),
                "2024-01-02T03:04:05+00:00"
            );
        }
        assert_eq!(written::<NaiveDate>("2024-01-02T00:00:00"), "2024-01-02");
    }

    #[test]
    fn a_time_with_a_zone_and_one_without_are_not_mixed_up() {
        assert!(NaiveDateTime::from_text("2024-01-02T03:04:05Z").is_err());
        assert!(NaiveTime::from_text("03:04:05+01:00").is_err());
        assert!(DateTime::<Utc>::from_text("2024-01-02T03:04:05").is_err());
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2024",
            "2024-13-01",
            "2024-01-02T",
            "2024-01-02X03:04:05",
            "2024-01-02T25:00:00",
            "2024-01-02T23:59:60",
            "é024-01-02",
            "2024-01-0é",
            "2024-01-02T03:04:05+1",
            "2024-01-02T03:04:05+99:00",
            "2024-01-02T03:04:05+01:60",
            "2024-01-02T03:04:05+é1",
        ] {
            assert!(parse_datetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_python_has_not_is_cut_or_refused() {
        let leap = NaiveTime::from_hms_nano_opt(23, 59, 59, 1_500_000_000).unwrap();
        assert_eq!(time(leap), "23:59:59.999999");
        assert_eq!(time(NaiveTime::from_hms_nano_opt(1, 2, 3, 999).unwrap()), "01:02:03");
        for year in [0, 10_000, -1] {
            assert!(NaiveDate::from_ymd_opt(year, 1, 1).unwrap().to_tagged().is_err());
        }
    }
}
