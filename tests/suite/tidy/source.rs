//! A Rust file: the paths it mentions, and how long it is.

use std::ops::RangeInclusive;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::methods::{Impl, impls};
use super::token::{
    as_group, as_word, attribute, first_line, is_cfg, is_mark, is_separator, is_word, item_length, last_line,
    visibility_length,
};

pub(super) struct Source {
    /// The path from the root of the repository.
    pub(super) file: String,
    /// All paths outside of tests, single identifiers among them, in their order; those of a `use`
    /// in full.
    pub(super) paths: Vec<Path>,
    /// All paths inside of tests.
    pub(super) test_paths: Vec<Path>,
    /// The lines of the test modules.
    pub(super) test_lines: Vec<RangeInclusive<usize>>,
    /// The test modules that are files of their own, as paths without `.rs`.
    pub(super) test_files: Vec<String>,
    /// Whether the whole file is part of a test module.
    pub(super) is_test: bool,
    /// How many lines it has.
    pub(super) lines: usize,
    /// The lines of comments that are too wide.
    pub(super) wide_comments: Vec<usize>,
    /// The outermost tokens; empty when the file could not be read as Rust.
    pub(super) items: Vec<Item>,
    /// The `impl` blocks, those of tests apart.
    pub(super) impls: Vec<Impl>,
    /// Why and where the file could not be parsed as Rust.
    pub(super) broken: Option<(usize, String)>,
}

/// A path as written: `crate::wire::Reader`, `super::*`, `todo!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// The inline modules that contain it, from the outside in.
    pub(super) inside: Vec<String>,
    /// The name that a `use .. as name` gives it.
    pub(super) alias: Option<String>,
    /// Whether a `!` follows: it is a macro.
    pub(super) is_macro: bool,
}

/// An outermost item of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) kind: ItemKind,
    pub(super) line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ItemKind {
    /// `mod name;`
    Module,
    /// `pub use`
    PublicUse,
    /// An item that only tests or documentation tests see.
    ForTests,
    Other,
}

/// How many columns a comment has at most.
pub(super) const MOST_COLUMNS: usize = 100;

impl Source {
    pub(super) fn parse(file: &str, text: &str) -> Self {
        let mut source = Self {
            file: file.to_owned(),
            paths: Vec::new(),
            test_paths: Vec::new(),
            test_lines: Vec::new(),
            test_files: Vec::new(),
            is_test: false,
            lines: text.lines().count(),
            wide_comments: wide_comments(text),
            items: Vec::new(),
            impls: Vec::new(),
            broken: None,
        };
        match text.parse::<TokenStream>() {
            Ok(stream) => {
                let tokens: Vec<_> = stream.into_iter().collect();
                source.items = items(&tokens);
                source.impls = impls(&tokens);
                source.walk(&tokens, &[], false);
            }
            Err(error) => source.broken = Some((error.span().start().line, error.to_string())),
        }
        source
    }

    /// Gathers the paths of `tokens`, which stand in the modules `inside` of this file.
    fn walk(&mut self, tokens: &[TokenTree], inside: &[String], in_test: bool) {
        let mut at = 0;
        while at < tokens.len() {
            at = if let Some((length, attribute)) = attribute(tokens, at) {
                self.walk(&attribute.clone().into_iter().collect::<Vec<_>>(), inside, in_test);
                if is_cfg(attribute, "test") && !in_test {
                    self.walk_test(tokens, at, at + length, inside)
                } else {
                    at + length
                }
            } else {
                self.walk_one(tokens, at, inside, in_test)
            };
        }
    }

    /// Walks over the item whose attribute `cfg(test)` extends from `start` to `at`; returns where
    /// it ends.
    fn walk_test(&mut self, tokens: &[TokenTree], start: usize, mut at: usize, inside: &[String]) -> usize {
        while let Some((length, _)) = attribute(tokens, at) {
            at += length;
        }
        let end = at + item_length(tokens, at);
        let item = &tokens[at..end];
        if let Some(keyword) = item.iter().position(|token| is_word(Some(token), "mod")) {
            self.test_lines.extend(item.last().map(|last| first_line(&tokens[start])..=last_line(last)));
            let is_file = is_mark(item.get(keyword + 2), ';');
            if let (true, Some(name)) = (is_file, as_word(item.get(keyword + 1))) {
                self.test_files.push(child(&self.file, inside, &name.to_string()));
            }
        }
        self.walk(item, inside, true);
        end
    }

    /// Walks over what is at `at`; returns where it ends.
    fn walk_one(&mut self, tokens: &[TokenTree], at: usize, inside: &[String], in_test: bool) -> usize {
        if let Some((name, body, end)) = inline_module(tokens, at) {
            self.walk(&body, &[inside, &[name]].concat(), in_test);
            return end;
        }
        if let TokenTree::Group(group) = &tokens[at] {
            let body: Vec<_> = group.stream().into_iter().collect();
            let previous = at.checked_sub(1).and_then(|before| tokens.get(before));
            if !(is_word(previous, "pub") && is_visibility(&body)) {
                self.walk(&body, inside, in_test);
            }
            return at + 1;
        }
        let Some((paths, end)) = paths_at(tokens, at, inside) else { return at + 1 };
        if in_test { &mut self.test_paths } else { &mut self.paths }.extend(paths);
        end
    }
}

