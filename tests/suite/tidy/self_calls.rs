//! A type whose methods are spread over files: those that call each other through `self` form no
//! circle.

use std::collections::{BTreeMap, BTreeSet};

use super::circle::{Graph, path};
use super::finding::Finding;
use super::source::Source;

pub(super) fn check(sources: &[&Source]) -> Vec<Finding> {
    let types: BTreeSet<_> =
        sources.iter().flat_map(|source| &source.impls).map(|one| &one.type_name).collect();
    let mut findings = Vec::new();
    for name in types {
        let graph = graph(sources, name);
        let circle = in_a_circle(&graph);
        let Some(first) = circle.first() else { continue };
        let line = graph[first].values().next().copied().unwrap_or(1);
        let files = circle.join(", ");
        let what = format!("files of `{name}` call each other in a circle through `self`: {files}");
        findings.push(Finding::new(first, line, what));
    }
    findings
}

/// For each file with methods of the type, the files whose methods of it it calls through `self`.
fn graph<'a>(sources: &[&'a Source], name: &str) -> Graph<'a> {
    let mut defined = BTreeMap::<&str, BTreeSet<&str>>::new();
    let blocks = |source: &'a Source| source.impls.iter().filter(move |one| one.type_name == name);
    for source in sources {
        for method in blocks(source).flat_map(|one| &one.defined) {
            defined.entry(method).or_default().insert(&source.file);
        }
    }
    let mut graph = Graph::new();
    for source in sources.iter().filter(|source| blocks(source).next().is_some()) {
        let targets = graph.entry(&source.file).or_default();
        for (method, line) in blocks(source).flat_map(|one| &one.called) {
            // A name in several files belongs to types of the same name.
            let Some(files) = defined.get(method.as_str()).filter(|files| files.len() == 1) else { continue };
            for file in files.iter().filter(|file| **file != source.file) {
                targets.entry(*file).or_insert(*line);
            }
        }
    }
    graph
}

fn in_a_circle<'a>(graph: &Graph<'a>) -> Vec<&'a str> {
    let is_in = |from: &&str| graph[*from].keys().any(|to| path(graph, to, from).is_some());
    graph.keys().copied().filter(is_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIRCLE: [(&str, &str); 3] = [
        ("a.rs", "struct A;\nimpl A { fn a(&self) { if x { self.b() } } }"),
        ("a/b.rs", "impl<'a> Trait<'a> for super::A where A: X { fn b(&self) { Self::c(self) } }"),
        ("a/c.rs", "impl A { fn c(&self) { self.a(); } }"),
    ];

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> =
            files.iter().map(|(name, text)| Source::parse(&format!("x/src/{name}"), text)).collect();
        let findings = check(&sources.iter().collect::<Vec<_>>());
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn files_of_a_type_that_call_each_other_through_self_are_a_circle() {
        assert_eq!(
            found(&CIRCLE),
            ["x/src/a.rs:2: files of `A` call each other in a circle through `self`: x/src/a.rs, \
                 x/src/a/b.rs, x/src/a/c.rs"]
        );
        assert!(found(&CIRCLE[..2]).is_empty());
    }

    #[test]
    fn calls_of_tests_and_of_other_types_are_no_arrows() {
        let mut others = CIRCLE;
        others[2].1 = "impl B { fn c(&self) { self.a(); } }";
        assert!(found(&others).is_empty());
        others[2].1 = "impl A { fn c(&self) {} }\n#[cfg(test)]\nimpl A { fn d(&self) { self.a(); } }";
        assert!(found(&others).is_empty());
    }
}
