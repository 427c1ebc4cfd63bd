//! Notifications that are buffered while a broker is away.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use amqp_broker::Broker;
use messaging::{
    Context, Error, OsloError, Queue, Report, RetryPolicy, TransportOptions,
    notify::{
        Buffer, Driver, Emitting, Event, Level, Notification, NotificationResult, Notifier, NotifyError,
        WhenFull, drivers,
    },
};
use tests::RabbitMq;
use tokio::sync::mpsc;

use super::fixture::{DEADLINE, within};

/// A driver that fails until it is opened, like a broker that is away.
#[derive(Clone, Default)]
struct Gate {
    open: Arc<AtomicBool>,
    attempts: Arc<AtomicU32>,
    emitted: drivers::Test,
}

impl Gate {
    fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    fn emitted(&self) -> Vec<u32> {
        self.emitted.notifications().iter().map(|notification| notification.payload().unwrap()).collect()
    }
}

impl Driver for Gate {
    fn name(&self) -> &str {
        "gate"
    }

    fn notify<'a>(&'a self, notification: &'a Notification, retry: RetryPolicy) -> Emitting<'a> {
        self.attempts.fetch_add(1, Ordering::SeqCst);
        if self.open.load(Ordering::SeqCst) {
            return self.emitted.notify(notification, retry);
        }
        let closed = NotifyError::Driver { driver: "gate".to_owned(), source: "closed".into() };
        Box::pin(async { Err(closed.into()) })
    }
}

fn soon(buffer: Buffer) -> Buffer {
    buffer.pauses(Duration::from_millis(1), Duration::from_millis(5))
}

/// The notifications that were given up, and why.
type Lost = Arc<Mutex<Vec<(u32, String)>>>;

fn telling(buffer: Buffer, lost: &Lost) -> Buffer {
    let lost = lost.clone();
    buffer.on_lost(move |notification, why| {
        lost.lock().unwrap().push((notification.payload().unwrap(), Report(why).to_string()));
    })
}

