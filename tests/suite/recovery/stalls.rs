//! Links that fall silent instead of being cut, before the connection is open, while it is used,
//! and during recovery; and slow links.

use std::{future::ready, time::Duration};

use amqp_broker::Broker;
use amqp_client::{ConnectOptions, Connection, Error, Event, Uri};
use tests::{Break, Direction, FrameLinks, Kind, Passed, Place, Proxy, Summary, scale};
use tokio::{
    join,
    time::{Instant, timeout},
};

use super::{
    script::ends,
    session::{Session, options, quick_options},
};

/// The interval of both sides: two of them in silence end a connection.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The deadline on the test's virtual clock. A stall costs two heartbeats or a deadline, and a
/// session has few.
const DEADLINE: Duration = Duration::from_secs(600);

fn stall(link: usize, direction: Direction, frame: usize) -> Break {
    Break { link, direction, frame, place: Place::After, kind: Kind::Stall }
}

fn with_heartbeats() -> ConnectOptions {
    options().heartbeat(HEARTBEAT)
}

fn broker() -> Broker {
    Broker::builder().heartbeat(HEARTBEAT).build()
}

async fn connect(broker: &Broker, links: &FrameLinks) -> Connection {
    let (broker, links) = (broker.clone(), links.clone());
    let connector = move || ready(Ok(links.to(broker.connect())));
    with_heartbeats().connect_with(connector, &Uri::default()).await.unwrap()
}

/// Runs a session over these links; returns its account, and what passed over each link.
fn run(links: &FrameLinks) -> (Summary, Vec<Passed>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (broker, session) = (broker(), Session::new("s"));
        let running = async {
            let connection = connect(&broker, links).await;
            session.run(&connection).await;
            let passed = links.passed();
            (session.settle(&connect(&broker, &FrameLinks::new()).await).await, passed)
        };
        match timeout(DEADLINE, running).await {
            Ok(ran) => ran,
            Err(_) => panic!("does not end; missing {:?}; {:?}", session.ledger.missing(), links.passed()),
        }
    })
}

/// Tells whether a session survives these stalls.
fn survives(breaks: &[Break]) -> bool {
    let links = FrameLinks::new();
    breaks.iter().for_each(|at| links.break_at(*at));
    let survived = std::panic::catch_unwind(|| run(&links)).is_ok();
    survived && links.broken() == breaks.len()
}

fn assert_all_survived(all: Vec<Vec<Break>>) {
    let count = all.len();
    let wrong: Vec<_> = all.into_iter().filter(|breaks| !survives(breaks)).collect();
    assert!(wrong.is_empty(), "{} of {count} went wrong: {wrong:?}", wrong.len());
}

fn frames(passed: Passed) -> impl Iterator<Item = (Direction, usize)> {
    let of = move |direction| (1..=passed.on(direction)).map(move |frame| (direction, frame));
    of(Direction::ToBroker).chain(of(Direction::ToClient))
}

#[tokio::test(start_paused = true)]
async fn heartbeats_end_a_link_that_stalls_within_two_intervals_and_another_takes_its_place() {
    let links = FrameLinks::new();
    let broker = broker();
    let connection = connect(&broker, &links).await;
    let channel = connection.open_channel().await.unwrap();
    let mut events = connection.events();
    let Passed { to_broker, .. } = links.passed()[0];
    links.break_at(stall(1, Direction::ToBroker, to_broker + 1));
    let begun = Instant::now();
    let purged = channel.purge("nothing").await;
    assert!(matches!(purged, Err(Error::HeartbeatMissed { .. })), "{purged:?}");
    assert!(begun.elapsed() <= 2 * HEARTBEAT, "{:?}", begun.elapsed());
    loop {
        match ends(events.recv()).await.unwrap() {
            Event::Recovered(_) => break,
            Event::Closed(reason) => panic!("{reason}"),
            _ => {}
        }
    }
    assert!(channel.is_open());
    assert_eq!(links.passed().len(), 2);
}

#[tokio::test]
async fn a_host_that_falls_silent_is_left_for_another() {
    let second = Duration::from_secs(1);
    let broker = Broker::builder().heartbeat(second).build();
    let (first, other) =
        (broker.listen("127.0.0.1:0").await.unwrap(), broker.listen("127.0.0.1:0").await.unwrap());
    let proxy = Proxy::start(first.local_addr()).await.unwrap();
    // It accepts connections, and sends nothing.
    let options = quick_options().heartbeat(second).connect_timeout(2 * second);
    let uri = format!("amqp://guest:guest@{},{}/%2F", proxy.addr(), other.local_addr());
    let connection = options.connect(&uri).await.unwrap();
    let session = Session::new("s");
    let stalling = async {
        while session.ledger.published() < 5 {
            tokio::task::yield_now().await;
        }
        proxy.stall(true);
    };
    timeout(60 * second, async { join!(session.run(&connection), stalling) }).await.unwrap();
    assert_eq!(connection.metrics().reconnects, 1);
    let undisturbed = options.connect(&format!("amqp://{}", other.local_addr())).await.unwrap();
    session.settle(&undisturbed).await;
}

#[test]
fn a_session_survives_a_stall_anywhere() {
    let whole = run(&FrameLinks::new()).1[0];
    let step = (20 / scale()).max(1);
    let sample = frames(whole).step_by(step).map(|(direction, frame)| vec![stall(1, direction, frame)]);
    assert_all_survived(sample.collect());
}

#[test]
fn a_session_survives_a_stall_at_every_frame_of_the_handshake_and_the_topology_of_a_recovery() {
    let whole = run(&FrameLinks::new()).1[0];
    // This is late enough that there is something to restore.
    let at = whole.to_client * 3 / 4;
    let cut = Break { kind: Kind::Cut, ..stall(1, Direction::ToClient, at) };
    let links = FrameLinks::new();
    links.break_at(cut);
    let second = run(&links).1[1];
    let recovery = Passed { to_broker: second.to_broker.min(30), to_client: second.to_client.min(25) };
    let all = frames(recovery).map(|(direction, frame)| vec![cut, stall(2, direction, frame)]);
    assert_all_survived(all.collect());
}

#[test]
fn a_session_goes_through_one_byte_at_a_time_with_a_cut_and_without() {
    let links = FrameLinks::new();
    links.byte_by_byte();
    let (summary, passed) = run(&links);
    assert_eq!((summary.confirmed, summary.redelivered, passed.len()), (12, 0, 1));
    let links = FrameLinks::new();
    links.byte_by_byte();
    let at = Break {
        link: 1,
        direction: Direction::ToClient,
        frame: passed[0].to_client / 2,
        place: Place::Payload,
        kind: Kind::Cut,
    };
    links.break_at(at);
    assert_eq!(run(&links).1.len(), 2);
}
