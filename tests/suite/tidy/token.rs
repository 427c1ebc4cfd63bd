//! Rust's tokens, by proc-macro2, which handles comments, strings and lifetimes.

use proc_macro2::{Delimiter, Ident, Spacing, TokenStream, TokenTree};

/// Whether a token is this identifier or keyword.
pub(super) fn is_word(token: Option<&TokenTree>, word: &str) -> bool {
    as_word(token).is_some_and(|ident| ident == word)
}

pub(super) fn as_word(token: Option<&TokenTree>) -> Option<&Ident> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident),
        _ => None,
    }
}

pub(super) fn is_mark(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == mark)
}

/// Whether `::` stands at `at`.
pub(super) fn is_separator(tokens: &[TokenTree], at: usize) -> bool {
    matches!(tokens.get(at), Some(TokenTree::Punct(first)) if first.as_char() == ':' && first.spacing() == Spacing::Joint)
        && is_mark(tokens.get(at + 1), ':')
}

/// What is inside the group that a token is, if it is one in these brackets.
pub(super) fn as_group(token: Option<&TokenTree>, delimiter: Delimiter) -> Option<TokenStream> {
    match token {
        Some(TokenTree::Group(group)) if group.delimiter() == delimiter => Some(group.stream()),
        _ => None,
    }
}

pub(super) fn first_line(token: &TokenTree) -> usize {
    token.span().start().line
}

pub(super) fn last_line(token: &TokenTree) -> usize {
    token.span().end().line
}

/// The length of the attribute at `at`, `#[..]` or `#![..]`, and what is inside.
pub(super) fn attribute(tokens: &[TokenTree], at: usize) -> Option<(usize, TokenStream)> {
    if !is_mark(tokens.get(at), '#') {
        return None;
    }
    let bang = usize::from(is_mark(tokens.get(at + 1), '!'));
    let inside = as_group(tokens.get(at + 1 + bang), Delimiter::Bracket)?;
    Some((2 + bang, inside))
}

/// Whether an attribute is a `cfg` that wants `word`: `cfg(test)`, `cfg(all(test, not(unix)))`, but
/// not `cfg(not(test))`.
pub(super) fn is_cfg(attribute: TokenStream, word: &str) -> bool {
    let tokens: Vec<_> = attribute.into_iter().collect();
    is_word(tokens.first(), "cfg")
        && as_group(tokens.get(1), Delimiter::Parenthesis)
            .is_some_and(|inside| wanted(inside).iter().any(|found| found == word))
}

/// All identifiers and keywords, including those in groups, except in the group that a `not`
/// refuses.
fn wanted(stream: TokenStream) -> Vec<String> {
    let mut words = Vec::new();
    let mut refused = false;
    for token in stream {
        match token {
            TokenTree::Ident(ident) => {
                refused = ident == "not";
                words.push(ident.to_string());
            }
            TokenTree::Group(group) if !refused => words.extend(wanted(group.stream())),
            TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => refused = false,
        }
    }
    words
}

/// How many tokens the `pub` or `pub(..)` at the start of an item has.
pub(super) fn visibility_length(item: &[TokenTree]) -> usize {
    let public = usize::from(is_word(item.first(), "pub"));
    let restricted = public == 1 && as_group(item.get(1), Delimiter::Parenthesis).is_some();
    public + usize::from(restricted)
}

/// How many tokens from `at` on belong to the item there, after its attributes: up to its `;` or
/// its braces. Anything else (a field, a variant, an arm) extends to its comma.
pub(super) fn item_length(tokens: &[TokenTree], at: usize) -> usize {
    const ITEMS: [&str; 16] = [
        "pub",
        "mod",
        "use",
        "fn",
        "impl",
        "struct",
        "enum",
        "trait",
        "type",
        "const",
        "static",
        "async",
        "unsafe",
        "extern",
        "macro_rules",
        "let",
    ];
    let rest = &tokens[at..];
    let is_item = ITEMS.iter().any(|keyword| is_word(rest.first(), keyword));
    let keyword = &rest[visibility_length(rest)..];
    let ends_at_braces = !is_word(keyword.first(), "use") && !is_word(keyword.first(), "let");
    let last = rest.iter().position(|token| {
        let token = Some(token);
        is_mark(token, ';')
            || (!is_item && is_mark(token, ','))
            || (is_item && ends_at_braces && as_group(token, Delimiter::Brace).is_some())
    });
    last.map_or(rest.len(), |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<TokenTree> {
        text.parse::<TokenStream>().unwrap().into_iter().collect()
    }

    #[test]
    fn an_item_ends_where_the_compiler_says_so() {
        for (item, rest) in [
            ("mod tests { fn f() {} }", "fn g() {}"),
            ("mod tests { fn f() {} }", "use a::{b};"),
            ("use super::{a, b};", "fn g() {}"),
            ("pub use super::{a, b};", "fn g() {}"),
            ("pub(crate) fn f<A, B>(a: A) -> [u8; 3] { ; }", "fn g() {}"),
            ("struct S(u8, u8);", "fn g() {}"),
            ("const N: usize = 3;", "fn g() {}"),
            ("field: u8,", "other: u8"),
            ("field: u8", ""),
        ] {
            let all = tokens(&format!("{item} {rest}"));
            assert_eq!(item_length(&all, 0), tokens(item).len(), "{item}");
        }
    }

    #[test]
    fn a_cfg_is_of_tests_only_when_it_wants_them() {
        for (text, of_tests) in [
            ("#[cfg(test)]", true),
            ("#[cfg(all(test, unix))]", true),
            ("#[cfg(all(test, not(feature = \"tls\")))]", true),
            ("#[cfg(all(unix, not(test)))]", false),
            ("#[cfg(not(test))]", false),
            ("#[cfg(unix)]", false),
            ("#[cfg_attr(test, allow(x))]", false),
            ("#[test]", false),
            ("#![cfg(test)]", true),
        ] {
            let (_, inside) = attribute(&tokens(text), 0).unwrap();
            assert_eq!(is_cfg(inside, "test"), of_tests, "{text}");
        }
    }
}