async fn emit(notifier: &Notifier, numbers: std::ops::Range<u32>) -> Result<(), Error> {
    for number in numbers {
        within(notifier.info(&Context::new(), "e", &number)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_buffered_is_emitted_in_its_order_when_that_is_possible_again() {
    let gate = Gate::default();
    let buffered = soon(Buffer::in_memory()).in_flight(3).before(gate.clone()).await.unwrap();
    let notifier = Notifier::new("p").driver(buffered);
    emit(&notifier, 0..50).await.unwrap();
    within(async {
        while gate.attempts.load(Ordering::SeqCst) < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let late = notifier.flush(Duration::from_millis(5)).await.unwrap_err();
    assert!(matches!(late, Error::Oslo(OsloError::Notify(NotifyError::Unflushed { left: 50 }))), "{late}");
    gate.open();
    within(notifier.flush(DEADLINE)).await.unwrap();
    emit(&notifier, 50..100).await.unwrap();
    let clone = notifier.clone();
    within(notifier.close(DEADLINE)).await.unwrap();
    assert_eq!(gate.emitted(), (0..100).collect::<Vec<_>>());
    assert!(matches!(emit(&clone, 0..1).await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_full_buffer_refuses_the_newest_or_gives_up_the_oldest_and_says_so() {
    let gate = Gate::default();
    let lost = Lost::default();
    let small = || telling(soon(Buffer::in_memory()).notifications(10).in_flight(1), &lost);
    let refusing = Notifier::new("p").driver(small().before(gate.clone()).await.unwrap());
    emit(&refusing, 0..10).await.unwrap();
    let refused = emit(&refusing, 10..11).await.unwrap_err();
    assert!(
        matches!(refused, Error::Oslo(OsloError::Notify(NotifyError::Full { notifications: 10, .. }))),
        "{refused}"
    );
    assert!(lost.lock().unwrap().is_empty());
    let dropping = small().when_full(WhenFull::DropOldest).before(gate.clone()).await.unwrap();
    let dropping = Notifier::new("p").driver(dropping);
    emit(&dropping, 100..115).await.unwrap();
    let given_up = std::mem::take(&mut *lost.lock().unwrap());
    // The first may be on its way, and then the next makes room.
    assert_eq!(given_up.len(), 5);
    assert!(given_up.iter().all(|(number, why)| *number < 106 && why.contains("full")), "{given_up:?}");
    gate.open();
    within(refusing.close(DEADLINE)).await.unwrap();
    within(dropping.close(DEADLINE)).await.unwrap();
    let mut expected: Vec<_> = (0..10).chain(100..115).collect();
    expected.retain(|number| !given_up.iter().any(|(lost, _)| lost == number));
    let mut emitted = gate.emitted();
    emitted.sort_unstable();
    assert_eq!(emitted, expected);
}

#[tokio::test]
async fn bytes_are_bounded_as_well() {
    let buffered = Buffer::in_memory().bytes(10_000).before(Gate::default()).await.unwrap();
    let notifier = Notifier::new("p").driver(buffered);
    let context = Context::new().with("text", "x".repeat(6_000));
    within(notifier.info(&context, "e", &())).await.unwrap();
    for (context, payload) in [(&context, String::new()), (&Context::new(), "x".repeat(5_000))] {
        let refused = within(notifier.info(context, "e", &payload)).await.unwrap_err();
        assert!(
            matches!(refused, Error::Oslo(OsloError::Notify(NotifyError::Full { notifications: 1, .. }))),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn what_is_too_old_is_given_up_with_its_last_error() {
    let lost = Lost::default();
    let buffer = telling(soon(Buffer::in_memory()).give_up_after(Duration::ZERO), &lost);
    let notifier = Notifier::new("p").driver(buffer.before(Gate::default()).await.unwrap());
    emit(&notifier, 0..3).await.unwrap();
    within(notifier.flush(DEADLINE)).await.unwrap();
    let lost = lost.lock().unwrap();
    assert_eq!(lost.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(lost.iter().all(|(_, why)| why.contains("closed")), "{lost:?}");
}

#[tokio::test]
async fn a_buffer_on_disk_survives_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::default();
    let open = async || soon(Buffer::on_disk(folder.path())).before(gate.clone()).await;
    let notifier = Notifier::new("first").driver(open().await.unwrap());
    emit(&notifier, 0..20).await.unwrap();
    let in_use = open().await.unwrap_err();
    assert!(matches!(in_use, Error::Oslo(OsloError::Notify(NotifyError::Files(_)))), "{in_use}");
    let left = within(notifier.close(Duration::ZERO)).await.unwrap_err();
    assert!(matches!(left, Error::Oslo(OsloError::Notify(NotifyError::Unflushed { left: 20 }))), "{left}");

    let notifier = Notifier::new("second").driver(open().await.unwrap());
    emit(&notifier, 20..30).await.unwrap();
    gate.open();
    within(notifier.flush(DEADLINE)).await.unwrap();
    assert_eq!(gate.emitted(), (0..30).collect::<Vec<_>>());
    let emitted = gate.emitted.notifications();
    assert_eq!((emitted[0].publisher_id(), emitted[20].publisher_id()), ("first", "second"));
    within(notifier.close(DEADLINE)).await.unwrap();
    // Nothing is left that could be emitted twice.
    let notifier = Notifier::new("third").driver(open().await.unwrap());
    within(notifier.close(DEADLINE)).await.unwrap();
    assert_eq!(gate.emitted().len(), 30);
}

#[tokio::test]
async fn a_process_that_dies_loses_nothing_of_what_a_buffer_on_disk_has_taken() {
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::default();
    let buffered = soon(Buffer::on_disk(folder.path())).before(gate.clone()).await.unwrap();
    let notifier = Notifier::new("p").driver(buffered);
    emit(&notifier, 0..20).await.unwrap();
    // The files are copied as they are now, without what an orderly end would do.
    let crashed = tempfile::tempdir().unwrap();
    copy(folder.path(), crashed.path());
    gate.open();
    let again = Gate::default();
    again.open();
    let buffered = Buffer::on_disk(crashed.path()).before(again.clone()).await.unwrap();
    let restarted = Notifier::new("p").driver(buffered);
    within(restarted.close(DEADLINE)).await.unwrap();
    assert_eq!(again.emitted(), (0..20).collect::<Vec<_>>());
    within(notifier.close(DEADLINE)).await.unwrap();
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn what_the_broker_refuses_for_its_size_is_given_up_and_holds_up_no_other() {
    let broker = Broker::builder().max_message_size(1000).build();
    let transport =
        TransportOptions::new().broker(&broker).connect("amqp://guest:guest@here/").await.unwrap();
    let lost = Arc::<Mutex<Vec<String>>>::default();
    let told = lost.clone();
    let buffer = soon(Buffer::in_memory()).on_lost(move |notification, why| {
        assert!(notification.payload::<String>().unwrap().len() > 1000);
        told.lock().unwrap().push(Report(why).to_string());
    });
    let buffered = buffer.before(transport.notification_driver("n")).await.unwrap();
    let notifier = Notifier::new("p").driver(buffered);
    for number in 0..200 {
        let payload = "x".repeat(if number == 100 { 2000 } else { 10 });
        within(notifier.info(&Context::new(), "e", &payload)).await.unwrap();
    }
    within(notifier.flush(DEADLINE)).await.unwrap();
    assert_eq!(broker.queue("/", "n.info").unwrap().ready, 199);
    let lost = lost.lock().unwrap().clone();
    assert!(lost.len() == 1 && lost[0].contains("larger than"), "{lost:?}");
    within(notifier.close(DEADLINE)).await.unwrap();
    within(transport.close()).await.unwrap();
}

#[tokio::test]
async fn a_queue_that_exists_otherwise_holds_up_its_own_notifications_and_no_others() {
    let broker = Broker::builder().build();
    let transport =
        TransportOptions::new().broker(&broker).connect("amqp://guest:guest@here/").await.unwrap();
    let odd = Queue::new("n.info").max_length(5).auto_delete(true);
    let holder = within(transport.consumer(odd).start::<serde_json::Value>()).await.unwrap();
    let buffered = soon(Buffer::in_memory()).in_flight(4).before(transport.notification_driver("n"));
    let notifier = Notifier::new("p").driver(within(buffered).await.unwrap());
    for number in 0..100 {
        within(notifier.info(&Context::new(), "e", &number)).await.unwrap();
    }
    within(notifier.error(&Context::new(), "e", &100)).await.unwrap();
    within(async {
        while broker.queue("/", "n.error").is_none_or(|queue| queue.ready == 0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let left = notifier.flush(Duration::from_millis(5)).await.unwrap_err();
    assert!(matches!(left, Error::Oslo(OsloError::Notify(NotifyError::Unflushed { left: 100 }))), "{left}");
    within(holder.close()).await.unwrap();
    within(notifier.flush(DEADLINE)).await.unwrap();
    assert_eq!(broker.queue("/", "n.info").unwrap().ready, 100);
    within(notifier.close(DEADLINE)).await.unwrap();
    within(transport.close()).await.unwrap();
}

#[tokio::test]
async fn a_broker_that_comes_late_gets_all_that_was_emitted_before() {
    let port = RabbitMq::free_port().unwrap();
    let transport = TransportOptions::new().lazy(&format!("amqp://127.0.0.1:{port}/")).unwrap();
    let emitter = transport.notification_driver("n");
    let buffered = soon(Buffer::in_memory()).before(emitter).await.unwrap();
    let notifier = Notifier::new("p").driver(buffered);
    emit(&notifier, 0..300).await.unwrap();
    let _broker = Broker::builder().build().listen(&format!("127.0.0.1:{port}")).await.unwrap();
    let (sender, mut heard) = mpsc::unbounded_channel();
    let listener = transport.listener("n").concurrency(1).on(Level::Info, move |event: Event| {
        let _ = sender.send(event.payload::<u32>().unwrap());
        std::future::ready(NotificationResult::Handled)
    });
    let listener = within(listener.start()).await.unwrap();
    for number in 0..300 {
        assert_eq!(within(heard.recv()).await.unwrap(), number);
    }
    within(notifier.close(DEADLINE)).await.unwrap();
    within(listener.stop()).await;
    within(transport.close()).await.unwrap();
}
