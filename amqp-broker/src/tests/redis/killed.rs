//! Connections that end at any moment.

use super::support::{Client, Setting, ask, message};
use crate::{
    backend::{Backend, Link, Settlement, Wakes},
    redis::Redis,
};

const MESSAGES: usize = 40;

/// Claims and requeues while connections are killed, later by one command each time. At no moment
/// is a message in neither its list nor the claims, whoever looks.
async fn nothing_is_lost(setting: &Setting) {
    let mut producer = setting.open().await;
    let batch: Vec<_> = (0..MESSAGES).map(|number| message("", "q", &number.to_string())).collect();
    producer.link.publish(&batch).await.unwrap();
    producer.link.close().await;
    for commands in 0..60 {
        let redis = Redis::new(setting.server.url().parse().unwrap());
        let Ok(link) = redis.open(Wakes::default()).await else { continue };
        let client = Client { link, wakes: Wakes::default() };
        tokio::select! {
            () = claim_and_requeue(client) => {}
            () = look_and_kill(setting, commands) => {}
        }
        look(setting).await;
    }
}

async fn claim_and_requeue(mut client: Client) {
    loop {
        let Ok(claimed) =
            client.link.claim(&[crate::backend::Source { queue: "q", no_ack: false, most: 3 }]).await
        else {
            return;
        };
        let requeues = claimed.into_iter().rev().map(|claimed| (claimed.claim.unwrap(), Settlement::Requeue));
        if client.link.settle(requeues.collect()).await.is_err() {
            return;
        }
    }
}

async fn look_and_kill(setting: &Setting, commands: usize) {
    for _ in 0..commands {
        look(setting).await;
    }
    let _: u32 = ask(&setting.plain, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
}

/// Every message is in the list or claimed, and none is in both.
async fn look(setting: &Setting) {
    let mut pipeline = redis::pipe();
    pipeline.atomic().cmd("LLEN").arg("q").cmd("HLEN").arg("unacked");
    let (listed, claimed): (usize, usize) = pipeline.query_async(&mut setting.plain.clone()).await.unwrap();
    assert_eq!(listed + claimed, MESSAGES, "{listed} listed, {claimed} claimed");
}

#[tokio::test]
async fn scripts_lose_nothing_when_connections_are_killed() {
    let Some(setting) = Setting::new("scripts_lose_nothing_when_connections_are_killed").await else {
        return;
    };
    nothing_is_lost(&setting).await;
}

#[tokio::test]
async fn transactions_lose_nothing_when_connections_are_killed() {
    let test = "transactions_lose_nothing_when_connections_are_killed";
    let Some(setting) = Setting::new(test).await else { return };
    let _: () = setting.ask(&["ACL", "SETUSER", "default", "-@scripting"]).await;
    nothing_is_lost(&setting).await;
}
