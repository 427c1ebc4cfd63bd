//! The text of a page of metrics: Prometheus 0.0.4, or OpenMetrics 1.0.0.

use std::fmt::{Display, Write as _};

/// The formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Prometheus,
    OpenMetrics,
}

/// The types of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Untyped,
}

/// A metric: its name without the prefix, its type and its explanation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) help: &'static str,
}

/// A counter.
pub(super) const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, help }
}

/// A gauge.
pub(super) const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, help }
}

impl Format {
    /// The format that the header `Accept` asks for.
    pub(super) fn accepted(accept: &str) -> Self {
        let mut wanted = accept.split(',').map(|kind| kind.split(';').next().unwrap_or_default().trim());
        match wanted.any(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text")) {
            true => Format::OpenMetrics,
            false => Format::Prometheus,
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Format::Prometheus => "text/plain; version=0.0.4",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The text of a page, which is taken in parts.
#[derive(Debug)]
pub(super) struct Page {
    format: Format,
    prefix: &'static str,
    text: String,
}

impl Page {
    /// A page whose names begin with this prefix.
    pub(super) fn new(format: Format, prefix: &'static str) -> Self {
        Page { format, prefix, text: String::new() }
    }

    /// Begins a metric. OpenMetrics has the type and the explanation of a counter on its name
    /// without `_total`.
    pub(super) fn begin(&mut self, family: Family) {
        let Family { name, kind, help } = family;
        let (name, kind) = match (self.format, kind) {
            (Format::OpenMetrics, Kind::Counter) => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            (Format::OpenMetrics, Kind::Untyped) => (name, "unknown"),
            (Format::Prometheus, Kind::Untyped) => (name, "untyped"),
            (_, Kind::Counter) => (name, "counter"),
            (_, Kind::Gauge) => (name, "gauge"),
        };
        let prefix = self.prefix;
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# TYPE {prefix}{name} {kind}\n# HELP {prefix}{name} {help}");
    }

    /// A value of a metric, with labels that are encoded already.
    pub(super) fn sample(&mut self, family: Family, labels: &str, value: impl Display) {
        self.text.push_str(self.prefix);
        self.text.push_str(family.name);
        if !labels.is_empty() {
            self.text.push('{');
            self.text.push_str(labels);
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    /// A metric with one value.
    pub(super) fn one(&mut self, family: Family, labels: &str, value: impl Display) {
        self.begin(family);
        self.sample(family, labels, value);
    }

    /// Writes some metrics under another prefix.
    pub(super) fn prefixed(&mut self, prefix: &'static str, write: impl FnOnce(&mut Page)) {
        let own = std::mem::replace(&mut self.prefix, prefix);
        write(self);
        self.prefix = own;
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// Takes what has been written since the last time.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// Ends the page.
    pub(super) fn end(&mut self) {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
    }
}

/// Labels with their values.
pub(super) fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                character => text.push(character),
            }
        }
        text.push('"');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Family = counter("read_total", "Reads");

    #[test]
    fn both_formats_name_a_counter_as_they_should() {
        let mut page = Page::new(Format::Prometheus, "x_");
        page.one(READ, &labels(&[("a", "b\"\\\n")]), 3);
        page.end();
        assert_eq!(
            page.take(),
            "# TYPE x_read_total counter\n# HELP x_read_total Reads\nx_read_total{a=\"b\\\"\\\\\\n\"} 3\n"
        );
        let mut page = Page::new(Format::OpenMetrics, "x_");
        page.one(READ, "", 3);
        page.end();
        assert_eq!(page.take(), "# TYPE x_read counter\n# HELP x_read Reads\nx_read_total 3\n# EOF\n");
    }

    #[test]
    fn who_accepts_openmetrics_gets_it() {
        let openmetrics = "application/openmetrics-text; version=1.0.0,text/plain;version=0.0.4;q=0.5";
        assert_eq!(Format::accepted(openmetrics), Format::OpenMetrics);
        assert_eq!(Format::accepted("text/plain"), Format::Prometheus);
        assert_eq!(Format::accepted("*/*"), Format::Prometheus);
    }
}
