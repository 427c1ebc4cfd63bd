//! The search for schedules, a module of each crate whose own tests search (see README.md).

#![allow(clippy::unwrap_used)]

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler},
};

/// Searches schedules in which `run` goes wrong: for each seed of `AMQP_TEST_SEEDS`, such as
/// `0..500`, a hundred by chance, and a hundred that prefer some task and hold it up at a few
/// points. A failure prints its seed. Without the variable there are five.
pub(crate) fn search(run: impl Fn() + Send + Sync + 'static) {
    let seeds = env::var("AMQP_TEST_SEEDS").unwrap_or_else(|_| "0..5".to_owned());
    let (first, end) = seeds.split_once("..").unwrap();
    let mut config = Config::new();
    // Tasks of a debug build need more than the 32 KiB of shuttle.
    config.stack_size = 1 << 20;
    // Timers need the clock of a runtime. Nothing drives it: no time passes, and what nobody wakes
    // waits for ever.
    let clock = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _clock = clock.enter();
    let run = Arc::new(run);
    for seed in first.parse().unwrap()..end.parse().unwrap() {
        let (by_chance, bounded) = (run.clone(), run.clone());
        let searched = catch_unwind(AssertUnwindSafe(|| {
            Runner::new(RandomScheduler::new_from_seed(seed, 100), config.clone()).run(move || by_chance());
            Runner::new(PctScheduler::new_from_seed(seed, 3, 100), config.clone()).run(move || bounded());
        }));
        if let Err(panic) = searched {
            eprintln!("seed {seed}");
            resume_unwind(panic);
        }
    }
}
