//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::manifest::{FLOORS, Manifest};
use super::source::Source;

pub(super) struct Tree {
    /// The workspace's manifest.
    pub(super) root: Manifest,
    /// The manifests of the workspace's crates.
    pub(super) manifests: Vec<Manifest>,
    /// All Rust files, including those of fuzz and benches.
    pub(super) sources: Vec<Source>,
    /// The text of ARCHITECTURE.md, with the map of the folders.
    pub(super) map: String,
}

pub(super) fn tree() -> &'static Tree {
    static TREE: OnceLock<Tree> = OnceLock::new();
    TREE.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let manifest = |name: &str| Manifest::parse(name, &fs::read_to_string(root.join(name)).unwrap());
        let source = |file: &PathBuf| {
            let name = file.strip_prefix(root).unwrap().to_str().unwrap();
            Source::parse(name, &fs::read_to_string(file).unwrap())
        };
        let mut sources: Vec<_> = rust_files(root).iter().map(source).collect();
        mark_tests(&mut sources);
        let tree = Tree {
            root: manifest("Cargo.toml"),
            manifests: FLOORS.iter().map(|(name, _)| manifest(&format!("{name}/Cargo.toml"))).collect(),
            sources,
            map: fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap(),
        };
        for (name, _) in FLOORS {
            let roof = format!("{name}/src/lib.rs");
            assert!(tree.sources.iter().any(|source| source.file == roof), "{roof} was not found");
        }
        tree
    })
}

impl Tree {
    /// The files under `src` of each library, without its programs and tests.
    pub(super) fn libraries(&self) -> impl Iterator<Item = Vec<&Source>> {
        FLOORS.iter().map(|(name, _)| {
            let folder = format!("{name}/src/");
            let inside = |source: &&Source| {
                let rest = source.file.strip_prefix(&folder);
                !source.is_test && rest.is_some_and(|rest| rest != "main.rs" && !rest.starts_with("bin/"))
            };
            self.sources.iter().filter(inside).collect()
        })
    }
}

/// Marks the files of modules that are for tests only.
fn mark_tests(sources: &mut [Source]) {
    let declared: Vec<_> = sources.iter().flat_map(|source| source.test_files.clone()).collect();
    for source in sources {
        source.is_test = declared.iter().any(|module| {
            let rest = source.file.strip_prefix(module.as_str());
            rest.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_str().unwrap().to_owned();
            if entry.file_type().unwrap().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(entry.path());
                }
            } else if name.ends_with(".rs") {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_test_module_are_tests_and_no_others() {
        let mut sources: Vec<_> = [
            "x/src/lib.rs",
            "x/src/tests/mod.rs",
            "x/src/tests/a.rs",
            "x/src/tests_too.rs",
            "y/src/tests.rs",
        ]
        .iter()
        .map(|file| Source::parse(file, if *file == "x/src/lib.rs" { "#[cfg(test)] mod tests;" } else { "" }))
        .collect();
        mark_tests(&mut sources);
        let are_tests: Vec<_> = sources.iter().map(|source| source.is_test).collect();
        assert_eq!(are_tests, [false, true, true, false, false]);
    }
}
