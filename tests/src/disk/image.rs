//! An image of a folder as it may be after a power loss: what a sync covered is there; of later
//! changes any part, in sectors of 512 octets.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use fastrand::Rng;

use super::story::{Change, File, Naming, Span, Story, What};

const SECTOR: u64 = 512;

/// Which of the changes that no sync covered are in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Survivors {
    None,
    All,
    /// Those up to a moment, another for each file.
    Earlier,
    /// Any, and of each any of its sectors.
    Any,
    /// All but the last of each file, which is torn.
    LastTorn,
}

impl Survivors {
    pub(super) fn choose(random: &mut Rng) -> Self {
        const ALL: [Survivors; 5] =
            [Survivors::None, Survivors::All, Survivors::Earlier, Survivors::Any, Survivors::LastTorn];
        ALL[random.usize(..ALL.len())]
    }

    /// Chooses among those in which the changes of a file survive in order.
    pub(super) fn choose_in_order(random: &mut Rng) -> Self {
        const ALL: [Survivors; 3] = [Survivors::None, Survivors::All, Survivors::Earlier];
        ALL[random.usize(..ALL.len())]
    }
}

/// The names and contents of an image.
#[derive(Debug, Default)]
pub(super) struct Image {
    pub(super) folders: Vec<PathBuf>,
    pub(super) files: BTreeMap<PathBuf, Content>,
}

/// The content of a file: sectors that were written, and its length.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) sectors: BTreeMap<u64, Box<[u8; SECTOR as usize]>>,
    pub(super) length: u64,
    /// The end of what is certain: up to here a sync covers all that was written.
    pub(super) synced: u64,
}

impl Content {
    /// Returns how far it is written: what follows is a hole.
    pub(super) fn written(&self) -> u64 {
        let end = self.sectors.keys().next_back().map_or(0, |last| (last + 1) * SECTOR);
        end.min(self.length)
    }
}

impl Image {
    /// The folder at this tick.
    pub(super) fn at(story: &Story, log: &[u8], tick: u64, survivors: Survivors, random: &mut Rng) -> Self {
        let mut image = Image::default();
        for (path, file) in names(story, tick, survivors, random) {
            let file = &story.files[file];
            if file.is_folder {
                image.folders.push(path);
            } else {
                image.files.insert(path, content(file, log, tick, survivors, random));
            }
        }
        image
    }

    /// Writes it into this folder, which is made.
    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for path in &self.folders {
            fs::create_dir_all(folder.join(path))?;
        }
        for (path, content) in &self.files {
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(folder.join(path))?;
            // Sectors that follow one another are written together.
            let mut together: (u64, Vec<u8>) = (0, Vec::new());
            for (sector, octets) in &content.sectors {
                let at = sector * SECTOR;
                if together.0 + together.1.len() as u64 != at {
                    file.write_all_at(&together.1, together.0)?;
                    together = (at, Vec::new());
                }
                together.1.extend_from_slice(&octets[..]);
            }
            file.write_all_at(&together.1, together.0)?;
            file.set_len(content.length)?;
        }
        Ok(())
    }
}

