//! A connection that is lost and recovered a thousand times, with all that belongs to it, leaves
//! nothing behind.

use std::{env, fs, future::ready, process::Command};

use amqp_broker::Broker;
use amqp_client::{
    Binding, Channel, Confirmation, Connection, ConsumeOptions, Consumer, Error, Events, Exchange, Message,
    Publisher, Queue, Uri,
};
use tests::scale;

use super::{
    script::{ends, recovered},
    session::options,
};

const TEST: &str = "recovery::reconnects::a_thousand_reconnects_leave_nothing_behind";

/// Set in the process that runs nothing else.
const ALONE: &str = "AMQP_TEST_ALONE";

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    tasks: usize,
    files: usize,
    resident_bytes: usize,
}

impl Held {
    fn now() -> Self {
        let statm = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
        Held {
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            files: fs::read_dir("/proc/self/fd").unwrap().count(),
            resident_bytes: pages * 4096,
        }
    }
}

#[test]
fn a_thousand_reconnects_leave_nothing_behind() {
    if env::var_os(ALONE).is_none() {
        // Memory and files are counted for the process, and other tests run in this one.
        let arguments = ["--exact", TEST, "--nocapture"];
        let alone =
            Command::new(env::current_exe().unwrap()).args(arguments).env(ALONE, "1").output().unwrap();
        let said = [alone.stdout, alone.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(alone.status.success() && said.contains("1 passed"), "{said}");
        println!("{said}");
        return;
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(reconnect(1000 * scale()));
}

async fn reconnect(times: usize) {
    let broker = Broker::builder().build();
    let connector = {
        let broker = broker.clone();
        move || ready(Ok(broker.connect()))
    };
    let connection = options().connect_with(connector, &Uri::default()).await.unwrap();
    let mut user = User::new(&connection).await;
    let mut before = None;
    for number in 0..times {
        user.lose(&broker).await;
        user.work().await;
        // Buffers have their size by then.
        if number == times / 5 {
            before = Some(Held::now());
        }
    }
    let (before, after) = (before.unwrap(), Held::now());
    eprintln!("after a fifth of {times} reconnects {before:?}, after all {after:?}");
    assert_eq!(connection.metrics().reconnects, times as u64);
    assert_eq!(connection.metrics().calls, 0);
    assert_eq!((after.tasks, after.files), (before.tasks, before.files));
    let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
    assert!(grown < 1024 * 1024, "{grown} bytes more after {times} reconnects than after a fifth of them");
}

/// A user of all functions of a connection.
struct User {
    events: Events,
    plain: Publisher,
    careful: Publisher,
    jobs: Consumer,
    own: Consumer,
    _channels: Vec<Channel>,
}

impl User {
    async fn new(connection: &Connection) -> Self {
        let events = connection.events();
        let mut channels = Vec::new();
        for _ in 0..4 {
            channels.push(connection.open_channel().await.unwrap());
        }
        let exchange = Exchange::topic("events").durable(true);
        let (jobs, own) = (Queue::durable("jobs"), Queue::new("").exclusive(true));
        channels[0].declare(&exchange).await.unwrap();
        channels[0].declare(&jobs).await.unwrap();
        channels[0].bind(Binding::new(&jobs, &exchange).routing_key("job")).await.unwrap();
        let own = channels[0].declare(&own).await.unwrap();
        channels[0].bind(Binding::new(&own, &exchange).routing_key("own")).await.unwrap();
        let consume = ConsumeOptions::new;
        User {
            events,
            plain: channels[0].publisher().await.unwrap(),
            careful: channels[1].publisher().await.unwrap().republish(true),
            jobs: channels[2].consume(&jobs, consume()).await.unwrap(),
            own: channels[3].consume(&own, consume().no_ack(true)).await.unwrap(),
            _channels: channels,
        }
    }

    /// Loses the connection with unconfirmed publishes and an unacknowledged delivery, and waits
    /// for the recovery.
    async fn lose(&mut self, broker: &Broker) {
        let held = self.publish_job().await;
        let lost = self.plain.publish(("events", "nowhere"), Message::new("x")).await.unwrap();
        let again = self.careful.publish(("events", "nowhere"), Message::new("x")).await.unwrap();
        broker.faults().drop_connections();
        assert!(matches!(ends(lost).await, Err(Error::PublishLost(_))));
        assert!(matches!(ends(again).await, Ok(Confirmation::Ack)));
        let report = recovered(&mut self.events).await;
        assert_eq!((report.channels, report.consumers, report.renamed.len()), (4, 2, 1));
        assert!(matches!(held.ack().await, Err(Error::StaleDelivery { .. })));
        let again = ends(self.jobs.recv()).await.unwrap().unwrap();
        assert!(again.redelivered());
        again.ack().await.unwrap();
    }

    async fn work(&mut self) {
        self.publish_job().await.ack().await.unwrap();
        let confirm = self.careful.publish(("events", "own"), Message::new("hello")).await.unwrap();
        assert!(matches!(ends(confirm).await, Ok(Confirmation::Ack)));
        assert_eq!(ends(self.own.recv()).await.unwrap().unwrap().body(), "hello");
    }

    async fn publish_job(&mut self) -> amqp_client::Delivery {
        let confirm = self.plain.publish(("events", "job"), Message::new("job")).await.unwrap();
        assert!(matches!(ends(confirm).await, Ok(Confirmation::Ack)));
        let delivery = ends(self.jobs.recv()).await.unwrap().unwrap();
        assert!(!delivery.redelivered());
        delivery
    }
}
