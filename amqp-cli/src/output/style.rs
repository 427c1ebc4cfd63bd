//! Colours, where they are wanted.

use std::{
    env,
    io::{self, IsTerminal},
};

use clap::ValueEnum;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is dumb
    #[default]
    Auto,
    /// In pipes too
    Always,
    /// Nowhere
    Never,
}

/// The colours of an output, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    is_coloured: bool,
}

impl Style {
    /// The style of standard output. NO_COLOR counts if it is not empty
    /// (<https://no-color.org>).
    pub(crate) fn of_stdout(color: Color) -> Self {
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let is_wanted = io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb;
        let is_coloured = match color {
            Color::Auto => is_wanted,
            Color::Always => true,
            Color::Never => false,
        };
        Style { is_coloured }
    }

    /// Tells whether there are colours.
    pub(crate) fn is_coloured(self) -> bool {
        self.is_coloured
    }

    /// No colours.
    #[cfg(test)]
    pub(crate) const PLAIN: Style = Style { is_coloured: false };

    /// A heading.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrapped("1", text)
    }

    /// Details of less weight.
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrapped("2", text)
    }

    /// A name.
    pub(crate) fn name(self, text: &str) -> String {
        self.wrapped("36", text)
    }

    /// A warning.
    pub(crate) fn warning(self, text: &str) -> String {
        self.wrapped("33", text)
    }

    fn wrapped(self, code: &str, text: &str) -> String {
        match self.is_coloured {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        }
    }
}
