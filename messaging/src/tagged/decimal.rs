//! Decimal numbers, as Python writes them.

use rust_decimal::Decimal;

use super::tag::{Plain, Tagged};
use crate::serialize::BoxError;

impl Tagged for Decimal {
    type Payload = String;
    const TAGS: &'static [&'static str] = &["decimal"];

    fn to_tagged(&self) -> Result<(&'static str, String), BoxError> {
        Ok(("decimal", text(*self)))
    }

    fn from_tagged(_tag: &str, payload: String) -> Result<Self, BoxError> {
        Self::from_text(&payload)
    }

    fn to_plain(&self) -> Result<Plain<'_>, BoxError> {
        Ok(Plain::Text(text(*self)))
    }

    /// Never rounded: what has more than 28 digits may not fit, and neither do `NaN` and `Infinity`.
    fn from_text(text: &str) -> Result<Self, BoxError> {
        let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, ""));
        let exact = Decimal::from_str_exact(digits);
        let number = if exponent.is_empty() {
            exact.ok().filter(|_| digits.len() == text.len())
        } else {
            exact.and_then(|_| Decimal::from_scientific(text)).ok()
        };
        number.ok_or_else(|| format!("{text:?} does not fit into a decimal number of 96 bits").into())
    }
}

/// Python's `str`: with an exponent when there are more than five zeros behind the point.
fn text(number: Decimal) -> String {
    let digits = number.mantissa().unsigned_abs().to_string();
    let scale = i64::from(number.scale());
    // Where the point is, from the first digit on.
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
        // Each is str(Decimal(itself)).
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
    fn what_does_not_fit_is_refused_and_never_rounded() {
        for number in [
            "NaN",
            "Infinity",
            "",
            "1e",
            "e5",
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
