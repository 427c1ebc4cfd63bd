//! The simulation, with as many seeds as there is time for: nothing is wrong in any of them, and
//! the same seed gives the same run.

use std::{fs, path::Path, process::Command};

use tests::{leave_out, scale};

/// The number of seeds that are run, and of those that are run twice. One takes about 30 ms of
/// processor time in a build without optimisation.
const SEEDS: usize = 2000;
const TWICE: usize = 50;

/// Runs these seeds; returns what the program says about them.
fn simulate(seeds: &str, more: &[&str]) -> (bool, String) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_simulation"));
    let output = program.args(["--seeds", seeds]).args(more).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Seeds of long runs that showed something wrong once: an auto-delete exchange that went before a
/// server could bind its queue, and faults of the simulation.
const WRONG_ONCE: [usize; 11] =
    [5729, 39_321, 45_288, 48_232, 56_531, 123_825, 125_722, 137_249, 145_467, 151_620, 171_610];

#[test]
fn what_was_wrong_once_is_right() {
    for seed in WRONG_ONCE {
        let (is_right, said) = simulate(&format!("{seed}..{}", seed + 1), &[]);
        assert!(is_right, "{said}");
    }
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

#[test]
fn every_planted_bug_can_still_be_planted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let patch = root.join("tests/planted/planted.patch");
    let mut check = Command::new("patch");
    check.current_dir(root).args(["-p1", "--dry-run", "--silent", "--force", "-i"]).arg(&patch);
    let Ok(checked) = check.output() else {
        return leave_out("every_planted_bug_can_still_be_planted", "there is no program `patch`");
    };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let bugs = fs::read_to_string(&patch).unwrap().matches("bug == \"").count();
    assert_eq!(bugs, 12);
}
