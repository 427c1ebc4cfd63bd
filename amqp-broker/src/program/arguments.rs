//! The arguments of the program.

use clap::{
    Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::configuration::Sources;

/// An AMQP 0-9-1 broker that any client takes for RabbitMQ.
///
/// Without any flag it listens at 127.0.0.1:5672 and has the user guest with the password guest,
/// who may log in from this machine only and may do everything in the virtual host /. Everything it
/// holds is in memory and is lost at its end, unless --data names a folder.
///
/// For each address it prints one line, `listening on ADDR`, to standard output once it accepts
/// connections there; lines for TLS end in `with TLS`, those for HTTP begin with `serving HTTP on`
/// or `serving metrics on`. The log goes to standard error; texts of
/// clients in it are escaped, and cut if they are long. SIGINT and SIGTERM end the broker:
/// publishes are confirmed, and every connection is closed with 320 CONNECTION_FORCED; a second
/// signal does nothing more. At SIGHUP it reads its settings again: users, permissions, tags and
/// certificates become as they say now; if they are wrong, nothing changes, and the log says why. A
/// service manager that asks for it (systemd's Type=notify) is told when the broker is ready.
///
/// Each connection needs an open file. The broker may open as many as the system's hard limit
/// (ulimit -Hn) allows, less those reserved for the disk and for accepting; when none is left, new
/// connections wait until others end.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) sources: Sources,
}

/// The commands of the program besides serving.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Checks the settings, the files that they name and the addresses to listen at, and ends: with
    /// 0 when the broker could start with them. It neither listens nor opens the folder of --data
    CheckConfig(Box<Sources>),
}

const EXAMPLES: &str = r#"A file:
  listen = ["0.0.0.0:5672"]
  listen-tls = ["0.0.0.0:5671"]
  http = ["127.0.0.1:15672"]
  metrics = ["0.0.0.0:15692"]
  metrics-login = false
  tls-certificate = "/etc/broker/server.pem"
  tls-key = "/etc/broker/server.key"
  tls-client-authorities = "/etc/broker/clients.pem"
  user-without-password = ["sensor"]
  loopback-users = ["admin"]
  data = "/var/lib/broker"
  vhost = ["/", "orders"]
  max-connections = 1000
  consumer-timeout = 3600000
  memory-limit = "4G"
  log-format = "json"

  [[user]]
  name = "admin"
  password = "secret"

  [[user]]
  name = "reader"
  password = "secret"

  [[permissions]]
  user = "reader"
  vhost = "orders"
  configure = ""
  write = ""
  read = "^events"

  [[topic-permissions]]
  user = "reader"
  vhost = "orders"
  exchange = "events"
  write = ""
  read = "^{username}\\."

  [[user-tags]]
  user = "admin"
  tags = ["impersonator"]

  [[policy]]
  name = "short-lived"
  vhost = "orders"
  pattern = "^events"
  apply-to = "queues"
  definition = { message-ttl = 60000, dead-letter-exchange = "late" }

  [[policy]]
  name = "bounded"
  operator = true
  pattern = ""
  priority = 1
  definition = { max-length = 1000000 }
"#;

/// Returns the error of arguments that were parsed as [`Arguments`] by this command, without a word
/// that belongs to no flag, which may be part of a password with a space in it.
pub fn without_strays(error: clap::Error, command: &mut clap::Command) -> clap::Error {
    let is_flag = |error: &clap::Error| match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.starts_with('-'),
        _ => false,
    };
    match error.kind() {
        ErrorKind::UnknownArgument if !is_flag(&error) => stray(command),
        // Either shows a word that stands where a subcommand may.
        ErrorKind::InvalidSubcommand | ErrorKind::ArgumentConflict => stray(command),
        ErrorKind::TooManyValues => {
            command.error(ErrorKind::TooManyValues, "a flag that takes no value has got one")
        }
        _ => error,
    }
}

fn stray(command: &mut clap::Command) -> clap::Error {
    command.error(
        ErrorKind::UnknownArgument,
        "a word belongs to no flag; it is not shown, as it may be a part of a password: where there is a space in \
         one, quote it. check-config comes before all flags",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn the_file_that_help_shows_can_be_read() {
        let (_, file) = EXAMPLES.split_once('\n').unwrap();
        let settings = Settings::parse(file).unwrap();
        drop(settings.builder().unwrap());
    }
}
