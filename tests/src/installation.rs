//! Where a RabbitMQ is installed: on this machine, or in a folder with a Debian of its own, so that
//! the same tests run on another version.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use crate::left_out::leave_out;

/// The folder of the scripts in Debian's package. Those of the same name in /usr/sbin change the
/// user and read /etc/rabbitmq, which is wrong for a private node.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// The folder that `tests/run` made; see there.
const ROOT_VARIABLE: &str = "AMQP_TEST_RABBITMQ_ROOT";

/// Becomes a program in another root, where temporary files, which include the data of nodes, are
/// at the same place. It runs in a mount namespace of its own, so nothing is mounted for others, and
/// nothing stays mounted when the program has ended. No process is left between it and its starter.
const ENTER: &str = r#"
root=$1 temporary=$2
shift 2
mount --rbind /proc "$root/proc" &&
    mount --rbind /dev "$root/dev" &&
    mkdir -p "$root$temporary" &&
    mount --bind "$temporary" "$root$temporary" &&
    exec chroot "$root" env -C "$HOME" PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
"#;

/// Reports `test` as left out unless there is a RabbitMQ; returns whether there is one.
///
/// # Panics
/// When the test does not say in its name that it uses one.
#[track_caller]
pub(crate) fn require_rabbitmq(test: &str, is_there: bool) -> bool {
    assert!(test.contains("rabbitmq"), "{test}: tests/run repeats only what has rabbitmq in its name");
    if !is_there {
        leave_out(test, "no RabbitMQ (run tests/run)");
    }
    is_there
}

/// An installed RabbitMQ.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    /// The root of its Debian, if that is not the machine's.
    root: Option<PathBuf>,
}

impl Installation {
    /// The one in the folder `AMQP_TEST_RABBITMQ_ROOT`; the machine's, if that is not set.
    ///
    /// # Panics
    /// When the variable is set but there is no RabbitMQ, because leaving tests out would hide the
    /// mistake.
    #[allow(clippy::panic, reason = "what is set up wrongly must fail, not be left out")]
    pub(crate) fn chosen() -> Self {
        let Some(root) = env::var_os(ROOT_VARIABLE).filter(|root| !root.is_empty()) else {
            return Self { root: None };
        };
        let chosen = Path::new(&root).canonicalize().map(|root| Self { root: Some(root) });
        match chosen {
            Ok(chosen) if chosen.is_there() => chosen,
            _ => panic!("{ROOT_VARIABLE}: there is no RabbitMQ in {}", Path::new(&root).display()),
        }
    }

    pub(crate) fn is_there(&self) -> bool {
        let root = self.root.as_deref().unwrap_or(Path::new("/"));
        root.join(SCRIPTS.trim_start_matches('/')).join("rabbitmq-server").exists()
    }

    /// One of RabbitMQ's scripts.
    pub(crate) fn script(&self, name: &str) -> Command {
        self.program(&format!("{SCRIPTS}/{name}"))
    }

    /// A program of the same Debian. It runs in the folder `HOME`, which must be set and, as any
    /// file that it uses, be among the temporary ones.
    pub(crate) fn program(&self, program: &str) -> Command {
        let Some(root) = &self.root else {
            return Command::new(program);
        };
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", ENTER, "enter"]).arg(root).arg(env::temp_dir()).arg(program);
        command
    }

    /// The variable by which a child process finds it.
    pub(crate) fn variable(&self) -> Option<(&'static str, String)> {
        Some((ROOT_VARIABLE, self.root.as_ref()?.display().to_string()))
    }
}
