//! Namespaces of Linux of this program alone: a network and processes that end with it.

use std::{
    env, io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

use rustix::process::geteuid;

/// The variable that says that the program runs in namespaces of its own.
const MARK: &str = "AMQP_TEST_NAMESPACE";
/// The group of the first node of a cluster; others follow.
const FIRST_GROUP: u32 = 61_000;

/// The namespaces that a program runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// The program has a network of its own, with nothing but the loopback interface, and processes
    /// of its own, which the kernel kills when it ends, however it ends.
    Own,
    /// The program runs as it was started, for this reason.
    Shared(String),
}

impl Namespace {
    /// Replaces the program by itself, with the same arguments, in namespaces of its own. In there
    /// this returns at once.
    ///
    /// That takes Linux, root, and the programs `unshare`, `ip` and `nft`.
    ///
    /// # Errors
    /// When the loopback interface cannot be brought up.
    pub fn enter() -> io::Result<Self> {
        if is_own() {
            run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
            return Ok(Namespace::Own);
        }
        if !geteuid().is_root() {
            return Ok(Namespace::Shared("the program does not run as root".to_owned()));
        }
        for attempt in [&["ip", "-V"], &["unshare", "-V"], &["nft", "-v"]] {
            if run(Command::new(attempt[0]).arg(attempt[1])).is_err() {
                return Ok(Namespace::Shared(format!("there is no program {}", attempt[0])));
            }
        }
        if let Err(error) = run(unshare().args(["nft", "list", "ruleset"])) {
            return Ok(Namespace::Shared(format!("this system allows none: {error}")));
        }
        // It returns only if it fails.
        let error = unshare().arg(env::current_exe()?).args(env::args_os().skip(1)).env(MARK, "own").exec();
        Ok(Namespace::Shared(format!("unshare does not start: {error}")))
    }
}

/// Tells whether the program runs in namespaces of its own.
pub(crate) fn is_own() -> bool {
    env::var_os(MARK).is_some()
}

/// The group that the processes of a node have in namespaces of its own, so that a packet filter
/// can tell whose connection it is. Those of root have all rights in any group.
pub(crate) fn group_of(node: &str) -> u32 {
    let digits: String =
        node.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    FIRST_GROUP + digits.parse::<u32>().unwrap_or_default().min(999)
}

fn unshare() -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    unshare
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{}: {said}", command.get_program().to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_have_groups_by_their_numbers() {
        assert_eq!(
            ["r1@localhost", "r12@localhost", "test@localhost"].map(group_of),
            [61_001, 61_012, 61_000]
        );
    }

    #[test]
    fn tests_run_in_namespaces_that_they_share() {
        assert!(!is_own());
    }
}
