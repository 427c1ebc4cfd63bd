//! Where commands print tables, objects and lines.

use serde::Serialize;
use serde_json::Value as Json;

use crate::{
    error::Error,
    output::{
        arguments::OutputArguments,
        escape::escaped_text,
        json,
        stdout::Stdout,
        style::Style,
        table::Table,
        template::{Template, unescaped},
    },
};

/// Standard output as the arguments want it.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) stdout: Stdout,
    pub(crate) style: Style,
    is_json: bool,
    format: Option<String>,
}

impl Screen {
    pub(crate) fn new(arguments: &OutputArguments) -> Self {
        let style = Style::of_stdout(arguments.color);
        let format = arguments.format.as_deref().map(unescaped);
        Screen { stdout: Stdout::new(), style, is_json: arguments.json, format }
    }

    /// Prints objects: as JSON, one a line, by the template, or as the table that the closure makes
    /// of them.
    ///
    /// # Errors
    /// As [`object`](Self::object).
    pub(crate) fn objects<T: Serialize>(
        &mut self,
        objects: &[T],
        table: impl FnOnce(&[T]) -> Table,
    ) -> Result<(), Error> {
        if self.is_json || self.format.is_some() {
            for object in objects {
                self.put(object)?;
            }
        } else {
            let table = table(objects);
            if !table.is_empty() {
                self.stdout.write(table.draw(self.style).as_bytes())?;
            }
        }
        self.stdout.flush()
    }

    /// Prints one object: as JSON, by the template, or as the line that is made for people.
    ///
    /// # Errors
    /// [`Error::Usage`] for a template that the object does not have the fields of; otherwise as
    /// [`Stdout::write`].
    pub(crate) fn object(&mut self, object: &impl Serialize, line: &str) -> Result<(), Error> {
        match self.is_json || self.format.is_some() {
            true => self.put(object)?,
            false => self.stdout.write(format!("{line}\n").as_bytes())?,
        }
        self.stdout.flush()
    }

    fn put(&mut self, object: &impl Serialize) -> Result<(), Error> {
        let text = match &self.format {
            Some(format) => filled(format, object)?,
            None => format!("{}\n", json::line(object)),
        };
        match self.stdout.is_terminal() {
            true => self.stdout.write(escaped_text(&text).as_bytes()),
            false => self.stdout.write(text.as_bytes()),
        }
    }
}

/// The template with the fields of the object; those that are no text are in JSON.
fn filled(format: &str, object: &impl Serialize) -> Result<String, Error> {
    // What this program serializes has string keys and no failing serializer.
    let object = serde_json::to_value(object).unwrap_or_default();
    let fields = object.as_object().cloned().unwrap_or_default();
    let known: Vec<&str> = fields.keys().map(String::as_str).collect();
    let template = Template::parse(format, &known).map_err(|error| Error::Usage(error.to_string()))?;
    let mut out = Vec::new();
    template.fill(&mut out, |field, out| match fields.get(&field.name) {
        Some(Json::String(text)) => out.extend_from_slice(text.as_bytes()),
        Some(json) => out.extend_from_slice(json.to_string().as_bytes()),
        None => {}
    });
    Ok(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_the_fields_of_the_object() {
        let object = serde_json::json!({"name": "q", "messages": 3, "tags": ["a"]});
        assert_eq!(filled("{{name}}={{messages}} {{tags}}\n", &object).unwrap(), "q=3 [\"a\"]\n");
        let refused = filled("{{nope}}", &object).unwrap_err().to_string();
        assert_eq!(refused, "a template has no field nope; there are: messages, name, tags");
    }
}
