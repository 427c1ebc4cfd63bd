//! The example programs, as a user runs them, and those of the tests themselves.

use std::{
    env,
    path::{Path, PathBuf},
};

use tests::leave_out;

/// The path of an example program, which `cargo test --workspace` builds. If it is not there,
/// `test` is left out.
pub(crate) fn example(name: &str, test: &str) -> Option<PathBuf> {
    let this = env::current_exe().unwrap();
    let folder = this.parent().and_then(Path::parent).unwrap();
    let program = folder.join("examples").join(format!("{name}{}", env::consts::EXE_SUFFIX));
    if program.exists() {
        return Some(program);
    }
    leave_out(test, &format!("the example {name} is not built (cargo build --workspace --example {name})"));
    None
}
