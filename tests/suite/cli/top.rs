//! `amqp top`.

use std::fs::File;

use amqp_broker::{HttpOptions, Listener};
use amqp_client::Queue;
use rustix::{process::Signal, termios::LocalModes};
use serde_json::Value as Json;
use tests::{Node, Proxy};
use tokio::{net::TcpListener, time::timeout};

use super::{
    fixture::{self, DEADLINE, Ended},
    on_tcp_brokers,
    terminal::Terminal,
};

const ENTERS: &str = "\u{1b}[?1049h";
const LEAVES: &str = "\u{1b}[?1049l";

/// A broker with a management API.
struct Broker {
    amqp: fixture::Broker,
    /// Host and port of the API.
    api: String,
    _http: Option<Listener>,
}

impl Broker {
    async fn embedded() -> Self {
        let server = amqp_broker::Broker::builder().build();
        let http = server.listen_http("127.0.0.1:0", HttpOptions::new()).await.unwrap();
        let broker = fixture::Broker::on(server.listen("127.0.0.1:0").await.unwrap());
        Broker { amqp: broker, api: http.local_addr().to_string(), _http: Some(http) }
    }

    fn rabbitmq(test: &str) -> Option<Self> {
        let broker = fixture::Broker::rabbitmq(test)?;
        let Some(ports) = Node::require(test)?.http() else {
            tests::leave_out(test, "its management plugin is off");
            return None;
        };
        Some(Broker { amqp: broker, api: format!("127.0.0.1:{}", ports.management), _http: None })
    }

    /// Starts the live screen.
    fn start(&self, api: &str, environment: &[(&str, &str)]) -> Terminal {
        let url = format!("http://{api}");
        let line = ["top", "--interval", "0.2", "--sort", "name", "--management", &url];
        Terminal::start(&self.amqp, &line, environment)
    }

    async fn once(&self, options: &[&str]) -> Ended {
        let url = format!("http://{}", self.api);
        self.amqp.run(&[&["top", "--once", "--management", &url], options].concat()).await
    }

    /// Returns the objects that it prints once these hold: statistics of a broker may be late.
    async fn objects(&self, options: &[&str], hold: impl Fn(&[Json]) -> bool) -> Vec<Json> {
        let options = [&["--json"], options].concat();
        let asking = async {
            loop {
                let text = self.once(&options).await.done();
                let objects: Vec<Json> =
                    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                if hold(&objects) {
                    return objects;
                }
            }
        };
        timeout(DEADLINE, asking).await.expect("the figures do not become what they should be")
    }
}

fn of_queue<'a>(objects: &'a [Json], queue: &str) -> Option<&'a Json> {
    objects.iter().find(|object| object["queue"] == queue)
}

async fn figures_are_printed_once_as_json_and_as_tables(broker: Broker) {
    let queue = broker.amqp.queue_with("figures", &["a", "b", "c"]).await;
    let channel = broker.amqp.channel().await;
    let held = channel.get(&queue, amqp_client::GetOptions::new()).await.unwrap().unwrap();
    let objects = broker
        .objects(&[], |objects| {
            let counted =
                of_queue(objects, &queue).is_some_and(|own| own["ready"] == 2 && own["unacked"] == 1);
            counted
                && objects.iter().any(|object| object["connection"].is_string() && object["channels"] == 1)
        })
        .await;
    let sums = &objects[0];
    assert!(sums["broker"].as_str().unwrap().starts_with("RabbitMQ "), "{sums}");
    for sum in ["ready", "unacked", "connections", "channels", "memory"] {
        assert!(sums[sum].as_u64().unwrap() > 0, "{sum}: {sums}");
    }
    for rate in ["publish_rate", "deliver_rate", "ack_rate"] {
        assert!(sums[rate].as_f64().unwrap() >= 0.0, "{rate}: {sums}");
    }
    let connection = objects.iter().find(|object| object["connection"].is_string()).unwrap();
    assert_eq!((&connection["user"], &connection["vhost"]), (&"guest".into(), &"/".into()), "{connection}");
    let own = broker.objects(&["--vhost", "/"], |objects| of_queue(objects, &queue).is_some()).await;
    assert_eq!(own[0]["vhost"], "/");
    assert!(own[0]["channels"].as_u64().unwrap() > 0, "{}", own[0]);
    let missing = broker.once(&["--vhost", "no such host"]).await;
    assert!(missing.code == 1 && missing.stderr.contains("no virtual host \"no such host\""), "{missing:?}");

    let table = broker.once(&["--sort", "name"]).await.done();
    let row = table.lines().find(|line| line.starts_with(&queue)).expect(&table);
    let cells: Vec<_> = row.split_whitespace().collect();
    assert_eq!((cells[1], cells[2], cells[6]), ("2", "1", "/"), "{table}");
    let headings: Vec<_> =
        table.lines().filter(|line| line.contains("CONSUMERS") || line.contains("STATE")).collect();
    assert_eq!(headings.len(), 3, "{table}");
    held.ack().await.unwrap();
    channel.delete_queue(&queue, amqp_client::DeleteOptions::new()).await.unwrap();
}

