//! The program reads its settings again at SIGHUP, and tells a service manager of its state.

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use amqp_client::{ConnectOptions, Connection, Queue, Result, TlsOptions};
use tempfile::TempDir;
use tests::{Authority, EmbeddedBroker};

use super::within;

/// The program on a file of settings, with a service manager that it tells of its state.
///
/// # On drop
/// It is killed.
struct Service {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    manager: UnixDatagram,
    folder: TempDir,
}

impl Service {
    /// Starts it, and waits until it says that it is ready.
    fn start(test: &str, settings: &str) -> Option<Self> {
        let program = EmbeddedBroker::require(test)?;
        let folder = tempfile::tempdir().unwrap();
        let (file, socket) = (folder.path().join("broker.toml"), folder.path().join("notify"));
        fs::write(&file, settings).unwrap();
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut child = Command::new(program)
            .arg("--config")
            .arg(&file)
            .env("NOTIFY_SOCKET", &socket)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let service = Service { child, lines, manager, folder };
        assert_eq!(service.told(), "READY=1");
        Some(service)
    }

    /// The next that the service manager is told, without times.
    fn told(&self) -> String {
        let mut octets = [0; 256];
        let length = self.manager.recv(&mut octets).unwrap();
        let text = String::from_utf8_lossy(&octets[..length]).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("MONOTONIC_USEC=")).collect();
        lines.join("\n")
    }

    /// The next address that it says it listens at.
    fn address(&mut self) -> String {
        let line = self.lines.next().unwrap().unwrap();
        let address = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
        address.split(' ').next().unwrap().to_owned()
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }

    /// Gives it other settings.
    fn reload(&self, settings: &str) {
        fs::write(self.folder.path().join("broker.toml"), settings).unwrap();
        self.signal("-HUP");
        assert_eq!(self.told(), "RELOADING=1");
        assert_eq!(self.told(), "READY=1");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn connect(address: &str, login: &str) -> Result<Connection> {
    within(ConnectOptions::new().connect(&format!("amqp://{login}@{address}"))).await
}

fn user(name: &str, password: &str) -> String {
    format!("[[user]]\nname = \"{name}\"\npassword = \"{password}\"\n")
}

#[tokio::test]
async fn users_and_permissions_are_those_of_the_file_after_a_hangup() {
    let test = "broker::reload::users_and_permissions_are_those_of_the_file_after_a_hangup";
    let listen = "listen = [\"127.0.0.1:0\"]\n";
    let before = [listen, &user("ada", "hunter1"), &user("eve", "word")].concat();
    let Some(mut service) = Service::start(test, &before) else { return };
    let address = service.address();
    let (ada, eve) =
        (connect(&address, "ada:hunter1").await.unwrap(), connect(&address, "eve:word").await.unwrap());

    // A file that is wrong changes nothing, in whatever way it is wrong.
    let twice = [listen, &user("bob", "x"), &user("bob", "y")].concat();
    for (wrong, why) in
        [("listen = [", "broker.toml"), (twice.as_str(), "user 'bob' is given more than once")]
    {
        service.reload(wrong);
        let log = service.log();
        assert!(log.contains("the settings stay as they were") && log.contains(why), "{log}");
        within(connect(&address, "eve:word").await.unwrap().close()).await.unwrap();
        assert!(connect(&address, "bob:x").await.is_err());
    }

    let permissions =
        "[[permissions]]\nuser = \"ada\"\nvhost = \"/\"\nconfigure = \"^ada\"\nwrite = \"\"\nread = \"\"\n";
    service.reload(&[listen, &user("ada", "hunter2"), &user("bob", "word"), permissions].concat());
    let gone = within(eve.closed()).await;
    assert!(gone.to_string().contains("320"), "{gone}");
    for login in ["eve:word", "ada:hunter1"] {
        assert!(connect(&address, login).await.is_err(), "{login}");
    }
    within(connect(&address, "bob:word").await.unwrap().close()).await.unwrap();
    within(connect(&address, "ada:hunter2").await.unwrap().close()).await.unwrap();
    let channel = ada.open_channel().await.unwrap();
    channel.declare(&Queue::new("ada-1")).await.unwrap();
    let refused = channel.declare(&Queue::new("other")).await.unwrap_err();
    assert!(refused.to_string().contains("403"), "the permissions hold for open connections: {refused}");
    let log = service.log();
    assert!(log.contains("users and certificates are those of the settings"), "{log}");
    assert!(!log.contains("hunter"), "{log}");
    service.signal("-TERM");
    assert_eq!(service.told(), "STOPPING=1");
}

/// Writes a certificate for localhost of a new authority, which is returned.
fn renewed(folder: &Path) -> Authority {
    let authority = Authority::new();
    authority.server(&["localhost"]).write(folder, "server").unwrap();
    authority
}

#[tokio::test]
async fn the_certificate_is_that_of_the_file_after_a_hangup() {
    let test = "broker::reload::the_certificate_is_that_of_the_file_after_a_hangup";
    let folder = tempfile::tempdir().unwrap();
    let first = renewed(folder.path());
    let (certificate, key) = first.server(&["localhost"]).write(folder.path(), "server").unwrap();
    let settings = format!(
        "listen-tls = [\"127.0.0.1:0\"]\ntls-certificate = \"{}\"\ntls-key = \"{}\"\n",
        certificate.display(),
        key.display()
    );
    let Some(mut service) = Service::start(test, &settings) else { return };
    let port = service.address().rsplit_once(':').unwrap().1.to_owned();
    let connect = async |authority: &Authority| {
        let trusting = TlsOptions::new().ca_pem(authority.pem());
        within(ConnectOptions::new().tls(trusting).connect(&format!("amqps://localhost:{port}"))).await
    };
    let before = connect(&first).await.unwrap();

    fs::write(&certificate, "nothing").unwrap();
    service.reload(&settings);
    let log = service.log();
    assert!(log.contains("the settings stay as they were") && log.contains("server"), "{log}");
    within(connect(&first).await.unwrap().close()).await.unwrap();

    let second = renewed(folder.path());
    service.reload(&settings);
    assert!(connect(&first).await.is_err());
    within(connect(&second).await.unwrap().close()).await.unwrap();
    before.open_channel().await.expect("open connections keep their certificate");
}
