//! A proxy whose clients can vanish without the broker's notice.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

/// Links clients to a broker, and can cut them off while the broker still takes them for connected,
/// as when a cable is pulled.
///
/// # On drop
/// Stops listening and closes all links.
#[derive(Debug)]
pub struct Lingering {
    addr: SocketAddr,
    cuts: watch::Sender<u64>,
    links: Arc<Links>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Links {
    is_refusing: AtomicBool,
    /// The connections to the broker of clients that have vanished.
    kept: Mutex<Vec<TcpStream>>,
}

impl Lingering {
    /// Listens on a free port of 127.0.0.1 and links every client to `upstream` (`host:port`).
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(upstream: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let (cuts, cut) = watch::channel(0);
        let links = Arc::default();
        let accepting = tokio::spawn(accept(listener, upstream.to_owned(), cut, Arc::clone(&links)));
        Ok(Lingering { addr, cuts, links, accepting })
    }

    /// The address for clients.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Hangs up on new clients (`true`), or lets them in again (`false`).
    pub fn refuse(&self, refuse: bool) {
        self.links.is_refusing.store(refuse, Ordering::Release);
    }

    /// Closes all links on the clients' side. The broker's side stays open and silent.
    pub fn vanish(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Closes the broker's side of those links, too.
    pub fn release(&self) {
        self.links.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, upstream: String, cut: watch::Receiver<u64>, links: Arc<Links>) {
    while let Ok((client, _)) = listener.accept().await {
        if links.is_refusing.load(Ordering::Acquire) {
            continue;
        }
        if let Ok(broker) = TcpStream::connect(&upstream).await {
            tokio::spawn(link(client, broker, cut.clone(), links.clone()));
        }
    }
}

async fn link(
    mut client: TcpStream,
    mut broker: TcpStream,
    mut cut: watch::Receiver<u64>,
    links: Arc<Links>,
) {
    cut.mark_unchanged();
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut broker) => {}
        changed = cut.changed() => {
            drop(client);
            if changed.is_ok() {
                links.kept.lock().unwrap_or_else(PoisonError::into_inner).push(broker);
            }
        }
    }
}
