//! The arguments of the programs.

use std::time::Duration;

use super::{Failure, Subject};

/// What is measured, and how.
pub struct Options {
    /// The broker.
    pub subject: Subject,
    /// The factor of the size, relative to the full size.
    pub scale: f64,
    /// How long an operation may take.
    pub deadline: Duration,
    /// How many bytes of memory the broker may take before it is killed, to protect the machine.
    pub cap: u64,
    /// The memory limit that the broker is given, in bytes, where the program sets one.
    pub limit: u64,
    /// Parts of the names of what is done; empty means everything.
    pub filters: Vec<String>,
}

impl Options {
    /// Reads the program's arguments.
    pub fn read() -> Result<Self, Failure> {
        let mut arguments = std::env::args().skip(1);
        let subject = match arguments.next().ok_or("the first argument is a broker")?.as_str() {
            "rabbitmq" => Subject::RabbitMq,
            program => Subject::Embedded(program.into()),
        };
        let mut options = Self {
            subject,
            scale: 1.0,
            deadline: Duration::from_secs(60),
            cap: 6 << 30,
            limit: 64 << 20,
            filters: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--scale" => options.scale = value(arguments.next())?,
                "--deadline" => options.deadline = Duration::from_secs(value(arguments.next())?),
                "--cap" => options.cap = value::<u64>(arguments.next())? << 20,
                "--limit" => options.limit = value::<u64>(arguments.next())? << 20,
                flag if flag.starts_with("--") => return Err(format!("no such flag: {flag}").into()),
                _ => options.filters.push(argument),
            }
        }
        Ok(options)
    }

    /// Tells whether this is to be done.
    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}

fn value<T: std::str::FromStr>(text: Option<String>) -> Result<T, Failure> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| "a flag without its number".into())
}
