//! Checks of a crate's folders: their size, and their order in ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};

use super::circle::{Graph, graph, path};
use super::finding::Finding;
use super::source::Source;

/// The crates whose folders are counted, and whose folders the map lists one by one, in their
/// order.
const COUNTED: [&str; 6] = ["amqp-codec", "amqp-client", "amqp-broker", "amqp-fuzz", "messaging", "amqp-cli"];
const ORDERED: [&str; 6] = COUNTED;

const MOST_FILES: usize = 15;

const MAP: &str = "ARCHITECTURE.md";

/// At most so many files are in a folder under a crate's `src`, be they tests or not.
pub(super) fn check_count(sources: &[&Source]) -> Vec<Finding> {
    let mut folders = BTreeMap::<&str, usize>::new();
    for source in in_crates(&COUNTED, sources).filter(|source| inner_folder(&source.file).is_some()) {
        *folders.entry(folder_of(&source.file)).or_default() += 1;
    }
    let full = folders.into_iter().filter(|(_, count)| *count > MOST_FILES);
    full.map(|(folder, count)| {
        let what = format!("a folder has at most {MOST_FILES} files: this has {count}");
        Finding::new(folder, 1, what)
    })
    .collect()
}

/// The map lists every folder of the crate and no other, and each imports from those above it only.
pub(super) fn check_order(sources: &[&Source], map: &str) -> Vec<Finding> {
    let sources: Vec<_> = in_crates(&ORDERED, sources).collect();
    let Some(name) = sources.first().and_then(|source| source.file.split('/').next()) else {
        return Vec::new();
    };
    let listed = listed(map, name);
    let there: BTreeSet<_> = sources
        .iter()
        .filter_map(|source| inner_folder(&source.file))
        .filter(|folder| !folder.is_empty())
        .collect();
    let missing = there.iter().filter(|folder| !listed.iter().any(|(listed, _)| listed == *folder));
    let missing = missing.map(|folder| {
        Finding::new(MAP, 1, format!("the map of {name} lists every folder: `{folder}/` is missing"))
    });
    let unknown = listed.iter().filter(|(folder, _)| !there.contains(folder));
    let unknown = unknown.map(|(folder, line)| {
        Finding::new(MAP, *line, format!("{name} has no folder `{folder}/` with files"))
    });
    let place = |folder: &str| listed.iter().position(|(listed, _)| *listed == folder);
    let graph = graph(&sources);
    let mut upwards = Vec::new();
    for (from, targets) in &graph {
        for (to, line) in targets {
            let (Some(own), Some(other)) = (inner_folder(from), inner_folder(to)) else { continue };
            if place(own).zip(place(other)).is_some_and(|(own, other)| own < other) {
                let what = format!("folders import from those above them in {MAP}: {own}/ from {other}/");
                upwards.push(Finding::new(from, *line, what));
            }
        }
    }
    missing.chain(unknown).chain(upwards).chain(check_circles(&graph)).collect()
}

/// Folders form no circle, where a file that lies in none counts for itself.
fn check_circles(files: &Graph<'_>) -> Vec<Finding> {
    let mut rooms = Graph::new();
    for (from, targets) in files.iter().filter(|(from, _)| !from.ends_with("/src/lib.rs")) {
        for (to, line) in targets.iter().filter(|(to, _)| room_of(to) != room_of(from)) {
            rooms.entry(room_of(from)).or_default().entry(room_of(to)).or_insert(*line);
        }
    }
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for (&from, targets) in &rooms {
        for (&to, &line) in targets {
            let Some(path_back) = path(&rooms, to, from) else { continue };
            if seen.insert(path_back.iter().copied().collect::<BTreeSet<_>>()) {
                let circle = [&[from], path_back.as_slice()].concat().join(" -> ");
                findings.push(Finding::new(from, line, format!("folders form no circle: {circle}")));
            }
        }
    }
    findings
}

fn in_crates<'a>(crates: &[&str], sources: &[&'a Source]) -> impl Iterator<Item = &'a Source> {
    let is_in = |source: &&Source| source.file.split('/').next().is_some_and(|name| crates.contains(&name));
    sources.iter().copied().filter(is_in)
}

