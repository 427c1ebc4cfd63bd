//! Writes the seeds of every target into `corpus/TARGET`, where cargo-fuzz looks for them.

use std::{io, path::Path};

fn main() -> io::Result<()> {
    fuzz::seeds::Seeds::load()?.write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus"))
}
