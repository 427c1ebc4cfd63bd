//! Celery's command line finds our nodes, and our client steers Celery's workers, through RabbitMQ
//! and through our broker.

use std::{path::Path, process::Stdio, time::Duration};

use amqp_broker::{Broker, Listener};
use messaging::{
    Transport,
    celery::{Control, Node, QueueInfo, Revoke, Service, TaskEvent, TaskInfo},
    mailbox::Kind,
};
use serde_json::{Map, Value, json};
use tests::{Python, Redis};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};
use uuid::Uuid;

use crate::messaging::example::example;

const SCRIPT: &str = include_str!("celery_peer.py");

/// The longest that anything takes. It is shorter than the time that calls are given which have to
/// end before.
const DEADLINE: Duration = Duration::from_secs(60);

/// The time given to calls that end as soon as all have answered, for Celery and for us.
const LONG: Duration = Duration::from_secs(600);

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("nothing within the deadline")
}

/// A broker, a Celery and our remote control, in a namespace that no other test uses.
struct Peers {
    python: Python,
    url: String,
    namespace: String,
    control: Control,
    /// The prefix of all keys of a Redis.
    prefix: &'static str,
    _listener: Option<Listener>,
    _redis: Option<Redis>,
}

impl Peers {
    async fn embedded(python: Python) -> Self {
        let listener = Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
        let url = format!("amqp://guest:guest@{}//", listener.local_addr());
        Self::connect(python, url, Some(listener)).await
    }

    async fn redis(python: Python) -> Self {
        Self::redis_with_prefix(python, "").await
    }

    async fn redis_with_prefix(python: Python, prefix: &'static str) -> Self {
        let redis = Redis::start().await.unwrap();
        let url = format!("{}?global_keyprefix={prefix}", redis.url(3));
        let mut peers = Self::connect(python, url, None).await;
        peers.url = redis.url(3);
        (peers.prefix, peers._redis) = (prefix, Some(redis));
        peers
    }

    async fn connect(python: Python, url: String, listener: Option<Listener>) -> Self {
        let namespace = format!("celery-{}", Uuid::new_v4());
        let transport = within(Transport::connect(&url)).await.unwrap();
        let mailbox = transport.mailbox(&namespace).kind(Kind::Fanout).open();
        let control = Control::new(&transport, mailbox).event_exchange(format!("{namespace}.events"));
        Peers { python, url, namespace, control, prefix: "", _listener: listener, _redis: None }
    }

    fn celery(&self, mode: &str, arguments: &[&str]) -> Command {
        let arguments = [&[mode, &self.url, &self.namespace], arguments].concat();
        let mut command = Command::from(self.python.command(SCRIPT, &arguments));
        command.env("KEY_PREFIX", self.prefix);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a command of Celery's command line, and returns its JSON.
    async fn inspect(&self, arguments: &[&str]) -> Value {
        let timeout = LONG.as_secs().to_string();
        let arguments = [arguments, &["--json", "--timeout", &timeout]].concat();
        let output = within(self.celery("inspect", &arguments).output()).await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str(said.trim()).unwrap_or_else(|error| {
            panic!("{arguments:?}: {error}: {said}{}", String::from_utf8_lossy(&output.stderr))
        })
    }

    async fn worker(&self, name: &str) -> Worker {
        let mut child = self.celery("worker", &[name]).spawn().unwrap();
        let mut worker = Worker { log: lines(child.stderr.take().unwrap()), child, seen: Vec::new() };
        worker.until(" ready.").await;
        within(self.answers(name)).await;
        worker
    }

    /// Asks until the worker answers: on Redis it says that it is ready before it listens to
    /// commands.
    async fn answers(&self, name: &str) {
        let ping = || self.control.ping().to([name]).timeout(Duration::from_secs(1)).call();
        while ping().await.unwrap().by_node.is_empty() {}
    }

    async fn node(&self, name: &str) -> Node {
        within(self.control.node(name, Mailer).start()).await.unwrap()
    }
}

/// A worker of Celery.
struct Worker {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    seen: Vec<String>,
}

impl Worker {
    /// Reads its log up to a line with this text.
    async fn until(&mut self, text: &str) {
        while !self.seen.last().is_some_and(|line| line.contains(text)) {
            let line = within(self.log.next_line()).await.unwrap();
            let line = line.unwrap_or_else(|| panic!("no {text:?} in {:#?}", self.seen));
            self.seen.push(line);
        }
    }

