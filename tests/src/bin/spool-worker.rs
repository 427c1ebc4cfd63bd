//! A worker whose notifications are buffered on disk; `power-loss --spool` runs it.

use std::{env, path::PathBuf, process::ExitCode};

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let folder = arguments.next().map(PathBuf::from);
    let count = arguments.next().and_then(|count| count.parse().ok());
    let (Some(folder), Some(count)) = (folder, count) else {
        eprintln!("usage: spool-worker FOLDER COUNT");
        return ExitCode::from(2);
    };
    match tests::disk::work_with_spool(&folder, count).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spool-worker: {}", messaging::Report(&error));
            ExitCode::FAILURE
        }
    }
}
