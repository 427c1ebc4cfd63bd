//! Prints the transcript of one direction of a captured connection: the bytes of a file, or of
//! standard input for `-` or without one.
//!
//! ```sh
//! amqp-decode capture.client.bin
//! ```
//!
//! The capture may begin and end anywhere: what is no frame is skipped, and said.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Write},
    process::ExitCode,
};

use amqp_codec::{Framer, framer::Piece};

/// Larger than any frame_max in use.
const FRAME_MAX: usize = 16 << 20;

fn main() -> ExitCode {
    let path = std::env::args().nth(1).filter(|path| path != "-");
    let name = path.as_deref().unwrap_or("standard input");
    let result = match &path {
        Some(path) => File::open(path).and_then(|mut file| decode(&mut file)),
        None => decode(&mut io::stdin().lock()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // A closed pipe means that the reader has seen enough; it is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("amqp-decode: {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn decode(capture: &mut impl Read) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut framer = Framer::new(FRAME_MAX);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = capture.read(&mut buffer)?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { break };
        framer.push(read);
        while let Some(piece) = framer.next_piece() {
            print(&mut out, &piece)?;
        }
    }
    if let Some(piece) = framer.finish() {
        print(&mut out, &piece)?;
    }
    out.flush()
}

fn print(out: &mut impl Write, piece: &Piece) -> io::Result<()> {
    match piece {
        Piece::ProtocolHeader([_, _, _, _, id, major, minor, revision]) => {
            writeln!(out, "protocol header AMQP {id} {major} {minor} {revision}")
        }
        Piece::Frame(frame) => writeln!(out, "{frame}"),
        Piece::Skipped { bytes, why } => writeln!(out, "skipped {} bytes: {why}", bytes.len()),
    }
}
