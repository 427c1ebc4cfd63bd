//! Power losses of a buffer of notifications on disk.

use std::{
    collections::BTreeMap,
    io,
    process::{Command, Output},
};

use fastrand::Rng;

use super::{
    image::{Image, Survivors},
    log::Log,
    program::{Orders, Tools},
    story::Story,
};

/// The number of notifications that are recorded.
const COUNT: u64 = 300;

/// The worker's words on a notification: when it was handed over, kept, and emitted.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    sent: Option<u64>,
    kept: Option<u64>,
    emitted: Option<u64>,
}

/// A recording of the worker.
pub struct SpoolLosses {
    tools: Tools,
    seed: u64,
    log: Log,
    story: Story,
    fates: BTreeMap<u64, Fate>,
}

impl SpoolLosses {
    /// Records the worker, which ends without closing its buffer.
    ///
    /// # Errors
    /// When it fails.
    pub fn record(tools: Tools, seed: u64, swallows: bool) -> io::Result<Self> {
        let place = tempfile::Builder::new().prefix("spool-").tempdir()?;
        let (folder, file) = (place.path().join("data"), place.path().join("log"));
        let mut command = tools.spool_worker(&folder, COUNT + seed);
        tools.record(&mut command, &folder, &file, &Orders { swallows, ..Orders::default() });
        let output = succeed(&mut command)?;
        let log = Log::read(&file, &folder)?;
        let story = Story::follow(&log)?;
        Ok(SpoolLosses { tools, seed, log, story, fates: fates(&output) })
    }

    /// Opens an image of this number; returns what is wrong with it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(&self, number: usize) -> io::Result<Option<String>> {
        let mut random = Rng::with_seed(self.seed << 32 | number as u64);
        let record = &self.log.records[number.wrapping_mul(7_919) % self.log.records.len()];
        // The store refuses a journal whose last batch has survived in parts.
        let survivors = Survivors::choose_in_order(&mut random);
        let image = Image::at(&self.story, &self.log.octets, record.end, survivors, &mut random);
        let place = tempfile::Builder::new().prefix("spool-").tempdir()?;
        let folder = place.path().join("data");
        image.write(&folder)?;
        let wrong = match succeed(&mut self.tools.spool_worker(&folder, 0)) {
            Ok(output) => self.compare(&output, record.now),
            // The store refuses what an interrupted first start leaves; nothing was kept before.
            Err(_) if !self.has_kept_anything(record.now) => Vec::new(),
            Err(error) => vec![error.to_string()],
        };
        let what = format!("image {number}, {survivors:?}: {}", wrong.join("; "));
        Ok((!wrong.is_empty()).then_some(what))
    }

    fn has_kept_anything(&self, time: u64) -> bool {
        self.fates.values().any(|fate| fate.kept.is_some_and(|kept| kept <= time))
    }

    fn compare(&self, output: &Output, time: u64) -> Vec<String> {
        let said = String::from_utf8_lossy(&output.stdout);
        let mut wrong: Vec<String> =
            said.lines().filter(|line| line.starts_with("wrong")).map(str::to_owned).collect();
        let found = fates(output);
        let is_past = |at: Option<u64>| at.is_some_and(|at| at <= time);
        for (number, fate) in &self.fates {
            let is_there = found.contains_key(number);
            if is_past(fate.kept) && !is_past(fate.emitted) && !is_there {
                wrong.push(format!("notification {number} is lost"));
            }
            if is_there && !is_past(fate.sent) {
                wrong.push(format!("notification {number} is there before it was sent"));
            }
        }
        wrong
    }
}

fn succeed(command: &mut Command) -> io::Result<Output> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("the worker fails: {}: {errors}", output.status)))
}

fn fates(output: &Output) -> BTreeMap<u64, Fate> {
    let mut fates: BTreeMap<u64, Fate> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let mut words = line.split(' ');
        let (Some(what), Some(number), Some(at)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        let (Ok(number), Ok(at)) = (number.parse(), at.parse()) else { continue };
        let fate = fates.entry(number).or_default();
        match what {
            "sent" => fate.sent = Some(at),
            "kept" => fate.kept = Some(at),
            // The first time counts: later ones are allowed.
            "emitted" => fate.emitted = fate.emitted.or(Some(at)),
            _ => {}
        }
    }
    fates
}
