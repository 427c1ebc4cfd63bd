//! The settings in force: flags, the file, and reading the file again.

use std::{error::Error, fmt::Display, fs, path::PathBuf};

use amqp_codec::Report;
use clap::Args;

use crate::{broker::Broker, server::tls::Tls, settings::Settings};

/// Where the settings come from.
#[derive(Args, Clone, Debug)]
pub(crate) struct Sources {
    /// A TOML file with settings; its keys are the names of the flags
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    flags: Settings,
}

impl Sources {
    /// Reads the file, and completes the flags by it.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what it should be. The message names it.
    pub(crate) fn read(&self) -> Result<Settings, Box<dyn Error>> {
        let flags = self.flags.clone();
        let Some(file) = &self.config else { return Ok(flags) };
        let about = |error: &dyn Display| format!("{}: {error}", file.display());
        let text = fs::read_to_string(file).map_err(|error| about(&error))?;
        Ok(flags.or(Settings::parse(&text).map_err(|error| about(&error))?))
    }
}

/// The parts of the program that a reload replaces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reloaded<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) tls: Option<&'a Tls>,
}

impl Reloaded<'_> {
    /// Reads the settings again, and replaces users, permissions, tags and certificates. Where
    /// anything is wrong with the settings, all stays as it is, and the log says why.
    pub(crate) fn reload(self, sources: &Sources) {
        match self.replace(sources) {
            Ok(()) => tracing::info!(
                "users and certificates are those of the settings as they are now; all other settings apply at the next start"
            ),
            Err(error) => {
                tracing::error!(
                    "the settings stay as they were, because they cannot be read again: {}",
                    Report(&*error)
                );
            }
        }
    }

    /// Replaces all or, when it fails, nothing.
    fn replace(self, sources: &Sources) -> Result<(), Box<dyn Error>> {
        let settings = sources.read()?;
        let (users, tls) = (settings.builder()?, settings.tls()?);
        self.broker.reload_users(users);
        match (self.tls, tls) {
            (Some(old), Some(new)) => old.renew(&new),
            (None, Some(_)) => tracing::warn!("the listeners for TLS are opened at the next start"),
            (_, None) => {}
        }
        Ok(())
    }
}
