//! A private RabbitMQ node on free ports of 127.0.0.1 with its own data, which is removed
//! afterwards.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::installation::{Installation, require_rabbitmq};
use crate::namespace;
use crate::node::{Control, HttpPorts, LOOPBACK_ONLY, NAME, Node};
use crate::process::Process;

/// The deadline of a node's start. It takes 10 s on two free cores, and longer while other tests
/// run.
const START_DEADLINE: Duration = Duration::from_secs(300);
const ANSWER_DEADLINE: Duration = Duration::from_secs(30);
const STOP_DEADLINE: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A private RabbitMQ node, which dereferences to [`Node`].
///
/// # On drop
/// Its processes are killed, each by its id, and its folder is removed.
#[derive(Debug)]
pub struct RabbitMq {
    node: Node,
    control: Control,
    dist_port: u16,
    // Fields are dropped in this order: first the processes, then the folder that they write to.
    server: Process,
    /// `None` in a cluster, whose nodes share one.
    _epmd: Option<Process>,
    folder: TempDir,
}

impl RabbitMq {
    /// Tells whether RabbitMQ is installed where Debian's package puts it, on this machine or in
    /// the folder `AMQP_TEST_RABBITMQ_ROOT`.
    ///
    /// # Panics
    /// When the variable is set but there is no RabbitMQ.
    #[must_use]
    pub fn installed() -> bool {
        Installation::chosen().is_there()
    }

    /// [`installed`](Self::installed), which reports `test` as left out when it is not.
    ///
    /// # Panics
    /// As `installed` does; also when `test` does not contain rabbitmq, as
    /// [`Node::require`](crate::Node::require).
    #[must_use]
    pub fn require(test: &str) -> bool {
        require_rabbitmq(test, Self::installed())
    }

    /// Starts a node with the user guest, whose password is guest, and the virtual host `/`. It
    /// answers AMQP's protocol header when this returns.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer within 300 s; the error ends with the tail of
    /// its log.
    ///
    /// # Cancel safety
    /// The node is killed when the future is dropped.
    pub async fn start() -> io::Result<Self> {
        Self::start_with("", &[]).await
    }