/// The lines, counted from 1, that hold nothing but a comment that is too wide. A row of a table
/// cannot be wrapped.
fn wide_comments(text: &str) -> Vec<usize> {
    let is_wide = |line: &str| {
        let comment =
            line.trim_start().strip_prefix("//").map(|rest| rest.trim_start_matches(['/', '!', ' ']));
        comment.is_some_and(|words| !words.starts_with('|')) && line.chars().count() > MOST_COLUMNS
    };
    text.lines().zip(1..).filter(|(line, _)| is_wide(line)).map(|(_, number)| number).collect()
}

/// The file, without `.rs`, of a module that the module `inside` of `file` declares.
fn child(file: &str, inside: &[String], name: &str) -> String {
    let own = file.trim_end_matches(".rs");
    let folder = ["/mod", "/lib", "/main"].iter().find_map(|roof| own.strip_suffix(roof)).unwrap_or(own);
    [&[folder.to_owned()], inside, &[name.to_owned()]].concat().join("/")
}

/// The inline module at `at`: its name, its tokens, its end. A macro's `mod $name { .. }` counts
/// too.
fn inline_module(tokens: &[TokenTree], at: usize) -> Option<(String, Vec<TokenTree>, usize)> {
    if !is_word(tokens.get(at), "mod") {
        return None;
    }
    let name = at + 1 + usize::from(is_mark(tokens.get(at + 1), '$'));
    let body = as_group(tokens.get(name + 1), Delimiter::Brace)?;
    Some((as_word(tokens.get(name))?.to_string(), body.into_iter().collect(), name + 2))
}

/// Whether the parentheses after a `pub` are a visibility rather than a type: `(crate)`, `(in
/// crate::proto)`.
fn is_visibility(body: &[TokenTree]) -> bool {
    let first = as_word(body.first()).map(ToString::to_string);
    match first.as_deref() {
        Some("in") => true,
        Some("crate" | "super" | "self") => body.len() == 1,
        _ => false,
    }
}

/// The path that starts at `at`, or the paths of a `use`, and where it ends.
fn paths_at(tokens: &[TokenTree], at: usize, inside: &[String]) -> Option<(Vec<Path>, usize)> {
    let first = as_word(tokens.get(at))?;
    let follows_separator = at >= 2 && is_separator(tokens, at - 2);
    // `<T as Trait>::name` and `Type::<T>::name` continue a path; `::std::name` starts one.
    let goes_on = at >= 3 && (as_word(tokens.get(at - 3)).is_some() || is_mark(tokens.get(at - 3), '>'));
    if follows_separator && goes_on {
        return None;
    }
    let start = Path {
        segments: vec![first.to_string()],
        line: first.span().start().line,
        inside: inside.to_vec(),
        alias: None,
        is_macro: false,
    };
    Some(rest_of_path(tokens, at + 1, start))
}

/// What follows the segments of `path` at `at`.
fn rest_of_path(tokens: &[TokenTree], mut at: usize, mut path: Path) -> (Vec<Path>, usize) {
    while is_separator(tokens, at) {
        if let Some(branches) = as_group(tokens.get(at + 2), Delimiter::Brace) {
            return (branches_of(&branches.into_iter().collect::<Vec<_>>(), &path), at + 3);
        }
        let segment = match tokens.get(at + 2) {
            Some(TokenTree::Ident(ident)) => ident.to_string(),
            Some(TokenTree::Punct(punct)) if punct.as_char() == '*' => "*".to_owned(),
            _ => break,
        };
        path.line = first_line(&tokens[at + 2]);
        path.segments.push(segment);
        at += 3;
    }
    path.is_macro = is_mark(tokens.get(at), '!') && !is_mark(tokens.get(at + 1), '=');
    if let (true, Some(alias)) = (is_word(tokens.get(at), "as"), as_word(tokens.get(at + 1))) {
        path.alias = Some(alias.to_string());
    }
    (vec![path], at)
}

/// The paths of `{a, b::c}` after `stem::`.
fn branches_of(tokens: &[TokenTree], stem: &Path) -> Vec<Path> {
    let branches = tokens.split(|token| is_mark(Some(token), ','));
    let paths = branches.filter_map(|branch| {
        let first = branch.first()?;
        let mut path = stem.clone();
        path.line = first_line(first);
        path.segments.push(first.to_string());
        Some(rest_of_path(branch, 1, path).0)
    });
    paths.flatten().collect()
}

