//! Which names may become part of a path.

use crate::backend::BackendError;

/// The longest name of a file on usual file systems, in octets.
const LONGEST: usize = 255;

/// What a message's file name has beside the queue's name: a time, a UUID, and our mark of a claim.
const AROUND_QUEUE: usize = 20 + 1 + 36 + 1 + 4 + CLAIM_MARK;
/// `.claimed-` and a UUID.
const CLAIM_MARK: usize = 9 + 36;
/// `.exchange`, and what stands before the name while the file is written.
const AROUND_EXCHANGE: usize = 9;

/// Names that address a device on Windows, whatever extension they have. kombu refuses them
/// everywhere, so that folders may move.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];

/// Checks the name of an exchange, which kombu limits to letters, digits, dots, hyphens and
/// underscores.
///
/// # Errors
/// When it cannot be the name of a file (406).
pub(super) fn check_exchange(name: &str) -> Result<(), BackendError> {
    let is_fit = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'_' | b'-');
    let is_dots = name.bytes().all(|octet| octet == b'.');
    match name.is_empty() || is_dots || !name.bytes().all(is_fit) || is_device(name) {
        true => Err(unfit("exchange", name, "letters, digits, dots, hyphens and underscores only")),
        false => check_length("exchange", name, AROUND_EXCHANGE),
    }
}

/// Checks the name of a queue.
///
/// # Errors
/// When it cannot be a part of the name of a file (406).
pub(super) fn check_queue(name: &str) -> Result<(), BackendError> {
    let is_unfit = |character: char| matches!(character, '/' | '\\' | '\0') || character.is_control();
    match name.is_empty() || name.contains(is_unfit) || name.split('.').any(str::is_empty) {
        true => Err(unfit("queue", name, "no slash, no control character, and no empty part between dots")),
        false => check_length("queue", name, AROUND_QUEUE),
    }
}

fn check_length(what: &str, name: &str, around: usize) -> Result<(), BackendError> {
    let most = LONGEST - around;
    match name.len() <= most {
        true => Ok(()),
        false => Err(unfit(what, name, &format!("at most {most} octets"))),
    }
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let is_numbered = |prefix| {
        let number = stem.strip_prefix(prefix);
        number.is_some_and(|digit: &str| digit.len() == 1 && ("1"..="9").contains(&digit))
    };
    DEVICES.contains(&&*stem) || is_numbered("COM") || is_numbered("LPT")
}

fn unfit(what: &str, name: &str, rule: &str) -> BackendError {
    let text = format!("invalid {what} name '{}' for a file: {rule}", name.escape_default());
    BackendError::PreconditionFailed(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["", ".", "..", "...", "a/b", "../a", "a\\b", "a\0b", "a b", "ä", "NUL", "com1.x", "C:a"]
        {
            assert!(check_exchange(name).is_err(), "{name:?}");
        }
        for name in ["a", "celery.pidbox", "reply.celery.pidbox", "A-b_1", "com0", "LPT10", "null"] {
            assert!(check_exchange(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn queues_have_more_names() {
        for name in ["", ".", "..", "a/b", "../../etc", "a\0b", "a\nb", "a..b", ".hidden"] {
            assert!(check_queue(name).is_err(), "{name:?}");
        }
        for name in ["celery", "w1@host.celery.pidbox", "a b", "ä"] {
            assert!(check_queue(name).is_ok(), "{name:?}");
        }
    }

    #[test]
    fn a_name_fits_into_the_name_of_a_file() {
        assert!(check_queue(&"q".repeat(LONGEST - AROUND_QUEUE)).is_ok());
        let error = check_queue(&"q".repeat(LONGEST - AROUND_QUEUE + 1)).unwrap_err();
        assert!(error.to_string().ends_with("at most 148 octets"), "{error}");
        assert!(check_exchange(&"e".repeat(247)).is_err());
    }
}
