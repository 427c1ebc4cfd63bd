//! The installation of a RabbitMQ: on this machine, or in a folder with a Debian of its own, so
//! that the same tests run on another version.

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
/// at the same place. It runs in a mount namespace of its own, so nothing is mounted for others,
/// and nothing stays mounted when the program has ended. No process is left between it and its
/// starter.
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
        let root = Path::new(&root);
        let Some(chosen) = Self::within(root) else {
            panic!("{ROOT_VARIABLE}: there is no RabbitMQ in {}", root.display());
        };
        chosen
    }

    /// The one in the folder `root`, if there is one.
    fn within(root: &Path) -> Option<Self> {
        // Programs are started in other folders.
        Some(Self { root: Some(root.canonicalize().ok()?) }).filter(Self::is_there)
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

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;
    use crate::process;

    #[test]
    fn a_folder_without_rabbitmq_is_none() {
        let root = tempfile::tempdir().unwrap();
        assert!(Installation::within(root.path()).is_none());
        assert!(Installation::within(&root.path().join("nowhere")).is_none());
        fs::create_dir_all(root.path().join("usr/lib/rabbitmq/bin")).unwrap();
        fs::write(root.path().join("usr/lib/rabbitmq/bin/rabbitmq-server"), "").unwrap();
        let variable = Installation::within(root.path()).unwrap().variable();
        let root = root.path().canonicalize().unwrap().display().to_string();
        assert_eq!(variable, Some((ROOT_VARIABLE, root)));
    }

    #[tokio::test]
    async fn what_is_mounted_for_a_program_in_another_root_is_mounted_for_nobody_else() {
        let test =
            "installation::tests::what_is_mounted_for_a_program_in_another_root_is_mounted_for_nobody_else";
        let deadline = Duration::from_secs(60);
        let mut mounting = Command::new("unshare");
        mounting.args(["--mount", "mount", "--bind", "/proc", "/proc"]);
        let allowed = process::output(mounting, deadline).await;
        if !allowed.is_ok_and(|output| output.status.success()) {
            return leave_out(test, "only root can mount anything");
        }
        let installation = Installation { root: Some("/".into()) };
        let home = tempfile::tempdir().unwrap();
        let before = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mut command = installation.program("sh");
        command.args(["-c", "pwd; cat /proc/self/mountinfo"]).env("HOME", home.path());
        let output = process::output(command, deadline).await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let (folder, inside) = said.split_once('\n').unwrap();
        assert_eq!(Path::new(folder), home.path());
        assert!(inside.lines().count() > before.lines().count(), "nothing was mounted: {inside}");
        assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), before);
    }
}
