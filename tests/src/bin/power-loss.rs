//! Opens folders as they may be after a power loss; see `tests/README.md`.

use std::{env, io, path::PathBuf, process::ExitCode, time::Instant};

use tests::{
    disk::{Figures, PowerLosses, SpoolLosses, Tools},
    exit_code,
};

const USAGE: &str = "\
usage: power-loss --images N [--first N] [--seed S] [--recordings N | --recording FOLDER] [--swallow] [--spool]";

struct Request {
    images: usize,
    first: usize,
    seed: u64,
    recordings: u64,
    swallows: bool,
    /// Set when it is the buffer of notifications that loses power.
    is_spool: bool,
    /// A recording that was kept.
    kept: Option<PathBuf>,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Request> {
    let mut request = Request {
        images: 100,
        first: 0,
        seed: 1,
        recordings: 1,
        swallows: false,
        is_spool: false,
        kept: None,
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--images" => request.images = arguments.next()?.parse().ok()?,
            "--first" => request.first = arguments.next()?.parse().ok()?,
            "--seed" => request.seed = arguments.next()?.parse().ok()?,
            "--recordings" => request.recordings = arguments.next()?.parse().ok()?,
            "--recording" => request.kept = Some(arguments.next()?.into()),
            "--spool" => request.is_spool = true,
            "--swallow" => request.swallows = true,
            _ => return None,
        }
    }
    Some(request)
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(request) = parse(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let done = if request.is_spool { run_spool(&request) } else { run(&request).await };
    exit_code("power-loss", done)
}

#[allow(clippy::print_stdout, reason = "its output is its result")]
async fn run(request: &Request) -> io::Result<bool> {
    let began = Instant::now();
    let mut failures = 0;
    let mut figures = Figures::default();
    for seed in request.seed..request.seed + request.recordings {
        let mut losses = match &request.kept {
            Some(folder) => PowerLosses::of_kept(Tools::find()?, seed, folder.clone())?,
            None => PowerLosses::record(Tools::find()?, seed, request.swallows).await?,
        };
        println!("seed {seed}: {}", losses.describe());
        for image in request.first..request.first + request.images {
            if let Some(failure) = losses.open(image, &mut figures).await? {
                failures += 1;
                let folder = losses.keep().display();
                println!(
                    "{failure}\n  cargo run -p tests --bin power-loss -- \\\n    --recording {folder} --seed {seed} --first {image} --images 1"
                );
            }
        }
    }
    let (Figures { images, tails_told }, took) = (figures, began.elapsed().as_secs_f64());
    println!(
        "{images} images, {failures} of them wrong, {tails_told} with a tail cut off and told, in {took:.0} s"
    );
    Ok(failures == 0)
}

#[allow(clippy::print_stdout, reason = "its output is its result")]
fn run_spool(request: &Request) -> io::Result<bool> {
    let losses = SpoolLosses::record(Tools::find()?, request.seed, request.swallows)?;
    let mut failures = 0;
    for image in request.first..request.first + request.images {
        if let Some(wrong) = losses.open(image)? {
            failures += 1;
            println!("{wrong}");
        }
    }
    println!("{} images of the buffer of notifications, {failures} of them wrong", request.images);
    Ok(failures == 0)
}
