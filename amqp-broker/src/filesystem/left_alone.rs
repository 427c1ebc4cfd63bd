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
pub(super) mod tests {
    use std::{
        io::{Read, Seek},
        sync::Arc,
    };

    use super::*;

    /// The lines that are logged meanwhile, in this thread.
    pub(in super::super) fn logged(act: impl FnOnce()) -> Vec<String> {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(Arc::clone(&file)).finish();
        tracing::subscriber::with_default(subscriber, act);
        let (mut file, mut log) = (&*file, String::new());
        file.rewind().unwrap();
        file.read_to_string(&mut log).unwrap();
        log.lines().map(str::to_owned).collect()
    }

    #[test]
    fn each_file_is_logged_once() {
        let left_alone = LeftAlone::default();
        let lines = logged(|| ["a\nb", "c", "a\nb"].iter().for_each(|file| left_alone.log(file, "no JSON")));
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].ends_with(r#"left alone file="a\\nb" error="no JSON""#), "{lines:?}");
    }
}
