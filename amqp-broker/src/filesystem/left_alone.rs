//! Files that cannot be read: they stay as they are, and are logged.

use std::{collections::HashSet, fmt::Display};

use crate::shown::shown;
use crate::sync::Mutex;

/// The most names of such files that are remembered, so that each is logged once.
const MOST: usize = 1000;

/// The files that were logged.
#[derive(Debug, Default)]
pub(super) struct LeftAlone {
    names: Mutex<HashSet<String>>,
}

impl LeftAlone {
    /// Tells whether a file was logged.
    pub(super) fn has(&self, file: &str) -> bool {
        self.names.lock().contains(file)
    }

    /// Logs that a file is left alone, and why, unless it was logged already.
    pub(super) fn log(&self, file: &str, why: impl Display) {
        let mut names = self.names.lock();
        if names.len() < MOST && names.insert(file.to_owned()) {
            tracing::warn!(
                file = shown(file),
                error = shown(why),
                "a file that cannot be read is left alone"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::log::logged;

    #[test]
    fn each_file_is_logged_once() {
        let left_alone = LeftAlone::default();
        let lines = logged(|| ["a\nb", "c", "a\nb"].iter().for_each(|file| left_alone.log(file, "no JSON")));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with(r#"left alone file="a\\nb" error="no JSON""#), "{lines:?}");
    }
}
