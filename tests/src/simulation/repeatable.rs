//! Processes in which nothing is left to chance: each runs one scenario, with random octets that
//! follow from the seed, and clocks that stand.
//!
//! Hash maps, UUIDs, tokio's choice among branches that are ready, and statics: all of it begins
//! anew in a process, and takes its random octets from libc. A small library in C, built when it is
//! first needed, takes the place of libc's functions. Nothing in the crates has to know of it.

use std::{
    env, io,
    path::PathBuf,
    process::{self, Command, Stdio},
};

use super::run::Verdict;
use crate::preload;

const SOURCE: &str = include_str!("repeatable.c");
const SEED: &str = "AMQP_SIMULATION_SEED";

/// The argument that says that a scenario runs in this process.
pub(super) const HERE: &str = "--here";

/// Runs scenarios, each in a process of its own.
pub(super) struct Processes {
    program: PathBuf,
    /// The library that makes runs repeatable, if there is one here.
    library: Option<PathBuf>,
}

impl Processes {
    /// Prepares to run processes of this program.
    ///
    /// # Errors
    /// When the program's file is unknown.
    pub(super) fn of_this_program() -> io::Result<Self> {
        let program = env::current_exe()?;
        let library = program.parent().and_then(|folder| preload::build(folder, "repeatable", SOURCE));
        Ok(Processes { program, library })
    }

    /// Tells whether a seed gives the same run each time.
    pub(super) fn are_repeatable(&self) -> bool {
        self.library.is_some()
    }

    /// Runs a scenario; `arguments` go to the process beside the seed.
    pub(super) fn run(&self, seed: u64, arguments: &[String]) -> Verdict {
        let mut command = Command::new(&self.program);
        command.args(["--seed", &seed.to_string(), HERE]).args(arguments).stdin(Stdio::null());
        command.env(SEED, seed.to_string());
        if let Some(library) = &self.library {
            command.env("LD_PRELOAD", library);
        }
        match command.output() {
            Ok(output) => read(&output),
            Err(error) => broken(format!("the process does not start: {error}")),
        }
    }
}

/// Writes a verdict for [`read`].
pub(super) fn write(verdict: &Verdict, to: &mut impl io::Write) -> io::Result<()> {
    for line in &verdict.transcript {
        writeln!(to, "line {}", line.replace('\n', " "))?;
    }
    for violation in &verdict.violations {
        writeln!(to, "wrong {}", violation.replace('\n', " "))?;
    }
    writeln!(to, "hash {:016x}", verdict.hash)
}

fn read(output: &process::Output) -> Verdict {
    let mut verdict = Verdict { hash: 0, transcript: Vec::new(), violations: Vec::new() };
    let mut is_whole = false;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.split_once(' ') {
            Some(("line", line)) => verdict.transcript.push(line.to_owned()),
            Some(("wrong", wrong)) => verdict.violations.push(wrong.to_owned()),
            Some(("hash", hash)) => {
                verdict.hash = u64::from_str_radix(hash, 16).unwrap_or_default();
                is_whole = true;
            }
            _ => {}
        }
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    if let Some(panic) = errors.lines().find(|line| line.contains("panicked")) {
        verdict.violations.push(panic.to_owned());
    }
    if !is_whole {
        verdict.violations.push(format!("the process ends without a verdict: {}; {errors}", output.status));
    }
    verdict
}

fn broken(what: String) -> Verdict {
    Verdict { hash: 0, transcript: Vec::new(), violations: vec![what] }
}