fn items(tokens: &[TokenTree]) -> Vec<Item> {
    let mut items = Vec::new();
    let (mut at, mut for_tests) = (0, false);
    while at < tokens.len() {
        if let Some((length, attribute)) = attribute(tokens, at) {
            for_tests |= is_cfg(attribute.clone(), "test") || is_cfg(attribute, "doctest");
            at += length;
            continue;
        }
        let length = item_length(tokens, at);
        let kind = if for_tests { ItemKind::ForTests } else { kind(&tokens[at..at + length]) };
        items.push(Item { kind, line: first_line(&tokens[at]) });
        for_tests = false;
        at += length;
    }
    items
}

fn kind(item: &[TokenTree]) -> ItemKind {
    let visibility = visibility_length(item);
    let keyword = item.get(visibility);
    if is_word(keyword, "mod") && is_mark(item.last(), ';') {
        ItemKind::Module
    } else if is_word(keyword, "use") && visibility == 1 {
        ItemKind::PublicUse
    } else {
        ItemKind::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        Source::parse("x.rs", text).paths.iter().map(written).filter(|path| path.contains("::")).collect()
    }

    fn written(path: &Path) -> String {
        let inside: String = path.inside.iter().map(|name| format!("{name}/")).collect();
        let alias = path.alias.as_ref().map(|alias| format!(" as {alias}")).unwrap_or_default();
        let bang = if path.is_macro { "!" } else { "" };
        format!("{}{inside}{}{bang}{alias}", path.line, path.segments.join("::").replacen("", ":", 1))
    }

    #[test]
    fn paths_are_read_wherever_they_stand() {
        assert_eq!(
            paths("use crate::a::{B, c::{D, self}, e as f};\nuse super::*;"),
            ["1:crate::a::B", "1:crate::a::c::D", "1:crate::a::c::self", "1:crate::a::e as f", "2:super::*"]
        );
        assert_eq!(
            paths("fn f(x: &'a crate::A<super::B>) -> Option<Self> {\n a::b!(c::d::<e::F>(1)) }"),
            ["1:crate::A", "1:super::B", "2:a::b!", "2:c::d", "2:e::F"]
        );
        assert_eq!(paths("mod inner { mod $deeper { use super::A; } }"), ["1inner/deeper/:super::A"]);
        assert_eq!(
            paths("const A: u8 = ::std::mem::size; $crate::a::b!(); #[derive(x::Y)] struct S;"),
            ["1:std::mem::size", "1:crate::a::b!", "1:x::Y"]
        );
    }

    #[test]
    fn what_is_no_path_is_not_read_as_one() {
        assert!(paths("// crate::a\n/// crate::b\n/* crate::c */ const A: &str = \"crate::d\";").is_empty());
        assert!(paths("pub(in crate::proto) struct A(pub(crate) u8);").is_empty());
        assert_eq!(paths("type A = <T as x::Y>::Z; struct B(pub (x::C, u8));"), ["1:x::Y", "1:x::C"]);
    }

    #[test]
    fn what_only_tests_see_is_kept_apart() {
        let text = "use a::b;\n#[cfg(test)]\nuse c::{d, e};\nuse f::g;\n\
                    #[cfg(test)]\n#[allow(x)]\nmod tests {\n    use h::i;\n}\nuse j::k;\n";
        assert_eq!(paths(text), ["1:a::b", "4:f::g", "10:j::k"]);
        let source = Source::parse("x.rs", text);
        let test_paths: Vec<_> =
            source.test_paths.iter().map(written).filter(|path| path.contains("::")).collect();
        assert_eq!(test_paths, ["3:c::d", "3:c::e", "8tests/:h::i"]);
        assert_eq!(source.test_lines, [5..=9]);
        assert_eq!(source.lines, 10);
    }

    #[test]
    fn a_test_module_in_a_file_of_its_own_is_known() {
        for (file, declared) in [("x/src/lib.rs", "x/src/tests"), ("x/src/a.rs", "x/src/a/tests")] {
            let source = Source::parse(file, "mod b;\n#[cfg(test)]\nmod tests;\n");
            assert_eq!(source.test_files, [declared]);
        }
    }

    #[test]
    fn a_file_that_is_not_rust_says_where() {
        let source = Source::parse("x.rs", "fn f() {\n    )\n}\n");
        assert_eq!(source.broken.unwrap().0, 2);
    }

    #[test]
    fn outermost_items_are_told_apart() {
        let text = "//! Docs.\n#![allow(x)]\nmod a;\npub mod b;\npub use a::{B, C};\nuse a::D;\npub(crate) use a::E;\n\
                    #[cfg(test)]\nmod tests;\n#[cfg(doctest)]\nstruct Readme;\npub fn f() {}\nmod c {}\n";
        let kinds: Vec<_> =
            Source::parse("lib.rs", text).items.iter().map(|item| (item.line, item.kind)).collect();
        use ItemKind::{ForTests, Module, Other, PublicUse};
        assert_eq!(
            kinds,
            [
                (3, Module),
                (4, Module),
                (5, PublicUse),
                (6, Other),
                (7, Other),
                (9, ForTests),
                (11, ForTests),
                (12, Other),
                (13, Other)
            ]
        );
    }
}
