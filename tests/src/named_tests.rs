//! Tables of tests in a file's documentation.

use std::{fs, path::Path};

/// Looks up every test of the suite that the table in a file's documentation names in backquotes;
/// returns how many there are.
///
/// # Panics
/// When one does not exist, so that a renamed or removed test does not leave its row behind.
pub fn find_named_tests(documented: &str) -> usize {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("suite");
    let table = documented.lines().filter(|line| line.starts_with("//! | "));
    let names = table.flat_map(|line| line.split('`').skip(1).step_by(2));
    names
        .map(|name| {
            let (module, test) = name.rsplit_once("::").unwrap_or_default();
            let file = suite.join(module.replace("::", "/")).with_extension("rs");
            let is_there = fs::read_to_string(&file).is_ok_and(|text| text.contains(&format!("fn {test}(")));
            assert!(is_there, "there is no {name}");
        })
        .count()
}
