//! Three sentinels that watch a Redis and its replica, all on free ports of 127.0.0.1.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{
    process::Process,
    redis::{Redis, SERVER, ask},
    tls::Authority,
};

/// The name under which the sentinels watch the master.
const NAME: &str = "m";
const SENTINELS: usize = 3;
const DEADLINE: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A Redis, its replica, and three sentinels.
///
/// # On drop
/// All are killed, by their process ids, and their folders are removed.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Sentinel>,
    servers: [Redis; 2],
    /// Which of the servers is the master.
    master: usize,
}

/// A single sentinel that speaks nothing but TLS, with clients that have a certificate.
///
/// # On drop
/// It is killed, by its process id, and its folder is removed.
#[derive(Debug)]
pub struct SecureSentinel(Sentinel);

#[derive(Debug)]
struct Sentinel {
    port: u16,
    _process: Process,
    _folder: TempDir,
}

impl Sentinels {
    /// Starts all. When this returns, they are ready to replace the master.
    ///
    /// # Errors
    /// When one cannot be started, or they are not ready within a minute.
    pub async fn start() -> io::Result<Self> {
        let in_memory = ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"];
        let master = Redis::start_with(&in_memory).await?;
        let mut replica = Redis::start_with(&in_memory).await?;
        replica.kill()?;
        replica.restart_as_replica(master.port()).await?;
        let mut all = Sentinels { sentinels: Vec::new(), servers: [master, replica], master: 0 };
        all.replicates().await?;
        for _ in 0..SENTINELS {
            all.sentinels.push(Sentinel::start(all.master().port())?);
        }
        all.is_watched().await?;
        Ok(all)
    }

    /// The URL of the master's first database by its sentinels.
    #[must_use]
    pub fn url(&self) -> String {
        let sentinels =
            self.sentinels.iter().map(|sentinel| format!("sentinel://127.0.0.1:{}", sentinel.port));
        format!("{}/0?master_name={NAME}", sentinels.collect::<Vec<_>>().join(";"))
    }

    /// The master.
    #[must_use]
    pub fn master(&self) -> &Redis {
        &self.servers[self.master]
    }

    /// Waits until the replica has all that the master has confirmed so far.
    ///
    /// # Errors
    /// When it does not within a minute.
    pub async fn reaches_the_replica(&self) -> io::Result<()> {
        match self.master().ask("SET marker 1\r\nWAIT 1 60000").await?.as_str() {
            "+OK\r\n:1\r\n" => Ok(()),
            answer => Err(io::Error::other(format!("the replica lags behind: {answer}"))),
        }
    }

    /// Lets the replica follow nobody that exists, so that it lacks what the master gets from now
    /// on. The sentinels tolerate that for some seconds.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn cut_the_replica_off(&self) -> io::Result<()> {
        let replica = self.servers[1 - self.master].port();
        ask(replica, "REPLICAOF 127.0.0.1 1").await.map(drop)
    }

    /// Kills the master (SIGKILL), waits until every sentinel names the other as the master, and
    /// starts the killed one as its replica.
    ///
    /// # Errors
    /// When the sentinels do not replace it within a minute.
    pub async fn fail_over(&mut self) -> io::Result<()> {
        let killed = self.master;
        self.servers[killed].kill()?;
        self.master = 1 - killed;
        let expected = format!("$9\r\n127.0.0.1\r\n${}", bulk(self.master().port()));
        for sentinel in &self.sentinels {
            let command = format!("SENTINEL GET-MASTER-ADDR-BY-NAME {NAME}");
            until(sentinel.port, &command, |answer| answer.contains(&expected)).await?;
        }
        until(self.master().port(), "INFO replication", |info| info.contains("role:master")).await?;
        let master = self.master().port();
        self.servers[killed].restart_as_replica(master).await?;
        self.replicates().await
    }

    /// Waits until the replica has all that the master has.
    async fn replicates(&self) -> io::Result<()> {
        let replica = self.servers[1 - self.master].port();
        until(replica, "INFO replication", |info| info.contains("master_link_status:up")).await
    }

    /// Waits until all sentinels know each other and the replica.
    async fn is_watched(&self) -> io::Result<()> {
        for sentinel in &self.sentinels {
            let agree = format!("+OK {SENTINELS} usable Sentinels");
            until(sentinel.port, &format!("SENTINEL CKQUORUM {NAME}"), |answer| answer.starts_with(&agree))
                .await?;
            let master = format!("SENTINEL MASTER {NAME}");
            until(sentinel.port, &master, |answer| answer.contains("num-slaves\r\n$1\r\n1\r\n")).await?;
        }
        Ok(())
    }
}

impl SecureSentinel {
    /// Starts a sentinel of the master at this port, with a certificate for 127.0.0.1 and further
    /// lines of configuration. It listens when this returns.
    ///
    /// # Errors
    /// When it cannot be started, or does not listen within a minute.
    pub async fn start(master: u16, authority: &Authority, further: &str) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (certificate, key) = authority.server(&["127.0.0.1"]).write(folder.path(), "sentinel")?;
        let trusted = folder.path().join("authority.pem");
        fs::write(&trusted, authority.pem())?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let lines = configuration(port, folder.path(), master).replacen("port ", "port 0\ntls-port ", 1);
        let tls = format!(
            "tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-auth-clients yes\n{further}\n",
            certificate.display(),
            key.display(),
            trusted.display()
        );
        let sentinel = Sentinel::start_with(folder, port, &(tls + &lines))?;
        let deadline = Instant::now() + DEADLINE;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            if Instant::now() >= deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the sentinel does not listen"));
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(SecureSentinel(sentinel))
    }

    /// The URL of the master's first database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("sentinel://127.0.0.1:{}/0?master_name={NAME}", self.0.port)
    }
}

impl Sentinel {
    fn start(master: u16) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let lines = configuration(port, folder.path(), master);
        Self::start_with(folder, port, &lines)
    }

    fn start_with(folder: TempDir, port: u16, lines: &str) -> io::Result<Self> {
        let file = folder.path().join("sentinel.conf");
        fs::write(&file, lines)?;
        let mut command = Command::new(SERVER);
        command.arg(file).arg("--sentinel").stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Sentinel { port, _process: Process::start(&mut command)?, _folder: folder })
    }
}

/// Short times, so that the master is replaced within seconds.
fn configuration(port: u16, folder: &Path, master: u16) -> String {
    format!(
        "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {NAME} 127.0.0.1 {master} 2\n\
         sentinel down-after-milliseconds {NAME} 1000\nsentinel failover-timeout {NAME} 4000\n",
        folder.display()
    )
}

fn bulk(port: u16) -> String {
    let port = port.to_string();
    format!("{}\r\n{port}\r\n", port.len())
}

/// Asks until the answer is as wanted.
async fn until(port: u16, command: &str, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = ask(port, command).await;
        if answer.as_deref().is_ok_and(&wanted) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let text = format!("{command} at port {port} is answered with {answer:?}");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        sleep(POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn they_replace_a_master_that_dies() {
        if !Redis::require(concat!(module_path!(), "::they_replace_a_master_that_dies")) {
            return;
        }
        let mut sentinels = Sentinels::start().await.unwrap();
        let first = sentinels.master().port();
        assert_eq!(sentinels.master().ask("SET key 1").await.unwrap(), "+OK\r\n");
        assert_eq!(sentinels.master().ask("WAIT 1 10000").await.unwrap(), ":1\r\n");
        sentinels.fail_over().await.unwrap();
        assert_ne!(sentinels.master().port(), first);
        assert_eq!(sentinels.master().ask("GET key").await.unwrap(), "$1\r\n1\r\n");
    }
}