    /// As [`start`](Self::start), with more lines of rabbitmq.conf and with plugins.
    ///
    /// # Errors
    /// As `start`; also when the node refuses the configuration.
    ///
    /// # Cancel safety
    /// The node is killed when the future is dropped.
    pub async fn start_with(configuration: &str, plugins: &[&str]) -> io::Result<Self> {
        // Another process may take a port before the node does.
        for _ in 0..2 {
            match Self::start_once(configuration, plugins).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                result => return result,
            }
        }
        Self::start_once(configuration, plugins).await
    }

    /// As [`start`](Self::start), with more lines of rabbitmq.conf, and with the plugins
    /// rabbitmq_management and rabbitmq_prometheus, which answer when this returns at the ports
    /// that [`Node::http`] tells.
    ///
    /// # Errors
    /// As `start`; also when the node refuses the configuration, or a plugin does not answer within
    /// 300 s.
    ///
    /// # Cancel safety
    /// The node is killed when the future is dropped.
    pub async fn start_managed(configuration: &str) -> io::Result<Self> {
        let [management, metrics] = free_ports()?;
        let configuration = format!(
            "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\n\
             prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {metrics}\n{configuration}"
        );
        let plugins = ["rabbitmq_management", "rabbitmq_prometheus"];
        let mut rabbitmq = Self::start_with(&configuration, &plugins).await?;
        rabbitmq.node = rabbitmq.node.clone().with_http(HttpPorts { management, metrics });
        let deadline = Instant::now() + START_DEADLINE;
        for port in [management, metrics] {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                if Instant::now() >= deadline {
                    return Err(rabbitmq.failure(io::ErrorKind::TimedOut, "does not speak HTTP"));
                }
                sleep(POLL_INTERVAL).await;
            }
        }
        Ok(rabbitmq)
    }

    /// A free port, for a configuration.
    ///
    /// # Errors
    /// When there is none.
    pub fn free_port() -> io::Result<u16> {
        Ok(free_port()?.local_addr()?.port())
    }

    /// The port at which it accepts other nodes.
    #[must_use]
    pub fn dist_port(&self) -> u16 {
        self.dist_port
    }

    /// The id of the node's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.server.id()
    }

    /// Ends the node in an orderly way: its clients get a close (320, CONNECTION_FORCED).
    ///
    /// # Errors
    /// When it has not ended within 120 s; it is killed then.
    ///
    /// # Cancel safety
    /// The node is killed when the future is dropped.
    pub async fn stop(mut self) -> io::Result<()> {
        self.shut_down().await
    }

    /// As [`stop`](Self::stop), for a node that will be [`restart`](Self::restart)ed.
    ///
    /// # Errors
    /// When it has not ended within 120 s.
    ///
    /// # Cancel safety
    /// If dropped while pending, the node is about to end.
    pub async fn shut_down(&mut self) -> io::Result<()> {
        let stopped = self.server.terminate(STOP_DEADLINE).await;
        stopped.map_err(|error| self.failure(error.kind(), &format!("did not stop ({error})")))
    }

    /// Starts a node again that was killed or shut down, with the same data and ports. It answers
    /// when this returns.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    ///
    /// # Cancel safety
    /// If dropped while pending, the node is starting.
    pub async fn restart(&mut self) -> io::Result<()> {
        self.server = start_server(&self.control, self.node.port(), self.dist_port)?;
        self.wait_until_it_answers().await
    }

    /// Kills the node as a crash would (SIGKILL): its clients get no close. It is gone when this
    /// returns.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> io::Result<()> {
        self.server.kill()
    }

    async fn start_once(configuration: &str, plugins: &[&str]) -> io::Result<Self> {
        let [port, dist_port, epmd_port] = free_ports()?;
        let folder = tempfile::Builder::new().prefix("amqp-rabbitmq-").tempdir()?;
        furnish(folder.path(), configuration, plugins)?;
        let control = Control::new(folder.path(), epmd_port, NAME);
        Self::start_in(folder, &control, port, dist_port).await
    }

    async fn start_in(folder: TempDir, control: &Control, port: u16, dist_port: u16) -> io::Result<Self> {
        let epmd = start_epmd(control).await?;
        Self::start_beside(Some(epmd), folder, control, port, dist_port).await
    }

    /// As `start_in`, with an epmd that runs already, perhaps for other nodes.
    pub(crate) async fn start_beside(
        epmd: Option<Process>,
        folder: TempDir,
        control: &Control,
        port: u16,
        dist_port: u16,
    ) -> io::Result<Self> {
        let server = start_server(control, port, dist_port)?;
        let node = Node::private(port, control.clone());
        let mut rabbitmq = Self { node, control: control.clone(), dist_port, server, _epmd: epmd, folder };
        rabbitmq.wait_until_it_answers().await?;
        Ok(rabbitmq)
    }

    async fn wait_until_it_answers(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        while !matches!(timeout(ANSWER_DEADLINE, greet(self.node.port())).await, Ok(Ok(()))) {
            if let Some(status) = self.server.ended()? {
                let in_use = self.log_tail().contains("eaddrinuse");
                let kind = if in_use { io::ErrorKind::AddrInUse } else { io::ErrorKind::Other };
                return Err(self.failure(kind, &format!("ended ({status}) before it answered")));
            }
            if Instant::now() >= deadline {
                return Err(self.failure(io::ErrorKind::TimedOut, "did not answer in time"));
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    fn failure(&self, kind: io::ErrorKind, what: &str) -> io::Error {
        io::Error::new(kind, format!("RabbitMQ {what}; its log ends:\n{}", self.log_tail()))
    }

    fn log_tail(&self) -> String {
        tail(&log_file(self.folder.path())).unwrap_or_else(|error| format!("(no log: {error})"))
    }
}

impl Deref for RabbitMq {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

/// Free ports. They may be taken meanwhile, so [`RabbitMq::start`] tries again.
pub(crate) fn free_ports<const COUNT: usize>() -> io::Result<[u16; COUNT]> {
    // All are bound at once, so that they differ.
    let bound = (0..COUNT).map(|_| free_port()).collect::<io::Result<Vec<_>>>()?;
    let mut ports = [0; COUNT];
    for (port, listener) in ports.iter_mut().zip(&bound) {
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

/// A port below the range from which Linux chooses ports for connections
/// (`net.ipv4.ip_local_port_range`), so that no connection gets it by chance before the node takes
/// it.
fn free_port() -> io::Result<TcpListener> {
    let mut tries = (0..100).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(10_240..32_768))));
    tries.find(Result::is_ok).unwrap_or_else(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
}

/// Writes a node's configuration into its folder.
fn furnish(home: &Path, configuration: &str, plugins: &[&str]) -> io::Result<()> {
    let cookie = format!("{:016X}{:016X}", fastrand::u64(..), fastrand::u64(..));
    furnish_with(home, &cookie, configuration, plugins)
}

/// As `furnish`, with a secret that nodes share.
pub(crate) fn furnish_with(
    home: &Path,
    cookie: &str,
    configuration: &str,
    plugins: &[&str],
) -> io::Result<()> {
    // Erlang refuses a cookie that other users may read.
    let mut file =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(home.join(".erlang.cookie"))?;
    file.write_all(cookie.as_bytes())?;
    fs::write(plugins_file(home), format!("[{}].\n", plugins.join(", ")))?;
    fs::write(configuration_file(home), format!("disk_free_limit.absolute = 50MB\n{configuration}"))
}

/// Starts the node's epmd, by which Erlang nodes find one another; it accepts connections when this
/// returns. A node that finds none would start one that outlives it.
pub(crate) async fn start_epmd(control: &Control) -> io::Result<Process> {
    let port = control.epmd_port;
    let mut command = control.command(control.installation.program("epmd"));
    command.args(["-port", &port.to_string(), "-address", &Ipv4Addr::LOCALHOST.to_string()]);
    let mut epmd = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()))?;
    let deadline = Instant::now() + ANSWER_DEADLINE;
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
        if let Some(status) = epmd.ended()? {
            // Only its port can make it fail.
            return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("epmd on port {port}: {status}")));
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("epmd does not accept on port {port}"),
            ));
        }
        sleep(POLL_INTERVAL).await;
    }
    Ok(epmd)
}

