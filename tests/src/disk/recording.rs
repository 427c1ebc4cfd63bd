//! A recording: the load on the program under the recorder, with the log of its calls.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::{
    history::History,
    load::Load,
    log::Log,
    program::{Orders, Running, Tools, VHOSTS},
    story::Story,
};

/// All that was recorded.
pub(super) struct Recording {
    pub(super) history: History,
    pub(super) log: Log,
    pub(super) story: Story,
    /// The wrong things that the clients saw.
    pub(super) wrong: Vec<String>,
    /// The folder with its files, which is removed unless it is kept.
    path: PathBuf,
    made: Option<TempDir>,
}

const LOG: &str = "log";
const CLIENTS: &str = "clients.json";

/// The notes of the clients.
#[derive(Deserialize, Serialize)]
struct Clients {
    history: History,
    folder: PathBuf,
    wrong: Vec<String>,
}

impl Recording {
    /// Records two lives of the program, of which the first is killed and the second ends in order.
    ///
    /// # Errors
    /// When anything fails.
    pub(super) async fn make(tools: &Tools, seed: u64, steps: usize, orders: &Orders) -> io::Result<Self> {
        let place = tempfile::Builder::new().prefix("power-loss-").tempdir()?;
        let (folder, file) = (place.path().join("data"), place.path().join(LOG));
        let history = History::default();
        let mut loads: Vec<Load<'_>> =
            (0..VHOSTS.len()).map(|vhost| Load::new(&history, vhost, seed)).collect();
        for is_last in [false, true] {
            let mut running = tools.start(&folder, Some((&file, orders)))?;
            let Some(port) = running.port()? else { return Err(io::Error::other(running.log()?)) };
            let runs = loads.iter_mut().map(|load| load.run(port, steps / VHOSTS.len() / 2));
            for done in futures_util::future::join_all(runs).await {
                done.map_err(|stopped| io::Error::other(stopped.to_string()))?;
            }
            end(&mut running, is_last)?;
        }
        let wrong = loads.into_iter().flat_map(|load| load.wrong).collect();
        fs::remove_dir_all(&folder)?;
        let clients = serde_json::to_vec(&Clients { history, folder, wrong })?;
        fs::write(place.path().join(CLIENTS), clients)?;
        Recording::read(place.path().to_owned(), Some(place))
    }

    /// Reads a recording that was kept in this folder.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn read(path: PathBuf, made: Option<TempDir>) -> io::Result<Self> {
        let Clients { history, folder, wrong } = serde_json::from_slice(&fs::read(path.join(CLIENTS))?)?;
        let log = Log::read(&path.join(LOG), &folder)?;
        let story = Story::follow(&log)?;
        Ok(Recording { history, log, story, wrong, path, made })
    }

    /// Keeps its files; returns the folder with them.
    pub(super) fn keep(&mut self) -> &Path {
        self.made = self.made.take().map(TempDir::keep).and(None);
        &self.path
    }
}

fn end(running: &mut Running, is_in_order: bool) -> io::Result<()> {
    if !is_in_order {
        return running.kill();
    }
    let status = running.terminate()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(running.log()?)) }
}
