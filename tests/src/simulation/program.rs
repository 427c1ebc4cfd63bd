//! The program `simulation`.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    ops::Range,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use super::{
    generate::generate,
    repeatable::{HERE, Processes, write},
    run::{Verdict, run},
    shrink::shrink,
};
use crate::exit_code::exit_code;

const USAGE: &str = "\
usage: simulation --seed N [--only STEP,STEP...] [--transcript | --shrink]
       simulation --seeds FROM..TO [--jobs COUNT] [--twice] [--until-wrong]";

/// The number of failing seeds that are shown.
const SHOWN: usize = 20;

/// All that the program is asked for.
#[derive(Debug, Default)]
struct Request {
    seeds: Range<u64>,
    /// The steps that are kept; all if there is no list.
    only: Option<BTreeSet<usize>>,
    transcript: bool,
    jobs: Option<usize>,
    twice: bool,
    shrinks: bool,
    until_wrong: bool,
    here: bool,
}

/// Runs scenarios as the arguments say. The exit code is 0 when nothing is wrong, 1 when a run
/// fails, 2 when the arguments cannot be read.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let Some(request) = parse(arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let done = match (request.here, request.shrinks) {
        (true, _) => run_here(&request),
        (_, true) => shrink_one(&request),
        _ => run_all(&request),
    };
    exit_code("simulation", done)
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Request> {
    let mut request = Request::default();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => {
                let seed: u64 = arguments.next()?.parse().ok()?;
                request.seeds = seed..seed.checked_add(1)?;
            }
            "--seeds" => {
                let seeds = arguments.next()?;
                let (from, to) = seeds.split_once("..")?;
                request.seeds = from.parse().ok()?..to.parse().ok()?;
            }
            "--only" => {
                let list = arguments.next()?;
                let numbers = list.split(',').filter(|number| !number.is_empty());
                request.only = Some(numbers.map(str::parse).collect::<Result<_, _>>().ok()?);
            }
            "--jobs" => request.jobs = Some(arguments.next()?.parse().ok()?),
            "--transcript" => request.transcript = true,
            "--shrink" => request.shrinks = true,
            "--until-wrong" => request.until_wrong = true,
            "--twice" => request.twice = true,
            HERE => request.here = true,
            _ => return None,
        }
    }
    (!request.seeds.is_empty()).then_some(request)
}

/// Runs one scenario in this process.
fn run_here(request: &Request) -> io::Result<bool> {
    let mut scenario = generate(request.seeds.start);
    if let Some(only) = &request.only {
        scenario.keep(only);
    }
    let verdict = run(scenario, request.transcript);
    write(&verdict, &mut io::stdout().lock())?;
    Ok(verdict.violations.is_empty())
}

/// Looks for the steps that a failing seed needs.
fn shrink_one(request: &Request) -> io::Result<bool> {
    let (processes, seed) = (Processes::of_this_program()?, request.seeds.start);
    let all = request.only.clone().unwrap_or_else(|| generate(seed).numbers().into_iter().collect());
    let fails = |kept: &BTreeSet<usize>| {
        let verdict = processes.run(seed, &["--only".to_owned(), list(kept)]);
        !verdict.violations.is_empty()
    };
    if !fails(&all) {
        writeln!(io::stdout(), "seed {seed}: nothing is wrong")?;
        return Ok(true);
    }
    let kept = shrink(all, fails);
    let request = Request { seeds: request.seeds.clone(), only: Some(kept), ..Request::default() };
    run_all(&request)
}

/// Runs each scenario in a process of its own.
fn run_all(request: &Request) -> io::Result<bool> {
    let processes = Processes::of_this_program()?;
    if !processes.are_repeatable() {
        eprintln!(
            "simulation: a seed does not give the same run each time, for want of Linux or a C compiler"
        );
    }
    let mut arguments = Vec::new();
    if let Some(only) = &request.only {
        arguments.extend(["--only".to_owned(), list(only)]);
    }
    if request.transcript {
        arguments.push("--transcript".to_owned());
    }
    let began = Instant::now();
    let failures = Mutex::new(Vec::new());
    let (next, done, has_failed) =
        (AtomicU64::new(request.seeds.start), AtomicU64::new(0), AtomicBool::new(false));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= request.seeds.end || request.until_wrong && has_failed.load(Ordering::Relaxed) {
                return;
            }
            let verdict = run_once_or_twice(&processes, request, seed, &arguments);
            done.fetch_add(1, Ordering::Relaxed);
            has_failed.fetch_or(!verdict.violations.is_empty(), Ordering::Relaxed);
            if !verdict.violations.is_empty() || request.seeds.end - request.seeds.start == 1 {
                let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.push((seed, verdict));
            }
        }
    };
    let jobs = request.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    thread::scope(|scope| (0..jobs).for_each(|_| drop(scope.spawn(work))));
    let mut shown = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    shown.sort_by_key(|(seed, _)| *seed);
    report(request, &shown, done.into_inner(), began)
}

fn run_once_or_twice(processes: &Processes, request: &Request, seed: u64, arguments: &[String]) -> Verdict {
    let mut verdict = processes.run(seed, arguments);
    if request.twice {
        let second = processes.run(seed, arguments);
        if second.hash != verdict.hash && processes.are_repeatable() {
            let (first, second) = (verdict.hash, second.hash);
            verdict.violations.push(format!("two runs differ: {first:016x} and {second:016x}"));
        }
    }
    verdict
}

fn report(request: &Request, shown: &[(u64, Verdict)], done: u64, began: Instant) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let failures = shown.iter().filter(|(_, verdict)| !verdict.violations.is_empty()).count();
    for (seed, verdict) in shown.iter().take(SHOWN) {
        for line in &verdict.transcript {
            writeln!(out, "{line}")?;
        }
        let only = request.only.as_ref().map_or_else(String::new, |only| format!(" --only {}", list(only)));
        writeln!(out, "seed {seed}: {:016x}", verdict.hash)?;
        for violation in &verdict.violations {
            writeln!(out, "  {violation}")?;
        }
        if !verdict.violations.is_empty() {
            writeln!(out, "  cargo run -p tests --bin simulation -- --seed {seed}{only} --transcript")?;
        }
    }
    let took = began.elapsed().as_secs_f64();
    writeln!(out, "{done} scenarios, {failures} of them wrong, in {took:.1} s")?;
    Ok(failures == 0)
}

fn list(numbers: &BTreeSet<usize>) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}
