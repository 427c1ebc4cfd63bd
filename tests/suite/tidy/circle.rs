//! The graph of imports between the files of a crate, which has no circles.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::finding::Finding;
use super::source::{Path, Source};

/// The modules of a crate that are files.
pub(super) struct Modules<'a> {
    files: BTreeMap<Vec<String>, &'a Source>,
}

impl<'a> Modules<'a> {
    pub(super) fn new(sources: &[&'a Source]) -> Self {
        Self { files: sources.iter().map(|source| (module_of(&source.file), *source)).collect() }
    }

    /// The files, each with the path of its module.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[String], &'a Source)> {
        self.files.iter().map(|(module, source)| (module.as_slice(), *source))
    }

    /// Whether a file is the module at this path.
    pub(super) fn contains(&self, module: &[String]) -> bool {
        self.files.contains_key(module)
    }

    /// The path, from the crate's root, that `path` means in the file of `module`; `None` outside
    /// of the crate.
    pub(super) fn absolute(&self, module: &[String], path: &Path, names: &Names) -> Option<Vec<String>> {
        let mut base = [module, &path.inside].concat();
        let mut segments = path.segments.iter().peekable();
        match segments.peek()?.as_str() {
            "crate" => {
                base.clear();
                segments.next();
            }
            "self" | "super" => {
                segments.next_if(|segment| *segment == "self");
                while segments.next_if(|segment| *segment == "super").is_some() {
                    base.pop()?;
                }
            }
            name => {
                // It is a module declared here, or one that a `use` has imported.
                let child = [base.as_slice(), &[name.to_owned()]].concat();
                let known = if self.contains(&child) { Some(&child) } else { names.get(name) };
                base = known.filter(|_| path.segments.len() > 1)?.clone();
                segments.next();
            }
        }
        base.extend(segments.filter(|segment| *segment != "self" && *segment != "*").cloned());
        Some(base)
    }

    /// The modules that the file of `module` imports under a name.
    pub(super) fn names(&self, module: &[String], source: &Source) -> Names {
        let none = Names::new();
        let named = source.paths.iter().filter(|path| path.segments.len() > 1).filter_map(|path| {
            let absolute = self.absolute(module, path, &none)?;
            let name = path.alias.as_ref().or(absolute.last())?.clone();
            self.contains(&absolute).then_some((name, absolute))
        });
        named.collect()
    }

    /// The file that a path leads to.
    fn file_of(&self, absolute: &[String]) -> Option<&'a Source> {
        (0..=absolute.len()).rev().find_map(|length| self.files.get(&absolute[..length]).copied())
    }
}

/// The modules that a file can name, each with its path.
pub(super) type Names = BTreeMap<String, Vec<String>>;

/// For each file the files that it mentions, with the line of the first mention.
pub(super) type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, usize>>;

pub(super) fn check(sources: &[&Source]) -> Vec<Finding> {
    let graph = graph(sources);
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for (&from, targets) in &graph {
        for (&to, &line) in targets {
            let Some(path_back) = path(&graph, to, from) else { continue };
            if seen.insert(path_back.iter().copied().collect::<BTreeSet<_>>()) {
                let circle = [&[from], path_back.as_slice()].concat().join(" -> ");
                findings.push(Finding::new(from, line, format!("files form no circle: {circle}")));
            }
        }
    }
    findings
}

pub(super) fn graph<'a>(sources: &[&'a Source]) -> Graph<'a> {
    let modules = Modules::new(sources);
    let mut graph = Graph::new();
    for (module, source) in modules.iter() {
        let names = modules.names(module, source);
        let targets = graph.entry(&source.file).or_default();
        for path in &source.paths {
            let target = modules.absolute(module, path, &names).and_then(|path| modules.file_of(&path));
            if let Some(target) = target.filter(|target| target.file != source.file) {
                targets.entry(&target.file).or_insert(path.line);
            }
        }
    }
    graph
}

