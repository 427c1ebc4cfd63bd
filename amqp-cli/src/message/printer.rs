//! Printing messages.

use clap::Args;

use crate::{
    error::Error,
    message::{
        sink::MessageSink,
        view::{FIELDS, MessageView},
    },
    output::{
        arguments::OutputArguments,
        escape::{escaped_line, escaped_octets},
        json,
        stdout::Stdout,
        style::Style,
        template::{Template, unescaped},
    },
};

/// The form in which messages are printed.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct PrinterArguments {
    #[command(flatten)]
    pub(crate) output: OutputArguments,

    /// Prints the body alone, octet by octet, and nothing after it
    #[arg(long, conflicts_with_all = ["json", "format"])]
    pub(crate) raw: bool,
}

/// Prints messages to standard output.
#[derive(Debug)]
pub(crate) struct Printer {
    stdout: Stdout,
    style: Style,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// A line about the message, and the body with what a terminal would obey escaped.
    Terminal,
    /// The body and a line feed.
    Pipe,
    /// The body.
    Raw,
    Json,
    Template(Template),
}

impl Printer {
    /// # Errors
    /// [`Error::Usage`] for a template that cannot be used.
    pub(crate) fn new(arguments: &PrinterArguments) -> Result<Self, Error> {
        let stdout = Stdout::new();
        let output = &arguments.output;
        let form = match &output.format {
            Some(template) => {
                let template = Template::parse(&unescaped(template), FIELDS);
                Form::Template(template.map_err(|error| Error::Usage(error.to_string()))?)
            }
            None if output.json => Form::Json,
            None if arguments.raw => Form::Raw,
            None if stdout.is_terminal() => Form::Terminal,
            None => Form::Pipe,
        };
        Ok(Printer { stdout, style: Style::of_stdout(output.color), form })
    }
}

impl MessageSink for Printer {
    fn put(&mut self, message: &MessageView) -> Result<(), Error> {
        match &self.form {
            Form::Terminal => {
                let shown = for_terminal(message, self.style);
                self.stdout.write(shown.as_bytes())
            }
            Form::Pipe => {
                self.stdout.write(&message.body)?;
                self.stdout.write(b"\n")
            }
            Form::Raw if self.stdout.is_terminal() => {
                let shown = escaped_octets(&message.body);
                self.stdout.write(shown.as_bytes())
            }
            Form::Raw => self.stdout.write(&message.body),
            Form::Json => self.stdout.write(format!("{}\n", json::line(&message.to_json())).as_bytes()),
            Form::Template(template) => {
                let mut filled = Vec::new();
                let is_terminal = self.stdout.is_terminal();
                template.fill(&mut filled, |field, out| {
                    let begin = out.len();
                    message.fill(field, out);
                    if is_terminal {
                        let safe = escaped_octets(&out.split_off(begin));
                        out.extend_from_slice(safe.as_bytes());
                    }
                });
                self.stdout.write(&filled)
            }
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.stdout.flush()
    }
}

/// A line about the message, then its body, which a line feed ends.
fn for_terminal(message: &MessageView, style: Style) -> String {
    let exchange = if message.exchange.is_empty() { "(default)" } else { &message.exchange };
    let mut about = format!(
        "{} {}",
        style.name(&escaped_line(exchange)),
        style.bold(&escaped_line(&message.routing_key))
    );
    if let Some(queue) = &message.queue {
        about.push_str(&style.dim(&format!(" from {}", escaped_line(queue))));
    }
    if let Some(offset) = message.offset {
        about.push_str(&style.dim(&format!(" offset {offset}")));
    }
    if message.redelivered {
        about.push_str(&style.warning(" redelivered"));
    }
    let properties = message.properties_json();
    if !properties.is_empty() {
        about.push_str(&style.dim(&format!(" {}", json::line(&properties))));
    }
    let mut body = escaped_octets(&message.body);
    if !body.ends_with('\n') {
        body.push('\n');
    }
    format!("{about}\n{body}")
}
