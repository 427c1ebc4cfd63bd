//! Power losses: images of the folder at moments of a recording, each opened by the real program.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use fastrand::Rng;

use super::{
    image::{Image, Survivors},
    log::{Kind, Record},
    opened::{Opened, open},
    program::{Orders, Tools},
    recording::Recording,
};

/// The number of steps of clients that are recorded.
const STEPS: usize = 240;

/// The power losses of one recording.
pub struct PowerLosses {
    tools: Tools,
    seed: u64,
    recording: Recording,
}

/// The figures of some images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The number of images that were opened.
    pub images: usize,
    /// Of how many the program told that it cut off a tail.
    pub tails_told: usize,
}

/// An image that is not as it has to be.
#[derive(Debug)]
pub struct Failure {
    /// The number of the image.
    pub image: usize,
    /// All that is wrong with it.
    pub wrong: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "image {}:", self.image)?;
        self.wrong.iter().try_for_each(|wrong| write!(to, "\n  {wrong}"))
    }
}

impl PowerLosses {
    /// Records a load. With `swallows`, the disk ignores `fdatasync`.
    ///
    /// # Errors
    /// When the program or a client of it fails.
    pub async fn record(tools: Tools, seed: u64, swallows: bool) -> io::Result<Self> {
        let orders = Orders { swallows, ..Orders::default() };
        let recording = Recording::make(&tools, seed, STEPS, &orders).await?;
        if !recording.wrong.is_empty() {
            return Err(io::Error::other(recording.wrong.join("; ")));
        }
        Ok(PowerLosses { tools, seed, recording })
    }

    /// Takes a recording that was kept in this folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_kept(tools: Tools, seed: u64, folder: PathBuf) -> io::Result<Self> {
        Ok(PowerLosses { tools, seed, recording: Recording::read(folder, None)? })
    }

    /// Keeps the recording, so that its images can be made again; returns its folder.
    pub fn keep(&mut self) -> &Path {
        self.recording.keep()
    }

    /// Says in words what was recorded.
    #[must_use]
    pub fn describe(&self) -> String {
        let records = &self.recording.log.records;
        let syncs = records.iter().filter(|record| record.kind == Kind::Sync).count();
        let (calls, promises) = (records.len(), self.recording.history.count());
        format!("{calls} calls, {syncs} of them syncs; {promises} steps promised")
    }

    /// Opens an image of this number; `None` when all is as it has to be.
    ///
    /// # Errors
    /// When the image cannot be written, or the program neither starts nor ends.
    pub async fn open(&self, number: usize, figures: &mut Figures) -> io::Result<Option<Failure>> {
        let mut random = Rng::with_seed(self.seed << 32 | number as u64);
        let record = self.moment(number, &mut random);
        let survivors = Survivors::choose(&mut random);
        let log = &self.recording.log.octets;
        let image = Image::at(&self.recording.story, log, record.end, survivors, &mut random);
        let place = tempfile::Builder::new().prefix("power-loss-").tempdir()?;
        let folder = place.path().join("data");
        image.write(&folder)?;
        let Opened { is_refused, mut wrong, log } =
            open(&self.tools, &folder, &self.recording.history, record.now).await?;
        figures.images += 1;
        figures.tails_told += usize::from(log.contains("are dropped"));
        if is_refused {
            wrong.push(format!("it is refused: {log}"));
        }
        if wrong.is_empty() {
            return Ok(None);
        }
        wrong.push(format!("at {}, after {:?}, {survivors:?}", record.now, record.kind));
        Ok(Some(Failure { image: number, wrong }))
    }

    /// The moment of an image: mostly the end of a sync, or the call before one.
    fn moment(&self, number: usize, random: &mut Rng) -> &Record {
        let records = &self.recording.log.records;
        // The moments of successive images are far apart, and all are reached in the end.
        let at = number.wrapping_mul(7_919) % records.len();
        let sync = records.iter().skip(at).position(|record| record.kind == Kind::Sync);
        let sync = sync.map_or(at, |sync| at + sync);
        &records[match random.u8(..3) {
            0 => at,
            1 => sync.saturating_sub(1),
            _ => sync,
        }]
    }
}
