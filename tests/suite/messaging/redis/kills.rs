//! Workers and a Redis that writes everything to its disk are killed at random instants.

use std::{path::Path, time::Instant};

use tests::{Redis, scale};

use super::load::{Load, OPTIONS, nothing_is_lost, program};

/// How many messages there are for each unit of the scale, and after how many one of the workers is
/// killed.
const MESSAGES: usize = 5000;
const BETWEEN_KILLS: usize = 1000;

#[derive(Clone, Copy)]
enum Fault {
    Worker,
    Redis,
}

/// The faults in a random order, each with the number of handled messages before it: at a random
/// place of its share of the run, and the last before all is done.
fn faults(messages: usize, restarts: usize) -> Vec<(usize, Fault)> {
    let mut faults = vec![Fault::Worker; messages / BETWEEN_KILLS];
    faults.resize(faults.len() + restarts, Fault::Redis);
    fastrand::shuffle(&mut faults);
    let share = messages * 9 / 10 / faults.len();
    faults
        .into_iter()
        .enumerate()
        .map(|(nth, fault)| (nth * share + fastrand::usize(..share), fault))
        .collect()
}

/// Publishes and handles messages while both die, and checks the account, which it returns.
async fn survive(program: &Path, options: &str) -> String {
    let began = Instant::now();
    let (messages, restarts) = (MESSAGES * scale(), scale().max(2));
    let mut redis = Redis::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await.unwrap();
    let mut load = Load::begin(program, &format!("{}?{OPTIONS}{options}", redis.url(0)), messages).await;
    for (handled, fault) in faults(messages, restarts) {
        load.reaches(handled).await;
        match fault {
            Fault::Worker => load.kill_a_worker(),
            Fault::Redis => {
                redis.kill().unwrap();
                redis.restart().await.unwrap();
            }
        }
    }
    load.reaches(messages).await;
    let ledger = load.finish(&redis).await;
    // It refuses second deliveries without the flag, unless publishing took more than one attempt.
    let summary = ledger.check();
    nothing_is_lost(&summary, messages);
    assert!(summary.redelivered > 0, "no kill met a worker at work: {summary}");
    format!("{restarts} restarts of Redis, {:.1} s: {summary}", began.elapsed().as_secs_f32())
}

#[tokio::test]
async fn nothing_confirmed_is_lost_and_duplicates_are_flagged_or_told() {
    let test = "messaging::redis::kills::nothing_confirmed_is_lost_and_duplicates_are_flagged_or_told";
    let Some(program) = program(test) else { return };
    println!("{}", survive(&program, "").await);
}

#[tokio::test]
async fn the_same_holds_for_a_redis_without_scripts_in_the_second_protocol() {
    let test = "messaging::redis::kills::the_same_holds_for_a_redis_without_scripts_in_the_second_protocol";
    let Some(program) = program(test) else { return };
    println!("{}", survive(&program, "&scripting=false&protocol=2").await);
}
