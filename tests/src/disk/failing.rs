//! A failing disk: one call of a run fails, or all from one on.

use std::{fmt, io, path::PathBuf, time::Duration};

use fastrand::Rng;
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{
    history::History,
    image::{Image, Survivors},
    load::Load,
    log::Log,
    opened::{Opened, open},
    program::{Orders, Tools, VHOSTS},
    story::Story,
};

/// The number of steps that clients take: the program makes about a thousand calls.
const STEPS: usize = 110;
/// The time that the clients may take, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// The words of the log where the cause is not known.
const UNNAMED: &str = "an earlier write failed";

/// The way in which a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An error of the device.
    Eio,
    /// No space, once.
    Enospc,
    /// No space, from this call on.
    Full,
    /// A write that writes only a part; only writes are counted.
    Short,
    /// An error of the device, at a sync; only syncs are counted.
    Sync,
}

/// All of them.
pub const FAULTS: [Fault; 5] = [Fault::Eio, Fault::Enospc, Fault::Full, Fault::Short, Fault::Sync];

impl Fault {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::Eio => "eio",
            Fault::Enospc => "enospc",
            Fault::Full => "full",
            Fault::Short => "short",
            Fault::Sync => "sync",
        }
    }

    /// The fault of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        FAULTS.into_iter().find(|fault| fault.name() == name)
    }

    fn cause(self) -> Option<&'static str> {
        match self {
            Fault::Eio | Fault::Sync => Some("Input/output error"),
            Fault::Enospc | Fault::Full => Some("No space left on device"),
            Fault::Short => None,
        }
    }

    fn orders(self, number: u32) -> Orders {
        let how = if self == Fault::Sync { "eio" } else { self.name() };
        Orders {
            fails: (number > 0).then(|| format!("{number} {how}")),
            only_syncs: self == Fault::Sync,
            swallows: false,
        }
    }
}

/// The outcome of a run in which a call failed.
#[derive(Debug, Default)]
pub struct Failed {
    /// The number of calls that were counted.
    pub calls: u32,
    /// Set when the program ended because of it, or did not start.
    pub has_ended: bool,
    /// Set when its log says only that an earlier write failed: the store does not tell why one of
    /// its own threads could not write, and a later write does not show it.
    pub is_unnamed: bool,
    /// All that is wrong.
    pub wrong: Vec<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wrong.iter().try_for_each(|wrong| writeln!(to, "  {wrong}"))
    }
}

/// Runs the program under a load while its call of this number fails; 0 fails none. Then the folder
/// is opened as it is, and as a power loss would leave it.
///
/// # Errors
/// When the program hangs, or the machine does not let it run.
pub async fn fail(tools: &Tools, seed: u64, fault: Fault, number: u32) -> io::Result<Failed> {
    let place = tempfile::Builder::new().prefix("failing-disk-").tempdir()?;
    let (folder, file) = (place.path().join("data"), place.path().join("log"));
    let history = History::default();
    let mut loads: Vec<_> = (0..VHOSTS.len()).map(|vhost| Load::new(&history, vhost, seed)).collect();
    let mut running = tools.start(&folder, Some((&file, &fault.orders(number))))?;
    let mut failed = Failed::default();
    let mut errors = Vec::new();
    if let Some(port) = running.port()? {
        let runs = loads.iter_mut().map(|load| load.run(port, STEPS / VHOSTS.len()));
        match timeout(PATIENCE, join_all(runs)).await {
            Ok(done) => errors.extend(done.into_iter().filter_map(Result::err)),
            Err(_) => failed.wrong.push("a client waits for ever".to_owned()),
        }
    } else {
        failed.has_ended = true;
    }
    // A program that cannot keep its promise ends by itself.
    failed.has_ended |= !errors.is_empty();
    let status = if failed.has_ended { running.ended()? } else { running.terminate()? };
    let log = running.log()?;
    failed.has_ended |= !status.success();
    if failed.has_ended && status.success() {
        failed.wrong.push(format!("it ends without an error, though {errors:?}"));
    }
    let is_named = fault.cause().is_some_and(|cause| log.contains(cause));
    failed.is_unnamed = failed.has_ended && !is_named && log.contains(UNNAMED) && fault != Fault::Full;
    if failed.has_ended && !is_named && !failed.is_unnamed {
        failed.wrong.push(format!("the cause is not named: {log}"));
    }
    if log.contains("panicked") {
        failed.wrong.push(format!("it panics: {log}"));
    }
    failed.wrong.extend(loads.into_iter().flat_map(|load| load.wrong));
    let recorded = Log::read(&file, &folder)?;
    failed.calls = recorded.counted();
    look(tools, &history, recorded, folder, &mut failed).await?;
    Ok(failed)
}

/// Opens the folder as it is, and as it is after a power loss.
async fn look(
    tools: &Tools,
    history: &History,
    recorded: Log,
    folder: PathBuf,
    failed: &mut Failed,
) -> io::Result<()> {
    let story = Story::follow(&recorded)?;
    let mut random = Rng::with_seed(0);
    let image = Image::at(&story, &recorded.octets, u64::MAX, Survivors::None, &mut random);
    let lost = folder.with_extension("lost");
    image.write(&lost)?;
    for (folder, what) in [(folder, "as it is"), (lost, "after a power loss")] {
        let Opened { is_refused, mut wrong, log } = open(tools, &folder, history, u64::MAX).await?;
        if is_refused {
            wrong.push(format!("it is refused: {log}"));
        }
        failed.wrong.extend(wrong.into_iter().map(|wrong| format!("{what}: {wrong}")));
    }
    Ok(())
}
