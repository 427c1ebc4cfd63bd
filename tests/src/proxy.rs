//! A TCP proxy with faults.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Stands between a client and a broker, and cuts, refuses, stalls or splits the traffic.
///
/// Every rule applies to open links and to later ones.
///
/// # On drop
/// Stops listening and closes all links.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    upstream: Arc<str>,
    rules: watch::Sender<Rules>,
    allowances: Arc<Allowances>,
    listening: Option<JoinHandle<()>>,
}

/// The direction of bytes through a [`Proxy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the broker.
    ToBroker,
    /// From the broker to the client.
    ToClient,
}

/// The rules that every link follows.
#[derive(Clone, Copy, Debug)]
struct Rules {
    /// A counter of cuts: a link ends when it differs from its value at the link's start.
    cuts: u64,
    stall: bool,
    /// The most bytes of a write.
    split: usize,
}

/// How many bytes may still pass in each direction before all links are cut.
#[derive(Debug)]
struct Allowances {
    to_broker: AtomicU64,
    to_client: AtomicU64,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and links every client to `upstream` (`host:port`).
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(upstream: impl ToString) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut proxy = Self {
            addr: listener.local_addr()?,
            upstream: upstream.to_string().into(),
            rules: watch::Sender::new(Rules { cuts: 0, stall: false, split: usize::MAX }),
            allowances: Arc::new(Allowances::unlimited()),
            listening: None,
        };
        proxy.listen(listener);
        Ok(proxy)
    }

    /// The address for clients.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Closes all links now. Later clients are linked again.
    pub fn cut(&self) {
        self.rules.send_modify(Rules::cut);
    }

    /// Refuses new clients (`true`: the port is closed when this returns) or accepts them again
    /// (`false`). Open links stay.
    ///
    /// # Errors
    /// When the port cannot be opened again.
    pub async fn refuse(&mut self, refuse: bool) -> io::Result<()> {
        match self.listening.take() {
            Some(listening) if refuse => {
                listening.abort();
                // The listener is closed when its task has ended.
                let _ = listening.await;
            }
            None if !refuse => self.listen(TcpListener::bind(self.addr).await?),
            unchanged => self.listening = unchanged,
        }
        Ok(())
    }

    /// Forwards nothing while `true`. All sockets stay open, so that the peers see silence and full
    /// buffers.
    pub fn stall(&self, stall: bool) {
        self.rules.send_modify(|rules| rules.stall = stall);
    }

    /// Forwards at most `most` bytes in a write, each sent separately.
    ///
    /// # Panics
    /// When `most` is 0; see [`stall`](Self::stall).
    pub fn split(&self, most: usize) {
        assert!(most > 0, "a write of 0 bytes forwards nothing: that is stall(true)");
        self.rules.send_modify(|rules| rules.split = most);
    }

    /// Forwards exactly `bytes` more bytes in `direction`, counted over all links, and then cuts
    /// all links once.
    pub fn cut_after(&self, bytes: u64, direction: Direction) {
        if bytes == 0 {
            self.cut();
        } else {
            self.allowances.of(direction).store(bytes, Ordering::SeqCst);
        }
    }

    fn listen(&mut self, listener: TcpListener) {
        let upstream = Arc::clone(&self.upstream);
        let allowances = Arc::clone(&self.allowances);
        let rules = self.rules.clone();
        self.listening = Some(tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let born = rules.borrow().cuts;
                tokio::spawn(link(
                    client,
                    Arc::clone(&upstream),
                    rules.clone(),
                    born,
                    Arc::clone(&allowances),
                ));
            }
        }));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
        self.cut();
    }
}

impl Rules {
    fn cut(&mut self) {
        self.cuts += 1;
    }
}

impl Allowances {
    fn unlimited() -> Self {
        Self { to_broker: AtomicU64::new(u64::MAX), to_client: AtomicU64::new(u64::MAX) }
    }

