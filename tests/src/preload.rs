//! Small libraries in C that are loaded into a program (`LD_PRELOAD`) and take the place of what it
//! would ask the system for. They are built when they are first needed.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::{Mutex, PoisonError},
};

/// Held while a library is built: the tests of a process want the same one at the same time.
static BUILDING: Mutex<()> = Mutex::new(());

/// Builds a library in this folder, unless it is there; `None` where that is not possible: without
/// Linux, or without a C compiler.
pub(crate) fn build(folder: &Path, name: &str, source: &str) -> Option<PathBuf> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut hash = DefaultHasher::new();
    source.hash(&mut hash);
    let name = format!("{name}-{:016x}", hash.finish());
    let library = folder.join(format!("{name}.so"));
    if library.exists() {
        return Some(library);
    }
    let own = folder.join(format!("{name}-{}", process::id()));
    let (file, built) = (own.with_extension("c"), own.with_extension("so.new"));
    fs::write(&file, source).ok()?;
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let compiled = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&built, &file])
        .stdout(Stdio::null())
        .status();
    let _ = fs::remove_file(&file);
    // A process that builds it at the same time has the same result.
    let is_built = compiled.is_ok_and(|status| status.success()) && fs::rename(&built, &library).is_ok();
    is_built.then_some(library)
}
