//! The values of options, as text.

use std::{str::FromStr, time::Duration};

use super::error::RedisOptionsError;

type Result<T> = std::result::Result<T, RedisOptionsError>;

/// What Python prints for no value, too.
fn is_none(value: &str) -> bool {
    matches!(value, "" | "None" | "none" | "null")
}

pub(super) fn boolean(option: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(RedisOptionsError::value(option, "true or false")),
    }
}

pub(super) fn number<T: FromStr>(option: &str, value: &str) -> Result<T> {
    value.parse().map_err(|_| RedisOptionsError::value(option, "a whole number"))
}

pub(super) fn optional_number<T: FromStr>(option: &str, value: &str) -> Result<Option<T>> {
    if is_none(value) { Ok(None) } else { number(option, value).map(Some) }
}

pub(super) fn seconds(option: &str, value: &str) -> Result<Duration> {
    let seconds = value.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| RedisOptionsError::value(option, "a number of seconds"))
}

pub(super) fn optional_seconds(option: &str, value: &str) -> Result<Option<Duration>> {
    if is_none(value) { Ok(None) } else { seconds(option, value).map(Some) }
}

pub(super) fn optional_text(value: &str) -> Option<String> {
    (!is_none(value)).then(|| value.to_owned())
}

pub(super) fn text(option: &str, value: &str) -> Result<String> {
    match value {
        "" => Err(RedisOptionsError::value(option, "a text that is not empty")),
        value => Ok(value.to_owned()),
    }
}

/// Whole numbers from 0 to 9, separated by commas, with or without Python's brackets.
pub(super) fn steps(option: &str, value: &str) -> Result<Vec<u8>> {
    let value = value.trim().trim_start_matches(['[', '(']).trim_end_matches([']', ')']);
    let steps: Option<Vec<u8>> =
        value.split(',').map(|step| step.trim().parse().ok().filter(|step| *step <= 9)).collect();
    steps.ok_or_else(|| RedisOptionsError::value(option, "numbers from 0 to 9, as in 0,3,6,9"))
}
