//! The forms of an answer.

use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value as Json, json};

use crate::{
    commands::check::findings::{Findings, Status},
    exit::Exit,
    output::{escape::escaped_line, json},
};

/// The asker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// A monitoring plugin's line with performance data; exit codes 0 OK, 1 WARNING, 2 CRITICAL,
    /// 3 UNKNOWN
    #[default]
    Nagios,
    /// Prometheus' text format, for a textfile collector; exit code 0, and amqp_up tells
    Prometheus,
    /// A line for a probe of Kubernetes or a health check; exit code 1 when anything is critical,
    /// else 0
    Probe,
    /// An object of JSON; exit codes as for nagios
    Json,
}

/// The answer's text, and how the program ends.
pub(super) fn answer(form: Form, findings: &Findings) -> (String, Exit) {
    let status = findings.status();
    match form {
        Form::Nagios => (nagios(findings), code(status)),
        Form::Prometheus => (prometheus(findings), Exit::Done),
        Form::Probe => (
            format!("{}\n", text(findings)),
            if status == Status::Critical { Exit::Failed } else { Exit::Done },
        ),
        Form::Json => (format!("{}\n", json::line(&object(findings))), code(status)),
    }
}

/// The answer when the check itself cannot be made.
pub(super) fn unknown(form: Form, why: &str) -> (String, Exit) {
    let why = escaped_line(why);
    match form {
        Form::Nagios => (format!("AMQP UNKNOWN - {}\n", why.replace('|', "/")), Exit::Other(3)),
        Form::Json => {
            (format!("{}\n", json::line(&json!({"status": "unknown", "problems": [why]}))), Exit::Other(3))
        }
        Form::Probe => (format!("{why}\n"), Exit::Failed),
        Form::Prometheus => (gauge("amqp_up", "Tells whether a connection could be opened", "0"), Exit::Done),
    }
}

fn code(status: Status) -> Exit {
    match status {
        Status::Ok => Exit::Done,
        Status::Warning => Exit::Other(1),
        Status::Critical => Exit::Other(2),
    }
}

fn name(status: Status) -> &'static str {
    match status {
        Status::Ok => "ok",
        Status::Warning => "warning",
        Status::Critical => "critical",
    }
}

/// The text of a line. The words of others in it are escaped.
fn text(findings: &Findings) -> String {
    let text = match findings.problems.is_empty() {
        false => {
            let problems: Vec<&str> = findings.problems.iter().map(|(_, problem)| problem.as_str()).collect();
            problems.join("; ")
        }
        true => {
            let mut text = format!(
                "{} answers",
                if findings.broker.is_empty() { "the broker" } else { &findings.broker }
            );
            if findings.roundtrip.is_some() {
                text.push_str(", a message came back");
            }
            for depth in &findings.queues {
                text.push_str(&format!(
                    ", queue {} has {} messages and {} consumers",
                    depth.queue, depth.messages, depth.consumers
                ));
            }
            text
        }
    };
    escaped_line(&text).into_owned()
}

/// The line of the monitoring plugins' guidelines: status, text, a bar, performance data.
fn nagios(findings: &Findings) -> String {
    // What follows a bar is performance data.
    let text = text(findings).replace('|', "/");
    let status = name(findings.status()).to_uppercase();
    let mut data = Vec::new();
    if let Some(connected) = findings.connected {
        data.push(format!("connect={}s", seconds(connected)));
    }
    if let Some(roundtrip) = findings.roundtrip {
        data.push(format!("roundtrip={}s", seconds(roundtrip)));
    }
    for depth in &findings.queues {
        let queue = escaped_line(&depth.queue).replace(['\'', '=', '|'], "_");
        data.push(format!("'{queue} messages'={}", depth.messages));
        data.push(format!("'{queue} consumers'={}", depth.consumers));
    }
    match data.is_empty() {
        true => format!("AMQP {status} - {text}\n"),
        false => format!("AMQP {status} - {text} | {}\n", data.join(" ")),
    }
}

