//! The simulation, with as many seeds as there is time for: nothing is wrong in any of them, and
//! the same seed gives the same run.

use std::process::Command;

use tests::scale;

/// How many seeds are run, and how many of them twice. One takes about 30 ms of processor time in a
/// build without optimisation.
const SEEDS: usize = 1000;
const TWICE: usize = 100;

/// Runs these seeds; returns what the program says about them.
fn simulate(seeds: &str, more: &[&str]) -> (bool, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_simulation"));
    let output = program.args(["--seeds", seeds]).args(more).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn nothing_is_wrong_whatever_the_seed() {
    let (is_right, said) = simulate(&format!("{TWICE}..{}", SEEDS * scale()), &[]);
    assert!(is_right, "{said}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (is_right, said) = simulate(&format!("0..{}", TWICE * scale()), &["--twice"]);
    assert!(is_right, "{said}");
}
