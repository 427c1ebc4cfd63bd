//! The promises of the page's files, as far as they can be read off them: they are small, complete,
//! and leave no way to take what a peer wrote for markup or code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

const MOST_BYTES: usize = 60_000;

/// The words that make markup or code of text, keep a login, or get something from elsewhere.
const FORBIDDEN: [&str; 18] = [
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "createContextualFragment",
    "DOMParser",
    "srcdoc",
    "document.write",
    "eval(",
    "Function(",
    "import(",
    "localStorage",
    "sessionStorage",
    "indexedDB",
    "document.cookie",
    "javascript:",
    "style=",
    "<style",
    "url(",
];

/// The only address that may be in a file: it names SVG, and nothing is asked there.
const SVG: &str = "http://www.w3.org/2000/svg";

#[test]
fn the_page_is_small_and_complete_and_needs_nothing_from_outside() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../amqp-broker/src/management/page");
    let files = files(&folder);
    let found: Vec<_> = files.iter().flat_map(|(name, text)| faults(name, text)).collect();
    assert_eq!(found, Vec::<String>::new());
    let mut used = references(&files);
    used.insert("index.html".to_owned());
    assert_eq!(used, files.keys().cloned().collect());
    let size: usize = files.values().map(String::len).sum();
    assert!(size <= MOST_BYTES, "{size} bytes, of at most {MOST_BYTES}");
}

/// The files of a folder and those below it: their names from there, and their texts.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(inner, text)| (format!("{name}/{inner}"), text)));
        } else if !name.ends_with(".rs") {
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    found
}

fn faults(name: &str, text: &str) -> Vec<String> {
    let mut found: Vec<_> =
        FORBIDDEN.iter().filter(|word| text.contains(**word)).map(|word| format!("{name}: {word}")).collect();
    let foreign = text.replace(SVG, "");
    // Comments begin with two slashes, but no string does.
    if ["://", "'//", "\"//", "`//"].iter().any(|start| foreign.contains(start)) {
        found.push(format!("{name}: an address"));
    }
    if name.ends_with(".html") {
        found.extend(inline(text).map(|tag| format!("{name}: {tag}")));
    }
    found
}

/// The tags that hold code of their own, or attributes that are code.
fn inline(html: &str) -> impl Iterator<Item = &str> {
    let tags = html.split('<').skip(1);
    tags.filter(|tag| {
        let (inside, after) = tag.split_once('>').unwrap_or((tag, ""));
        let is_script = inside.starts_with("script");
        let is_handler = |word: &str| word.starts_with("on") && word.contains('=');
        is_script && (!inside.contains("src=") || !after.is_empty())
            || inside.split_whitespace().any(is_handler)
    })
}

/// The files that others name: in an import, a `src` or an `href`.
fn references(files: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (name, text) in files {
        for start in ["from '", "src=\"", "href=\""] {
            let ends = text.split(start).skip(1).filter_map(|rest| rest.split(['\'', '"']).next());
            used.extend(ends.filter(|target| !target.starts_with('#')).map(|target| resolved(name, target)));
        }
    }
    used
}

/// The file that `target` names in the file `from`.
fn resolved(from: &str, target: &str) -> String {
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[test]
fn faults_of_the_pages_files_are_found() {
    for (name, text) in [
        ("a.js", "node.innerHTML = name;"),
        ("a.js", "eval(text)"),
        ("a.js", "localStorage.login = login;"),
        ("a.js", "fetch('https://elsewhere.example/')"),
        ("a.js", "import x from '//elsewhere.example/x.js';"),
        ("a.css", "body { background: url(//elsewhere.example) }"),
        ("a.html", "<p style=\"color: red\">"),
        ("a.html", "<script>go()</script>"),
        ("a.html", "<script src=\"a.js\">go()</script>"),
        ("a.html", "<p onclick=\"go()\">"),
    ] {
        assert_ne!(faults(name, text), Vec::<String>::new(), "{text}");
    }
    let fine =
        "<script type=\"module\" src=\"a.js\"></script> <svg xmlns=\"http://www.w3.org/2000/svg\"> // on";
    assert_eq!(faults("a.html", fine), Vec::<String>::new());
}

#[test]
fn files_that_the_page_names_are_resolved_from_those_that_name_them() {
    assert_eq!(resolved("app.js", "./parts/api.js"), "parts/api.js");
    assert_eq!(resolved("views/queue.js", "../parts/api.js"), "parts/api.js");
    assert_eq!(resolved("views/queue.js", "./lists.js"), "views/lists.js");
    assert_eq!(resolved("index.html", "icon.svg"), "icon.svg");
}
