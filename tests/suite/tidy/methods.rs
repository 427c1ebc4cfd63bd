//! The methods that a file adds to a type, and those that it calls through `self`.

use proc_macro2::{Delimiter, TokenTree};

use super::token::{as_group, as_word, attribute, first_line, is_cfg, is_mark, is_word, item_length};

/// One `impl` block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Impl {
    /// The last segment of the type's path.
    pub(super) type_name: String,
    pub(super) defined: Vec<String>,
    /// Methods called as `self.name(` or `Self::name(`, each with its line.
    pub(super) called: Vec<(String, usize)>,
}

/// The `impl` blocks of a file, those of tests apart.
pub(super) fn impls(tokens: &[TokenTree]) -> Vec<Impl> {
    let mut found = Vec::new();
    let (mut at, mut for_tests) = (0, false);
    while at < tokens.len() {
        if let Some((length, attribute)) = attribute(tokens, at) {
            for_tests |= is_cfg(attribute, "test");
            at += length;
            continue;
        }
        let length = item_length(tokens, at);
        let item = &tokens[at..at + length];
        if !for_tests && is_word(item.first(), "impl") {
            found.extend(block(item));
        }
        for_tests = false;
        at += length;
    }
    found
}

fn block(item: &[TokenTree]) -> Option<Impl> {
    let body: Vec<_> = as_group(item.last(), Delimiter::Brace)?.into_iter().collect();
    let defined = body.windows(2).filter(|pair| is_word(pair.first(), "fn"));
    let defined = defined.filter_map(|pair| Some(as_word(pair.last())?.to_string())).collect();
    let mut called = Vec::new();
    gather_calls(&body, &mut called);
    Some(Impl { type_name: type_name(&item[1..item.len() - 1])?, defined, called })
}

/// `Channel` of `<T> Trait for proto::Channel<'_, T> where ..`.
fn type_name(head: &[TokenTree]) -> Option<String> {
    let mut depth = 0_usize;
    let mut name = None;
    for (at, token) in head.iter().enumerate() {
        if is_mark(Some(token), '<') {
            depth += 1;
        } else if is_mark(Some(token), '>') && !is_mark(at.checked_sub(1).and_then(|at| head.get(at)), '-') {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && is_word(Some(token), "where") {
            break;
        } else if let (0, Some(word)) = (depth, as_word(Some(token))) {
            name = Some(word.to_string());
        }
    }
    name
}

fn gather_calls(tokens: &[TokenTree], called: &mut Vec<(String, usize)>) {
    for (at, token) in tokens.iter().enumerate() {
        if let TokenTree::Group(group) = token {
            gather_calls(&group.stream().into_iter().collect::<Vec<_>>(), called);
        }
        let separator = match token {
            TokenTree::Ident(word) if word == "self" && is_mark(tokens.get(at + 1), '.') => 1,
            TokenTree::Ident(word) if word == "Self" && is_mark(tokens.get(at + 1), ':') => 2,
            _ => continue,
        };
        let name = as_word(tokens.get(at + 1 + separator));
        let arguments = as_group(tokens.get(at + 2 + separator), Delimiter::Parenthesis);
        if let (Some(name), Some(_)) = (name, arguments) {
            called.push((name.to_string(), first_line(token)));
        }
    }
}