async fn the_screen_is_live_and_obeys_keys(broker: Broker) {
    let queue = broker.amqp.queue_with("a-live", &["one"]).await;
    let mut terminal = broker.start(&broker.api, &[]);
    let before = terminal.modes();
    // Queues of others may leave no room for this one yet.
    terminal.screen_has(&["QUEUE▼", "Queues", "publish", "memory", "q quit"]).await;
    // What is typed is no longer echoed, and no line is waited for.
    assert!(!terminal.modes().intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
    terminal.types("sr");
    terminal.screen_has(&["READY▲"]).await;
    terminal.types("\t");
    terminal.screen_has(&["CONNECTION▼", "RECEIVED/s"]).await;
    terminal.types("\t?");
    terminal.screen_has(&["PageDown", "reverse the order"]).await;
    terminal.types(&format!("x/{queue}"));
    terminal.screen_has(&[&format!("/{queue}")]).await;
    terminal.types("\r");
    terminal.screen_has(&["1-1 of 1", &format!("filter {queue}")]).await;
    // A queue that did not exist when it started.
    let later = broker.amqp.queue_with("a-live.later", &[]).await;
    terminal.screen_has(&["1-2 of 2", &later]).await;
    terminal.types("q");
    left(terminal, before, 0).await;
    for queue in [queue, later] {
        broker.amqp.run(&["delete", "queue", &queue]).await.done();
    }
}

/// Waits until it has left the screen and ended with this code; the terminal is as it was.
async fn left(terminal: Terminal, before: LocalModes, code: i32) -> String {
    let controller: File = terminal.controller();
    let (ended, shown) = terminal.ended().await;
    assert_eq!(ended, Some(code), "{shown:?}");
    let after = shown.rsplit_once(ENTERS).expect("it has drawn").1;
    let (_, after) = after.rsplit_once(LEAVES).expect("it leaves the alternate screen");
    assert!(after.contains("\u{1b}[?25h") && !after.contains("\u{1b}[?25l"), "{after:?}");
    assert_eq!(rustix::termios::tcgetattr(&controller).unwrap().local_modes, before);
    shown
}

#[tokio::test]
async fn the_terminal_is_restored_on_every_way_out() {
    let broker = Broker::embedded().await;
    for (typed, code) in [("q", 0), ("\u{1b}", 0), ("\u{3}", 130), ("?x/q\u{3}", 130)] {
        let mut terminal = broker.start(&broker.api, &[]);
        let before = terminal.modes();
        terminal.screen_has(&["QUEUE▼"]).await;
        terminal.types(typed);
        left(terminal, before, code).await;
    }
    for signal in [Signal::TERM, Signal::INT] {
        let mut terminal = broker.start(&broker.api, &[]);
        let before = terminal.modes();
        terminal.screen_has(&["QUEUE▼"]).await;
        terminal.signal(signal);
        left(terminal, before, 130).await;
    }
}

#[tokio::test]
async fn an_api_that_is_slow_or_gone_makes_figures_stale_and_delays_no_key() {
    let broker = Broker::embedded().await;
    broker.amqp.queue_with("before", &[]).await;
    let mut proxy = Proxy::start(&broker.api).await.unwrap();
    let mut terminal = broker.start(&proxy.addr().to_string(), &[]);
    let before = terminal.modes();
    terminal.screen_has(&[".before"]).await;
    proxy.stall(true);
    terminal.screen_has(&["stale since", "no answer yet", ".before"]).await;
    terminal.types("?");
    terminal.screen_has(&["PageDown"]).await;
    terminal.types("x");
    proxy.refuse(true).await.unwrap();
    proxy.cut();
    terminal.screen_has(&["stale since", "cannot be reached"]).await;
    proxy.stall(false);
    proxy.refuse(false).await.unwrap();
    broker.amqp.queue_with("recovered", &[]).await;
    terminal.screen_has(&[".recovered"]).await;
    terminal.screen_lacks("stale since").await;
    terminal.types("q");
    left(terminal, before, 0).await;
}

#[tokio::test]
async fn names_of_queues_reach_neither_the_screen_nor_tables_unescaped() {
    let broker = Broker::embedded().await;
    let channel = broker.amqp.channel().await;
    let hostile = "0\u{1b}[2Jx\u{9b}31m\u{202e}";
    channel.declare(Queue::durable(hostile)).await.unwrap();
    let mut terminal = broker.start(&broker.api, &[]);
    let before = terminal.modes();
    terminal.screen_has(&[r"0\u{1b}[2Jx\u{9b}31m"]).await;
    terminal.types("q");
    let live = left(terminal, before, 0).await;
    let table = broker.once(&[]).await.done();
    assert!(table.contains(r"0\u{1b}[2Jx\u{9b}31m\u{202e}"), "{table}");
    let json = broker.once(&["--json"]).await.done();
    assert!(json.contains(r"0\u001b[2Jx\u009b31m\u202e"), "{json}");
    for shown in [live, table, json] {
        assert!(!shown.contains("\u{1b}[2Jx") && !shown.contains(['\u{9b}', '\u{202e}']), "{shown:?}");
    }
}

/// Tells whether a sequence sets a colour.
fn has_colour(shown: &str) -> bool {
    let sequences = shown.split("\u{1b}[").skip(1).filter_map(|rest| {
        let end = rest.find(|character: char| !matches!(character, '0'..='9' | ';'))?;
        rest[end..].starts_with('m').then(|| &rest[..end])
    });
    let mut codes = sequences.flat_map(|codes| codes.split(';')).filter_map(|code| code.parse::<u8>().ok());
    codes.any(|code| matches!(code, 30..=38 | 40..=48 | 90..=97 | 100..=107))
}

#[tokio::test]
async fn there_are_colours_unless_they_are_unwanted() {
    let broker = Broker::embedded().await;
    for (environment, is_coloured) in
        [(&[][..], true), (&[("NO_COLOR", "1")], false), (&[("NO_COLOR", "")], true)]
    {
        let mut terminal = broker.start(&broker.api, environment);
        let before = terminal.modes();
        terminal.screen_has(&["QUEUE▼"]).await;
        terminal.types("q");
        let shown = left(terminal, before, 0).await;
        assert_eq!(has_colour(&shown), is_coloured, "{environment:?} {shown:?}");
    }
}

#[tokio::test]
async fn where_no_management_api_answers_it_says_what_to_do() {
    let broker = fixture::Broker::embedded().await;
    let amqp = broker.url().rsplit_once('@').unwrap().1.to_owned();
    for (api, why) in [("127.0.0.1:1", "cannot be reached"), (&amqp, "does not speak HTTP")] {
        let url = format!("http://{api}");
        for line in [&["top", "--once", "--management", &url][..], &["info", "--management", &url]] {
            let refused = broker.run(line).await;
            assert_eq!((refused.code, refused.stdout.as_str()), (4, ""), "{refused:?}");
            let advice = ["rabbitmq_management", "--management URL", "--http", api, why];
            assert!(advice.iter().all(|words| refused.stderr.contains(words)), "{refused:?}");
        }
    }
    let redis = broker.run(&["top", "--once", "--url", "redis://127.0.0.1:1"]).await;
    assert!(redis.code == 2 && redis.stderr.contains("--management URL does"), "{redis:?}");
    let broker = Broker::embedded().await;
    let wrong = format!("http://guest:secret@{}", broker.api);
    let refused = broker.amqp.run(&["top", "--once", "--management", &wrong]).await;
    assert!(refused.code == 1 && refused.stderr.contains("401 Unauthorized"), "{refused:?}");
    assert!(refused.stderr.contains("tag monitoring") && !refused.stderr.contains("secret"), "{refused:?}");
    let piped = broker.amqp.run(&["top", "--management", &format!("http://{}", broker.api)]).await;
    assert!(piped.code == 2 && piped.stderr.contains("--once prints"), "{piped:?}");
}

#[tokio::test]
async fn an_api_that_never_answers_can_be_interrupted() {
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = fixture::Broker::embedded().await;
    let url = format!("http://{}", mute.local_addr().unwrap());
    let terminal = Terminal::start(&broker, &["top", "--management", &url], &[]);
    let _connected = timeout(DEADLINE, mute.accept()).await.unwrap().unwrap();
    terminal.signal(Signal::INT);
    let (code, shown) = terminal.ended().await;
    assert_eq!(code, Some(130), "{shown:?}");
    assert!(!shown.contains(ENTERS), "{shown:?}");
}

on_tcp_brokers!(figures_are_printed_once_as_json_and_as_tables, the_screen_is_live_and_obeys_keys);
