//! The link is cut after every frame of a session and within frames, in both directions; and once
//! more during the recovery from the first cut.

use std::{future::ready, time::Duration};

use amqp_broker::Broker;
use amqp_client::{Connection, Uri};
use tests::{Break, Direction, FrameLinks, Kind, Node, Passed, Place, Summary, scale};
use tokio::{net::TcpStream, time::timeout};

use super::session::{Session, options, quick_options};

/// The deadline of each session on its virtual clock, which jumps over pauses; no session takes so
/// long.
const VIRTUAL_DEADLINE: Duration = Duration::from_secs(600);

/// The deadline with RabbitMQ: a session takes a second, and it may be busy with other tests.
const DEADLINE: Duration = Duration::from_secs(60);

/// The result of a session.
struct Ran {
    summary: Summary,
    passed: Vec<Passed>,
    broken: usize,
}

/// Runs a session with its own broker in memory, over links that break there.
fn run_in_memory(breaks: &[Break]) -> Ran {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let links = FrameLinks::new();
    breaks.iter().for_each(|at| links.break_at(*at));
    runtime.block_on(async {
        let broker = Broker::builder().heartbeat(Duration::ZERO).build();
        let session = Session::new("s").in_order();
        let running = async {
            let connection = connect_in_memory(&broker, &links).await;
            session.run(&connection).await;
            let passed = links.passed();
            let undisturbed = connect_in_memory(&broker, &FrameLinks::new()).await;
            Ran { summary: session.settle(&undisturbed).await, passed, broken: links.broken() }
        };
        match timeout(VIRTUAL_DEADLINE, running).await {
            Ok(ran) => ran,
            Err(_) => panic!("does not end; missing {:?}; {:?}", session.ledger.missing(), links.passed()),
        }
    })
}

async fn connect_in_memory(broker: &Broker, links: &FrameLinks) -> Connection {
    let (broker, links) = (broker.clone(), links.clone());
    let connector = move || ready(Ok(links.to(broker.connect())));
    options().connect_with(connector, &Uri::default()).await.unwrap()
}

/// Runs all of these sessions; a failure reports where the links of the failed ones broke.
fn run_all(all: impl IntoIterator<Item = Vec<Break>>) -> Vec<Ran> {
    let mut ran = Vec::new();
    let mut wrong = Vec::new();
    for breaks in all {
        match std::panic::catch_unwind(|| run_in_memory(&breaks)) {
            Ok(one) => ran.push(one),
            Err(_) => wrong.push(breaks),
        }
    }
    assert!(wrong.is_empty(), "{} of {} went wrong: {wrong:?}", wrong.len(), wrong.len() + ran.len());
    ran
}

fn points(link: usize, passed: Passed, places: &[Place]) -> Vec<Break> {
    let ways = [Direction::ToBroker, Direction::ToClient];
    ways.into_iter().flat_map(|way| points_on(way, link, passed, places)).collect()
}

fn points_on(direction: Direction, link: usize, passed: Passed, places: &[Place]) -> Vec<Break> {
    let at = |frame, place: Place| Break { link, direction, frame, place, kind: Kind::Cut };
    (1..=passed.on(direction)).flat_map(|frame| places.iter().map(move |place| at(frame, *place))).collect()
}

#[test]
fn a_session_survives_a_cut_at_every_frame_to_the_broker_and_within_each() {
    survives_every_cut(Direction::ToBroker);
}

#[test]
fn a_session_survives_a_cut_at_every_frame_to_the_client_and_within_each() {
    survives_every_cut(Direction::ToClient);
}

fn survives_every_cut(direction: Direction) {
    let whole = run_in_memory(&[]);
    assert_eq!(whole.passed.len(), 1);
    assert_eq!((whole.summary.confirmed, whole.summary.returned, whole.summary.redelivered), (12, 2, 0));
    let mut seen = Summary::default();
    let points = points_on(direction, 1, whole.passed[0], &Place::ALL);
    for ran in run_all(points.into_iter().map(|point| vec![point])) {
        assert_eq!(ran.broken, 1);
        seen.lost += ran.summary.lost;
        seen.lost_and_delivered += ran.summary.lost_and_delivered;
        seen.redelivered += ran.summary.redelivered;
        seen.published_twice += ran.summary.published_twice;
    }
    // The faults that recovery has to survive did occur.
    assert!(seen.lost > seen.lost_and_delivered && seen.lost_and_delivered > 0, "{seen}");
    assert!(seen.redelivered > 0 && seen.published_twice > 0, "{seen}");
}

#[test]
fn a_session_survives_a_second_cut_at_every_frame_of_the_recovery_from_the_first() {
    let whole = run_in_memory(&[]).passed[0];
    let firsts = points(1, whole, &[Place::After]);
    // The cuts are in the middle of publishes and deliveries and near the end; there are more in
    // longer runs.
    let step = (firsts.len() / (3 * scale())).max(1);
    for first in firsts.into_iter().skip(step / 2).step_by(step) {
        // A cut in the middle of the connection's close is not recovered from.
        let Some(&second) = run_in_memory(&[first]).passed.get(1) else { continue };
        // Later points were tested with the first cut.
        let recovery = Passed { to_broker: second.to_broker.min(40), to_client: second.to_client.min(40) };
        let seconds = points(2, recovery, &[Place::Payload, Place::After]);
        for ran in run_all(seconds.into_iter().map(|second| vec![first, second])) {
            assert_eq!(ran.broken, 2);
        }
    }
}

#[tokio::test]
async fn a_session_with_rabbitmq_survives_cuts() {
    let Some(node) = Node::require("recovery::cuts::a_session_with_rabbitmq_survives_cuts") else { return };
    let whole = run_with_rabbitmq(node, 0, None).await;
    assert_eq!((whole.summary.confirmed, whole.summary.returned), (12, 2));
    let points = points(1, whole.passed[0], &Place::ALL);
    let wanted = (16 * scale()).min(points.len());
    let mut broken = 0;
    for number in 0..wanted {
        // The points are distributed evenly.
        let point = points[number * points.len() / wanted];
        broken += run_with_rabbitmq(node, number + 1, Some(point)).await.broken;
    }
    // The number of frames varies from run to run, so the last points may not be reached.
    assert!(broken * 10 >= wanted * 9, "{broken} of {wanted} were cut");
}

async fn run_with_rabbitmq(node: &'static Node, number: usize, at: Option<Break>) -> Ran {
    let links = FrameLinks::new();
    at.into_iter().for_each(|at| links.break_at(at));
    let session = Session::new(&format!("cut-{}-{number}", std::process::id()));
    let running = async {
        let connection = connect_to(node, &links).await;
        session.run(&connection).await;
        let passed = links.passed();
        let undisturbed = connect_to(node, &FrameLinks::new()).await;
        Ran { summary: session.settle(&undisturbed).await, passed, broken: links.broken() }
    };
    let ran = timeout(DEADLINE, running).await;
    ran.unwrap_or_else(|_| panic!("does not end with {at:?}; missing {:?}", session.ledger.missing()))
}

async fn connect_to(node: &'static Node, links: &FrameLinks) -> Connection {
    let links = links.clone();
    let connector = move || {
        let links = links.clone();
        async move { Ok(links.to(TcpStream::connect(node.authority()).await?)) }
    };
    quick_options().connect_with(connector, &Uri::parse(node.uri()).unwrap()).await.unwrap()
}