/// The shortest path from file to file, including both.
pub(super) fn path<'a>(graph: &Graph<'a>, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let mut paths = VecDeque::from([vec![from]]);
    let mut reached = BTreeSet::from([from]);
    while let Some(path) = paths.pop_front() {
        let last = *path.last()?;
        if last == to {
            return Some(path);
        }
        for next in graph.get(last)?.keys() {
            if reached.insert(next) {
                paths.push_back([path.as_slice(), &[*next]].concat());
            }
        }
    }
    None
}

/// The module of a file: `name/src/proto/channel.rs` is `proto::channel`; `lib.rs` and `mod.rs` are
/// their folders.
fn module_of(file: &str) -> Vec<String> {
    let inside = file.split_once("/src/").map_or(file, |(_, inside)| inside).trim_end_matches(".rs");
    let mut module: Vec<_> = inside.split('/').map(str::to_owned).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
        module.pop();
    }
    module
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> =
            files.iter().map(|(name, text)| Source::parse(&format!("x/src/{name}"), text)).collect();
        check(&sources.iter().collect::<Vec<_>>()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_files_that_use_each_other_are_a_circle() {
        assert_eq!(
            circles(&[
                ("lib.rs", "mod a; mod b; pub use a::A;"),
                ("a.rs", "use crate::b::B;"),
                ("b.rs", "use std::fmt;\n\nuse super::a::A;")
            ]),
            ["x/src/a.rs:1: files form no circle: x/src/a.rs -> x/src/b.rs -> x/src/a.rs"]
        );
    }

    #[test]
    fn a_circle_is_found_however_its_paths_are_written() {
        for (a, b) in [
            ("fn f() { crate::b::g() }", "use crate::{a::A, c};"),
            ("use crate::b; fn f() { b::g() }", "impl super::a::A for B {}"),
            ("use crate::b::{self, B};", "macro_rules! m { () => { $crate::a::A }; }"),
            ("mod inner { use super::super::b::B; }", "use crate::a::*;"),
            ("use self::super::b as other;", "pub use crate::a::inner::A;"),
        ] {
            let files = [("lib.rs", "mod a; mod b; mod c;"), ("a.rs", a), ("b.rs", b), ("c.rs", "")];
            assert_eq!(circles(&files).len(), 1, "{a} | {b}");
        }
    }

    #[test]
    fn a_longer_circle_is_told_once_and_in_full() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "use crate::c::C;"),
            ("c.rs", "use crate::a::A;"),
        ];
        let circles = circles(&files);
        assert_eq!(circles.len(), 1);
        assert!(
            circles[0].ends_with("x/src/a.rs -> x/src/b.rs -> x/src/c.rs -> x/src/a.rs"),
            "{}",
            circles[0]
        );
    }

    #[test]
    fn the_roof_of_a_folder_is_a_file_of_its_own() {
        let through_the_roof = [
            ("lib.rs", "mod proto;"),
            ("proto/mod.rs", "mod channel; mod id;\npub use channel::Channel; pub use id::Id;"),
            ("proto/channel.rs", "use super::Id;"),
            ("proto/id.rs", ""),
        ];
        let circles_through_the_roof = circles(&through_the_roof);
        assert_eq!(circles_through_the_roof.len(), 1);
        assert!(circles_through_the_roof[0].contains("x/src/proto/channel.rs:1: "));

        let mut beside_the_roof = through_the_roof;
        beside_the_roof[2].1 = "use super::id::Id;";
        assert!(circles(&beside_the_roof).is_empty());
    }

    #[test]
    fn a_module_brought_by_use_leads_on_to_what_is_in_it() {
        let files = [
            ("lib.rs", "mod proto; mod shared;"),
            ("proto/mod.rs", "pub(crate) mod engine;"),
            ("proto/engine.rs", "use crate::shared::Shared;"),
            ("shared.rs", "use crate::proto as p;\nfn f() { p::engine::run() }"),
        ];
        assert_eq!(circles(&files).len(), 1);
    }

    #[test]
    fn tests_may_look_anywhere() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "use crate::b::B;"),
            ("b.rs", "#[cfg(test)] mod tests { use super::*; use crate::a::A; }"),
        ];
        assert!(circles(&files).is_empty());
    }
}
