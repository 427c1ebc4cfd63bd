//! A Redis that answers, and serves nobody for a while: it loads its data, or is a replica.

use std::path::Path;

use messaging::ConnectionEvents;
use tests::{Redis, scale};

use super::{
    super::fixture::within,
    load::{Load, OPTIONS, nothing_is_lost, program},
};

const MESSAGES: usize = 3000;

/// More attempts to connect than this are made only without pauses between them.
const MOST_ATTEMPTS: usize = 100;

/// Each key takes a millisecond to be loaded, and clients are answered meanwhile.
const SLOW_TO_LOAD: [&str; 10] = [
    "--appendonly",
    "yes",
    "--save",
    "",
    "--key-load-delay",
    "1000",
    "--loading-process-events-interval-bytes",
    "1024",
    "--enable-debug-command",
    "yes",
];

/// Keys that are loaded, and nothing else.
const FILL: &str = r#"EVAL "for i = 1, 1500 do redis.call('SET', 'filler' .. i, i) end" 0"#;

/// Publishes and handles messages while Redis serves nobody for a while, and checks the account.
/// `told` is what clients are told meanwhile.
async fn survive(program: &Path, told: &str, unfit: impl AsyncFnOnce(&mut Redis, &mut ConnectionEvents)) {
    let mut redis = Redis::start_with(&SLOW_TO_LOAD).await.unwrap();
    redis.ask(FILL).await.unwrap();
    let messages = MESSAGES * scale();
    let mut load = Load::begin(program, &format!("{}?{OPTIONS}", redis.url(0)), messages).await;
    load.reaches(messages / 3).await;
    let (mut first, mut all) = (load.events(), load.events());
    unfit(&mut redis, &mut first).await;
    load.reaches(messages).await;
    let ledger = load.finish(&redis).await;
    nothing_is_lost(&ledger.check(), messages);
    let mut times = 0;
    while let Some(event) = within(all.recv()).await {
        times += usize::from(format!("{event:?}").contains(told));
    }
    assert!((1..MOST_ATTEMPTS).contains(&times), "told {times} times that {told}");
}

#[tokio::test]
async fn a_redis_that_loads_after_its_start_is_waited_for() {
    let test = "messaging::redis::unfit::a_redis_that_loads_after_its_start_is_waited_for";
    let Some(program) = program(test) else { return };
    survive(&program, "Redis is loading its data", async |redis, _| {
        redis.kill().unwrap();
        redis.restart().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_loads_amid_the_work_is_waited_for() {
    let test = "messaging::redis::unfit::a_redis_that_loads_amid_the_work_is_waited_for";
    let Some(program) = program(test) else { return };
    survive(&program, "Redis is loading its data", async |redis, _| {
        assert_eq!(redis.ask("DEBUG RELOAD").await.unwrap(), "+OK\r\n");
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_is_a_replica_for_a_while_is_waited_for() {
    let test = "messaging::redis::unfit::a_redis_that_is_a_replica_for_a_while_is_waited_for";
    let Some(program) = program(test) else { return };
    let told = "this Redis is a replica now";
    survive(&program, told, async |redis, events| {
        redis.ask("REPLICAOF 127.0.0.1 1").await.unwrap();
        let is_told = async { while !format!("{:?}", events.recv().await.unwrap()).contains(told) {} };
        within(is_told).await;
        redis.ask("REPLICAOF NO ONE").await.unwrap();
    })
    .await;
}