    fn of(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToBroker => &self.to_broker,
            Direction::ToClient => &self.to_client,
        }
    }

    /// Takes up to `wanted` bytes; returns how many, and whether they were the last.
    fn take(&self, direction: Direction, wanted: usize) -> (usize, bool) {
        let left = self.of(direction);
        let wanted = wanted as u64;
        let before = left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
                u64::MAX => None,
                left if left <= wanted => Some(u64::MAX),
                left => Some(left - wanted),
            })
            .unwrap_or(u64::MAX);
        // It is at most `wanted`, so it fits.
        (before.min(wanted) as usize, before <= wanted)
    }
}

/// Forwards bytes both ways until an end closes or fails, or the link is cut; then closes all its
/// sockets.
async fn link(
    mut client: TcpStream,
    upstream: Arc<str>,
    rules: watch::Sender<Rules>,
    born: u64,
    allowances: Arc<Allowances>,
) {
    let mut cut = rules.subscribe();
    let carry = async {
        let mut broker = TcpStream::connect(&*upstream).await?;
        // The proxy decides which bytes share a packet.
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_broker, to_broker) = broker.split();
        let pump =
            |direction| Pump { direction, rules: &rules, watch: rules.subscribe(), allowances: &allowances };
        tokio::try_join!(
            pump(Direction::ToBroker).carry(from_client, to_broker),
            pump(Direction::ToClient).carry(from_broker, to_client),
        )
        .map(|_| ())
    };
    tokio::select! {
        biased;
        _ = cut.wait_for(|rules| rules.cuts != born) => {}
        // Either end's error closes the other's socket, because a proxy has no other way to report
        // it.
        _ = carry => {}
    }
}

/// One direction of one link.
struct Pump<'a> {
    direction: Direction,
    rules: &'a watch::Sender<Rules>,
    watch: watch::Receiver<Rules>,
    allowances: &'a Allowances,
}

