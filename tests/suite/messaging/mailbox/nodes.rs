//! Which nodes take a command.

use std::collections::BTreeMap;

use messaging::{
    Error,
    mailbox::{Kind, MailboxError, Matcher},
};
use serde_json::{Value, json};

use super::{
    Broker, DEADLINE,
    fixture::{RawCaller, answers, mailbox, start, who},
    on_every_broker_and_redis, within,
};

const NODES: [&str; 3] = ["w1@a", "w2@a", "w3@b"];

async fn a_command_reaches_whom_it_is_for(broker: Broker) {
    for kind in [Kind::Direct, Kind::Fanout] {
        let transport = broker.transport().await;
        let mailbox = transport.mailbox(&broker.name(&format!("{kind:?}"))).kind(kind).open();
        let mut nodes = Vec::new();
        for name in NODES {
            nodes.push(start(who(&mailbox, name)).await);
        }
        let who = || mailbox.command("who").timeout(DEADLINE);
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

async fn a_pattern_that_nodes_do_not_evaluate_is_refused_at_once(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let node = start(who(&mailbox, "w1@a")).await;
    let who = || mailbox.command("who").timeout(DEADLINE).limit(1);
    let longest = format!("{}w1@a", "*".repeat(4092));
    let fitting = who().matching(Matcher::Glob, longest).unwrap();
    assert_eq!(answers(fitting.call().await.unwrap()).await.len(), 1);
    for matcher in [Matcher::Glob, Matcher::Pcre] {
        let Err(error) = who().matching(matcher, "a".repeat(4097)) else { panic!("{matcher:?}") };
        assert!(
            matches!(&error, Error::Mailbox(MailboxError::LongPattern { length: 4097, limit: 4096 })),
            "{error:?}"
        );
    }
    within(node.stop()).await;
    transport.close().await.unwrap();
}

async fn a_command_that_is_read_as_kombu_reads_it_reaches_whom_it_is_for(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let mut nodes = Vec::new();
    for name in NODES {
        nodes.push(start(who(&mailbox, name)).await);
    }
    let mut caller = RawCaller::start(&broker).await;
    for (recipients, taken_by) in [
        (json!({}), &NODES[..]),
        (json!({"destination": null, "pattern": null, "matcher": null}), &NODES),
        (json!({"destination": []}), &NODES),
        (json!({"destination": ""}), &NODES),
        (json!({"destination": ["w1@a", "nobody"]}), &["w1@a"]),
        (json!({"destination": ["nobody"]}), &[]),
        (json!({"destination": [7, null, "w2@a"]}), &["w2@a"]),
        // Python looks for the name within a text.
        (json!({"destination": "w1@a"}), &["w1@a"]),
        (json!({"destination": "w1@a,w3@b"}), &["w1@a", "w3@b"]),
        (json!({"destination": "w1"}), &[]),
        (json!({"destination": ["w3@b"], "pattern": "*@a", "matcher": "glob"}), &["w3@b"]),
        (json!({"pattern": "*@a", "matcher": "glob"}), &["w1@a", "w2@a"]),
        (json!({"pattern": "w[!1]@?", "matcher": "glob"}), &["w2@a", "w3@b"]),
        (json!({"pattern": "w", "matcher": "glob"}), &[]),
        (json!({"pattern": "w", "matcher": "pcre"}), &NODES),
        (json!({"pattern": "w[12]@", "matcher": "pcre"}), &["w1@a", "w2@a"]),
        (json!({"pattern": "@a", "matcher": "pcre"}), &[]),
        (json!({"pattern": "nobody"}), &NODES),
        (json!({"matcher": "nosuch"}), &NODES),
    ] {
        let mut command = recipients.clone();
        command["method"] = json!("who");
        let expected: BTreeMap<_, _> =
            taken_by.iter().map(|name| ((*name).to_owned(), json!(name))).collect();
        assert_eq!(caller.answers(command, NODES.len()).await, expected, "{recipients}");
    }
    assert_eq!(mailbox.metrics().commands_malformed, 0);
    for node in nodes {
        within(node.stop()).await;
    }
    transport.close().await.unwrap();
}

async fn whom_an_unreadable_pattern_is_for_nobody_knows_and_nobody_answers(broker: Broker) {
    let transport = broker.transport().await;
    let mailbox = mailbox(&transport, &broker, Kind::Direct);
    let node = start(who(&mailbox, "w1@a")).await;
    let mut caller = RawCaller::start(&broker).await;
    let unreadable = [
        json!({"pattern": "w1@a", "matcher": "nosuch"}),
        json!({"pattern": "w1@a", "matcher": "GLOB"}),
        json!({"pattern": "(", "matcher": "pcre"}),
        json!({"pattern": "w1@a*".repeat(10_000), "matcher": "glob"}),
        json!({"pattern": 7, "matcher": "glob"}),
        json!({"destination": 7}),
        json!({"destination": {"w1@a": 1}}),
    ];
    for (malformed, recipients) in unreadable.iter().enumerate() {
        let mut command = recipients.clone();
        command["method"] = json!("who");
        assert_eq!(caller.answers(command, 1).await, BTreeMap::<String, Value>::new(), "{recipients}");
        assert_eq!(mailbox.metrics().commands_malformed, malformed as u64 + 1, "{recipients}");
    }
    // One that would take a regular expression very long is given up.
    let costly = json!({"method": "who", "pattern": "(?=(w|w1|1|@|@a|a)+)(.*)*=", "matcher": "pcre"});
    assert_eq!(caller.answers(costly, 1).await.len(), 0);
    within(node.stop()).await;
    transport.close().await.unwrap();
}

on_every_broker_and_redis! {
    a_command_reaches_whom_it_is_for,
    a_pattern_that_nodes_do_not_evaluate_is_refused_at_once,
    a_command_that_is_read_as_kombu_reads_it_reaches_whom_it_is_for,
    whom_an_unreadable_pattern_is_for_nobody_knows_and_nobody_answers,
}
