//! Processes are killed at each command that they send: once when Redis has executed it and nobody
//! knows, and once when its answer has come.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use messaging::{Exchange, Queue, Transport};
use tests::{Chosen, CommandProxy, RecordingWorker, Redis, Until};
use tokio::time::sleep;

use super::{super::fixture::within, load::program};

const QUEUE: &str = "q";

/// No claim lapses by itself here.
const LASTING: &str = "visibility_timeout=3600";

/// The places where the message may be: the queue, the claims, the retry queue, the dead letters.
const LOOK: &str = r#"EVAL "return {redis.call('LLEN', 'q'), redis.call('HLEN', 'unacked'), redis.call('ZCARD', '_amqp.delayed.q.retry.1'), redis.call('LLEN', 'q.dead')}" 0"#;

/// Claims the message, as a process that was killed long ago.
const CLAIM: &str = r#"EVAL "local raw = redis.call('RPOP', 'q') redis.call('HSET', 'unacked', 'tag', '[' .. raw .. ', \"\", \"q\"]') redis.call('ZADD', 'unacked_index', 1000, 'tag')" 0"#;

/// The time passes after which claims have lapsed, and the lock of who was killed while it restored
/// others.
const LAPSE: &str = r#"EVAL "redis.call('DEL', 'unacked_mutex') for _, tag in ipairs(redis.call('HKEYS', 'unacked')) do redis.call('ZADD', 'unacked_index', 1000, tag) end" 0"#;

/// The copies of the message in each place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    queued: usize,
    claimed: usize,
    delayed: usize,
    dead: usize,
}

impl Places {
    async fn look(redis: &Redis) -> Self {
        let answer = redis.ask(LOOK).await.unwrap();
        let counts: Vec<usize> =
            answer.lines().filter_map(|line| line.strip_prefix(':')?.parse().ok()).collect();
        let [queued, claimed, delayed, dead] = counts[..] else { panic!("{answer}") };
        Places { queued, claimed, delayed, dead }
    }

    fn all(self) -> usize {
        self.queued + self.claimed + self.delayed + self.dead
    }
}

/// The work of a process until it is killed.
#[derive(Clone, Copy)]
struct Work {
    start: fn(&Path, &str, &str) -> io::Result<RecordingWorker>,
    given: Given,
    /// Tells whether it is at its end, by what is where, how often it has recorded something, and
    /// how many commands of each name it has sent.
    is_done: fn(Places, usize, &BTreeMap<String, usize>) -> bool,
}

/// The message that is there for the work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Nothing,
    Queued,
    /// It comes when the process waits for it.
    Late,
    /// Another had claimed it, so long ago that it is to be returned.
    Lapsed,
}

const CONSUME: Work = Work {
    start: RecordingWorker::start,
    given: Given::Queued,
    is_done: |places, recorded, _| places.all() == 0 && recorded > 0,
};
const WAIT: Work = Work { given: Given::Late, ..CONSUME };
const RESTORE: Work = Work { given: Given::Lapsed, ..CONSUME };
/// Claims are renewed by `ZADD`, and by nothing else where scripts are used.
const HOLD: Work = Work {
    start: RecordingWorker::start_holding,
    given: Given::Queued,
    is_done: |_, _, counts| counts.get("ZADD").is_some_and(|renewals| *renewals > 1),
};
const PUBLISH: Work = Work {
    start: RecordingWorker::start_publishing,
    given: Given::Nothing,
    is_done: |_, recorded, _| recorded > 0,
};
const FAIL: Work = Work {
    start: RecordingWorker::start_failing,
    given: Given::Queued,
    is_done: |places, _, _| places.dead == 1 && places.all() == 1,
};

/// A Redis, and how clients use it.
struct Setting {
    program: PathBuf,
    redis: Redis,
    options: &'static str,
}

/// The state after a kill.
struct Killed {
    places: Places,
    recorded: usize,
}

