//! Which nodes take a command, and how they answer.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use messaging::{
    Transport,
    mailbox::{Kind, Mailbox, Matcher, Node, Replies, Request},
};
use serde_json::{Value, json};

use super::{Broker, on_every_broker, within};

/// Starts a node that answers `who` with its name.
async fn node(mailbox: &Mailbox, name: &str) -> Node {
    let who = |request: Request, (): ()| async move { Ok::<_, String>(request.node().to_owned()) };
    within(mailbox.node(name).handler("who", who).start()).await.unwrap()
}

/// The answers by their nodes, once the call has ended.
async fn answers(replies: Replies) -> BTreeMap<String, Value> {
    let replies: Vec<_> = within(replies.collect()).await;
    replies.into_iter().map(|reply| reply.unwrap().into_parts()).collect()
}

fn mailbox(transport: &Transport, broker: &Broker, kind: Kind) -> Mailbox {
    transport.mailbox(&broker.name(&format!("{kind:?}"))).kind(kind).open()
}

async fn a_command_reaches_whom_it_is_for(broker: Broker) {
    for kind in [Kind::Direct, Kind::Fanout] {
        let transport = broker.transport().await;
        let mailbox = mailbox(&transport, &broker, kind);
        let mut nodes = Vec::new();
        for name in ["w1@a", "w2@a", "w3@b"] {
            nodes.push(node(&mailbox, name).await);
        }
        let who = || mailbox.command("who");
        let named = answers(who().to(["w1@a", "w3@b"]).call().await.unwrap()).await;
        assert_eq!(json!(named), json!({"w1@a": "w1@a", "w3@b": "w3@b"}));
        let all = answers(who().limit(3).call().await.unwrap()).await;
        assert_eq!(all.len(), 3);
        let fitting = who().matching(Matcher::Glob, "*@a").unwrap().limit(2);
        assert_eq!(
            answers(fitting.call().await.unwrap()).await.into_keys().collect::<Vec<_>>(),
            ["w1@a", "w2@a"]
        );
        let fitting = who().matching(Matcher::Pcre, r"w\d@b").unwrap().limit(1);
        assert_eq!(answers(fitting.call().await.unwrap()).await.into_keys().collect::<Vec<_>>(), ["w3@b"]);
        let nobody = who().to(Vec::<String>::new()).call().await.unwrap();
        assert_eq!(answers(nobody).await.len(), 0);
        for node in nodes {
            within(node.stop()).await;
        }
        transport.close().await.unwrap();
    }
}

on_every_broker! {
    a_command_reaches_whom_it_is_for,
}
