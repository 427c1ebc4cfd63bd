//! A proxy in front of a Redis that notes commands, and lets none pass after a chosen one.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// Commands that only open a connection or try it; they are not noted.
const UNNOTED: [&str; 6] = ["AUTH", "CLIENT", "HELLO", "INFO", "PING", "SELECT"];

/// The command that Redis may answer late: it waits for a message.
const WAITS: &str = "BLMOVE";

/// The part of the chosen command that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Redis has executed it, and its answer does not get through.
    Executed,
    /// Its answer has got through.
    Answered,
}

/// A command of all connections: its name, and how many of that name there are up to it.
pub type Chosen = (String, usize);

/// Stands between a client that speaks the second version of the protocol and a Redis, and stops
/// everything at a chosen command.
///
/// # On drop
/// Stops listening and closes all connections.
#[derive(Debug)]
pub struct CommandProxy {
    addr: SocketAddr,
    passing: Arc<Passing>,
    listening: JoinHandle<()>,
}

#[derive(Debug)]
struct Passing {
    last: Option<(Chosen, Until)>,
    state: watch::Sender<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The commands that have passed, by name.
    counts: BTreeMap<String, usize>,
    /// The number of commands that Redis is to answer at once, and has not answered yet.
    open: usize,
    /// Set when the chosen command has come.
    closed: bool,
    /// Set when so much of it has passed as is to pass.
    stopped: bool,
}

impl Drop for CommandProxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl CommandProxy {
    /// Listens on a free port of 127.0.0.1, and lets so much of the chosen command pass, and
    /// nothing after it.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(redis: u16, last: Option<(Chosen, Until)>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let passing = Arc::new(Passing { last, state: watch::Sender::default() });
        let addr = listener.local_addr()?;
        Ok(CommandProxy {
            addr,
            listening: tokio::spawn(listen(listener, redis, Arc::clone(&passing))),
            passing,
        })
    }

    /// The URL of the first database for clients.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}/0?protocol=2", self.addr)
    }

    /// Waits until so much of the chosen command has passed and Redis has answered all others. It
    /// is cancel-safe.
    pub async fn stopped(&self) {
        // This value keeps the sender, so that it does not end.
        _ = self.passing.state.subscribe().wait_for(|state| state.stopped && state.open == 0).await;
    }

    /// Returns the number of commands that have passed, by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.passing.state.borrow().counts.clone()
    }
}

async fn listen(listener: TcpListener, redis: u16, passing: Arc<Passing>) {
    // They end with this task.
    let mut links = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        links.spawn(link(client, redis, Arc::clone(&passing)));
    }
}

/// Passes one command after the other, and its answer, until either side ends.
async fn link(client: TcpStream, redis: u16, passing: Arc<Passing>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, redis)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut client, mut server) = (BufReader::new(client), BufReader::new(server));
    loop {
        let command = value(&mut client).await?;
        let name = name(&command);
        let until = passing.begin(&name).await;
        server.write_all(&command).await?;
        let waits = name == WAITS;
        if until.is_some() && waits {
            // Nobody knows when it is executed, and it changes nothing.
            passing.stop().await;
        }
        let answer = value(&mut server).await?;
        passing.answered(waits);
        if until == Some(Until::Executed) {
            passing.stop().await;
        }
        client.write_all(&answer).await?;
        if until.is_some() {
            passing.stop().await;
        }
    }
}

impl Passing {
    /// A command comes: it waits for ever after the chosen one. Tells how much of it passes, if it
    /// is that.
    async fn begin(&self, name: &str) -> Option<Until> {
        let mut passes = false;
        let mut until = None;
        self.state.send_modify(|state| {
            passes = !state.closed;
            if !passes {
                return;
            }
            state.open += usize::from(name != WAITS);
            if !UNNOTED.contains(&name) {
                let count = state.counts.entry(name.to_owned()).or_default();
                *count += 1;
                let is_chosen = |((chosen, nth), _): &&(Chosen, Until)| chosen == name && nth == count;
                until = self.last.as_ref().filter(is_chosen).map(|(_, until)| *until);
            }
            state.closed = until.is_some();
        });
        if !passes {
            std::future::pending::<()>().await;
        }
        until
    }

    fn answered(&self, waits: bool) {
        self.state.send_modify(|state| state.open -= usize::from(!waits));
    }

    /// So much of the chosen command has passed.
    async fn stop(&self) {
        self.state.send_modify(|state| state.stopped = true);
        std::future::pending::<()>().await;
    }
}

/// Reads a value of the protocol, with all that is in it
/// (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
async fn value(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<u8>> {
    let (mut value, mut left) = (Vec::new(), 1);
    while left > 0 {
        left -= 1;
        let start = value.len();
        if stream.read_until(b'\n', &mut value).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = String::from_utf8_lossy(&value[start..]).into_owned();
        let count = line.get(1..).and_then(|count| count.trim_end().parse::<usize>().ok());
        match line.as_bytes()[0] {
            b'*' => left += count.unwrap_or_default(),
            b'$' => {
                if let Some(length) = count {
                    let end = value.len() + length + 2;
                    value.resize(end, 0);
                    stream.read_exact(&mut value[end - length - 2..]).await?;
                }
            }
            _ => {}
        }
    }
    Ok(value)
}

/// The name of a command: its first string.
fn name(command: &[u8]) -> String {
    let line = command.split(|octet| *octet == b'\n').nth(2).unwrap_or_default();
    String::from_utf8_lossy(line).trim_end().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn values_are_read_whole() {
        let values = ["*2\r\n$3\r\nGET\r\n$1\r\n\n\r\n", "*2\r\n*1\r\n:1\r\n$-1\r\n", "+OK\r\n", "*-1\r\n"];
        let all = values.concat();
        let mut stream = all.as_bytes();
        for expected in values {
            assert_eq!(value(&mut stream).await.unwrap(), expected.as_bytes());
        }
        assert!(value(&mut stream).await.is_err());
        assert_eq!(name(b"*1\r\n$4\r\nping\r\n"), "PING");
    }
}
