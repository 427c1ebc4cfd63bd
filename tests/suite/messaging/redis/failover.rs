//! A master dies under load, and its sentinels replace it by its replica.
//!
//! Redis replicates asynchronously: the replica may lack what the master confirmed, and may have
//! again what was acknowledged. The test without `wait_replicas` counts what was lost.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use tests::{Ledger, Sentinels, scale};

use super::load::{Load, OPTIONS, nothing_is_lost, program};

const MESSAGES: usize = 3000;

/// The messages that a failover may have lost.
struct Risk {
    /// The messages that the replica had before.
    safe: BTreeSet<u64>,
    /// The number of messages when it had become the master.
    published: usize,
}

impl Risk {
    fn has(&self, number: u64) -> bool {
        number <= self.published as u64 && !self.safe.contains(&number)
    }
}

/// Publishes and handles messages while a master dies, more than once at a larger scale. The first
/// master dies when so many messages were handled that its replica knows nothing of.
async fn fail_over(program: &Path, options: &str, ahead: usize) -> (Arc<Ledger>, Vec<Risk>) {
    let mut sentinels = Sentinels::start().await.unwrap();
    let url = format!("{}&{OPTIONS}{options}", sentinels.url());
    let mut load = Load::begin(program, &url, MESSAGES * scale()).await;
    let mut risks = Vec::new();
    for nth in 0..scale() {
        load.reaches(nth * MESSAGES + MESSAGES / 2).await;
        let safe = load.ledger().confirmed();
        sentinels.reaches_the_replica().await.unwrap();
        if nth == 0 {
            sentinels.cut_the_replica_off().await.unwrap();
            load.handles(ahead).await;
        }
        sentinels.fail_over().await.unwrap();
        risks.push(Risk { safe, published: load.ledger().published() });
        load.may_have_lost();
    }
    (load.finish(sentinels.master()).await, risks)
}

#[tokio::test]
async fn publishers_and_workers_go_on_with_the_new_master() {
    let test = "messaging::redis::failover::publishers_and_workers_go_on_with_the_new_master";
    let Some(program) = program(test) else { return };
    let (ledger, risks) = fail_over(&program, "", 300).await;
    let summary = ledger.summary();
    println!("{} failovers: {summary}", scale());
    assert_eq!((summary.published, summary.confirmed), (MESSAGES * scale(), MESSAGES * scale()));
    let lost = ledger.undelivered().into_iter().filter(|number| !risks.iter().any(|risk| risk.has(*number)));
    assert_eq!(lost.collect::<Vec<_>>(), [0; 0], "the replica had them, or they came after it");
}

#[tokio::test]
async fn what_the_replica_has_before_its_confirm_is_not_lost() {
    let test = "messaging::redis::failover::what_the_replica_has_before_its_confirm_is_not_lost";
    let Some(program) = program(test) else { return };
    // Fewer than there are publishers: none of these is confirmed.
    let options = "&wait_replicas=1&wait_replicas_timeout=0.2";
    let summary = fail_over(&program, options, 10).await.0.summary();
    println!("{} failovers: {summary}", scale());
    nothing_is_lost(&summary, MESSAGES * scale());
}
