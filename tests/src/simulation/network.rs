//! The network: links between clients and the broker that split and delay what passes, and that
//! stall and break when they are told to.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use amqp_broker::Broker;
use fastrand::Rng;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::watch,
    time::sleep,
};

use super::transcript::{Fnv, Log};

/// The number of octets that either end may have written that have not passed.
const BUFFER: usize = 64 << 10;

/// A network to one broker. Clones are handles of the same.
#[derive(Clone)]
pub(super) struct Network {
    state: Arc<Mutex<State>>,
    log: Log,
}

struct State {
    seed: u64,
    /// The broker, while it lives.
    broker: Option<Broker>,
    /// The number of links so far.
    made: u64,
    /// The links of each client.
    links: Vec<Vec<Arc<Link>>>,
    /// The number of links that each client has had.
    generations: Vec<u64>,
    is_perfect: bool,
}

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Open,
    Stalled,
    Cut,
}

/// A link.
struct Link {
    number: u64,
    flow: watch::Sender<Flow>,
    /// The number of octets that may still pass in each direction before the link breaks.
    left: Mutex<[u64; 2]>,
}

/// The behaviour of a direction of a link.
#[derive(Clone, Copy)]
struct Pace {
    /// The longest delay of a piece, in milliseconds.
    delay: u64,
    /// The largest piece, in octets.
    piece: usize,
}

impl Network {
    pub(super) fn new(seed: u64, clients: usize, log: Log) -> Self {
        let (links, generations) = (vec![Vec::new(); clients], vec![0; clients]);
        let state = State { seed, broker: None, made: 0, links, generations, is_perfect: false };
        Network { state: Arc::new(Mutex::new(state)), log }
    }

    /// Returns how many links a client has had.
    pub(super) fn generation(&self, client: usize) -> u64 {
        self.with(|state| state.generations[client])
    }

    /// Makes all links from now on perfect.
    pub(super) fn heal(&self) {
        self.with(|state| state.is_perfect = true);
    }

    /// Leads new links to this broker, or refuses them.
    pub(super) fn lead_to(&self, broker: Option<Broker>) {
        self.with(|state| state.broker = broker);
    }

    /// Cuts all links.
    pub(super) fn cut_all(&self) {
        let links: Vec<_> = self.with(|state| state.links.iter_mut().flat_map(std::mem::take).collect());
        links.iter().for_each(|link| link.turn(Flow::Cut));
    }

    /// Links a client to the broker, or gives it a stream that has ended.
    pub(super) fn connect_or_end(&self, client: usize) -> DuplexStream {
        self.connect(client).unwrap_or_else(|_| duplex(1).0)
    }

