//! Checks that every log statement of the crate passes texts of a peer through `shown`.

use std::{fs, path::Path};

/// The fields whose values may come from a peer.
const FOREIGN: [&str; 12] = [
    "client",
    "consumer",
    "error_text",
    "exchange",
    "key",
    "name",
    "queue",
    "reply_text",
    "routing_key",
    "tag",
    "text",
    "user",
];

/// The arguments of each log statement in a source, split at commas.
fn statements(source: &str) -> Vec<Vec<String>> {
    let code = source.split("#[cfg(test)]\nmod tests").next().unwrap();
    let mut all = Vec::new();
    for (at, _) in code.match_indices("tracing::") {
        let Some((_, arguments)) = code[at..].split_once('(') else { continue };
        if code[at..]
            .split_once('!')
            .is_some_and(|(path, _)| path["tracing::".len()..].chars().all(char::is_lowercase))
        {
            all.push(arguments_of(arguments));
        }
    }
    all
}

fn arguments_of(text: &str) -> Vec<String> {
    let (mut depth, mut in_text, mut arguments) = (0, false, vec![String::new()]);
    for character in text.chars() {
        match character {
            '"' => in_text = !in_text,
            _ if in_text => {}
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => break,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => {
                arguments.push(String::new());
                continue;
            }
            _ => {}
        }
        arguments.last_mut().unwrap().push(character);
    }
    arguments.iter().map(|argument| argument.trim().to_owned()).collect()
}

/// Tells whether an argument is a field with an unescaped text of a peer.
fn is_raw(argument: &str) -> bool {
    let (field, value) = argument.split_once('=').unwrap_or((argument, argument));
    FOREIGN.contains(&field.trim().trim_start_matches(['%', '?'])) && !value.contains("shown")
}

fn sources(folder: &Path, all: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            sources(&path, all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn no_log_statement_shows_a_name_as_a_peer_wrote_it() {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
    let mut count = 0;
    for (file, source) in &all {
        for arguments in statements(source) {
            count += 1;
            let raw: Vec<&String> = arguments.iter().filter(|argument| is_raw(argument)).collect();
            assert!(
                raw.is_empty(),
                "{file}: {raw:?} of {arguments:?} may be a peer's: write `field = shown(value)`"
            );
        }
    }
    assert!(count >= 15, "only {count} log statements are seen");
}

#[test]
fn a_raw_field_is_seen_in_every_form() {
    let source =
        "fn f() { tracing::info!(a = 1, %queue, user = g(x, y), name = shown(n), \"text, {}\", key); }";
    let statements = statements(source);
    assert_eq!(statements.len(), 1);
    let raw: Vec<&str> =
        statements[0].iter().map(String::as_str).filter(|argument| is_raw(argument)).collect();
    assert_eq!(raw, ["%queue", "user = g(x, y)", "key"]);
}
