//! Where commands print tables, objects and lines.

use serde::Serialize;

use crate::{
    error::Error,
    output::{arguments::OutputArguments, json, stdout::Stdout, style::Style, table::Table},
};

/// Standard output as the arguments want it.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) stdout: Stdout,
    pub(crate) style: Style,
    is_json: bool,
}

impl Screen {
    pub(crate) fn new(arguments: &OutputArguments) -> Self {
        Screen { stdout: Stdout::new(), style: Style::of_stdout(arguments.color), is_json: arguments.json }
    }

    /// Tells whether JSON is wanted.
    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Prints objects: as JSON, one a line, or as the table that the closure makes of them.
    ///
    /// # Errors
    /// As [`Stdout::write`].
    pub(crate) fn objects<T: Serialize>(
        &mut self,
        objects: &[T],
        table: impl FnOnce(&[T]) -> Table,
    ) -> Result<(), Error> {
        if self.is_json {
            for object in objects {
                self.stdout.write(format!("{}\n", json::line(object)).as_bytes())?;
            }
        } else {
            let table = table(objects);
            if !table.is_empty() {
                self.stdout.write(table.draw(self.style).as_bytes())?;
            }
        }
        self.stdout.flush()
    }

    /// Prints one object: as JSON, or as the line that is made for people.
    ///
    /// # Errors
    /// As [`Stdout::write`].
    pub(crate) fn object(&mut self, object: &impl Serialize, line: &str) -> Result<(), Error> {
        let line = if self.is_json { json::line(object) } else { line.to_owned() };
        self.stdout.write(format!("{line}\n").as_bytes())?;
        self.stdout.flush()
    }
}
