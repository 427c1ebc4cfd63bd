//! The example service under load, ended again and again by SIGTERM.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use amqp_client::Queue;
use messaging::{Consumer, Exchange, PublishOptions, Transport};
use rustix::process::{Pid, Signal, kill_process};
use tests::scale;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

use super::{
    example::example,
    fixture::{Broker, within},
};

/// The numbers of orders around each signal, and of receipts that are seen before it.
const ORDERS: u64 = 100;
const SEEN: u64 = 50;
/// The number of times that the service is ended.
const SIGNALS: usize = 3;

/// The running service, and the address of its probes.
struct Service {
    process: Child,
    http: String,
}

impl Service {
    async fn start(program: &Path, url: &str, queues: [&str; 2], more: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args([url, queues[0], queues[1], "--http", "127.0.0.1:0"]).args(more);
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = within(lines.next_line()).await.unwrap().expect("the address of the probes");
        Service { process, http: line.trim_start_matches("http://").to_owned() }
    }

    /// The status of an answer, and its text.
    async fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.http).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: service\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        within(stream.read_to_string(&mut answer)).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn signal(&self) {
        let id = i32::try_from(self.process.id().unwrap()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
    }

    async fn ends_well(&mut self) {
        let status = within(self.process.wait()).await.unwrap();
        assert!(status.success(), "{status}");
    }
}

/// The receipts, which must be one for each order.
struct Receipts {
    consumer: Consumer<u64>,
    seen: Vec<bool>,
    count: u64,
}

impl Receipts {
    async fn start(transport: &Transport, queue: &str) -> Self {
        let consumer = within(transport.consumer(Queue::durable(queue)).start()).await.unwrap();
        Receipts { consumer, seen: Vec::new(), count: 0 }
    }

    /// Waits until so many have come in all.
    async fn wait_for(&mut self, count: u64) {
        while self.count < count {
            let delivery = within(self.consumer.recv()).await.unwrap().unwrap();
            let number = usize::try_from(*delivery.body()).unwrap();
            delivery.ack().await.unwrap();
            self.seen.resize(self.seen.len().max(number + 1), false);
            assert!(!std::mem::replace(&mut self.seen[number], true), "order {number} was handled twice");
            self.count += 1;
        }
    }
}

/// Ends the service and starts it again while orders are published, and accounts for all of them.
async fn nothing_is_lost_and_nothing_that_was_finished_comes_again(broker: Broker, program: PathBuf) {
    let (orders, receipts) = (broker.name("orders"), broker.name("receipts"));
    let transport = broker.transport().await;
    let mut heard = Receipts::start(&transport, &receipts).await;
    let needs = PublishOptions::new().declare(Queue::durable(&orders));
    let producer = transport.producer(Exchange::default());
    let mut published = 0;
    for round in 0..(SIGNALS * scale()) as u64 {
        let queues = [&*orders, &receipts];
        let mut service = Service::start(&program, &broker.url, queues, &["--takes", "1"]).await;
        let publish = async {
            for number in published..published + ORDERS {
                producer.ensure_publish((&orders, &needs), &number).await.unwrap();
            }
        };
        // The signal comes in the midst of the load, each time at another place.
        let ending = async {
            heard.wait_for(heard.count + SEEN + round % SEEN).await;
            service.signal();
            service.ends_well().await;
        };
        tokio::join!(publish, ending);
        published += ORDERS;
    }
    let mut last = Service::start(&program, &broker.url, [&orders, &receipts], &[]).await;
    heard.wait_for(published).await;
    last.signal();
    last.ends_well().await;
    assert!(heard.seen.iter().all(|seen| *seen));
    let queue = Queue::durable(&orders).passive(true);
    assert_eq!(within(broker.channel().await.declare(queue)).await.unwrap().messages, 0);
}

#[tokio::test]
async fn sigterm_drains_it_on_the_embedded_broker() {
    let Some(program) = example("service", "sigterm_drains_it_on_the_embedded_broker") else { return };
    nothing_is_lost_and_nothing_that_was_finished_comes_again(Broker::embedded().await, program).await;
}

#[tokio::test]
async fn sigterm_drains_it_on_rabbitmq() {
    let test = "messaging::service::sigterm_drains_it_on_rabbitmq";
    let (Some(program), Some(broker)) = (example("service", test), Broker::rabbitmq(test)) else { return };
    nothing_is_lost_and_nothing_that_was_finished_comes_again(broker, program).await;
}

#[tokio::test]
async fn its_probes_tell_whether_it_is_ready_and_alive() {
    let Some(program) = example("service", "its_probes_tell_whether_it_is_ready_and_alive") else { return };
    let broker = Broker::embedded().await;
    let (mut proxy, url) = broker.proxied().await;
    let transport = broker.transport().await;
    let queues = [broker.name("orders"), broker.name("receipts")];
    let mut heard = Receipts::start(&transport, &queues[1]).await;
    let takes = ["--takes", "100000000"];
    let mut service = Service::start(&program, &url, [&queues[0], &queues[1]], &takes).await;
    let ready = async |code: u16, words: &str| loop {
        let (status, body) = service.get("/readyz").await;
        if status == code && body.contains(words) {
            return;
        }
        assert_eq!(service.get("/healthz").await.0, 200);
    };
    within(ready(200, "ready")).await;
    proxy.refuse(true).await.unwrap();
    proxy.cut();
    within(ready(503, "there is no connection")).await;
    proxy.refuse(false).await.unwrap();
    within(ready(200, "ready")).await;
    // While it finishes its last order it is alive and not ready.
    within(transport.producer(Exchange::default()).ensure_publish(&queues[0], &0_u64)).await.unwrap();
    within(ready(200, "1 in progress")).await;
    service.signal();
    within(ready(503, "stopping")).await;
    service.process.kill().await.unwrap();
    // What it has not finished is there for the next.
    let mut next = Service::start(&program, &broker.url, [&queues[0], &queues[1]], &[]).await;
    heard.wait_for(1).await;
    next.signal();
    next.ends_well().await;
}