impl Pump<'_> {
    async fn carry(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            self.unstalled().await;
            let length = from.read(&mut buffer).await?;
            if length == 0 {
                return to.shutdown().await;
            }
            let mut rest = &buffer[..length];
            while !rest.is_empty() {
                rest = self.forward(rest, &mut to).await?;
            }
        }
    }

    /// Writes the start of `bytes` by the rules; returns the rest.
    async fn forward<'b>(&mut self, bytes: &'b [u8], to: &mut WriteHalf<'_>) -> io::Result<&'b [u8]> {
        let rules = self.unstalled().await;
        let (length, last) = self.allowances.take(self.direction, bytes.len().min(rules.split));
        let (now, rest) = bytes.split_at(length);
        to.write_all(now).await?;
        if last {
            self.rules.send_modify(Rules::cut);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(rest)
    }

    /// Waits until nothing is stalled; returns the rules.
    async fn unstalled(&mut self) -> Rules {
        match self.watch.wait_for(|rules| !rules.stall).await {
            Ok(rules) => *rules,
            // The sender lives as long as the link.
            Err(_) => *self.rules.borrow(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// The client's and the broker's end of a link through a proxy.
    async fn linked() -> (Proxy, TcpStream, TcpStream, TcpListener) {
        let broker = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(broker.local_addr().unwrap()).await.unwrap();
        let (client, accepted) = join(&proxy, &broker).await;
        (proxy, client, accepted, broker)
    }

    async fn join(proxy: &Proxy, broker: &TcpListener) -> (TcpStream, TcpStream) {
        let client = TcpStream::connect(proxy.addr()).await.unwrap();
        let (accepted, _) = timeout(SOON, broker.accept()).await.unwrap().unwrap();
        (client, accepted)
    }

    async fn read(stream: &mut TcpStream, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        timeout(SOON, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
        bytes
    }

    /// All bytes until the end, which may be a reset.
    async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = timeout(SOON, stream.read_to_end(&mut bytes)).await.unwrap();
        bytes
    }

    #[tokio::test]
    async fn bytes_pass_both_ways() {
        let (_proxy, mut client, mut broker, _) = linked().await;
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read(&mut broker, 5).await, b"hello");
        broker.write_all(b"welcome").await.unwrap();
        assert_eq!(read(&mut client, 7).await, b"welcome");
    }

    #[tokio::test]
    async fn an_end_that_closes_its_half_still_reads() {
        let (_proxy, mut client, mut broker, _) = linked().await;
        client.write_all(b"bye").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut broker).await, b"bye");
        broker.write_all(b"bye too").await.unwrap();
        drop(broker);
        assert_eq!(read_to_end(&mut client).await, b"bye too");
    }

    #[tokio::test]
    async fn a_cut_closes_both_ends_and_lets_the_next_client_in() {
        let (proxy, mut client, mut broker, listener) = linked().await;
        proxy.cut();
        assert!(read_to_end(&mut client).await.is_empty());
        assert!(read_to_end(&mut broker).await.is_empty());
        let (mut client, mut broker) = join(&proxy, &listener).await;
        client.write_all(b"again").await.unwrap();
        assert_eq!(read(&mut broker, 5).await, b"again");
    }

    #[tokio::test]
    async fn a_refused_client_finds_no_port_while_open_links_stay() {
        let (mut proxy, mut client, mut broker, listener) = linked().await;
        proxy.refuse(true).await.unwrap();
        proxy.refuse(true).await.unwrap();
        let error = TcpStream::connect(proxy.addr()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        client.write_all(b"still").await.unwrap();
        assert_eq!(read(&mut broker, 5).await, b"still");

        proxy.refuse(false).await.unwrap();
        proxy.refuse(false).await.unwrap();
        join(&proxy, &listener).await;
    }

    #[tokio::test]
    async fn a_stalled_link_is_silent_and_loses_nothing() {
        let (proxy, mut client, mut broker, _) = linked().await;
        proxy.stall(true);
        client.write_all(b"later").await.unwrap();
        let mut byte = [0];
        let early = timeout(Duration::from_millis(50), broker.read(&mut byte)).await;
        assert!(early.is_err(), "a byte came through a stalled proxy");
        proxy.stall(false);
        assert_eq!(read(&mut broker, 5).await, b"later");
    }

    #[tokio::test]
    async fn a_stalled_link_can_be_cut() {
        let (proxy, mut client, mut broker, _) = linked().await;
        proxy.stall(true);
        client.write_all(b"never").await.unwrap();
        proxy.cut();
        assert!(read_to_end(&mut broker).await.is_empty());
        assert!(read_to_end(&mut client).await.is_empty());
    }

    #[tokio::test]
    async fn split_writes_arrive_whole_and_in_order() {
        let (proxy, mut client, mut broker, _) = linked().await;
        proxy.split(7);
        let sent: Vec<u8> = (0..10_000_u32).map(|n| (n % 251) as u8).collect();
        client.write_all(&sent).await.unwrap();
        assert_eq!(read(&mut broker, sent.len()).await, sent);
    }

    #[tokio::test]
    async fn cut_after_forwards_exactly_so_many_bytes() {
        let (proxy, mut client, mut broker, listener) = linked().await;
        proxy.cut_after(8, Direction::ToBroker);
        broker.write_all(b"not counted: the other way").await.unwrap();
        read(&mut client, 26).await;
        client.write_all(b"12345").await.unwrap();
        assert_eq!(read(&mut broker, 5).await, b"12345");
        client.write_all(b"6789").await.unwrap();
        assert_eq!(read_to_end(&mut broker).await, b"678");
        assert!(read_to_end(&mut client).await.is_empty());

        let (mut client, mut broker) = join(&proxy, &listener).await;
        client.write_all(b"the cut was for once").await.unwrap();
        assert_eq!(read(&mut broker, 20).await, b"the cut was for once");
    }

    #[tokio::test]
    async fn a_dropped_proxy_closes_links_and_port() {
        let (proxy, mut client, mut broker, _) = linked().await;
        let addr = proxy.addr();
        drop(proxy);
        assert!(read_to_end(&mut client).await.is_empty());
        assert!(read_to_end(&mut broker).await.is_empty());
        let closed = async {
            while TcpStream::connect(addr).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, closed).await.unwrap();
    }
}
