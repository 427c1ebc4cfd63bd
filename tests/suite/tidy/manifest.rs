//! Cargo.toml: which crate may depend on which, and the lints of all.

use super::finding::Finding;

/// The crates of the workspace, each with the floor it stands on.
pub(super) const FLOORS: &[(&str, u8)] = &[
    ("amqp-codec", 1),
    ("amqp-client", 2),
    ("amqp-broker", 2),
    ("amqp-fuzz", 2),
    ("messaging", 3),
    ("amqp-cli", 4),
    ("tests", 5),
];

/// As much of a Cargo.toml as the rules need: its `key = value` lines, by section.
pub(super) struct Manifest {
    file: String,
    entries: Vec<Entry>,
}

struct Entry {
    section: String,
    key: String,
    value: String,
    line: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Development,
}

impl Manifest {
    pub(super) fn parse(file: &str, text: &str) -> Self {
        let mut section = String::new();
        let mut entries = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            let text = text.split('#').next().unwrap_or_default().trim();
            if let Some(name) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
                section = name.trim().to_owned();
            } else if let Some((key, value)) = text.split_once('=') {
                let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
                entries.push(Entry { section: section.clone(), key, value, line });
            }
        }
        Self { file: file.to_owned(), entries }
    }

    /// The crates of the workspace that it names as dependencies.
    fn dependencies(&self) -> impl Iterator<Item = (Kind, &'static str, u8, usize)> {
        self.entries.iter().filter_map(|entry| {
            // Any of `[dependencies] name = `, `[target.x.dependencies] name.workspace = `,
            // `[dependencies.name]`.
            let (kind, in_section) = dependency_section(&entry.section)?;
            let named = in_section.or_else(|| entry.key.split('.').next())?.trim_matches('"');
            let renamed = |name: &str| {
                entry.value.contains(&format!("package = \"{name}\"")) || {
                    entry.key == "package" && entry.value == format!("\"{name}\"")
                }
            };
            let (name, floor) = FLOORS.iter().find(|(name, _)| *name == named || renamed(name))?;
            Some((kind, *name, *floor, entry.line))
        })
    }
}

/// What kind of dependencies a section holds, and the one it is about if it is about one.
fn dependency_section(section: &str) -> Option<(Kind, Option<&str>)> {
    let section = match section.strip_prefix("target.") {
        Some(rest) => {
            &rest[rest.find("dependencies").map(|at| rest[..at].rfind('.').map_or(0, |dot| dot + 1))?..]
        }
        None => section,
    };
    let (kind, rest) = if let Some(rest) = section.strip_prefix("dev-dependencies") {
        (Kind::Development, rest)
    } else {
        let rest = section.strip_prefix("build-dependencies");
        (Kind::Normal, rest.or_else(|| section.strip_prefix("dependencies"))?)
    };
    Some((kind, rest.strip_prefix('.')))
}

pub(super) fn check_floors(manifest: &Manifest) -> Vec<Finding> {
    let own = manifest.file.trim_end_matches("/Cargo.toml");
    let own_floor = FLOORS.iter().find(|(name, _)| *name == own).map(|(_, floor)| *floor);
    let may = |kind, floor| match kind {
        Kind::Normal => own_floor > Some(floor),
        // Tests may look sideways: each crate is tested with its counterpart.
        Kind::Development => own_floor >= Some(floor),
    };
    manifest
        .dependencies()
        .filter(|(kind, _, floor, _)| !may(*kind, *floor))
        .map(|(_, name, _, line)| {
            Finding::new(&manifest.file, line, format!("dependencies point down: {own} may not know {name}"))
        })
        .collect()
}

pub(super) fn check_lints(manifest: &Manifest) -> Option<Finding> {
    let inherits = manifest.entries.iter().any(|entry| {
        let place = (entry.section.as_str(), entry.key.as_str());
        (place == ("lints", "workspace") || place == ("", "lints.workspace")) && entry.value == "true"
    });
    (!inherits)
        .then(|| Finding::new(&manifest.file, 1, "every crate inherits the lints: [lints] workspace = true"))
}

/// A crate without a floor would escape the other rules.
pub(super) fn check_members(root: &Manifest) -> Vec<Finding> {
    let members = root.entries.iter().find(|entry| entry.section == "workspace" && entry.key == "members");
    let Some(members) = members else {
        return vec![Finding::new(&root.file, 1, "the workspace lists its members, on one line")];
    };
    let names = members.value.trim_matches(['[', ']']).split(',').map(|name| name.trim().trim_matches('"'));
    names
        .filter(|name| !name.is_empty() && FLOORS.iter().all(|(known, _)| known != name))
        .map(|name| {
            Finding::new(&root.file, members.line, format!("every crate has a floor: {name} has none"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floors(file: &str, text: &str) -> Vec<String> {
        check_floors(&Manifest::parse(file, text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_dependency_upwards_or_sideways_is_found() {
        assert_eq!(
            floors("amqp-codec/Cargo.toml", "[dependencies]\nbytes = \"1\"\namqp-client.workspace = true\n"),
            ["amqp-codec/Cargo.toml:3: dependencies point down: amqp-codec may not know amqp-client"]
        );
        for text in [
            "[dependencies]\namqp-broker = { path = \"../amqp-broker\" }",
            "[dependencies]\nbroker = { package = \"amqp-broker\", version = \"1\" }",
            "[build-dependencies]\namqp-broker.workspace = true",
            "[target.'cfg(unix)'.dependencies]\namqp-broker.workspace = true",
            "[dependencies.amqp-broker]\nworkspace = true",
            "[dependencies.broker]\npackage = \"amqp-broker\"",
            "[target.'cfg(unix)'.dependencies.amqp-broker]\nworkspace = true",
            "[dev-dependencies]\nmessaging.workspace = true",
        ] {
            assert_eq!(floors("amqp-client/Cargo.toml", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn dependencies_downwards_and_development_ones_sideways_are_fine() {
        let text = "[package]\nname = \"amqp-client\"\n[dependencies]\namqp-codec.workspace = true\n\
                    # amqp-broker.workspace = true\n[dev-dependencies]\namqp-broker.workspace = true\n";
        assert!(floors("amqp-client/Cargo.toml", text).is_empty());
    }

    #[test]
    fn a_crate_without_the_lints_is_found() {
        let check = |text| check_lints(&Manifest::parse("x/Cargo.toml", text));
        assert!(check("[lints]\nworkspace = true\n").is_none());
        for text in ["[package]\nname = \"x\"\n", "[lints]\nworkspace = false\n", "[lib]\nworkspace = true\n"]
        {
            let finding = check(text).unwrap().to_string();
            assert!(finding.starts_with("x/Cargo.toml:1: every crate inherits the lints"), "{finding}");
        }
    }

    #[test]
    fn a_member_without_a_floor_is_found() {
        let check = |text| check_members(&Manifest::parse("Cargo.toml", text));
        assert!(check("[workspace]\nmembers = [\"amqp-codec\", \"tests\"]\n").is_empty());
        assert_eq!(
            check("[workspace]\nmembers = [\"amqp-codec\", \"stray\"]\n")[0].to_string(),
            "Cargo.toml:2: every crate has a floor: stray has none"
        );
        assert_eq!(check("[workspace]\n").len(), 1);
    }
}
