//! The page in a browser, on the embedded broker.

use std::{path::Path, time::Duration};

use amqp_broker::{Broker, HttpOptions, UserTag};
use amqp_client::{Confirmation, Message, Queue, connect};
use amqp_codec::Table;
use serde_json::{Value as Json, json};
use tests::Chromium;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(300);

/// A name that is markup and would run a script, if it were taken for markup.
const HOSTILE: &str = "<img src=x onerror=alert(1)>";

#[tokio::test(flavor = "multi_thread")]
async fn a_user_of_the_page_looks_into_a_queue_with_a_hostile_name_and_deletes_it() {
    let test = "a_user_of_the_page_looks_into_a_queue_with_a_hostile_name_and_deletes_it";
    let Some(program) = Chromium::require(test) else { return };
    timeout(DEADLINE, browse(&program)).await.expect("not done within the deadline");
}

async fn browse(program: &Path) {
    let broker = Broker::builder().build();
    broker.add_user("guest", "guest");
    broker.set_user_tags("guest", [UserTag::Administrator]);
    let amqp = broker.listen("127.0.0.1:0").await.unwrap();
    let http = broker.listen_http("127.0.0.1:0", HttpOptions::new()).await.unwrap();
    prepare(&format!("amqp://guest:guest@{}", amqp.local_addr())).await;

    let mut browser = Chromium::open(program, &format!("http://{}/", http.local_addr())).await.unwrap();
    let seen = browser.evaluate(include_str!("browse.js")).await;
    // The refused login and what the browser itself says of it.
    let complaints: Vec<_> =
        browser.complaints().iter().filter(|complaint| !complaint.contains("401")).cloned().collect();
    browser.close().await.unwrap();
    assert_eq!(complaints, Vec::<String>::new());
    check(&seen.unwrap());
}

/// Declares the queues, of which one has a message with markup wherever a client can put some.
async fn prepare(uri: &str) {
    let connection = connect(uri).await.unwrap();
    let channel = connection.open_channel().await.unwrap();
    for name in [HOSTILE, "../", "%2F"] {
        channel.declare(&Queue::durable(name)).await.unwrap();
    }
    let publisher = channel.publisher().await.unwrap();
    let mut headers = Table::new();
    headers.insert(HOSTILE, HOSTILE).unwrap();
    let message = Message::new(HOSTILE).content_type(HOSTILE).headers(headers);
    let confirm = publisher.publish(("", HOSTILE), message).await.unwrap();
    assert!(matches!(confirm.await.unwrap(), Confirmation::Ack));
    connection.close().await.unwrap();
}

fn check(seen: &Json) {
    let text = |name: &str| seen[name].as_str().unwrap_or_default();
    assert!(text("refused").contains("401"), "{seen}");
    assert_eq!(text("title"), "Overview");
    assert_eq!(seen["plots"], 6, "{seen}");
    assert_eq!(text("queue"), HOSTILE);
    // The routing key, the body, the content type, and the name and the value of a header.
    assert!(text("message").matches(HOSTILE).count() >= 5, "{seen}");
    assert_eq!(text("published"), "Published.");
    assert!(text("deleted").contains(HOSTILE), "{seen}");
    assert_eq!(text("address"), "#/queues");
    assert_eq!(seen["left"], json!(["%2F", "../"]));
    assert_eq!(seen["images"], 0);
    assert_eq!(seen["stored"], 0);
}
