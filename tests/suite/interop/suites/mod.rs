//! The test suites of Python's clients, on RabbitMQ and on the embedded broker: what passes there
//! passes here.
//!
//! `tests/run` fetches them from their packages; the repository contains none of them.

mod tools;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use amqp_broker::Broker;
use tests::{Node, Python, leave_out};
use tokio::{process::Command, time::timeout};

const SCRIPT: &str = include_str!("pytest.py");
/// The deadline of a whole suite on a busy machine.
const DEADLINE: Duration = Duration::from_secs(240);
/// How often a test may run: even its authors repeat one that depends on time.
const ATTEMPTS: usize = 3;

/// A published test suite.
struct Suite {
    /// The package's name and version, which is also the folder of its sources.
    package: &'static str,
    files: &'static [&'static str],
    /// Parts of the names of tests that are skipped on every broker.
    left: &'static [&'static str],
    /// How many tests pass on RabbitMQ at least, so that a suite that is not found does not count
    /// as passed.
    at_least: usize,
    /// Tests that pass on RabbitMQ and not here, and why.
    differences: &'static [(&'static str, &'static str)],
}

/// The suite of py-amqp.
const PY_AMQP: Suite = Suite {
    package: "amqp-5.4.2",
    files: &["t/integration"],
    // These need certificates that are not published, or hosts on the internet.
    left: &["tls"],
    at_least: 45,
    differences: &[],
};

/// The suite of kombu.
const KOMBU: Suite = Suite {
    package: "kombu-5.7.0",
    files: &["t/integration/test_py_amqp.py"],
    // These spend seconds connecting to a port on which nobody listens.
    left: &["failed_"],
    at_least: 40,
    differences: &[],
};

/// The suite of pika, without the tests of its event loops (`io_services_tests.py`), which use no
/// broker, and those of Twisted, which need another runner.
const PIKA: Suite = Suite {
    package: "pika-1.3.2",
    files: &[
        "tests/acceptance/blocking_adapter_test.py",
        "tests/acceptance/async_adapter_tests.py",
        "tests/acceptance/enforce_one_basicget_test.py",
    ],
    // These are the same tests on event loops that are not installed, or belong to another system.
    left: &["tornado", "gevent", "kqueue"],
    at_least: 250,
    differences: &[],
};

/// The outcomes of tests, by their names.
type Outcomes = BTreeMap<String, String>;

impl Suite {
    async fn compare(&self, test: &str) {
        let Some(python) = Python::require(test) else { return };
        let Some(folder) = python.published(self.package) else {
            leave_out(test, &format!("no tests of {} (run tests/run)", self.package));
            return;
        };
        let listener = Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
        let ours = self.outcomes(&python, &folder, listener.local_addr().port());
        let Some(node) = Node::require(test) else {
            // There is nothing to compare with: the tests that remain pass on RabbitMQ.
            return self.judge(&ours.await, None);
        };
        let (ours, theirs) = tokio::join!(ours, self.outcomes(&python, &folder, node.port()));
        self.judge(&ours, Some(&theirs));
    }

    fn judge(&self, ours: &Outcomes, theirs: Option<&Outcomes>) {
        let theirs = theirs.map_or_else(|| ours.keys().collect::<BTreeSet<_>>(), passed);
        assert!(theirs.len() >= self.at_least, "{}: only {} passed there", self.package, theirs.len());
        let known: BTreeSet<_> = self.differences.iter().map(|(name, _)| *name).collect();
        let passed = passed(ours);
        let missing: Vec<_> = theirs
            .iter()
            .filter(|name| ours.get(**name).is_none_or(|outcome| outcome == "failed"))
            .filter(|name| !known.contains(name.as_str()))
            .collect();
        assert!(missing.is_empty(), "{}: pass there and not here: {missing:#?}", self.package);
        let outlived: Vec<_> =
            known.iter().filter(|name| passed.iter().any(|passed| passed == *name)).collect();
        assert!(outlived.is_empty(), "{}: listed as differences, and pass: {outlived:#?}", self.package);
    }

