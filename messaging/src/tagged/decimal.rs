//! Decimal numbers, as Python writes them.

use std::fmt;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, de::Visitor};

use super::tag::{Plain, Tagged};
use crate::serialize::BoxError;

/// A decimal number's payload: its text, or a JSON number, which Python's `Decimal` accepts too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Number(pub(crate) String);

impl Number {
    /// Converts a number with a point, digit for digit. In JSON, whole numbers of over 64 bits
    /// arrive as floats as well, and are not exact.
    pub(crate) fn from_float(number: f64) -> Result<Self, BoxError> {
        if number.abs() < 2_f64.powi(64) {
            // The smallest floats have this many digits.
            let digits = format!("{number:.1074}");
            Ok(Number(digits.trim_end_matches('0').trim_end_matches('.').to_owned()))
        } else {
            Err(format!("the number {number:e} is too large to be read exactly; it must be sent as a string")
                .into())
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyNumber)
    }
}

struct AnyNumber;

impl Visitor<'_> for AnyNumber {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a decimal number, as a string or a number")
    }

    fn visit_str<E>(self, text: &str) -> Result<Number, E> {
        Ok(Number(text.to_owned()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Number, E> {
        Ok(Number(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Number, E> {
        Ok(Number(number.to_string()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Number, E> {
        Number::from_float(number).map_err(E::custom)
    }
}

impl Tagged for Decimal {
    type Payload = Number;
    const TAGS: &'static [&'static str] = &["decimal"];

    fn to_tagged(&self) -> Result<(&'static str, Number), BoxError> {
        Ok(("decimal", Number(text(*self))))
    }

    fn from_tagged(_tag: &str, payload: Number) -> Result<Self, BoxError> {
        Self::from_text(&payload.0)
    }

    fn to_plain(&self) -> Result<Plain<'_>, BoxError> {
        Ok(Plain::Text(text(*self)))
    }

    /// Reads without rounding: over 28 digits may not fit, and neither do `NaN` and `Infinity`.
    fn from_text(text: &str) -> Result<Self, BoxError> {
        exact(&text.trim().replace('_', "").to_ascii_lowercase())
            .ok_or_else(|| format!("{text:?} does not fit into a decimal number of 96 bits").into())
    }
}

/// Parses digits as Python's `Decimal` accepts them, with a point among, before or after them.
fn exact(text: &str) -> Option<Decimal> {
    let (digits, exponent) = match text.split_once('e') {
        Some((digits, exponent)) => (digits, exponent.parse::<i64>().ok()?),
        None => (text, 0),
    };
    let (is_negative, digits) = match digits.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, digits.strip_prefix('+').unwrap_or(digits)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let mut number = match digits.trim_start_matches('0') {
        "" => 0,
        digits => digits.parse::<i128>().ok()?,
    };
    let mut scale = i64::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if scale < 0 {
        // Zero is zero whatever its exponent.
        if number != 0 {
            number = number.checked_mul(10_i128.checked_pow(u32::try_from(-scale).ok()?)?)?;
        }
        scale = 0;
    }
    let mut number = Decimal::try_from_i128_with_scale(number, u32::try_from(scale).ok()?).ok()?;
    number.set_sign_negative(is_negative);
    Some(number)
}

/// Writes it as Python's `str`: with an exponent when there are more than five zeros after the
/// point.
fn text(number: Decimal) -> String {
    let digits = number.mantissa().unsigned_abs().to_string();
    let scale = i64::from(number.scale());
    // This is the position of the point, counted from the first digit.
    let point = i64::try_from(digits.len()).unwrap_or_default() - scale;
    if point > -6 {
        return number.to_string();
    }
    let sign = if number.is_sign_negative() { "-" } else { "" };
    let (first, rest) = digits.split_at(1);
    let dot = if rest.is_empty() { "" } else { "." };
    format!("{sign}{first}{dot}{rest}E{}", point - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them_and_read_back() {
        // For each of these, Python's str(Decimal(text)) is the text itself.
        for number in [
            "1.50",
            "0",
            "-1",
            "0.00",
            "0.000001",
            "1E-7",
            "-1.23E-9",
            "0E-7",
            "1.0E-7",
            "79228162514264337593543950335",
            "-0.1",
        ] {
            let read = Decimal::from_text(number).unwrap();
            assert_eq!(text(read), number);
        }
        assert_eq!(text(Decimal::from_text("1E+2").unwrap()), "100");
        assert_eq!(text(Decimal::from_text("12.5e1").unwrap()), "125");
    }

    #[test]
    fn whatever_python_takes_is_read() {
        for (number, same) in [
            (" 1.50\n", "1.50"),
            ("1_000.5", "1000.5"),
            ("+5", "5"),
            (".5", "0.5"),
            ("-5.", "-5"),
            ("0005e-1", "0.5"),
            ("0e99", "0"),
            ("-0", "-0"),
        ] {
            assert_eq!(text(Decimal::from_text(number).unwrap()), same, "{number}");
        }
        for (number, same) in
            [("7", "7"), ("-7", "-7"), ("1.5", "1.5"), ("18446744073709551615", "18446744073709551615")]
        {
            let payload: Number = serde_json::from_str(number).unwrap();
            assert_eq!(text(Decimal::from_tagged("decimal", payload).unwrap()), same);
        }
        // The exact value is 0.1000000000000000055511151231257827021181583404541015625.
        let tenth: Number = serde_json::from_str("0.1").unwrap();
        assert!(Decimal::from_tagged("decimal", tenth).is_err());
        assert!(serde_json::from_str::<Number>("123456789012345678901").is_err());
        assert!(serde_json::from_str::<Number>("[1]").is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_and_never_rounded() {
        for number in [
            "NaN",
            "Infinity",
            "",
            "1e",
            "e5",
            ".",
            "-",
            "1.2.3",
            "+-1",
            "1e+-1",
            "1E+30",
            "1E-40",
            "792281625142643375935439503360",
            "0.12345678901234567890123456789012",
            "1.2345678901234567890123456789012E-1",
            "1E999999999999",
        ] {
            assert!(Decimal::from_text(number).is_err(), "{number}");
        }
    }
}
