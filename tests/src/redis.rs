//! A private Redis on a free port of 127.0.0.1 with its own data, which is removed afterwards.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{left_out::leave_out, process::Process};

pub(crate) const SERVER: &str = "/usr/bin/redis-server";
const START_DEADLINE: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The number of ports that are tried.
const MOST_TRIES: u32 = 5;

/// A private Redis.
///
/// # On drop
/// It is killed, by its process id, and its folder is removed.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    arguments: Vec<String>,
    // Fields are dropped in this order: first the process, then the folder that it writes to.
    server: Process,
    folder: TempDir,
}

impl Redis {
    /// Tells whether Redis is installed where Debian's package puts it; reports `test` as left out
    /// when it is not.
    #[must_use]
    pub fn require(test: &str) -> bool {
        let is_installed = Path::new(SERVER).exists();
        if !is_installed {
            leave_out(test, "no Redis: Debian's redis-server is not installed");
        }
        is_installed
    }

    /// Starts a server that keeps everything in memory. It answers when this returns.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer within 120 s.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(&["--save", "", "--appendonly", "no"]).await
    }

    /// Starts a server with these arguments beside its port, its address and its folder.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(arguments: &[&str]) -> io::Result<Self> {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut tries = 0;
        loop {
            let folder = tempfile::tempdir()?;
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let server = serve(port, folder.path(), &arguments)?;
            let mut redis = Redis { port, arguments: arguments.clone(), server, folder };
            match redis.answers().await {
                Ok(()) => return Ok(redis),
                // It may have ended because another has taken the port meanwhile.
                Err(_) if tries < MOST_TRIES && redis.server.ended()?.is_some() => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url(&self, database: u8) -> String {
        format!("redis://127.0.0.1:{}/{database}", self.port)
    }

    /// Kills it (SIGKILL).
    ///
    /// # Errors
    /// When that fails.
    pub fn kill(&mut self) -> io::Result<()> {
        self.server.kill()
    }

    /// Starts it again after [`kill`](Self::kill), at the same port and with the same folder.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn restart(&mut self) -> io::Result<()> {
        self.server = serve(self.port, self.folder.path(), &self.arguments)?;
        self.answers().await
    }

    /// Starts it again after [`kill`](Self::kill) as the replica of another.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub(crate) async fn restart_as_replica(&mut self, master: u16) -> io::Result<()> {
        let is_older = |argument: &String| argument == "--replicaof";
        if let Some(older) = self.arguments.iter().position(is_older) {
            self.arguments.truncate(older);
        }
        let master = master.to_string();
        self.arguments.extend(["--replicaof", "127.0.0.1", &master].map(str::to_owned));
        self.restart().await
    }

    /// Its answer to a command without binary arguments, as it comes on the wire.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask(&self, command: &str) -> io::Result<String> {
        ask(self.port, command).await
    }

    async fn answers(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            if let Some(status) = self.server.ended()? {
                return Err(io::Error::other(format!("redis-server has ended: {status}")));
            }
            if self.ping().await.is_ok() && self.is_own().await.unwrap_or(false) {
                return Ok(());
            }
            sleep(POLL_INTERVAL).await;
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "redis-server does not answer"))
    }

    async fn ping(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        // While it loads, it answers with an error.
        if &answer == b"+PONG" { Ok(()) } else { Err(io::ErrorKind::NotConnected.into()) }
    }

    /// Tells whether it is this one that answers: another that has taken the port may do so before
    /// this one ends.
    async fn is_own(&self) -> io::Result<bool> {
        let own = format!("process_id:{}", self.server.id());
        Ok(self.ask("INFO server").await?.lines().any(|line| line == own))
    }
}

/// The answer of the server at a port to a command, as it comes on the wire.
pub(crate) async fn ask(port: u16, command: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    // The answer to the last command tells where that to the first ends.
    stream.write_all(format!("{command}\r\nPING end\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"$3\r\nend\r\n") {
        if stream.read_buf(&mut answer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.strip_suffix("$3\r\nend\r\n").unwrap_or_default().to_owned())
}

fn serve(port: u16, folder: &Path, arguments: &[String]) -> io::Result<Process> {
    let mut command = Command::new(SERVER);
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"]).arg(folder).args(arguments);
    Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_starts_dies_and_starts_again() {
        if !Redis::require(concat!(module_path!(), "::it_starts_dies_and_starts_again")) {
            return;
        }
        let mut redis = Redis::start().await.unwrap();
        redis.ping().await.unwrap();
        redis.kill().unwrap();
        assert!(redis.ping().await.is_err());
        redis.restart().await.unwrap();
        assert_eq!(redis.ask("LPUSH list a b").await.unwrap(), ":2\r\n");
    }
}
