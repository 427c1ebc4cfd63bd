//! Which queue a task goes to.

/// The queues of tasks by their names, as Celery's `task_routes`.
///
/// A name without `*` and `?` stands for itself, and comes before patterns; of these the first one
/// counts that fits. `*` stands for any text, `?` for a character.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes(Vec<(String, String)>);

impl Routes {
    /// Returns no routes.
    #[must_use]
    pub fn new() -> Self {
        Routes::default()
    }

    /// Sends the tasks that fit a pattern to a queue.
    #[must_use]
    pub fn to(mut self, pattern: impl Into<String>, queue: impl Into<String>) -> Self {
        self.0.push((pattern.into(), queue.into()));
        self
    }

    pub(super) fn of(&self, task: &str) -> Option<&str> {
        let exact = self.0.iter().find(|(pattern, _)| pattern == task);
        let route =
            exact.or_else(|| self.0.iter().find(|(pattern, _)| fits(pattern.as_bytes(), task.as_bytes())));
        route.map(|(_, queue)| queue.as_str())
    }
}

/// Tells whether a name fits a pattern, in time that is bounded by the product of their lengths.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    // Where the last `*` is, and how much of the name it stands for the beginning of.
    let mut star = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(octet) if *octet == b'?' || *octet == name[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((place, begin)) = star else { return false };
                star = Some((place, begin + 1));
                (at, read) = (place + 1, begin + 1);
            }
        }
    }
    pattern[at..].iter().all(|octet| *octet == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_before_patterns_and_the_first_pattern_counts() {
        let routes = Routes::new()
            .to("images.*", "images")
            .to("*.resize", "never")
            .to("images.thumb", "small")
            .to("?.x", "short");
        for (task, queue) in [
            ("images.resize", Some("images")),
            ("images.thumb", Some("small")),
            ("a.resize", Some("never")),
            ("images", None),
            ("a.x", Some("short")),
            ("ab.x", None),
            ("", None),
        ] {
            assert_eq!(routes.of(task), queue, "{task}");
        }
    }

    #[test]
    fn stars_take_as_much_as_they_must() {
        for (pattern, name, is) in [
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "abcb", false),
            ("*a*a*a*a*b", &"a".repeat(1000), false),
            ("**", "x", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), is, "{pattern} {name}");
        }
    }
}
