//! A master dies under load, and its sentinels replace it by its replica.
//!
//! Redis replicates asynchronously: the replica may lack what the master confirmed, and may have
//! again what was acknowledged. The test without `wait_replicas` counts what was lost.

use std::path::Path;

use tests::{Sentinels, Summary, scale};

use super::load::{Load, OPTIONS, nothing_is_lost, program};

const MESSAGES: usize = 3000;

/// Publishes and handles messages while a master dies, more than once at a larger scale. The first
/// master dies when so many messages were handled that its replica knows nothing of.
async fn fail_over(program: &Path, options: &str, ahead: usize) -> Summary {
    let mut sentinels = Sentinels::start().await.unwrap();
    let url = format!("{}&{OPTIONS}{options}", sentinels.url());
    let mut load = Load::begin(program, &url, MESSAGES * scale()).await;
    load.reaches(MESSAGES / 2).await;
    sentinels.cut_the_replica_off().await.unwrap();
    load.handles(ahead).await;
    sentinels.fail_over().await.unwrap();
    load.may_have_lost();
    for nth in 1..scale() {
        load.reaches(nth * MESSAGES + MESSAGES / 2).await;
        sentinels.fail_over().await.unwrap();
    }
    load.finish(sentinels.master()).await.summary()
}

#[tokio::test]
async fn publishers_and_workers_go_on_with_the_new_master() {
    let test = "messaging::redis::failover::publishers_and_workers_go_on_with_the_new_master";
    let Some(program) = program(test) else { return };
    let summary = fail_over(&program, "", 300).await;
    println!("{} failovers: {summary}", scale());
    assert_eq!((summary.published, summary.confirmed), (MESSAGES * scale(), MESSAGES * scale()));
    assert_eq!(summary.delivered + summary.undelivered, summary.confirmed, "{summary}");
}

#[tokio::test]
async fn what_the_replica_has_before_its_confirm_is_not_lost() {
    let test = "messaging::redis::failover::what_the_replica_has_before_its_confirm_is_not_lost";
    let Some(program) = program(test) else { return };
    // Fewer than there are publishers: none of these is confirmed.
    let summary = fail_over(&program, "&wait_replicas=1&wait_replicas_timeout=0.2", 10).await;
    println!("{} failovers: {summary}", scale());
    nothing_is_lost(&summary, MESSAGES * scale());
}
