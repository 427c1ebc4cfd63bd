//! Runs the program on a disk that fails; see `tests/README.md`.

use std::{env, io, process::ExitCode, time::Instant};

use tests::{
    disk::{FAULTS, Fault, FlipFigures, Flips, Tools, fail},
    exit_code,
};

const USAGE: &str = "\
usage: failing-disk [--fault eio|enospc|full|short|sync] [--calls FROM..TO] [--step N] [--seed S]
       failing-disk --bits N [--seed S]";

struct Request {
    faults: Vec<Fault>,
    from: u32,
    to: u32,
    step: usize,
    seed: u64,
    /// The number of bits that are flipped; if there are any, nothing else is done.
    bits: u64,
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Request> {
    let mut request = Request { faults: FAULTS.to_vec(), from: 1, to: u32::MAX, step: 1, seed: 1, bits: 0 };
    while let Some(argument) = arguments.next() {
        let value = arguments.next()?;
        match argument.as_str() {
            "--fault" => request.faults = vec![Fault::parse(&value)?],
            "--calls" => {
                let (from, to) = value.split_once("..")?;
                (request.from, request.to) = (from.parse().ok()?, to.parse().ok()?);
            }
            "--step" => request.step = value.parse().ok().filter(|step| *step > 0)?,
            "--bits" => request.bits = value.parse().ok()?,
            "--seed" => request.seed = value.parse().ok()?,
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
    let done = if request.bits > 0 { flip(&request).await } else { run(&request).await };
    exit_code("failing-disk", done)
}

#[allow(clippy::print_stdout, reason = "its output is its result")]
async fn run(request: &Request) -> io::Result<bool> {
    let tools = Tools::find()?;
    let mut is_right = true;
    for &fault in &request.faults {
        let began = Instant::now();
        let calls = fail(&tools, request.seed, fault, 0).await?.calls;
        let (mut runs, mut ended, mut unnamed, mut wrong) = (0, 0, 0, 0);
        for number in (request.from..request.to.min(calls + 1)).step_by(request.step) {
            runs += 1;
            let failed = fail(&tools, request.seed, fault, number).await.unwrap_or_else(|error| {
                tests::disk::Failed { wrong: vec![error.to_string()], ..Default::default() }
            });
            ended += u32::from(failed.has_ended);
            unnamed += u32::from(failed.is_unnamed);
            if !failed.wrong.is_empty() {
                wrong += 1;
                println!(
                    "{} at call {number}:\n{failed}  cargo run -p tests --bin failing-disk -- --fault {} --calls {number}..{} --seed {}",
                    fault.name(),
                    fault.name(),
                    number + 1,
                    request.seed
                );
            }
        }
        is_right &= wrong == 0;
        println!(
            "{}: {runs} runs of {calls} calls, {ended} ended the program, {unnamed} of them without the cause, {wrong} wrong, in {:.0} s",
            fault.name(),
            began.elapsed().as_secs_f64()
        );
    }
    Ok(is_right)
}

/// Flips bits, one in each copy of a folder, whose numbers begin with the seed.
#[allow(clippy::print_stdout, reason = "its output is its result")]
async fn flip(request: &Request) -> io::Result<bool> {
    let began = Instant::now();
    let flips = Flips::prepare(Tools::find()?, 1).await?;
    let (mut figures, mut wrong) = (FlipFigures::default(), 0);
    for seed in request.seed..request.seed + request.bits {
        if let Some(what) = flips.flip(seed, &mut figures).await? {
            wrong += 1;
            println!("{what}\n  cargo run -p tests --bin failing-disk -- --bits 1 --seed {seed}");
        }
    }
    let FlipFigures { detected, harmless, files } = figures;
    println!(
        "{} bits: {detected} detected, {harmless} harmless, {wrong} wrong, in {:.0} s",
        request.bits,
        began.elapsed().as_secs_f64()
    );
    println!("in {files:?}");
    Ok(wrong == 0)
}
