//! Observes what a client sends to a broker, frame by frame.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use amqp_codec::{Frame, Framer, framer::Piece};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A link to a broker that notes the methods sent through it.
pub(super) struct Tap {
    address: SocketAddr,
    methods: Arc<Mutex<Vec<String>>>,
    _links: JoinSet<()>,
}

impl Tap {
    pub(super) async fn on(authority: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let methods: Arc<Mutex<Vec<String>>> = Arc::default();
        let (noted, authority) = (methods.clone(), authority.to_owned());
        let mut links = JoinSet::new();
        links.spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (noted, broker) = (noted.clone(), TcpStream::connect(&authority).await.unwrap());
                links.spawn(async move {
                    let (from_client, mut to_client) = client.into_split();
                    let (mut from_broker, to_broker) = broker.into_split();
                    tokio::select! {
                        () = carry(from_client, to_broker, &noted) => {}
                        _ = tokio::io::copy(&mut from_broker, &mut to_client) => {}
                    }
                });
            }
        });
        Tap { address, methods, _links: links }
    }

    pub(super) fn authority(&self) -> String {
        self.address.to_string()
    }

    /// The methods so far whose names begin with one of these.
    pub(super) fn methods(&self, beginnings: &[&str]) -> Vec<String> {
        let methods = self.methods.lock().unwrap();
        let wanted = |method: &&String| beginnings.iter().any(|beginning| method.starts_with(beginning));
        methods.iter().filter(wanted).cloned().collect()
    }
}

async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    noted: &Mutex<Vec<String>>,
) {
    let mut framer = Framer::new(1024 * 1024);
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        framer.push(&buffer[..read]);
        while let Some(piece) = framer.next_piece() {
            if let Piece::Frame(frame) = piece
                && let Ok(Frame::Method(_, method)) = frame.decode()
            {
                noted.lock().unwrap().push(method.to_string());
            }
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
