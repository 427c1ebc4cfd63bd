//! The Python of a virtual environment with the packages we test against.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use crate::left_out::leave_out;
use crate::process;

/// The packages, pinned. `tests/run` installs them, and leaves a copy of this list where they are.
const REQUIREMENTS: &str = include_str!("../requirements.txt");
const FOLDER_VARIABLE: &str = "AMQP_TEST_VENV";
/// For a script that waits for a broker; each should have a shorter deadline of its own.
const SCRIPT_DEADLINE: Duration = Duration::from_secs(120);

/// A Python that has every package of `tests/requirements.txt`.
#[derive(Clone, Debug)]
pub struct Python {
    program: PathBuf,
}

impl Python {
    /// The Python that `tests/run` has set up, if it did: in the folder that `AMQP_TEST_VENV`
    /// names, or else in `venv` under Cargo's target folder. One with other packages than are asked
    /// for now does not count.
    #[must_use]
    pub fn available() -> Option<Self> {
        Self::of_folder(&folder())
    }

    /// [`available`](Self::available), saying that `test` is left out when there is none.
    #[must_use]
    pub fn require(test: &str) -> Option<Self> {
        let python = Self::available();
        if python.is_none() {
            leave_out(test, "no Python with the packages of tests/requirements.txt (run tests/run)");
        }
        python
    }

    /// Runs `script`, the text of a program, with `args` as its `sys.argv[1:]`.
    ///
    /// # Errors
    /// When it cannot be started, or `TimedOut` when it has not ended within 120 s; it is killed
    /// then. That it failed is no error here: see the output's status.
    ///
    /// # Cancel safety
    /// The script is killed when the future is dropped.
    pub async fn run(&self, script: &str, args: &[&str]) -> io::Result<Output> {
        process::output(self.command(script, args), SCRIPT_DEADLINE).await
    }

    /// What runs `script` with `args` as its `sys.argv[1:]`, to be started by whoever talks with
    /// it.
    #[must_use]
    pub fn command(&self, script: &str, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-u", "-c", script]).args(args).env_remove("PYTHONPATH").env_remove("PYTHONHOME");
        command
    }

    /// The folder with the sources of a package, `name-version`, and so the tests it was published
    /// with: if `tests/run` could fetch them.
    #[must_use]
    pub fn published(&self, package: &str) -> Option<PathBuf> {
        let folder = self.program.parent()?.parent()?.join("suites").join(package);
        folder.is_dir().then_some(folder)
    }

    fn of_folder(folder: &Path) -> Option<Self> {
        let program = folder.join("bin/python");
        let installed = fs::read_to_string(folder.join("requirements.txt")).ok()?;
        (program.exists() && installed == REQUIREMENTS).then_some(Self { program })
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
        assert!(Python::of_folder(folder.path()).is_none());
        fs::create_dir(folder.path().join("bin")).unwrap();
        fs::write(folder.path().join("bin/python"), "").unwrap();
        assert!(Python::of_folder(folder.path()).is_none());
        fs::write(folder.path().join("requirements.txt"), "pika==0\n").unwrap();
        assert!(Python::of_folder(folder.path()).is_none());
        fs::write(folder.path().join("requirements.txt"), REQUIREMENTS).unwrap();
        let python = Python::of_folder(folder.path()).unwrap();

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
