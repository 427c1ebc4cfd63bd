//! The rules that say which notification goes to which drivers.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    error::Error,
    oslo::{error::notify::NotifyError, notify::level::Level},
    pattern::Glob,
};

/// Routing rules in oslo.messaging's form: groups of drivers, each driver with patterns, in the
/// syntax of Python's `fnmatch`, for the events and levels it accepts.
///
/// A driver gets a notification when in any group both the event and the level match one of its
/// patterns. A missing list accepts everything, and other keys are ignored. Several groups accept
/// what any of them accepts.
#[cfg_attr(feature = "yaml", doc = "```")]
#[cfg_attr(not(feature = "yaml"), doc = "```ignore")]
/// use messaging::notify::drivers::Rules;
///
/// let rules = Rules::from_yaml(
///     "
/// group_1:
///   messagingv2:
///     accepted_events:
///       - compute.instance.*
///     accepted_priorities:
///       - WARN
///       - error
///   log: {}
/// ",
/// )?;
/// # Ok::<(), messaging::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The rules of all groups, one entry per driver and group.
    rules: Vec<(String, Rule)>,
}

#[derive(Clone, Debug)]
struct Rule {
    events: Option<Vec<Glob>>,
    priorities: Option<Vec<Glob>>,
}

impl Rules {
    /// Parses the text of the file that oslo.messaging calls `routing_config`.
    ///
    /// # Errors
    /// [`NotifyError::Rules`] when it is not YAML, or not of this form;
    /// [`NotifyError::NotCompiled`] without the feature `yaml`.
    pub fn from_yaml(text: &str) -> Result<Self, Error> {
        Ok(Rules::new(groups(text)?)?)
    }

    /// Parses the same in JSON.
    ///
    /// # Errors
    /// [`NotifyError::Rules`] when it is not of this form.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        let groups: Groups =
            serde_json::from_str(text).map_err(|error| NotifyError::Rules(Box::new(error)))?;
        Ok(Rules::new(groups)?)
    }

    fn new(groups: Groups) -> Result<Self, NotifyError> {
        let mut rules = Vec::new();
        for (driver, accepted) in groups.into_values().flat_map(Option::unwrap_or_default) {
            let accepted = accepted.unwrap_or_default();
            let lowered =
                |patterns: Vec<String>| patterns.iter().map(|pattern| pattern.to_lowercase()).collect();
            let rule = Rule {
                events: patterns(accepted.events)?,
                priorities: patterns(accepted.priorities.map(lowered))?,
            };
            rules.push((driver, rule));
        }
        Ok(Rules { rules })
    }

    /// Returns the drivers that the rules name.
    pub(super) fn drivers(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|(driver, _)| driver.as_str())
    }

    /// Whether a driver is to get a notification.
    pub(super) fn accept(&self, driver: &str, level: Level, event_type: &str) -> bool {
        let any = |patterns: &Option<Vec<Glob>>, name: &str| match patterns {
            Some(patterns) => patterns.iter().any(|pattern| pattern.fits(name)),
            None => true,
        };
        self.rules.iter().any(|(name, rule)| {
            name == driver && any(&rule.events, event_type) && any(&rule.priorities, level.name())
        })
    }
}

#[cfg(feature = "yaml")]
fn groups(text: &str) -> Result<Groups, NotifyError> {
    let groups: Option<Groups> =
        serde_saphyr::from_str(text).map_err(|error| NotifyError::Rules(Box::new(error)))?;
    Ok(groups.unwrap_or_default())
}

#[cfg(not(feature = "yaml"))]
fn groups(_: &str) -> Result<Groups, NotifyError> {
    Err(NotifyError::NotCompiled { what: "rules in YAML", feature: "yaml" })
}

fn patterns(patterns: Option<Vec<String>>) -> Result<Option<Vec<Glob>>, NotifyError> {
    let failed = |pattern: &str, source| NotifyError::Pattern { pattern: pattern.to_owned(), source };
    let glob = |pattern: &String| Glob::new(pattern).map_err(|source| failed(pattern, source));
    patterns.map(|patterns| patterns.iter().map(glob).collect()).transpose()
}

type Groups = BTreeMap<String, Option<BTreeMap<String, Option<Accepted>>>>;

#[derive(Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, serde_json::Value>")]
struct Accepted {
    events: Option<Vec<String>>,
    priorities: Option<Vec<String>>,
}

impl TryFrom<BTreeMap<String, serde_json::Value>> for Accepted {
    type Error = serde_json::Error;

    /// Requires lists where keys are present: a null would make Python fail at the first
    /// notification.
    fn try_from(mut rule: BTreeMap<String, serde_json::Value>) -> serde_json::Result<Self> {
        let mut list = |key: &str| rule.remove(key).map(serde_json::from_value).transpose();
        Ok(Accepted { events: list("accepted_events")?, priorities: list("accepted_priorities")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oslo::error::oslo::OsloError;

    #[test]
    fn a_driver_accepts_what_fits_all_that_is_said_in_any_group() {
        let rules = Rules::from_json(
            r#"{
                "one": {
                    "messagingv2": {"accepted_events": ["compute.*", "net.?"], "accepted_priorities": ["WARN", "e*"]},
                    "log": {"accepted_priorities": ["critical"], "comment": 5},
                    "noop": null
                },
                "two": {"log": {"accepted_events": ["audit.*"]}, "test": {"accepted_events": []}},
                "three": null
            }"#,
        )
        .unwrap();
        for (driver, level, event_type, accepts) in [
            ("messagingv2", Level::Warn, "compute.x", true),
            ("messagingv2", Level::Error, "net.1", true),
            ("messagingv2", Level::Info, "compute.x", false),
            ("messagingv2", Level::Warn, "net.12", false),
            ("log", Level::Critical, "anything", true),
            ("log", Level::Info, "audit.x", true),
            ("log", Level::Info, "compute.x", false),
            ("noop", Level::Sample, "", true),
            ("test", Level::Info, "audit.x", false),
            ("messaging", Level::Warn, "compute.x", false),
        ] {
            assert_eq!(rules.accept(driver, level, event_type), accepts, "{driver} {level} {event_type}");
        }
    }

    #[test]
    fn what_has_another_form_is_refused() {
        for text in ["[]", r#"{"g": {"log": []}}"#, r#"{"g": {"log": {"accepted_events": null}}}"#, "{"] {
            let refused = Rules::from_json(text).unwrap_err();
            assert!(
                matches!(refused, Error::Oslo(OsloError::Notify(NotifyError::Rules(_)))),
                "{text}: {refused}"
            );
        }
    }

    #[cfg(not(feature = "yaml"))]
    #[test]
    fn yaml_without_its_feature_is_refused_by_the_name_of_that() {
        let refused = Rules::from_yaml("{}").unwrap_err().to_string();
        assert_eq!(refused, "rules in YAML are not in this build: feature `yaml` of `messaging` is off");
    }

    #[cfg(feature = "yaml")]
    #[test]
    fn the_example_of_oslos_documentation_is_read() {
        let yaml = "
group_1:
    rpc:
        accepted_events: [compute.*, \"scheduler.run_instance.*\"]
    email: # nothing but errors
        accepted_priorities:
            - error
group_2: ~
";
        let rules = Rules::from_yaml(yaml).unwrap();
        assert!(rules.accept("rpc", Level::Info, "compute.a"));
        assert!(rules.accept("email", Level::Error, "x") && !rules.accept("email", Level::Info, "x"));
        assert!(Rules::from_yaml("").unwrap().drivers().next().is_none());
        assert!(Rules::from_yaml("a: [").is_err());
    }
}