    /// Runs the suite, and repeats the tests that failed.
    #[allow(clippy::print_stdout, reason = "shown when the test fails")]
    async fn outcomes(&self, python: &Python, folder: &PathBuf, port: u16) -> Outcomes {
        let left = self.left.iter().map(|word| format!("not {word}")).collect::<Vec<_>>().join(" and ");
        let mut outcomes = Outcomes::new();
        let mut wanted: Vec<String> = self.files.iter().map(ToString::to_string).collect();
        for _ in 0..ATTEMPTS {
            let mut command = Command::from(python.command(SCRIPT, &[&port.to_string(), "-k", &left]));
            command.args(&wanted).current_dir(folder).kill_on_drop(true);
            let output = timeout(DEADLINE, command.output()).await.expect("the suite did not end").unwrap();
            let said = String::from_utf8_lossy(&output.stdout);
            let lines = said.lines().filter_map(|line| line.strip_prefix("outcome: ")?.split_once(' '));
            outcomes.extend(lines.map(|(outcome, name)| (name.to_owned(), outcome.to_owned())));
            wanted =
                outcomes.iter().filter(|(_, how)| *how == "failed").map(|(name, _)| name.clone()).collect();
            if wanted.is_empty() {
                break;
            }
            println!("{} at port {port}:\n{said}{}", self.package, String::from_utf8_lossy(&output.stderr));
        }
        outcomes
    }
}

fn passed(outcomes: &Outcomes) -> BTreeSet<&String> {
    outcomes.iter().filter(|(_, outcome)| *outcome == "passed").map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn py_amqps_own_tests_pass_where_they_do_on_rabbitmq() {
    PY_AMQP.compare("interop::suites::py_amqps_own_tests_pass_where_they_do_on_rabbitmq").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kombus_own_tests_pass_where_they_do_on_rabbitmq() {
    KOMBU.compare("interop::suites::kombus_own_tests_pass_where_they_do_on_rabbitmq").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pikas_own_tests_pass_where_they_do_on_rabbitmq() {
    PIKA.compare("interop::suites::pikas_own_tests_pass_where_they_do_on_rabbitmq").await;
}

/// The outcomes of these tests, for tests of the comparison.
fn outcomes(of: &[(&str, &str)]) -> Outcomes {
    of.iter().map(|(name, outcome)| ((*name).to_owned(), (*outcome).to_owned())).collect()
}

const JUDGED: Suite =
    Suite { package: "judged", files: &[], left: &[], at_least: 1, differences: &[("known", "a reason")] };

#[test]
fn a_known_difference_is_one() {
    let theirs = outcomes(&[("known", "passed"), ("same", "passed"), ("fails there", "failed")]);
    JUDGED.judge(
        &outcomes(&[("known", "failed"), ("same", "passed"), ("fails there", "failed")]),
        Some(&theirs),
    );
}

#[test]
#[should_panic(expected = "pass there and not here")]
fn what_fails_here_alone_is_found() {
    let theirs = outcomes(&[("new", "passed")]);
    JUDGED.judge(&outcomes(&[("new", "failed")]), Some(&theirs));
}

#[test]
#[should_panic(expected = "pass there and not here")]
fn what_does_not_even_run_here_is_found() {
    JUDGED.judge(&outcomes(&[]), Some(&outcomes(&[("new", "passed")])));
}

#[test]
#[should_panic(expected = "listed as differences, and pass")]
fn a_difference_that_is_none_any_more_is_found() {
    let theirs = outcomes(&[("known", "passed")]);
    JUDGED.judge(&outcomes(&[("known", "passed")]), Some(&theirs));
}

#[test]
#[should_panic(expected = "only 0 passed")]
fn a_suite_that_is_not_found_is_no_suite_without_faults() {
    JUDGED.judge(&outcomes(&[]), Some(&outcomes(&[])));
}
