//! A Python in a virtual environment with the packages that the tests need.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::left_out::leave_out;
use crate::process;

/// The pinned packages. `tests/run` installs them, and leaves a copy of this list with them.
const REQUIREMENTS: &str = include_str!("../requirements.txt");
/// Other versions of kombu, which have environments of their own, and their packages.
const KOMBU: [(&str, &str); 2] =
    [("5.3.7", include_str!("../kombu-5.3.7.txt")), ("5.6.2", include_str!("../kombu-5.6.2.txt"))];
const FOLDER_VARIABLE: &str = "AMQP_TEST_VENV";
/// The deadline of a script that waits for a broker; each should have a shorter one itself.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(300);

/// A Python that has every package of `tests/requirements.txt`, or a certain version of kombu.
#[derive(Clone, Debug)]
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// The Python that `tests/run` has set up, if it did: in the folder that `AMQP_TEST_VENV`
    /// names, or else in `venv` in Cargo's target folder. An environment with other packages than
    /// the current list does not count.
    #[must_use]
    pub fn available() -> Option<Self> {
        Self::of_folder(&folder(), REQUIREMENTS)
    }

    /// [`available`](Self::available), which reports `test` as left out when there is none.
    #[must_use]
    pub fn require(test: &str) -> Option<Self> {
        let python = Self::available();
        if python.is_none() {
            leave_out(test, "no Python with the packages of tests/requirements.txt (run tests/run)");
        }
        python
    }

    /// The Python with this version of kombu and no other package. Its folder has the name of that
    /// with all packages, and `-kombu-VERSION` at the end. Reports `test` as left out when there is
    /// none.
    #[must_use]
    pub fn require_kombu(test: &str, version: &str) -> Option<Self> {
        let mut folder = folder().into_os_string();
        folder.push(format!("-kombu-{version}"));
        let (_, packages) = KOMBU.iter().find(|(known, _)| *known == version)?;
        let python = Self::of_folder(Path::new(&folder), packages);
        if python.is_none() {
            leave_out(test, &format!("no Python with kombu {version} (run tests/run)"));
        }
        python
    }

    /// Runs `script`, the text of a program, with `args` as its `sys.argv[1:]`.
    ///
    /// # Errors
    /// When it cannot be started, or `TimedOut` when it has not ended within 120 s; it is killed
    /// then. A failure of the script is not an error here; see the output's status.
    ///
    /// # Cancel safety
    /// The script is killed when the future is dropped.
    pub async fn run(&self, script: &str, args: &[&str]) -> io::Result<Output> {
        process::output(self.command(script, args), SCRIPT_DEADLINE).await
    }

    /// The command that runs `script` with `args` as its `sys.argv[1:]`, for a caller that
    /// exchanges data with it.
    #[must_use]
    pub fn command(&self, script: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-u", "-c", script]).args(args).env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        command
    }

    /// The folder with the sources and tests of a package, `name-version`, if `tests/run` could
    /// fetch them.
    #[must_use]
    pub fn published(&self, package: &str) -> Option<PathBuf> {
        let folder = self.program.parent()?.parent()?.join("suites").join(package);
        folder.is_dir().then_some(folder)
    }

    fn of_folder(folder: &Path, packages: &str) -> Option<Self> {
        let program = folder.join("bin/python");
        let installed = fs::read_to_string(folder.join("requirements.txt")).ok()?;
        (program.exists() && installed == packages).then_some(Self { program })
    }
}

fn folder() -> PathBuf {
    if let Some(folder) = env::var_os(FOLDER_VARIABLE) {
        return folder.into();
    }
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")).join("venv")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_counts_only_with_the_packages_asked_for_now() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Python::of_folder(folder.path(), REQUIREMENTS).is_none());
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::write(folder.path().join("bin/python"), "").unwrap();
        assert!(Python::of_folder(folder.path(), REQUIREMENTS).is_none());
        fs::write(folder.path().join("requirements.txt"), "pika==0\n").unwrap();
        assert!(Python::of_folder(folder.path(), REQUIREMENTS).is_none());
        fs::write(folder.path().join("requirements.txt"), REQUIREMENTS).unwrap();
        let python = Python::of_folder(folder.path(), REQUIREMENTS).unwrap();

        assert_eq!(python.published("pika-0"), None);
        fs::create_dir_all(folder.path().join("suites/pika-0")).unwrap();
        assert_eq!(python.published("pika-0"), Some(folder.path().join("suites/pika-0")));
    }

    #[tokio::test]
    async fn a_script_gets_its_arguments_and_finds_the_packages() {
        let Some(python) = Python::require("a_script_gets_its_arguments_and_finds_the_packages") else {
            return;
        };
        let script = "import sys, pika; print(*sys.argv[1:]); sys.exit(3)";
        let output = python.run(script, &["one", "two words"]).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "one two words\n", "{output:?}");
        assert_eq!(output.status.code(), Some(3));
    }
}
