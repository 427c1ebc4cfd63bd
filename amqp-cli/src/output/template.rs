//! Templates such as `{{routing_key}}: {{body}}\n`, for what is printed and for what is published.

/// A template: text, and between double braces the names of fields with at most one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

/// A field of a template: `{{name}}` or `{{name argument}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) argument: Option<String>,
}

/// Why a template cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("a template has {{{{ without }}}}: {0}")]
    Unclosed(String),
    #[error("a template has no field between {{{{ and }}}}")]
    Empty,
    #[error("a template has no field {name}; there are: {known}")]
    Unknown { name: String, known: String },
}

impl Template {
    /// Reads a template. `\n`, `\t`, `\0` and `\\` stand for what they mean in most languages.
    ///
    /// # Errors
    /// When braces are not closed, or a field is not one of those known.
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            let (field, after) =
                behind.split_once("}}").ok_or_else(|| TemplateError::Unclosed(behind.to_owned()))?;
            push_text(&mut parts, before);
            parts.push(Part::Field(field_of(field, known)?));
            rest = after;
        }
        push_text(&mut parts, rest);
        Ok(Template { parts })
    }

    /// Fills it in: the closure appends the value of each field.
    pub(crate) fn fill(&self, out: &mut Vec<u8>, mut value: impl FnMut(&Field, &mut Vec<u8>)) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Field(field) => value(field, out),
            }
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

fn field_of(text: &str, known: &[&str]) -> Result<Field, TemplateError> {
    let mut words = text.split_whitespace();
    let name = words.next().ok_or(TemplateError::Empty)?;
    // A header is named after its dot.
    let kind = name.split_once('.').map_or(name, |(kind, _)| kind);
    if !known.contains(&name) && !known.contains(&format!("{kind}.").as_str()) {
        return Err(TemplateError::Unknown { name: name.to_owned(), known: known.join(", ") });
    }
    Ok(Field { name: name.to_owned(), argument: words.next().map(str::to_owned) })
}

/// Replaces `\n`, `\t`, `\0` and `\\`; any other backslash stays.
pub(crate) fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('0') => plain.push('\0'),
            Some('\\') => plain.push('\\'),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        let template = Template::parse(text, &["a", "random", "header."]).unwrap();
        let mut out = Vec::new();
        template.fill(&mut out, |field, out| {
            out.extend_from_slice(format!("<{} {:?}>", field.name, field.argument).as_bytes());
        });
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_are_filled_in_and_text_stays() {
        assert_eq!(filled("x{{a}}y{{ random 8 }}"), "x<a None>y<random Some(\"8\")>");
        assert_eq!(filled("{{header.x-y}} { } }}"), "<header.x-y None> { } }}");
        assert_eq!(filled(""), "");
    }

    #[test]
    fn what_is_no_field_is_refused_by_name() {
        let refused = |text| Template::parse(text, &["a", "b"]).unwrap_err().to_string();
        assert_eq!(refused("{{c}}"), "a template has no field c; there are: a, b");
        assert_eq!(refused("{{a"), "a template has {{ without }}: a");
        assert_eq!(refused("{{ }}"), "a template has no field between {{ and }}");
    }

    #[test]
    fn escapes_stand_for_what_they_mean() {
        assert_eq!(unescaped(r"a\tb\n\\n\x\"), "a\tb\n\\n\\x\\");
    }
}
