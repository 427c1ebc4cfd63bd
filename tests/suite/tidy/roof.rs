//! lib.rs shows the crate to others and does nothing else; inside, everybody names the file they
//! mean.

use std::slice::from_ref;

use super::circle::{Modules, Names};
use super::finding::Finding;
use super::source::{ItemKind, Source};

pub(super) fn check(sources: &[&Source]) -> Vec<Finding> {
    let modules = Modules::new(sources);
    let (roof, inside): (Vec<_>, Vec<_>) = modules.iter().partition(|(module, _)| module.is_empty());
    let in_roof = roof.into_iter().flat_map(|(_, source)| check_roof(source));
    let through_roof = inside.into_iter().flat_map(|(module, source)| check_inside(&modules, module, source));
    in_roof.chain(through_roof).collect()
}

fn check_roof(source: &Source) -> Vec<Finding> {
    let others = source.items.iter().filter(|item| item.kind == ItemKind::Other);
    others
        .map(|item| {
            Finding::new(&source.file, item.line, "lib.rs holds nothing but `mod name;` and `pub use`")
        })
        .collect()
}

fn check_inside(modules: &Modules<'_>, module: &[String], source: &Source) -> Vec<Finding> {
    let to_roof = source.paths.iter().filter(|path| {
        // A macro that is exported has no other path than the root's.
        !path.is_macro
            && modules
                .absolute(module, path, &Names::new())
                .is_some_and(|path| path.first().is_none_or(|first| !modules.contains(from_ref(first))))
    });
    to_roof
        .map(|path| {
            let path_written = path.segments.join("::");
            Finding::new(&source.file, path.line, format!("nobody imports through lib.rs: {path_written}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> =
            files.iter().map(|(name, text)| Source::parse(&format!("x/src/{name}"), text)).collect();
        check(&sources.iter().collect::<Vec<_>>()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_import_or_an_item_in_lib_rs_is_found() {
        let roof = "//! Docs.\nmod a;\npub use a::A;\nuse std::fmt;\nfn f() {}\n";
        assert_eq!(
            findings(&[("lib.rs", roof), ("a.rs", "")]),
            [
                "x/src/lib.rs:4: lib.rs holds nothing but `mod name;` and `pub use`",
                "x/src/lib.rs:5: lib.rs holds nothing but `mod name;` and `pub use`"
            ]
        );
    }

    #[test]
    fn an_import_through_lib_rs_is_found() {
        for (import, path) in [
            ("use crate::Name;", "crate::Name"),
            ("use crate::{a::A, Name};", "crate::Name"),
            ("use super::Name;", "super::Name"),
            ("use crate::*;", "crate::*"),
            ("fn f() { crate::name() }", "crate::name"),
            ("mod inner { use super::super::Name; }", "super::super::Name"),
        ] {
            assert_eq!(
                findings(&[("lib.rs", "mod a; mod b;"), ("a.rs", ""), ("b.rs", import)]),
                [format!("x/src/b.rs:1: nobody imports through lib.rs: {path}")]
            );
        }
    }

    #[test]
    fn imports_from_the_file_that_has_the_thing_are_fine() {
        let files = [
            ("lib.rs", "pub mod a;\nmod b;\npub use b::{B, C};\n"),
            ("a.rs", "use crate::b::B;\nuse super::b;\nmod inner { use super::D; }\ncrate::exported!();\n"),
            ("b.rs", "pub(crate) struct B;\n#[cfg(test)] mod tests { use crate::Name; }\n"),
        ];
        assert!(findings(&files).is_empty());
    }
}