    fn said(&self, text: &str) -> bool {
        self.seen.iter().any(|line| line.contains(text))
    }
}

fn lines<R: AsyncRead + Unpin>(output: R) -> Lines<BufReader<R>> {
    BufReader::new(output).lines()
}

/// A service with one task.
struct Mailer;

impl Service for Mailer {
    fn active(&self) -> Vec<TaskInfo> {
        vec![TaskInfo::new("id-1", "mails.send")]
    }

    fn registered(&self) -> Vec<String> {
        vec!["mails.send".to_owned()]
    }

    fn active_queues(&self) -> Vec<QueueInfo> {
        vec![QueueInfo::new("mails", "mails", "mails")]
    }

    fn conf(&self) -> Map<String, Value> {
        Map::from_iter([("greeting".to_owned(), "hello".into())])
    }
}

async fn celery_finds_a_node_beside_a_worker(peers: Peers) {
    let node = peers.node("mailer@host").await;
    let mut worker = peers.worker("w1@host").await;
    assert!(worker.said("mingle: sync with 1 nodes"), "{:#?}", worker.seen);
    assert!(!worker.said("Traceback"), "{:#?}", worker.seen);

    let both = json!({"mailer@host": {"ok": "pong"}, "w1@host": {"ok": "pong"}});
    assert_eq!(peers.inspect(&["ping", "-d", "mailer@host,w1@host"]).await, both);
    // Without a destination Celery waits for the whole time.
    let arguments = ["ping", "--json", "--timeout", "5"];
    let all = within(peers.celery("inspect", &arguments).output()).await.unwrap();
    let all: Value = serde_json::from_slice(&all.stdout).unwrap();
    assert_eq!(all, both);

    let of = async |command: &str| peers.inspect(&[command, "-d", "mailer@host"]).await["mailer@host"].take();
    assert_eq!(of("ping").await, json!({"ok": "pong"}));
    assert_eq!(of("registered").await, json!(["mails.send"]));
    let active = of("active").await;
    assert_eq!((&active[0]["name"], &active[0]["hostname"]), (&json!("mails.send"), &json!("mailer@host")));
    assert_eq!(of("active_queues").await[0]["exchange"]["type"], "direct");
    assert_eq!(of("conf").await, json!({"greeting": "hello"}));
    assert!(of("report").await["ok"].as_str().unwrap().contains("messaging:"));
    assert!(of("clock").await["clock"].as_u64().unwrap() > 0);
    assert_eq!(of("stats").await["pid"], std::process::id());
    // Tools expect of a node whatever a worker tells.
    let of_both = async |command: &str| peers.inspect(&[command, "-d", "mailer@host,w1@host"]).await;
    let queues = of_both("active_queues").await;
    let missing = missing_keys(&queues["mailer@host"][0], &queues["w1@host"][0]);
    assert!(missing.is_empty(), "{missing:?}");
    let stats = of_both("stats").await;
    let missing = missing_keys(&stats["mailer@host"], &stats["w1@host"]);
    assert!(missing.is_empty(), "{missing:?}");
    // The worker is still as well as it was.
    assert_eq!(peers.inspect(&["ping", "-d", "w1@host"]).await, json!({"w1@host": {"ok": "pong"}}));
    within(node.stop()).await;
    worker.child.kill().await.unwrap();
}

/// The keys that are only in the worker's objects, also in the nested object `exchange`.
fn missing_keys(ours: &Value, of_worker: &Value) -> Vec<String> {
    let missing = |ours: &Value, of_worker: &Value| -> Vec<String> {
        let keys = of_worker.as_object().into_iter().flat_map(Map::keys);
        keys.filter(|key| ours.get(key).is_none()).cloned().collect()
    };
    [missing(ours, of_worker), missing(&ours["exchange"], &of_worker["exchange"])].concat()
}

async fn celery_shuts_a_node_down(peers: Peers) {
    let mut node = peers.node("mailer@host").await;
    // A node that is shut down does not answer, which the command line takes for a failure.
    let arguments = ["shutdown", "-d", "mailer@host", "--timeout", "1"];
    within(peers.celery("control", &arguments).output()).await.unwrap();
    within(node.wait()).await.unwrap();
    let answers = within(peers.control.ping().to(["mailer@host"]).call()).await.unwrap();
    assert_eq!(answers.missing, ["mailer@host"]);
}

async fn a_worker_does_what_it_is_told(peers: Peers) {
    let mut worker = peers.worker("w1@host").await;
    let control = &peers.control;
    let to = ["w1@host"];
    macro_rules! told {
        ($command:expr) => {{
            let answers = within($command.to(to).timeout(LONG).call()).await.unwrap();
            answers.by_node.into_values().next().expect("an answer")
        }};
    }
    assert_eq!(told!(control.ping()).unwrap(), "pong");
    assert_eq!(told!(control.rate_limit("tests.add", "10/m")).unwrap(), "new rate limit set successfully");
    let unknown = told!(control.rate_limit("tests.nosuch", "10/m")).unwrap_err();
    assert_eq!(unknown.to_string(), "node \"w1@host\" failed: unknown task");
    told!(control.revoke(&["id-7"], &Revoke::new())).unwrap();
    assert_eq!(told!(control.revoked()).unwrap(), ["id-7"]);
    let hello = told!(control.hello("us@host", &["id-8"])).unwrap().unwrap();
    assert_eq!(hello.revoked, ["id-7", "id-8"]);
    assert_eq!(told!(control.registered(&[])).unwrap().len(), 1);
    let queues = told!(control.active_queues()).unwrap();
    assert_eq!((queues.len(), queues[0].durable), (1, true));
    assert!(told!(control.stats()).unwrap().contains_key("pool"));
    assert!(told!(control.active(false)).unwrap().is_empty());
    assert!(told!(control.reserved()).unwrap().is_empty());
    assert!(told!(control.scheduled()).unwrap().is_empty());
    assert!(told!(control.query_task(&["id-9"])).unwrap().is_empty());
    assert!(told!(control.clock()).unwrap() > 0);
    assert!(told!(control.conf(false)).unwrap().contains_key("control_exchange"));
    assert!(told!(control.report()).unwrap().contains("celery:5.7.0"));
    told!(control.heartbeat()).unwrap();
    told!(control.memsample()).unwrap();
    told!(control.time_limit("tests.add", Some(5.0), None)).unwrap();
    let added = format!("{}.more", peers.namespace);
    told!(control.add_consumer(&added, &messaging::celery::Consume::new())).unwrap();
    told!(control.cancel_consumer(&added)).unwrap();
    assert!(told!(control.autoscale(3, 1)).unwrap_err().to_string().contains("Autoscale not enabled"));
    control.shutdown().to(to).cast().await.unwrap();
    assert_eq!(within(worker.child.wait()).await.unwrap().code(), Some(0));
}

/// Runs the program that is our `celery inspect`, and returns its exit code, output and errors.
async fn inspected(program: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("RUST_LOG").stdin(Stdio::null()).kill_on_drop(true);
    let output = within(command.output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_example_program_asks_nodes_and_says_when_none_answers() {
    let test = "interop::celery::the_example_program_asks_nodes_and_says_when_none_answers";
    let Some(program) = example("celery_inspect", test) else { return };
    let listener = Broker::builder().build().listen("127.0.0.1:0").await.unwrap();
    let url = format!("amqp://guest:guest@{}/", listener.local_addr());
    let none = inspected(&program, &[&url, "ping", "--timeout", "0.2"]).await;
    assert_eq!(none, (Some(69), String::new(), "celery_inspect: no node answered in time\n".to_owned()));

    let transport = within(Transport::connect(&url)).await.unwrap();
    let mut node = within(transport.celery().node("mailer@host", Mailer).start()).await.unwrap();
    let to = ["--destination", "mailer@host", "--timeout", "600"];
    for (command, said) in [
        (&["ping"][..], r#"{"mailer@host":{"ok":"pong"}}"#),
        (&["registered"], r#"{"mailer@host":["mails.send"]}"#),
        (&["disable-events"], r#"{"mailer@host":{"ok":"task events disabled"}}"#),
    ] {
        let asked = inspected(&program, &[&[url.as_str()], &to[..], command].concat()).await;
        assert_eq!(asked, (Some(0), format!("{said}\n"), String::new()));
    }
    let shut_down = inspected(&program, &[&url, "shutdown", "--destination", "mailer@host"]).await;
    assert_eq!(shut_down, (Some(0), String::new(), String::new()));
    within(node.wait()).await.unwrap();
    let refused = inspected(&program, &["amqp://guest:wrong@127.0.0.1:1/", "ping"]).await;
    assert_eq!(refused.0, Some(1));
    assert!(refused.2.starts_with("celery_inspect: ") && refused.2.lines().count() == 1, "{}", refused.2);
}

async fn three_workers_answer_and_a_dead_one_is_missing(peers: Peers) {
    let names = ["w1@host", "w2@host", "w3@host"];
    let [one, two, three] = names.map(|name| peers.worker(name));
    let _workers = tokio::join!(one, two, three);
    let everyone = names.into_iter().chain(["dead@host"]);
    let ping = peers.control.ping().to(everyone).timeout(Duration::from_secs(5));
    let answers = within(ping.call()).await.unwrap();
    assert_eq!(answers.by_node.into_keys().collect::<Vec<_>>(), names);
    assert_eq!(answers.missing, ["dead@host"]);
}

async fn events_are_seen_on_either_side(peers: Peers) {
    let mut watcher = peers.celery("watch", &[]).spawn().unwrap();
    let mut seen = lines::<ChildStdout>(watcher.stdout.take().unwrap());
    let mut until = async |kind: &str| loop {
        let line = within(seen.next_line()).await.unwrap().expect("an event");
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["type"] == kind {
            break event;
        }
    };
    until("ready").await;
    let node = peers.node("mailer@host").await;
    assert_eq!(until("worker-online").await["workers"]["mailer@host"], true);
    within(node.emitter().emit(TaskEvent::received("id-1", "mails.send"))).await.unwrap();
    let received = until("task-received").await;
    assert_eq!(received["tasks"]["id-1"], json!(["mails.send", "RECEIVED"]));
    within(node.emitter().emit(TaskEvent::started("id-1"))).await.unwrap();
    until("task-started").await;
    let succeeded = TaskEvent::succeeded("id-1", "'sent'", Duration::from_millis(20));
    within(node.emitter().emit(succeeded)).await.unwrap();
    assert_eq!(until("task-succeeded").await["tasks"]["id-1"], json!(["mails.send", "SUCCESS"]));
    assert_eq!(until("worker-heartbeat").await["workers"]["mailer@host"], true);
    within(node.stop()).await;
    assert_eq!(until("worker-offline").await["workers"]["mailer@host"], false);

    let mut events = within(peers.control.events().start()).await.unwrap();
    let _worker = peers.worker("w1@host").await;
    let enable = peers.control.enable_events().to(["w1@host"]).timeout(LONG);
    within(enable.call()).await.unwrap();
    let sent = within(peers.celery("send", &[]).output()).await.unwrap();
    let id = String::from_utf8(sent.stdout).unwrap();
    let mut kinds = Vec::new();
    while kinds.last().is_none_or(|kind| kind != "task-succeeded") {
        let event = within(events.recv()).await.unwrap();
        assert_eq!(event.hostname.as_deref(), Some("w1@host"));
        if event.kind.starts_with("task-") {
            assert_eq!(event.fields["uuid"], id.trim());
        }
        kinds.push(event.kind);
    }
    for kind in ["worker-online", "task-received", "task-started"] {
        assert!(kinds.iter().any(|seen| seen == kind), "{kinds:?}");
    }
}

/// Makes a test of each function for our broker and for RabbitMQ.
macro_rules! with_celery {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            use super::*;

            $(#[tokio::test]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                let Some(python) = Python::require(test) else { return };
                super::$name(Peers::embedded(python).await).await;
            })*
        }

        mod redis {
            use super::*;

            $(#[tokio::test]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                let Some(python) = Python::require(test) else { return };
                if Redis::require(test) {
                    super::$name(Peers::redis(python).await).await;
                }
            })*
        }

        mod rabbitmq {
            use super::*;

            $(#[tokio::test]
            async fn $name() {
                let test = concat!(module_path!(), "::", stringify!($name));
                let Some(python) = Python::require(test) else { return };
                let Some(node) = tests::Node::require(test) else { return };
                super::$name(Peers::connect(python, node.uri().to_owned(), None).await).await;
            })*
        }
    };
}

with_celery! {
    celery_finds_a_node_beside_a_worker,
    celery_shuts_a_node_down,
    a_worker_does_what_it_is_told,
    three_workers_answer_and_a_dead_one_is_missing,
    events_are_seen_on_either_side,
}

#[tokio::test]
async fn with_a_prefix_of_all_keys_celery_finds_a_node_beside_a_worker() {
    let test = concat!(module_path!(), "::with_a_prefix_of_all_keys_celery_finds_a_node_beside_a_worker");
    let Some(python) = Python::require(test) else { return };
    if !Redis::require(test) {
        return;
    }
    let mut peers = Peers::redis_with_prefix(python, "{app}:").await;
    let redis = peers._redis.take().unwrap();
    celery_finds_a_node_beside_a_worker(peers).await;
    let keys = redis.ask("SELECT 3\r\nKEYS *").await.unwrap();
    let keys: Vec<_> = keys.lines().filter(|line| !line.starts_with(['+', '*', '$'])).collect();
    assert!(keys.iter().any(|key| key.contains("_kombu.binding.")), "{keys:?}");
    let foreign: Vec<_> = keys.iter().filter(|key| !key.starts_with("{app}:")).collect();
    assert!(foreign.is_empty(), "{foreign:?}");
}
