//! `amqp encode`

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Write},
    path::PathBuf,
};

use amqp_fuzz::{Item, Speaker, read_line};
use bytes::BytesMut;
use clap::{Args, ValueEnum};
use serde_json::Value as Json;

use super::{
    input,
    section::{Section, name},
};
use crate::{error::Error, exit::Exit};

/// Makes octets of a transcript, as `amqp decode` prints it: as text, or as JSON
///
/// Of a transcript of several connections or of both sides, one has to be chosen.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The transcript; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Where the octets are written [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// The number of a connection
    #[arg(short, long, value_name = "NUMBER")]
    connection: Option<u64>,

    /// The side whose octets are wanted
    #[arg(long, value_enum)]
    from: Option<Side>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    Client,
    Server,
}

/// The longest line, in bytes: a frame whose octets are all escaped.
const LONGEST: u64 = 64 << 20;

/// The words that stand in a transcript for a secret.
const HIDDEN: &str = "[redacted]";

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Content`] for what is no transcript, with its line.
    pub(crate) fn run(self) -> Result<Exit, Error> {
        let source = BufReader::new(input::open(&self.file)?);
        let (mut out, name): (Box<dyn Write>, _) = match &self.output {
            Some(path) => (Box::new(File::create(path).map_err(Error::file("create", path))?), Some(path)),
            None => (Box::new(io::stdout()), None),
        };
        let written = |error| match name {
            Some(path) => Error::file("write", path)(error),
            None => Error::output(error),
        };
        let mut out = BufWriter::new(out.as_mut());
        self.encode(source, |octets| out.write_all(octets).map_err(written))?;
        out.flush().map_err(written)?;
        Ok(Exit::Done)
    }

    fn encode(
        &self,
        mut source: BufReader<impl io::Read>,
        mut write: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (mut section, mut chosen) = (None, None);
        for number in 1_u64.. {
            let mut line = Vec::new();
            let read = io::Read::take(&mut source, LONGEST).read_until(b'\n', &mut line);
            if read.map_err(input::failed(&self.file))? == 0 {
                return Ok(());
            }
            let wrong =
                |why: &str| Error::Content { path: self.file.clone(), why: format!("line {number}: {why}") };
            if line.len() as u64 == LONGEST {
                return Err(wrong("it is too long"));
            }
            let line = std::str::from_utf8(&line).map_err(|_| wrong("it is not UTF-8"))?;
            let line = line.trim_end_matches(['\r', '\n']);
            let json = match line.starts_with('{') {
                true => {
                    let json = serde_json::from_str(line).map_err(|error| wrong(&format!("{error}")))?;
                    section = section_of(&json);
                    Some(json)
                }
                false => {
                    section = Section::read(line).or(section);
                    None
                }
            };
            let is_remark = line.starts_with('#') || line.trim().is_empty();
            if is_remark || !self.is_wanted(section) {
                continue;
            }
            let item = match json {
                Some(json) if json.get("remark").is_some() => continue,
                Some(json) => of_json(&json),
                None => of_text(line),
            };
            let item = item.map_err(|why| wrong(&why))?;
            if *chosen.get_or_insert(section) != section {
                return Err(wrong("another connection or side begins; --connection and --from choose one"));
            }
            let mut octets = BytesMut::new();
            item.put(&mut octets);
            write(&octets)?;
        }
        Ok(())
    }

    fn is_wanted(&self, section: Option<Section>) -> bool {
        let side = |speaker| if speaker == Speaker::Client { Side::Client } else { Side::Server };
        let is_connection = |number| section.is_none_or(|section| section.connection == number);
        let is_side = |wanted| section.is_none_or(|section| side(section.speaker) == wanted);
        self.connection.is_none_or(is_connection) && self.from.is_none_or(is_side)
    }
}

fn of_text(line: &str) -> Result<Item, String> {
    // The reader takes the words for the secret itself.
    let is_login = line.contains(" connection.") && line.contains(&format!("={HIDDEN}"));
    if is_login || line.ends_with(&format!(" {HIDDEN}")) {
        return Err(hidden());
    }
    read_line(line).map_err(|error| format!("column {}: {}", error.column, error.what))
}

fn section_of(json: &Json) -> Option<Section> {
    let speakers = [Speaker::Client, Speaker::Server];
    let from = json.get("from")?.as_str()?;
    let speaker = speakers.into_iter().find(|known| name(*known) == from)?;
    Some(Section { connection: json.get("connection")?.as_u64()?, speaker })
}

fn of_json(json: &Json) -> Result<Item, String> {
    let places = ["/arguments/response", "/arguments/new_secret", "/octets", "/raw/payload"];
    if places.iter().any(|place| json.pointer(place).and_then(Json::as_str) == Some(HIDDEN)) {
        return Err(hidden());
    }
    Item::from_json(json).map_err(|error| error.to_string())
}

fn hidden() -> String {
    "a secret is hidden here; `amqp decode --secrets` shows it".to_owned()
}