/// The names that the disk has. Changes of names survive in order.
fn names(story: &Story, tick: u64, survivors: Survivors, random: &mut Rng) -> BTreeMap<PathBuf, usize> {
    let synced = story.names_synced.iter().filter(|synced| synced.span.end <= tick);
    let least = synced.map(|synced| synced.count).max().unwrap_or(0);
    let most = story.namings.iter().take_while(|(span, _)| span.end <= tick).count().max(least);
    let count = match survivors {
        Survivors::None => least,
        Survivors::All | Survivors::LastTorn => most,
        Survivors::Earlier | Survivors::Any => random.usize(least..=most),
    };
    let mut names = BTreeMap::new();
    for (_, naming) in &story.namings[..count] {
        match naming {
            Naming::Put(path, file) => drop(names.insert(path.clone(), *file)),
            Naming::Remove(path) => drop(names.remove(path)),
            Naming::Move(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
        }
    }
    names
}

/// Tells whether a sync covers a change, and no failed one has made the system forget it before.
fn is_durable(file: &File, change: Span, tick: u64) -> bool {
    let covers = |sync: &&Span| sync.start > change.end && sync.end <= tick;
    file.syncs.iter().find(covers).is_some_and(|sync| {
        !file.failed.iter().any(|failed| failed.end > change.end && failed.start < sync.start)
    })
}

fn content(file: &File, log: &[u8], tick: u64, survivors: Survivors, random: &mut Rng) -> Content {
    let changes: Vec<&Change> = file.changes.iter().filter(|change| change.span.start < tick).collect();
    let is_durable: Vec<bool> = changes.iter().map(|change| is_durable(file, change.span, tick)).collect();
    let synced = is_durable.iter().rposition(|is| *is).map_or(0, |last| last + 1);
    let kept = match survivors {
        Survivors::Earlier => random.usize(synced..=changes.len()),
        Survivors::LastTorn => changes.len().saturating_sub(1).max(synced),
        _ => changes.len(),
    };
    // This share of the sectors may lose changes.
    let share = random.f64();
    let mut content = Content::default();
    for (sector, touching) in sectors(&changes) {
        let least = touching.iter().rposition(|index| is_durable[*index]).map_or(0, |last| last + 1);
        let most = touching.len();
        let count = match survivors {
            Survivors::None => least,
            Survivors::All => most,
            Survivors::Earlier => touching.iter().filter(|index| **index < kept).count().max(least),
            Survivors::Any if random.f64() < share => random.usize(least..=most),
            Survivors::Any => most,
            Survivors::LastTorn if random.bool() => most,
            Survivors::LastTorn => touching.iter().filter(|index| **index < kept).count().max(least),
        };
        if count > 0 {
            let octets = sector_of(sector, touching[..count].iter().map(|index| changes[*index]), log);
            content.sectors.insert(sector, octets);
        }
    }
    let lengths = lengths(&changes);
    let (least, most) = (lengths[synced], lengths[changes.len()]);
    content.synced = least;
    content.length = match survivors {
        Survivors::None => least,
        Survivors::All | Survivors::LastTorn => most,
        Survivors::Earlier => lengths[kept],
        Survivors::Any if random.bool() => lengths[random.usize(synced..lengths.len())],
        Survivors::Any => random.u64(least.min(most)..=least.max(most)),
    };
    let length = content.length;
    content.sectors.retain(|sector, _| sector * SECTOR < length);
    content
}

/// The length before the first change and after each.
fn lengths(changes: &[&Change]) -> Vec<u64> {
    let mut lengths = vec![0];
    let mut length = 0;
    for change in changes {
        length = match &change.what {
            What::Data { at, data } => length.max(at + data.len() as u64),
            What::Length(to) => *to,
        };
        lengths.push(length);
    }
    lengths
}

/// The changes of each sector, in order.
fn sectors(changes: &[&Change]) -> BTreeMap<u64, Vec<usize>> {
    let mut sectors: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, change) in changes.iter().enumerate() {
        match &change.what {
            What::Data { data, .. } if data.is_empty() => {}
            What::Data { at, data } => {
                for sector in at / SECTOR..=(at + data.len() as u64 - 1) / SECTOR {
                    sectors.entry(sector).or_default().push(index);
                }
            }
            // The part that is cut off is zero if the file grows again.
            What::Length(to) => {
                sectors.range_mut(to / SECTOR..).for_each(|(_, touching)| touching.push(index));
            }
        }
    }
    sectors
}

fn sector_of<'a>(
    sector: u64,
    changes: impl Iterator<Item = &'a Change>,
    log: &[u8],
) -> Box<[u8; SECTOR as usize]> {
    let mut octets = Box::new([0; SECTOR as usize]);
    let begin = sector * SECTOR;
    for change in changes {
        match &change.what {
            What::Data { at, data } => {
                let (from, to) = (begin.max(*at), (begin + SECTOR).min(at + data.len() as u64));
                let source = &log[data.start + (from - at) as usize..data.start + (to - at) as usize];
                octets[(from - begin) as usize..(to - begin) as usize].copy_from_slice(source);
            }
            What::Length(to) if *to < begin + SECTOR => {
                octets[(to.max(&begin) - begin) as usize..].fill(0);
            }
            What::Length(_) => {}
        }
    }
    octets
}
