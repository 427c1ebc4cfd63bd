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
        Err(format!("the year {} is not in Python's range, 1 to 9999", date.year()).into())
    }
}

fn time(time: NaiveTime) -> String {
    let text = format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
    // A leap second becomes the last microsecond before it, because Python has none.
    match (time.nanosecond() / 1000).min(999_999) {
        0 => text,
        microseconds => format!("{text}.{microseconds:06}"),
    }
}

fn datetime(datetime: NaiveDateTime) -> Result<String, BoxError> {
    Ok(format!("{}T{}", date(datetime.date())?, time(datetime.time())))
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

/// Parses `2024-01-02`, or the form that kombu wrote before it had tags, `2024-01-02T00:00:00`.
pub(crate) fn parse_date(text: &str) -> Result<NaiveDate, BoxError> {
    Ok(parse_datetime(text)?.0.date())
}

/// Parses a date, optionally with a time and a zone: everything that Python's
/// `datetime.fromisoformat` accepts.
pub(crate) fn parse_datetime(text: &str) -> Result<(NaiveDateTime, Option<FixedOffset>), BoxError> {
    let parsed = || {
        let (date, rest) = text.split_at_checked(date_length(text.as_bytes())?)?;
        let date = iso_date(date)?;
        // Any single character may separate date and time.
        let mut rest = rest.chars();
        if rest.next().is_none() {
            return Some((date.and_time(NaiveTime::MIN), None));
        }
        let (time, is_midnight_after, offset) = iso_time(rest.as_str())?;
        let date = if is_midnight_after { date.succ_opt().filter(is_pythons)? } else { date };
        Some((date.and_time(time), offset))
    };
    parsed().ok_or_else(|| format!("{text:?} is not an ISO date and time").into())
}

/// Parses a time, optionally with a zone: everything that Python's `time.fromisoformat` accepts.
pub(crate) fn parse_time(text: &str) -> Result<(NaiveTime, Option<FixedOffset>), BoxError> {
    let parsed = || {
        let (time, _, offset) = iso_time(text.strip_prefix('T').unwrap_or(text))?;
        Some((time, offset))
    };
    parsed().ok_or_else(|| format!("{text:?} is not an ISO time").into())
}

/// Returns the length of the date: `2024-01-02`, `20240102`, `2024-W01-2`, `2024W012`, or a week
/// without its day.
fn date_length(text: &[u8]) -> Option<usize> {
    match text {
        [_, _, _, _, b'-', b'W', _, _] => Some(8),
        // A dash here may precede a day or a time; the day is likelier.
        [_, _, _, _, b'-', b'W', _, _, b'-', day, rest @ ..] if day.is_ascii_digit() => {
            Some(if rest.first().is_some_and(u8::is_ascii_digit) { 8 } else { 10 })
        }
        [_, _, _, _, b'-', b'W', ..] => Some(8),
        [_, _, _, _, b'-', ..] => Some(10),
        [_, _, _, _, b'W', _, _, rest @ ..] => {
            let digits = rest.iter().take_while(|octet| octet.is_ascii_digit()).count();
            // With one digit or three the first is a day, because a time has pairs of digits.
            Some(if digits >= 2 && digits % 2 == 1 { 7 } else { 7 + digits.min(1) })
        }
        [_, _, _, _, _, _, _, _, ..] => Some(8),
        _ => None,
    }
}

fn iso_date(text: &str) -> Option<NaiveDate> {
    let is_dashed = text.contains('-');
    let bare = if is_dashed { text.replace('-', "") } else { text.to_owned() };
    let dashes = match (bare.as_bytes().get(4)?, bare.len()) {
        (b'W', 7) => &[4][..],
        (b'W', _) => &[4, 8],
        _ => &[4, 7],
    };
    let found: Vec<_> = text.match_indices('-').map(|(at, _)| at).collect();
    if is_dashed && found != dashes {
        return None;
    }
    let number = |from: usize, to: usize| digits(bare.as_bytes().get(from..to)?);
    let year = i32::try_from(number(0, 4)?).ok()?;
    let date = match bare.as_bytes().get(4)? {
        b'W' => {
            let day = if bare.len() == 7 { 1 } else { number(7, bare.len())? };
            let weekday = chrono::Weekday::try_from(u8::try_from(day.checked_sub(1)?).ok()?).ok()?;
            NaiveDate::from_isoywd_opt(year, number(5, 7)?, weekday)
        }
        _ => NaiveDate::from_ymd_opt(year, number(4, 6)?, number(6, bare.len())?),
    };
    date.filter(is_pythons).filter(|_| YEARS.contains(&year))
}

fn is_pythons(date: &NaiveDate) -> bool {
    YEARS.contains(&date.year())
}

/// Parses the time and the zone; also returns whether it is 24:00, the midnight at the end of the
/// day.
fn iso_time(text: &str) -> Option<(NaiveTime, bool, Option<FixedOffset>)> {
    let (time, offset) = match text.find(['+', '-', 'Z', 'z']) {
        Some(at) => {
            let (time, zone) = text.split_at_checked(at)?;
            (
                time,
                Some(if zone.eq_ignore_ascii_case("z") {
                    FixedOffset::east_opt(0)?
                } else {
                    iso_zone(zone)?
                }),
            )
        }
        None => (text, None),
    };
    let (hours, minutes, seconds, microseconds) = clock(time)?;
    let is_midnight_after = (hours, minutes, seconds, microseconds) == (24, 0, 0, 0);
    let hours = if is_midnight_after { 0 } else { hours };
    let time = NaiveTime::from_hms_micro_opt(hours, minutes, seconds, microseconds)?;
    // Python has no leap seconds.
    (microseconds < 1_000_000).then_some((time, is_midnight_after, offset))
}

/// Parses the zone, such as `+01:00`, `-0330` or `+05`; fractions of a second are dropped.
fn iso_zone(text: &str) -> Option<FixedOffset> {
    let (sign, text) = text.split_at_checked(1)?;
    let (hours, minutes, seconds, _) = clock(text)?;
    let seconds = i32::try_from(hours * 3600 + minutes * 60 + seconds).ok()?;
    match sign {
        "+" => FixedOffset::east_opt(seconds),
        "-" => FixedOffset::west_opt(seconds),
        _ => None,
    }
}

/// Parses hours, minutes, seconds and microseconds, with colons between them or without: `03`,
/// `03:04`, `0304`, `03:04:05.678901`. Digits after the sixth are cut off.
fn clock(text: &str) -> Option<(u32, u32, u32, u32)> {
    let mut parts = [0; 3];
    let mut rest = text.as_bytes();
    let has_colons = rest.get(2) == Some(&b':');
    for part in &mut parts {
        let (pair, behind) = rest.split_at_checked(2)?;
        *part = digits(pair)?;
        rest = match behind {
            [] => behind,
            [b'.' | b',', ..] => behind,
            [b':', next @ ..] if has_colons && !next.is_empty() => next,
            _ if has_colons => return None,
            _ => behind,
        };
        if matches!(rest, [] | [b'.' | b',', ..]) {
            break;
        }
    }
    let [hours, minutes, seconds] = parts;
    let microseconds = match rest {
        [] => 0,
        [b'.' | b',', fraction @ ..] if !fraction.is_empty() => microseconds(fraction)?,
        _ => return None,
    };
    Some((hours, minutes, seconds, microseconds))
}

fn microseconds(fraction: &[u8]) -> Option<u32> {
    let (counted, cut) = fraction.split_at(fraction.len().min(6));
    if !cut.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let missing = u32::try_from(6 - counted.len()).ok()?;
    Some(digits(counted)? * 10_u32.pow(missing))
}

/// Reads at most six digits, without a sign.
fn digits(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

fn without_zone<T>((datetime, zone): (T, Option<FixedOffset>)) -> Result<T, BoxError> {
    match zone {
        None => Ok(datetime),
        Some(zone) => Err(format!("the value has the time zone {zone}, and the type has none").into()),
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
        let (datetime, offset) = parse_datetime(text)?;
        let offset = offset.ok_or_else(|| format!("{text:?} has no time zone"))?;
        let datetime = offset.from_local_datetime(&datetime).single();
        datetime.ok_or_else(|| format!("{text:?} is out of range").into())
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
            ("20240102T030405,5", "2024-01-02T03:04:05.500000"),
            ("2024-W01-2x03", "2024-01-02T03:00:00"),
            ("2024W012é0304", "2024-01-02T03:04:00"),
            ("2024W01", "2024-01-01T00:00:00"),
            ("2024-W01", "2024-01-01T00:00:00"),
            ("2024-01-02T24:00", "2024-01-03T00:00:00"),
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
        assert_eq!(
            written::<DateTime<FixedOffset>>("2024-01-02T03:04:05+01:60"),
            "2024-01-02T03:04:05+02:00"
        );
        assert_eq!(written::<NaiveDate>("2024-01-02T00:00:00"), "2024-01-02");
        assert_eq!(written::<NaiveTime>("T0304"), "03:04:00");
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
            "2024-01-2T03:04:05",
            "2024-0102",
            "202401-02",
            "2024W01-2",
            "2024-W54-1",
            "2024-W01-8",
            "2024W010",
            "2024-01-02T25:00:00",
            "2024-01-02T23:59:60",
            "é024-01-02",
            "2024-01-0é",
            "2024-01-02T03:04:05+1",
            "2024-01-02T03:04:05+99:00",
            "2024-01-02T03:04:05+24:00",
            "2024-01-02T03:04:05Z0",
            "2024-01-02T03:04:05.",
            "2024-01-02T03:04:05.67890é",
            "2024-01-02T03:0405",
            "2024-01-02T0304:05",
            "9999-12-31T24:00",
            "2024-01-02T24:00:01",
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