fn prometheus(findings: &Findings) -> String {
    let up = if findings.connected.is_some() { "1" } else { "0" };
    let mut metrics = gauge("amqp_up", "Tells whether a connection could be opened", up);
    let status = (findings.status() as u8).to_string();
    metrics.push_str(&gauge(
        "amqp_check_status",
        "The result of the check: 0 ok, 1 warning, 2 critical",
        &status,
    ));
    for (name, help, value) in [
        ("amqp_connect_seconds", "The time that opening a connection and a channel took", findings.connected),
        ("amqp_roundtrip_seconds", "The time that a message took to the broker and back", findings.roundtrip),
    ] {
        if let Some(value) = value {
            metrics.push_str(&gauge(name, help, &seconds(value)));
        }
    }
    let messages = findings.queues.iter().map(|depth| (&depth.queue, depth.messages));
    metrics.push_str(&of_queues("amqp_queue_messages", "The number of ready messages of a queue", messages));
    let consumers = findings.queues.iter().map(|depth| (&depth.queue, depth.consumers));
    metrics.push_str(&of_queues("amqp_queue_consumers", "The number of consumers of a queue", consumers));
    metrics
}

fn gauge(name: &str, help: &str, value: &str) -> String {
    format!("# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}\n")
}

fn of_queues<'a>(name: &str, help: &str, values: impl Iterator<Item = (&'a String, u32)>) -> String {
    let samples: String =
        values.map(|(queue, value)| format!("{name}{{queue=\"{}\"}} {value}\n", label(queue))).collect();
    match samples.is_empty() {
        true => String::new(),
        false => format!("# HELP {name} {help}.\n# TYPE {name} gauge\n{samples}"),
    }
}

/// A label's value, in which backslashes, quotes and line feeds are escaped.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn object(findings: &Findings) -> Json {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let problem = |(status, text): &(Status, String)| json!({"status": name(*status), "text": text});
    let queues: Vec<Json> = findings.queues.iter().map(|depth| json!({
        "queue": depth.queue, "messages": depth.messages, "consumers": depth.consumers, "status": name(depth.status),
    })).collect();
    json!({
        "status": name(findings.status()),
        "broker": findings.broker,
        "connect_seconds": seconds(findings.connected),
        "roundtrip_seconds": seconds(findings.roundtrip),
        "queues": queues,
        "problems": findings.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

fn seconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::findings::Limits;

    fn findings(queue: &str) -> Findings {
        let mut findings = Findings {
            broker: "RabbitMQ 4.0.5".to_owned(),
            connected: Some(Duration::from_millis(12)),
            roundtrip: Some(Duration::from_micros(800)),
            ..Findings::default()
        };
        findings.add_queue(queue, (5, 1), Limits { warning: Some(5), ..Limits::default() });
        findings
    }

    #[test]
    fn a_plugin_says_one_line_whatever_a_queue_is_called() {
        let (text, exit) = answer(Form::Nagios, &findings("a|b='\n"));
        let expected = "AMQP WARNING - queue a/b='\\n has 5 messages, the limit is 5 | connect=0.012000s \
                        roundtrip=0.000800s 'a_b__\\n messages'=5 'a_b__\\n consumers'=1\n";
        assert_eq!((text.as_str(), exit), (expected, Exit::Other(1)));
        assert_eq!(
            unknown(Form::Nagios, "no\nfile|"),
            ("AMQP UNKNOWN - no\\nfile/\n".to_owned(), Exit::Other(3))
        );
    }

    #[test]
    fn metrics_have_escaped_labels_and_end_well() {
        let (text, exit) = answer(Form::Prometheus, &findings("a\"\\\n"));
        assert!(text.contains("\namqp_queue_messages{queue=\"a\\\"\\\\\\n\"} 5\n"), "{text}");
        assert!(text.contains("\namqp_up 1\n") && text.contains("\namqp_check_status 1\n"), "{text}");
        assert_eq!(exit, Exit::Done);
        let (text, _) = answer(Form::Prometheus, &Findings::default());
        assert!(text.contains("\namqp_up 0\n") && !text.contains("queue"), "{text}");
    }

    #[test]
    fn a_probe_fails_only_when_something_is_critical() {
        let mut findings = findings("q");
        assert_eq!(answer(Form::Probe, &findings).1, Exit::Done);
        findings.problems.push((Status::Critical, "worse".to_owned()));
        assert_eq!(answer(Form::Probe, &findings).1, Exit::Failed);
        assert_eq!(answer(Form::Json, &findings).1, Exit::Other(2));
    }
}
