//! Single bits that the disk gives back wrong, in a folder whose program ended in order.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use fastrand::Rng;

use super::{
    image::{Content, Image, Survivors},
    opened::{Opened, open},
    program::{Orders, Tools},
    recording::Recording,
};

/// The number of steps of clients that fill the folder.
const STEPS: usize = 160;

/// A folder whose program ended in order.
pub struct Flips {
    tools: Tools,
    recording: Recording,
    image: Image,
}

/// The outcomes of the flips.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlipFigures {
    /// The number that were refused as damage.
    pub detected: usize,
    /// The number that changed nothing.
    pub harmless: usize,
    /// The number in each file, which is named without its folder.
    pub files: BTreeMap<String, usize>,
}

impl Flips {
    /// Fills a folder.
    ///
    /// # Errors
    /// When the program or a client of it fails.
    pub async fn prepare(tools: Tools, seed: u64) -> io::Result<Self> {
        let recording = Recording::make(&tools, seed, STEPS, &Orders::default()).await?;
        let (log, random) = (&recording.log.octets, &mut Rng::with_seed(seed));
        let image = Image::at(&recording.story, log, u64::MAX, Survivors::All, random);
        Ok(Flips { tools, recording, image })
    }

    /// Flips a bit that follows from this seed, and opens the folder; returns what is wrong.
    ///
    /// # Errors
    /// When the folder cannot be written, or the program neither starts nor ends.
    pub async fn flip(&self, seed: u64, figures: &mut FlipFigures) -> io::Result<Option<String>> {
        let mut random = Rng::with_seed(seed);
        let (path, at, bit) = self.choose(&mut random);
        let place = tempfile::Builder::new().prefix("flips-").tempdir()?;
        let folder = place.path().join("data");
        self.image.write(&folder)?;
        let file = folder.join(&path);
        flip(&file, at, bit)?;
        let Opened { is_refused, wrong, log } =
            open(&self.tools, &folder, &self.recording.history, u64::MAX).await?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        *figures.files.entry(name.unwrap_or_default()).or_default() += 1;
        if is_refused {
            figures.detected += 1;
        } else if wrong.is_empty() {
            figures.harmless += 1;
        }
        let is_told = !is_refused || log.contains("ERROR");
        let wrong = if is_told { wrong } else { vec!["it is refused without a word".to_owned()] };
        let what = format!("bit {bit} of octet {at} of {}: {}", path.display(), wrong.join("; "));
        Ok((!wrong.is_empty()).then_some(what))
    }

    /// A file and a place in what is written of it: each file is as likely as any other.
    fn choose(&self, random: &mut Rng) -> (PathBuf, u64, u32) {
        let files: Vec<(&PathBuf, &Content)> =
            self.image.files.iter().filter(|(_, content)| content.written() > 0).collect();
        let (path, content) = files[random.usize(..files.len())];
        (path.clone(), random.u64(..content.written()), random.u32(..8))
    }
}

fn flip(file: &PathBuf, at: u64, bit: u32) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let file = fs::OpenOptions::new().read(true).write(true).open(file)?;
    let mut octet = [0];
    file.read_exact_at(&mut octet, at)?;
    octet[0] ^= 1 << bit;
    file.write_all_at(&octet, at)
}
