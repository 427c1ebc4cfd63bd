//! Rules about one file at a time.

use super::finding::Finding;
use super::source::{MOST_COLUMNS, Path, Source};

/// The sources in which time and input are arguments.
const SANS_IO: [&str; 3] = ["amqp-codec/src/", "amqp-client/src/proto/", "amqp-broker/src/core/"];
/// The codec's adapter to tokio_util, which is a feature.
const SANS_IO_EXCEPT: &str = "amqp-codec/src/codec.rs";
const RUNTIMES: [&str; 2] = ["tokio", "tokio_util"];

const MOST_LINES: usize = 600;
/// One table, a line a method.
const MAY_BE_LONG: [&str; 1] = ["amqp-codec/src/method/mod.rs"];

pub(super) fn check_sans_io(source: &Source) -> Vec<Finding> {
    let applies =
        SANS_IO.iter().any(|folder| source.file.starts_with(folder)) && source.file != SANS_IO_EXCEPT;
    if !applies {
        return Vec::new();
    }
    let found = source.paths.iter().filter_map(|path| Some((path, forbidden_in_sans_io(path)?)));
    found
        .map(|(path, what)| Finding::new(&source.file, path.line, format!("sans-IO code sees no {what}")))
        .collect()
}

fn forbidden_in_sans_io(path: &Path) -> Option<String> {
    let segments: Vec<_> = path.segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        [runtime, ..] if RUNTIMES.contains(runtime) => Some((*runtime).to_owned()),
        ["std", module @ ("net" | "thread"), ..] => Some(format!("std::{module}")),
        [.., clock @ ("Instant" | "SystemTime"), "now"] => Some(format!("{clock}::now")),
        _ => None,
    }
}

pub(super) fn check_words(source: &Source) -> Vec<Finding> {
    let broken =
        source.broken.iter().map(|(line, why)| Finding::new(&source.file, *line, format!("not Rust: {why}")));
    let words = source.paths.iter().chain(&source.test_paths).filter_map(|path| {
        let word = path.segments.last()?.as_str();
        match word {
            "unsafe" => Some((path, "unsafe")),
            "todo" if path.is_macro => Some((path, "todo!")),
            "unimplemented" if path.is_macro => Some((path, "unimplemented!")),
            _ => None,
        }
    });
    let words = words.map(|(path, word)| Finding::new(&source.file, path.line, format!("nothing is {word}")));
    broken.chain(words).collect()
}

pub(super) fn check_length(source: &Source) -> Option<Finding> {
    let tests: usize = source.test_lines.iter().map(|lines| lines.end() - lines.start() + 1).sum();
    let lines = source.lines - tests;
    let may_be_long = source.is_test || MAY_BE_LONG.contains(&source.file.as_str());
    (lines > MOST_LINES && !may_be_long).then(|| {
        let what = format!("a file has at most {MOST_LINES} lines, its tests apart: this has {lines}");
        Finding::new(&source.file, source.lines, what)
    })
}

pub(super) fn check_comments(source: &Source) -> Vec<Finding> {
    let what = format!("a comment wraps at {MOST_COLUMNS} columns");
    source.wide_comments.iter().map(|line| Finding::new(&source.file, *line, what.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sans_io(file: &str, text: &str) -> Vec<String> {
        check_sans_io(&Source::parse(file, text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_socket_a_clock_or_a_runtime_in_sans_io_code_is_found() {
        for (text, what) in [
            ("use tokio::sync::mpsc;", "tokio"),
            ("use tokio_util::codec::Decoder;", "tokio_util"),
            ("fn f() { tokio::spawn(x) }", "tokio"),
            ("#[tokio::main] fn f() {}", "tokio"),
            ("use std::net::TcpStream;", "std::net"),
            ("use std::{fmt, net};", "std::net"),
            ("use std::{fmt, thread::{self, spawn}};", "std::thread"),
            ("fn f() { let now = Instant::now(); }", "Instant::now"),
            ("fn f() { std::time::SystemTime::now() }", "SystemTime::now"),
        ] {
            let found = sans_io("amqp-client/src/proto/channel.rs", text);
            assert_eq!(
                found.first().unwrap(),
                &format!("amqp-client/src/proto/channel.rs:1: sans-IO code sees no {what}")
            );
        }
        assert_eq!(sans_io("amqp-codec/src/frame.rs", "use tokio::net;").len(), 1);
        assert_eq!(sans_io("amqp-broker/src/core/entities/queue.rs", "use tokio::net;").len(), 1);
    }

    #[test]
    fn time_as_an_argument_is_fine_and_so_are_other_files_and_tests() {
        let text = "use std::time::{Duration, Instant};\n// tokio::spawn\nfn f(now: Instant) {}\n\
                    #[cfg(test)] mod tests { fn f() { Instant::now() } }";
        assert!(sans_io("amqp-client/src/proto/channel.rs", text).is_empty());
        assert!(sans_io("amqp-client/src/driver.rs", "use tokio::net;").is_empty());
        assert!(sans_io("amqp-codec/src/codec.rs", "use tokio_util::codec;").is_empty());
    }

    #[test]
    fn what_is_unsafe_or_unfinished_is_found_in_tests_too() {
        for (text, what) in [
            ("\nunsafe fn f() {}", "unsafe"),
            ("\nfn f() { unsafe { g() } }", "unsafe"),
            ("\nfn f() { todo!() }", "todo!"),
            ("\nfn f() { std::todo!(\"later\") }", "todo!"),
            ("\n#[cfg(test)] mod tests { fn f() { unimplemented!() } }", "unimplemented!"),
        ] {
            let found = check_words(&Source::parse("x.rs", text));
            assert_eq!(found, [Finding::new("x.rs", 2, format!("nothing is {what}"))], "{text}");
        }
        let fine =
            "#![forbid(unsafe_code)]\n// unsafe, todo!\nfn todo() { todo(); let a = \"unsafe\"; todo != 1 }";
        assert!(check_words(&Source::parse("x.rs", fine)).is_empty());
    }

    #[test]
    fn what_is_not_rust_is_found() {
        assert_eq!(check_words(&Source::parse("x.rs", "fn f() {")).len(), 1);
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_do_not_count() {
        let long = "fn f() {}\n".repeat(MOST_LINES);
        let tests = "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n";
        let check = |file, text: &str| check_length(&Source::parse(file, text));
        assert!(check("x.rs", &format!("{long}{tests}")).is_none());
        let finding = check("x.rs", &format!("{long}\n{tests}")).unwrap().to_string();
        assert_eq!(finding, "x.rs:605: a file has at most 600 lines, its tests apart: this has 601");
        assert!(check("amqp-codec/src/method/mod.rs", &format!("{long}{long}")).is_none());
    }

    #[test]
    fn a_wide_comment_is_found_and_code_and_rows_of_tables_are_not() {
        let check = |text: &str| check_comments(&Source::parse("x.rs", text)).len();
        let (wide, fits) = ("y".repeat(MOST_COLUMNS - 2), "y".repeat(MOST_COLUMNS - 4));
        for mark in ["// ", "    /// ", "//! "] {
            assert_eq!(check(&format!("{mark}{wide}")), 1, "{mark}");
        }
        // A column is a character, not a byte.
        assert_eq!(check(&format!("// é{fits}\nconst A: &str = \"// {wide}\";")), 0);
        assert_eq!(check(&format!("//! | {wide} |")), 0);
    }
}