/// `amqp-broker/src/core/vhost` of `amqp-broker/src/core/vhost/mod.rs`.
fn folder_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// `core/vhost` of `amqp-broker/src/core/vhost/mod.rs`.
fn inner_folder(file: &str) -> Option<&str> {
    let (_, inside) = file.split_once("/src/")?;
    Some(folder_of(inside))
}

/// The folder of a file, or the file where it lies in none.
fn room_of(file: &str) -> &str {
    if inner_folder(file).is_none_or(str::is_empty) { file } else { folder_of(file) }
}

/// The folders that the map lists for a crate, each with its line: those of the points that begin
/// with one.
fn listed<'a>(map: &'a str, name: &str) -> Vec<(&'a str, usize)> {
    let lines =
        (1..).zip(map.lines()).skip_while(|(_, line)| line.strip_prefix("### ") != Some(name)).skip(1);
    let lines = lines.take_while(|(_, line)| !line.starts_with('#'));
    lines.filter_map(|(at, line)| Some((line.strip_prefix("- `")?.split_once("/`")?.0, at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE: &str = "# Map\n### amqp-codec\n- `x/`: other\n### amqp-broker\nA folder a line.\n\n- `a/b/`: low\n- `a/`: high\n";

    fn sources(files: &[(&str, &str)]) -> Vec<Source> {
        files.iter().map(|(name, text)| Source::parse(&format!("amqp-broker/src/{name}"), text)).collect()
    }

    fn order(files: &[(&str, &str)], map: &str) -> Vec<String> {
        let sources = sources(files);
        check_order(&sources.iter().collect::<Vec<_>>(), map).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_folder_that_is_too_full_is_found() {
        let names: Vec<_> = (0..=MOST_FILES).map(|number| format!("a/f{number}.rs")).collect();
        let files: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        let check = |files: &[(&str, &str)]| check_count(&sources(files).iter().collect::<Vec<_>>());
        assert!(check(&files[1..]).is_empty());
        let found = check(&files)[0].to_string();
        assert_eq!(found, "amqp-broker/src/a:1: a folder has at most 15 files: this has 16");
    }

    #[test]
    fn tests_count_where_they_lie_under_src() {
        let sources = |folder: &str| -> Vec<_> {
            let file = |number| Source::parse(&format!("amqp-broker/{folder}/f{number}.rs"), "");
            (0..=MOST_FILES).map(file).map(|source| Source { is_test: true, ..source }).collect()
        };
        let found = |folder| check_count(&sources(folder).iter().collect::<Vec<_>>()).len();
        assert_eq!(found("src/tests"), 1);
        assert_eq!(found("tests"), 0);
    }

    #[test]
    fn an_import_from_a_folder_further_down_in_the_map_is_found() {
        let fine = [("lib.rs", "mod a;"), ("a/mod.rs", "use crate::a::b::B;"), ("a/b/mod.rs", "")];
        assert!(order(&fine, TREE).is_empty());
        let upwards =
            [("lib.rs", "mod a;"), ("a/mod.rs", ""), ("a/c.rs", ""), ("a/b/mod.rs", "\nuse crate::a::c::C;")];
        assert_eq!(
            order(&upwards, TREE),
            [
                "amqp-broker/src/a/b/mod.rs:2: folders import from those above them in ARCHITECTURE.md: a/b/ from a/"
            ]
        );
    }

    #[test]
    fn a_folder_that_the_map_does_not_list_and_one_that_is_not_there_are_found() {
        let files = [("lib.rs", "mod a;"), ("a/mod.rs", ""), ("c/mod.rs", "")];
        assert_eq!(
            order(&files, TREE),
            [
                "ARCHITECTURE.md:1: the map of amqp-broker lists every folder: `c/` is missing",
                "ARCHITECTURE.md:7: amqp-broker has no folder `a/b/` with files"
            ]
        );
    }

    #[test]
    fn a_circle_through_files_in_no_folder_is_found() {
        let files = [
            ("lib.rs", "mod a; mod top;"),
            ("a/mod.rs", "use crate::top::Top;"),
            ("a/low.rs", ""),
            ("a/b/mod.rs", ""),
            ("top.rs", "use crate::a::low::Low;"),
        ];
        let found = order(&files, TREE);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].contains("folders form no circle: amqp-broker/src/a -> amqp-broker/src/top.rs -> "),
            "{found:?}"
        );
    }
}