fn start_server(control: &Control, port: u16, dist_port: u16) -> io::Result<Process> {
    let home = &control.home;
    let log = fs::File::create(log_file(home))?;
    let mut server = control.command(control.installation.script("rabbitmq-server"));
    if namespace::is_own() {
        server.gid(namespace::group_of(&control.name));
    }
    server
        // With this the script becomes Erlang instead of supervising it, so that our child is the
        // node itself.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        // SIGINT ends it at once, as it ends tests in a terminal.
        .env("RABBITMQ_SERVER_START_ARGS", "+B d")
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", LOOPBACK_ONLY)
        .env("RABBITMQ_NODE_IP_ADDRESS", Ipv4Addr::LOCALHOST.to_string())
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", dist_port.to_string())
        .env("RABBITMQ_MNESIA_BASE", home.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", home.join("log"))
        .env("RABBITMQ_PID_FILE", home.join("pid"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", plugins_file(home))
        .env("RABBITMQ_CONFIG_FILE", configuration_file(home))
        .stdout(log.try_clone()?)
        .stderr(log);
    Process::start(&mut server)
}

fn plugins_file(home: &Path) -> PathBuf {
    home.join("enabled_plugins")
}

fn configuration_file(home: &Path) -> PathBuf {
    home.join("rabbitmq.conf")
}

fn log_file(home: &Path) -> PathBuf {
    home.join("output.log")
}

/// Sends the protocol header and reads the beginning of the answer, connection.start on channel 0
/// (AMQP 0-9-1, 4.2.2 and 4.2.3). A port that merely accepts is not a broker yet.
async fn greet(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    let mut answer = [0; 11];
    stream.read_exact(&mut answer).await?;
    match answer {
        [1, 0, 0, _, _, _, _, 0, 10, 0, 10] => Ok(()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not connection.start")),
    }
}

fn tail(file: &Path) -> io::Result<String> {
    const LENGTH: u64 = 8192;
    let mut file = fs::File::open(file)?;
    let start = file.metadata()?.len().saturating_sub(LENGTH);
    file.seek(SeekFrom::Start(start))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    Ok(String::from_utf8_lossy(&tail).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_private_node_starts_obeys_and_leaves_nothing() {
        if !RabbitMq::require("rabbitmq::tests::a_private_node_starts_obeys_and_leaves_nothing") {
            return;
        }
        let (mut first, second) = tokio::try_join!(RabbitMq::start(), RabbitMq::start()).unwrap();
        assert_ne!(first.port(), second.port());
        first.ctl(&["add_vhost", "only/here"]).await.unwrap();
        assert!(first.ctl(&["list_vhosts"]).await.unwrap().contains("only/here"));
        assert!(!second.ctl(&["list_vhosts"]).await.unwrap().contains("only/here"));
        let error = second.ctl(&["delete_vhost", "only/here"]).await.unwrap_err();
        assert!(error.to_string().contains("only/here"), "{error}");

        let folders = [first.folder.path().to_owned(), second.folder.path().to_owned()];
        second.stop().await.unwrap();
        first.kill().unwrap();
        assert!(greet(first.port()).await.is_err());
        first.restart().await.unwrap();
        assert!(first.ctl(&["list_vhosts"]).await.unwrap().contains("only/here"));
        first.shut_down().await.unwrap();
        assert!(greet(first.port()).await.is_err());
        drop(first);
        assert!(folders.iter().all(|folder| !folder.exists()));
    }

    #[tokio::test]
    async fn a_node_that_cannot_start_shows_its_log() {
        if !RabbitMq::require("rabbitmq::tests::a_node_that_cannot_start_shows_its_log") {
            return;
        }
        let (folder, control, [port, dist_port]) = furnished();
        fs::write(configuration_file(folder.path()), "no such key = 1\n").unwrap();
        let error = RabbitMq::start_in(folder, &control, port, dist_port).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        assert!(error.to_string().contains("failed_to_parse_configuration_file"), "{error}");
    }

    #[tokio::test]
    async fn a_port_taken_in_the_meantime_is_told_from_other_failures() {
        if !RabbitMq::require("rabbitmq::tests::a_port_taken_in_the_meantime_is_told_from_other_failures") {
            return;
        }
        let (folder, control, [port, dist_port]) = furnished();
        let _taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let error = RabbitMq::start_in(folder, &control, port, dist_port).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{error}");
    }

    fn furnished() -> (TempDir, Control, [u16; 2]) {
        let [port, dist_port, epmd_port] = free_ports().unwrap();
        let folder = tempfile::tempdir().unwrap();
        furnish(folder.path(), "", &[]).unwrap();
        let control = Control::new(folder.path(), epmd_port, NAME);
        (folder, control, [port, dist_port])
    }

    #[tokio::test]
    async fn a_port_that_only_accepts_is_no_broker() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(timeout(Duration::from_millis(50), greet(port)).await.is_err());
        drop(listener);
        assert!(greet(port).await.is_err());
    }

    #[test]
    fn the_tail_of_a_long_log_is_its_end() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), format!("start{}end", "x".repeat(10_000))).unwrap();
        let tail = tail(file.path()).unwrap();
        assert_eq!(tail.len(), 8192);
        assert!(tail.ends_with("end"));
    }
}
