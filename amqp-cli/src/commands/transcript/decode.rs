//! `amqp decode`

use std::{
    io::{Cursor, Read},
    path::PathBuf,
    time::Duration,
};

use amqp_fuzz::{CaptureError, CaptureOptions, Captured, End, Item, StreamReader, Told, read_capture};
use clap::Args;
use serde_json::{Value as Json, json};

use super::{
    input,
    section::{Section, name},
};
use crate::{
    error::Error,
    exit::Exit,
    output::{escape::escaped_line, json, stdout::Stdout},
};

/// Shows what was sent over the wire: a line for each frame, which `amqp encode` reads back
///
/// FILE is a capture in the format pcap or pcapng, as tcpdump and Wireshark write them, or the
/// octets that one side sent. Connections may begin before the capture, and lack parts: comments
/// say so. The responses of logins are hidden.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// A port of brokers in a capture; may be repeated
    #[arg(short, long = "port", value_name = "PORT", default_value = "5672")]
    ports: Vec<u16>,

    /// Shows the responses of logins, which have passwords in them
    #[arg(long)]
    secrets: bool,

    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

/// The first octets of pcap with either order of octets, in microseconds, nanoseconds and as
/// modified for Linux, and of pcapng.
const CAPTURES: [[u8; 4]; 7] = [
    [0xa1, 0xb2, 0xc3, 0xd4],
    [0xd4, 0xc3, 0xb2, 0xa1],
    [0xa1, 0xb2, 0x3c, 0x4d],
    [0x4d, 0x3c, 0xb2, 0xa1],
    [0xa1, 0xb2, 0xcd, 0x34],
    [0x34, 0xcd, 0xb2, 0xa1],
    [0x0a, 0x0d, 0x0d, 0x0a],
];

/// The most of a file of octets that is read at a time, in bytes.
const READ: usize = 64 << 10;

impl From<CaptureError> for Stopped {
    fn from(error: CaptureError) -> Self {
        Stopped::Capture(error)
    }
}

/// Why a capture is not read to its end.
enum Stopped {
    Capture(CaptureError),
    Output(Error),
}

impl Arguments {
    /// Runs the command.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Content`] for a damaged capture, those of the output.
    pub(crate) fn run(self) -> Result<Exit, Error> {
        let mut source = input::open(&self.file)?;
        let mut first = Vec::new();
        source.by_ref().take(4).read_to_end(&mut first).map_err(input::failed(&self.file))?;
        let is_capture = CAPTURES.iter().any(|magic| first == magic);
        let source = Cursor::new(first).chain(source);
        let printer =
            Printer { stdout: Stdout::new(), section: None, json: self.json, secrets: self.secrets };
        match is_capture {
            true => self.capture(source, printer),
            false => self.octets(source, printer),
        }
    }

    fn capture(&self, source: impl Read + Send, mut printer: Printer) -> Result<Exit, Error> {
        let options = CaptureOptions { ports: self.ports.clone(), ..CaptureOptions::default() };
        let read =
            read_capture(source, options, |captured| printer.captured(&captured).map_err(Stopped::Output));
        printer.stdout.flush()?;
        match read {
            Ok(()) => Ok(Exit::Done),
            Err(Stopped::Output(error)) => Err(error),
            Err(Stopped::Capture(CaptureError::Read(error))) => Err(input::failed(&self.file)(error)),
            Err(Stopped::Capture(error)) => {
                Err(Error::Content { path: self.file.clone(), why: error.to_string() })
            }
        }
    }

    fn octets(&self, mut source: impl Read, mut printer: Printer) -> Result<Exit, Error> {
        let mut reader = StreamReader::new(CaptureOptions::default().frame);
        let mut octets = vec![0; READ];
        loop {
            let count = source.read(&mut octets).map_err(input::failed(&self.file))?;
            let told = match octets.get(..count) {
                Some(octets) if count > 0 => reader.push(octets),
                _ => reader.finish(),
            };
            told.iter().try_for_each(|told| printer.told(told, None))?;
            printer.stdout.flush()?;
            if count == 0 {
                return Ok(Exit::Done);
            }
        }
    }
}

struct Printer {
    stdout: Stdout,
    /// Whose lines are being printed.
    section: Option<Section>,
    json: bool,
    secrets: bool,
}

impl Printer {
    fn captured(&mut self, captured: &Captured) -> Result<(), Error> {
        self.told(&captured.told, Some(captured))
    }

    fn told(&mut self, told: &Told, captured: Option<&Captured>) -> Result<(), Error> {
        match self.json {
            true => self.object(told, captured),
            false => self.line(told, captured),
        }
    }

    fn line(&mut self, told: &Told, captured: Option<&Captured>) -> Result<(), Error> {
        let section =
            captured.map(|captured| Section { connection: captured.connection, speaker: captured.speaker });
        let line = match told {
            Told::Item(item) => {
                let heading = section.filter(|_| section != self.section);
                let heading = heading.map_or_else(String::new, |section| format!("{section}\n"));
                format!("{heading}{}\n", escaped_line(&self.shown(item)))
            }
            told => {
                let heading = section.map_or_else(|| "#".to_owned(), |section| format!("{section}:"));
                let packet = captured.map_or_else(String::new, |captured| {
                    format!(" (packet {}{})", captured.packet, time(captured.time))
                });
                format!("{heading} {}{packet}\n", remark(told))
            }
        };
        self.section = section;
        self.stdout.write(line.as_bytes())
    }

    fn shown(&self, item: &Item) -> String {
        if self.secrets { item.with_secrets().to_string() } else { item.to_string() }
    }

    fn object(&mut self, told: &Told, captured: Option<&Captured>) -> Result<(), Error> {
        let mut object = match told {
            Told::Item(item) => item.to_json(self.secrets),
            told => json!({ "remark": remark(told) }),
        };
        if let (Some(captured), Json::Object(fields)) = (captured, &mut object) {
            fields.insert("connection".to_owned(), captured.connection.into());
            fields.insert("from".to_owned(), name(captured.speaker).into());
            fields.insert("packet".to_owned(), captured.packet.into());
            if let Some(time) = captured.time {
                fields.insert("time".to_owned(), time.as_secs_f64().into());
            }
        }
        self.stdout.write(format!("{}\n", json::line(&object)).as_bytes())
    }
}

fn time(time: Option<Duration>) -> String {
    time.map_or_else(String::new, |time| format!(", {}.{:06} s", time.as_secs(), time.subsec_micros()))
}

/// Describes octets that are no frame.
fn remark(told: &Told) -> String {
    match told {
        Told::Begun { client, server, is_whole: true } => format!("{client} connects to {server}"),
        Told::Begun { client, server, .. } => {
            format!("{client} is connected to {server} already; frames are looked for")
        }
        Told::Gap(octets) => format!("{octets} octets are not in the capture; a frame is looked for"),
        Told::OutOfStep => "what follows is no frame; the next one is looked for".to_owned(),
        Told::InStep { skipped } => format!("a frame begins after {skipped} octets"),
        Told::Ended(End::Closed) => "both sides have closed the connection".to_owned(),
        Told::Ended(End::Reset) => "the connection is reset".to_owned(),
        Told::Ended(End::Replaced) => "another connection takes these addresses".to_owned(),
        Told::Ended(End::Forgotten) => "there are too many connections to follow this one".to_owned(),
        Told::Ended(_) => "the capture ends".to_owned(),
        _ => "something happens that has no name here".to_owned(),
    }
}
