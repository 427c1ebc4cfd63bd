//! A private Redis.

use std::{
    io::{self, Write},
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

/// A `redis-server` on a free port of loopback. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct RedisServer {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl RedisServer {
    /// Starts a server; `None` when none is installed, which is reported for `test`.
    pub(super) async fn start(test: &str) -> Option<Self> {
        Self::with(test, &[]).await
    }

    /// As [`start`](Self::start), with further options.
    pub(super) async fn with(test: &str, options: &[&str]) -> Option<Self> {
        for _ in 0..10 {
            let folder = tempfile::tempdir().unwrap();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let process = spawn(port, folder.path().to_str().unwrap(), options);
            let Ok(process) = process else {
                _ = writeln!(io::stderr(), "left out: {test}: redis-server is not installed");
                return None;
            };
            let mut server = RedisServer { process, port, _folder: folder };
            if server.is_up().await {
                return Some(server);
            }
        }
        panic!("redis-server does not start");
    }

    /// Waits until it answers; `false` when it ended, because another took the port.
    async fn is_up(&mut self) -> bool {
        // Another that took the port may answer before this one has noticed it.
        let (began, own) = (Instant::now(), format!("process_id:{}", self.process.id()));
        while began.elapsed() < Duration::from_secs(60) {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            let client = redis::Client::open(self.url()).unwrap();
            if let Ok(mut connection) = client.get_multiplexed_async_connection().await
                && let Ok(info) =
                    redis::cmd("INFO").arg("server").query_async::<String>(&mut connection).await
                && info.lines().any(|line| line == own)
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server does not answer");
    }

    /// Starts a sentinel that watches a master.
    pub(super) async fn sentinel(test: &str, name: &str, master: u16) -> Option<Self> {
        Self::sentinel_with(test, name, master, "").await
    }

    /// Starts a sentinel with further lines of configuration.
    pub(super) async fn sentinel_with(test: &str, name: &str, master: u16, further: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("sentinel.conf");
        std::fs::write(&file, format!("sentinel monitor {name} 127.0.0.1 {master} 1\n{further}")).unwrap();
        Self::with(test, &[file.to_str().unwrap(), "--sentinel"]).await
    }

    /// Sends its process a signal, such as `STOP`.
    pub(super) fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([format!("-{name}"), self.process.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// A connection for looking at the keys.
    pub(super) async fn connect(&self) -> MultiplexedConnection {
        let client = redis::Client::open(self.url()).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn spawn(port: u16, folder: &str, options: &[&str]) -> io::Result<Child> {
    // A file comes before all options.
    let (files, options) = options.split_at(options.partition_point(|option| !option.starts_with("--")));
    Command::new("redis-server")
        .args(files)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir", folder])
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
}