    /// Links a client to the broker; returns the client's end.
    pub(super) fn connect(&self, client: usize) -> io::Result<DuplexStream> {
        let (near, end) = duplex(BUFFER);
        let (link, stream, mut rng, is_perfect) = self
            .with(|state| {
                let stream = state.broker.as_ref()?.connect();
                state.made += 1;
                let link = Arc::new(Link {
                    number: state.made,
                    flow: watch::Sender::new(Flow::Open),
                    left: Mutex::new([u64::MAX; 2]),
                });
                state.links[client].push(Arc::clone(&link));
                state.generations[client] += 1;
                let rng = Rng::with_seed(state.seed ^ state.made.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                Some((link, stream, rng, state.is_perfect))
            })
            .ok_or(io::ErrorKind::ConnectionRefused)?;
        self.log.add(format_args!("link {} of client {client}", link.number));
        let (from_client, to_client) = split(end);
        let (from_broker, to_broker) = split(stream);
        let paces = [Pace::draw(&mut rng, is_perfect), Pace::draw(&mut rng, is_perfect)];
        let [up, down] = [(0, rng.fork(), paces[0]), (1, rng.fork(), paces[1])];
        tokio::spawn(pump((from_client, to_broker), Arc::clone(&link), up, self.log.clone()));
        tokio::spawn(pump((from_broker, to_client), link, down, self.log.clone()));
        Ok(near)
    }

    pub(super) fn cut(&self, client: usize) {
        self.flow(client, Flow::Cut);
    }

    pub(super) fn stall(&self, client: usize) {
        self.flow(client, Flow::Stalled);
    }

    /// Lets nothing pass for this long.
    pub(super) fn hold(&self, client: usize, time: Duration) {
        let links = self.links(client);
        links.iter().for_each(|link| link.turn(Flow::Stalled));
        tokio::spawn(async move {
            sleep(time).await;
            links.iter().for_each(|link| link.resume());
        });
    }

    /// Cuts a link once so many octets have passed from now on.
    pub(super) fn cut_after(&self, client: usize, to_broker: bool, octets: u64) {
        for link in self.links(client) {
            link.left.lock().unwrap_or_else(PoisonError::into_inner)[usize::from(!to_broker)] = octets;
        }
    }

    fn flow(&self, client: usize, flow: Flow) {
        self.links(client).iter().for_each(|link| link.turn(flow));
    }

    fn links(&self, client: usize) -> Vec<Arc<Link>> {
        self.with(|state| state.links[client].clone())
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Link {
    fn turn(&self, flow: Flow) {
        self.flow.send_if_modified(|now| {
            let turns = *now != flow && *now != Flow::Cut;
            if turns {
                *now = flow;
            }
            turns
        });
    }

    fn resume(&self) {
        self.flow.send_if_modified(|flow| {
            let resumes = *flow == Flow::Stalled;
            if resumes {
                *flow = Flow::Open;
            }
            resumes
        });
    }

    /// Returns how many of so many octets pass before the link breaks.
    fn pass(&self, direction: usize, octets: usize) -> usize {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let passes = usize::try_from(left[direction]).unwrap_or(usize::MAX).min(octets);
        if left[direction] != u64::MAX {
            left[direction] -= passes as u64;
        }
        passes
    }
}

impl Pace {
    fn draw(rng: &mut Rng, is_perfect: bool) -> Self {
        if is_perfect {
            return Pace { delay: 0, piece: BUFFER };
        }
        let (delay, piece) = match rng.u8(..16) {
            0..8 => (0, BUFFER),
            8..11 => (3, 1400),
            11..13 => (40, 4096),
            13 => (1, 7),
            14 => (500, BUFFER),
            _ => (3000, BUFFER),
        };
        Pace { delay, piece }
    }
}

/// Carries one direction of a link.
async fn pump(
    (mut from, mut to): (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>),
    link: Arc<Link>,
    (direction, mut rng, pace): (usize, Rng, Pace),
    log: Log,
) {
    let mut flow = link.flow.subscribe();
    let carrying = async {
        let mut buffer = vec![0; BUFFER];
        // Pieces of a long chunk do not each take a new delay: seven octets at a time would take
        // for ever.
        let mut pieces = 0;
        loop {
            let Ok(read) = from.read(&mut buffer).await else { return };
            if read == 0 {
                let _ = to.shutdown().await;
                return;
            }
            let mut rest = &buffer[..read];
            while !rest.is_empty() {
                let most = pace.piece.max(if pieces > 200 { 1400 } else { 1 });
                let length = rng.usize(1..=most).max(most / 2).min(rest.len());
                let (piece, behind) = rest.split_at(length);
                rest = behind;
                pieces += 1;
                if pace.delay > 0 {
                    sleep(Duration::from_millis(rng.u64(..=pace.delay))).await;
                }
                let passes = link.pass(direction, piece.len());
                let mut hash = Fnv::default();
                hash.add(&piece[..passes]);
                log.add(format_args!("link {}/{direction}: {passes} {:x}", link.number, hash.value()));
                if to.write_all(&piece[..passes]).await.is_err() {
                    return;
                }
                if passes < piece.len() {
                    link.turn(Flow::Cut);
                    return;
                }
            }
        }
    };
    gated(carrying, &mut flow).await;
    log.add(format_args!("link {}/{direction} ended", link.number));
}

/// Runs a future while the link is open, not at all while it stalls, and no longer when it is cut.
async fn gated(carrying: impl Future<Output = ()>, flow: &mut watch::Receiver<Flow>) {
    tokio::pin!(carrying);
    loop {
        let now = *flow.borrow_and_update();
        match now {
            Flow::Cut => return,
            Flow::Stalled => {
                if flow.changed().await.is_err() {
                    return;
                }
            }
            Flow::Open => {
                tokio::select! {
                    biased;
                    changed = flow.changed() => if changed.is_err() { return },
                    () = &mut carrying => return,
                }
            }
        }
    }
}