impl Setting {
    async fn new(test: &str, options: &'static str) -> Option<Self> {
        let program = program(test)?;
        Some(Setting { program, redis: Redis::start().await.unwrap(), options })
    }

    fn url(&self) -> String {
        format!("{}?protocol=2&{LASTING}{}", self.redis.url(0), self.options)
    }

    async fn publish(&self) {
        let transport = within(Transport::connect(&self.url())).await.unwrap();
        within(transport.producer(Exchange::default()).ensure_publish(QUEUE, &1)).await.unwrap();
        within(transport.close()).await.unwrap();
    }

    /// Kills a process at each command of its work, and has each kill checked. Returns the names of
    /// the commands.
    async fn kill_at_each(&self, work: Work, check: impl AsyncFn(&Self, Killed)) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let all = within(self.run(work, None)).await.0;
        for (name, count) in all {
            for (nth, until) in (1..=count).flat_map(|nth| [(nth, Until::Executed), (nth, Until::Answered)]) {
                let chosen = Some(((name.clone(), nth), until));
                // Now and then there is one command less of a name.
                let Some(killed) = within(self.run(work, chosen)).await.1 else { continue };
                names.insert(name.clone());
                check(self, killed).await;
            }
        }
        names
    }

    /// Kills a process at a command, or when it has done its work before. Returns how many commands
    /// of each name have passed, and what a kill at the chosen command has left.
    async fn run(
        &self,
        work: Work,
        last: Option<(Chosen, Until)>,
    ) -> (BTreeMap<String, usize>, Option<Killed>) {
        self.redis.ask("FLUSHALL").await.unwrap();
        if matches!(work.given, Given::Queued | Given::Lapsed) {
            self.publish().await;
        }
        if work.given == Given::Lapsed {
            self.redis.ask(CLAIM).await.unwrap();
            // The publisher may have ended while it looked for lapsed claims.
            self.redis.ask("DEL unacked_mutex").await.unwrap();
        }
        let proxy = CommandProxy::start(self.redis.port(), last).await.unwrap();
        let url = format!("{}&{LASTING}{}", proxy.url(), self.options);
        let mut worker = (work.start)(&self.program, &url, QUEUE).unwrap();
        if work.given == Given::Late {
            tokio::select! {
                () = proxy.stopped() => {}
                () = self.is_waited_at() => {}
            }
            self.publish().await;
        }
        let mut recorded = 0;
        let mut is_done = async || {
            loop {
                assert_eq!(worker.ended().unwrap(), None, "a worker ended by itself");
                recorded += worker.records().unwrap().len();
                if (work.is_done)(Places::look(&self.redis).await, recorded, &proxy.counts()) {
                    return;
                }
                sleep(Duration::from_millis(1)).await;
            }
        };
        let stopped = tokio::select! {
            biased;
            () = proxy.stopped() => true,
            () = is_done() => false,
        };
        worker.kill().unwrap();
        recorded += worker.records().unwrap().len();
        let killed = Killed { places: Places::look(&self.redis).await, recorded };
        (proxy.counts(), stopped.then_some(killed))
    }

    /// Waits until a process waits for a message of each priority.
    async fn is_waited_at(&self) {
        while !self.redis.ask("INFO clients").await.unwrap().contains("blocked_clients:4") {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Receives the message, and settles it; returns whether it came with the flag.
    async fn receive(&self) -> bool {
        self.redis.ask(LAPSE).await.unwrap();
        let transport = within(Transport::connect(&self.url())).await.unwrap();
        let mut consumer = within(transport.consumer(Queue::durable(QUEUE)).start::<u64>()).await.unwrap();
        let delivery = within(consumer.recv()).await.unwrap().unwrap();
        let redelivered = delivery.redelivered();
        delivery.ack().await.unwrap();
        within(transport.close()).await.unwrap();
        assert_eq!(Places::look(&self.redis).await.all(), 0, "it came once");
        redelivered
    }

    /// A worker that fails takes over; returns what is left of that.
    async fn fail(&self) -> Places {
        self.redis.ask(LAPSE).await.unwrap();
        let mut worker = RecordingWorker::start_failing(&self.program, &self.url(), QUEUE).unwrap();
        let done = async {
            loop {
                let places = Places::look(&self.redis).await;
                if places.dead == places.all() {
                    return places;
                }
                assert_eq!(worker.ended().unwrap(), None, "a worker ended by itself");
                sleep(Duration::from_millis(1)).await;
            }
        };
        within(done).await
    }
}

fn includes(names: &BTreeSet<String>, expected: &[&str]) {
    let missing: Vec<_> = expected.iter().filter(|&&name| !names.contains(name)).collect();
    assert!(missing.is_empty(), "nobody was killed at {missing:?}, but at {names:?}");
}

/// A message that is consumed and acknowledged is in its queue or claimed, or its handler has had
/// it.
async fn consume(test: &str, work: Work, options: &'static str, expected: &[&str]) {
    let Some(setting) = Setting::new(test, options).await else { return };
    let names = setting.kill_at_each(work, async |setting, Killed { places, recorded }| match places {
        Places { queued: 1, claimed: 0, delayed: 0, dead: 0 } => {
            assert_eq!(recorded, 0);
            assert!(!setting.receive().await);
        }
        Places { queued: 0, claimed: 1, delayed: 0, dead: 0 } => assert!(setting.receive().await),
        Places { queued: 0, claimed: 0, delayed: 0, dead: 0 } => assert_eq!(recorded, 1),
        places => panic!("{places:?}"),
    });
    includes(&names.await, expected);
}

/// A message whose claim has lapsed is in one place, and flagged, or its handler has had it.
async fn restore(test: &str, options: &'static str, expected: &[&str]) {
    let Some(setting) = Setting::new(test, options).await else { return };
    let names = setting.kill_at_each(RESTORE, async |setting, Killed { places, recorded }| {
        if places.all() == 0 {
            return assert_eq!(recorded, 1);
        }
        assert_eq!((places.all(), places.queued + places.claimed), (1, 1), "{places:?}");
        assert!(setting.receive().await, "{places:?}");
    });
    includes(&names.await, expected);
}

/// A message that is published is there once, or not at all and nobody was told so.
async fn publish(test: &str, options: &'static str, expected: &[&str]) {
    let Some(setting) = Setting::new(test, options).await else { return };
    let names = setting.kill_at_each(PUBLISH, async |setting, Killed { places, recorded }| {
        assert!((recorded..=1).contains(&places.queued), "{places:?}, {recorded}");
        assert_eq!(places.all(), places.queued);
        if places.queued == 1 {
            assert!(!setting.receive().await);
        }
    });
    includes(&names.await, expected);
}

/// A message that is retried and set aside is somewhere at any moment. While it is published
/// elsewhere it stays claimed, so that it may be there once more for each time that it was.
async fn fail(test: &str, options: &'static str, expected: &[&str]) {
    let Some(setting) = Setting::new(test, options).await else { return };
    let names = setting.kill_at_each(FAIL, async |setting, Killed { places, .. }| {
        let unclaimed = places.all() - places.claimed;
        assert!(places.claimed <= 2 && unclaimed <= 1 && places.all() > 0, "{places:?}");
        let left = setting.fail().await;
        assert_eq!(left.dead, places.all(), "{places:?}");
    });
    includes(&names.await, expected);
}

#[tokio::test]
async fn a_consumer_loses_nothing_at_any_command() {
    let test = "messaging::redis::commands::a_consumer_loses_nothing_at_any_command";
    consume(test, CONSUME, "", &["EVALSHA", "MULTI", "HDEL", "ZREM", "EXEC"]).await;
}

#[tokio::test]
async fn a_consumer_that_waits_loses_nothing_at_any_command() {
    let test = concat!(module_path!(), "::a_consumer_that_waits_loses_nothing_at_any_command");
    consume(test, WAIT, "", &["BLMOVE", "EVALSHA", "HDEL"]).await;
}

#[tokio::test]
async fn a_process_that_restores_loses_nothing_at_any_command() {
    let test = concat!(module_path!(), "::a_process_that_restores_loses_nothing_at_any_command");
    restore(test, "", &["SET", "ZRANGEBYSCORE", "HMGET", "EVALSHA"]).await;
}

#[tokio::test]
async fn a_process_that_renews_its_claims_loses_nothing_at_any_command() {
    let test = concat!(module_path!(), "::a_process_that_renews_its_claims_loses_nothing_at_any_command");
    consume(test, HOLD, "&visibility_timeout=0.3", &["EVALSHA", "ZADD"]).await;
}

#[tokio::test]
async fn without_scripts_a_consumer_loses_nothing_at_any_command() {
    let test = "messaging::redis::commands::without_scripts_a_consumer_loses_nothing_at_any_command";
    let expected = ["WATCH", "LRANGE", "MULTI", "HSET", "ZADD", "LTRIM", "EXEC", "HDEL", "ZREM"];
    consume(test, CONSUME, "&scripting=false", &expected).await;
}

#[tokio::test]
async fn without_scripts_a_consumer_that_waits_loses_nothing_at_any_command() {
    let test =
        concat!(module_path!(), "::without_scripts_a_consumer_that_waits_loses_nothing_at_any_command");
    consume(test, WAIT, "&scripting=false", &["BLMOVE", "WATCH", "LTRIM", "EXEC", "HDEL"]).await;
}

#[tokio::test]
async fn without_scripts_a_process_that_restores_loses_nothing_at_any_command() {
    let test =
        concat!(module_path!(), "::without_scripts_a_process_that_restores_loses_nothing_at_any_command");
    restore(test, "&scripting=false", &["SET", "ZRANGEBYSCORE", "HMGET", "WATCH", "EXEC"]).await;
}

#[tokio::test]
async fn without_scripts_a_process_that_renews_its_claims_loses_nothing_at_any_command() {
    let test = concat!(
        module_path!(),
        "::without_scripts_a_process_that_renews_its_claims_loses_nothing_at_any_command"
    );
    consume(test, HOLD, "&scripting=false&visibility_timeout=0.3", &["WATCH", "ZADD", "EXEC"]).await;
}

#[tokio::test]
async fn a_publisher_loses_nothing_confirmed_at_any_command() {
    let test = "messaging::redis::commands::a_publisher_loses_nothing_confirmed_at_any_command";
    publish(test, "", &["LPUSH"]).await;
}

#[tokio::test]
async fn without_scripts_a_publisher_loses_nothing_confirmed_at_any_command() {
    let test =
        "messaging::redis::commands::without_scripts_a_publisher_loses_nothing_confirmed_at_any_command";
    publish(test, "&scripting=false", &["LPUSH"]).await;
}

#[tokio::test]
async fn a_message_on_its_way_to_retries_and_dead_letters_is_lost_at_no_command() {
    let test =
        "messaging::redis::commands::a_message_on_its_way_to_retries_and_dead_letters_is_lost_at_no_command";
    fail(test, "", &["EVALSHA", "ZRANGEBYSCORE", "ZADD", "HDEL", "LPUSH"]).await;
}

#[tokio::test]
async fn without_scripts_a_message_on_its_way_to_retries_and_dead_letters_is_lost_at_no_command() {
    let test = "messaging::redis::commands::without_scripts_a_message_on_its_way_to_retries_and_dead_letters_is_lost_at_no_command";
    let expected = ["WATCH", "LRANGE", "HSET", "LTRIM", "ZSCORE", "ZADD", "ZREM", "LPUSH", "HDEL", "EXEC"];
    fail(test, "&scripting=false", &expected).await;
}
