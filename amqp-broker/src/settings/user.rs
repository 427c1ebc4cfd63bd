//! A user with a password, from a flag or a file.

use std::{ffi::OsStr, fmt};

use clap::{
    Arg, Command,
    builder::TypedValueParser,
    error::{Error, ErrorKind},
};
use serde::Deserialize;

/// A user with a password.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: String,
}

// The password is not shown.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Reads NAME:PASSWORD. Its errors do not show the text, which may contain a password; those of
/// clap's own parsers would.
#[derive(Clone, Copy, Debug)]
pub(super) struct UserParser;

impl TypedValueParser for UserParser {
    type Value = User;

    fn parse_ref(&self, command: &Command, _: Option<&Arg>, value: &OsStr) -> Result<User, Error> {
        let parts = value.to_str().and_then(|text| text.split_once(':'));
        let (name, password) = parts.ok_or_else(|| {
            let text = "--user: a user is NAME:PASSWORD, in UTF-8";
            command.clone().error(ErrorKind::ValueValidation, text)
        })?;
        Ok(User { name: name.to_owned(), password: password.to_owned() })
    }
}
