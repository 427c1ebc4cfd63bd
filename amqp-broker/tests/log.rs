//! The program's log lines about connections, whatever a client sends.

// Clippy lets only the bodies of tests unwrap; their helpers fail a test in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use amqp_codec::{
    ContentHeader, Frame, Method, Properties, RawFrame, Secret, ShortString, Table,
    frame::PROTOCOL_HEADER,
    method::{basic, channel, connection, queue},
    sasl,
};
use bytes::BytesMut;

const FRAME_MAX: u32 = 131_072;
/// A text that ends lines in all possible ways, colours them and changes their direction.
const EVIL: &str =
    "x\n2026-01-01T00:00:00Z ERROR forged\r\u{1b}[31m\u{85}\u{2028}\u{2029}\u{202e}\u{2066}\u{7f}\0y";

/// The program, killed when dropped.
struct Program {
    child: Child,
    address: String,
}

impl Program {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_amqp-broker"))
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Program { child, address }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    /// Ends the program; returns its log lines, none of which a client could have forged.
    fn log(mut self) -> Vec<String> {
        self.signal("-TERM");
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(self.child.wait().unwrap().success());
        assert!(
            !log.chars().any(|c| c != '\n' && EVIL.contains(c) && !c.is_ascii_graphic() && c != ' '),
            "{log:?}"
        );
        log.lines().map(str::to_owned).collect()
    }

    /// A client that has sent the protocol header, and its address.
    fn client(&self) -> Client {
        let stream = TcpStream::connect(&self.address).unwrap();
        let address = stream.local_addr().unwrap().to_string();
        let mut client = Client { stream, input: BytesMut::new(), address };
        client.stream.write_all(&PROTOCOL_HEADER).unwrap();
        client.next();
        client
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Client {
    stream: TcpStream,
    input: BytesMut,
    address: String,
}

impl Client {
    fn send(&mut self, number: u16, method: impl Into<Method>) {
        self.frame(&Frame::Method(number, method.into()));
    }

    fn frame(&mut self, frame: &Frame) {
        let mut octets = BytesMut::new();
        frame.encode(usize::MAX, &mut octets).unwrap();
        self.stream.write_all(&octets).unwrap();
    }

    fn next(&mut self) -> Option<Method> {
        loop {
            if let Some(raw) = RawFrame::split_from(&mut self.input, FRAME_MAX as usize).unwrap() {
                if let Frame::Method(_, method) = raw.decode().unwrap() {
                    return Some(method);
                }
                continue;
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(count) if count > 0 => self.input.extend_from_slice(&chunk[..count]),
                _ => return None,
            }
        }
    }

    fn log_in(&mut self, user: &str, password: &str, name: &str) {
        let mut client_properties = Table::new();
        client_properties.insert("connection_name", name).unwrap();
        let response = sasl::plain(user, password);
        let (mechanism, locale) = (ShortString::from_static("PLAIN"), ShortString::from_static("en_US"));
        self.send(0, connection::StartOk { client_properties, mechanism, response, locale });
        self.next();
    }

    fn open(&mut self, vhost: &str) -> Option<Method> {
        self.send(0, connection::TuneOk { channel_max: 10, frame_max: FRAME_MAX, heartbeat: 0 });
        self.send(0, connection::Open { virtual_host: short(vhost), ..Default::default() });
        self.next()
    }

    fn close(mut self, text: &str) {
        self.send(0, connection::Close { reply_code: 200, reply_text: short(text), ..Default::default() });
        // Answers to earlier requests come before its own.
        while !matches!(self.next(), None | Some(Method::Connection(connection::Method::CloseOk(_)))) {}
    }
}

fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

/// The lines about a connection.
fn about<'a>(log: &'a [String], address: &str) -> Vec<&'a str> {
    log.iter().map(String::as_str).filter(|line| line.contains(&format!("{address} -> "))).collect()
}

#[test]
fn a_connection_has_a_line_when_it_opens_and_one_when_it_closes() {
    let program = Program::start(&[]);
    let mut client = program.client();
    client.log_in("guest", "guest", "worker 7");
    client.open("/");
    let address = client.address.clone();
    client.close("Goodbye");
    let log = program.log();
    let [opened, closed] = about(&log, &address)[..] else { panic!("{log:#?}") };
    for word in [" INFO ", "connection opened", "user=\"guest\"", "vhost=\"/\"", "name=\"worker 7\""] {
        assert!(opened.contains(word), "{word} is not in {opened}");
    }
    for word in [" INFO ", "connection closed", "user=\"guest\"", "vhost=\"/\"", "seconds=0", "200 Goodbye"] {
        assert!(closed.contains(word), "{word} is not in {closed}");
    }
}

#[test]
fn further_signals_while_it_ends_change_nothing() {
    let program = Program::start(&[]);
    let mut client = program.client();
    client.log_in("guest", "guest", "x");
    client.open("/");
    let address = client.address.clone();
    program.signal("-TERM");
    let Some(Method::Connection(connection::Method::Close(close))) = client.next() else {
        panic!("no close")
    };
    assert_eq!(close.reply_code, 320);
    // It waits for the client now, which does not answer until further signals have come.
    for signal in ["-TERM", "-INT", "-HUP"] {
        program.signal(signal);
    }
    client.send(0, connection::CloseOk {});
    let log = program.log();
    assert!(
        about(&log, &address).iter().any(|line| line.contains("why=\"the broker closed it: 320")),
        "{log:#?}"
    );
}

#[test]
fn no_client_writes_lines_of_its_own() {
    let program = Program::start(&["--log", "debug", "--vhost", "/"]);
    let mut addresses = Vec::new();
    let mut client = program.client();
    addresses.push(client.address.clone());
    // A login with a NUL in a name would be malformed.
    client.log_in(&EVIL.replace('\0', ""), "x", "x");
    let mut client = program.client();
    addresses.push(client.address.clone());
    client.log_in("guest", "guest", EVIL);
    client.open(EVIL);
    let mut client = program.client();
    addresses.push(client.address.clone());
    client.send(0, connection::StartOk { mechanism: short(EVIL), ..Default::default() });
    client.next();
    let mut client = program.client();
    addresses.push(client.address.clone());
    client.log_in("guest", "guest", EVIL);
    client.open("/");
    client.send(1, channel::Open::default());
    client.send(1, queue::Declare { queue: short(EVIL), passive: true, ..Default::default() });
    client.close(EVIL);
    let log = program.log();
    for address in &addresses {
        assert!(about(&log, address).iter().any(|line| line.contains("forged")), "{log:#?}");
    }
    for line in &log {
        // These are a time, a level, and a module of the broker.
        let words: Vec<&str> = line.split_whitespace().take(3).collect();
        let levels = ["DEBUG", "INFO", "WARN", "ERROR"];
        assert!(levels.contains(&words[1]) && words[2].starts_with("amqp_broker"), "{line}");
    }
    assert!(log.iter().any(|line| line.contains("login refused") && line.contains(" WARN ")), "{log:#?}");
    assert!(log.iter().any(|line| line.contains("channel closed")), "{log:#?}");
}

#[test]
fn a_name_of_a_megabyte_makes_a_line_of_hundreds_of_characters() {
    let program = Program::start(&[]);
    let mut client = program.client();
    client.log_in(&"\n".repeat(100_000), "x", "x");
    let log = program.log();
    assert!(log.iter().all(|line| line.len() < 2_500), "{log:#?}");
}

#[test]
fn no_line_has_a_secret_of_a_frame_that_ends_wrongly() {
    let program = Program::start(&["--log", "trace"]);
    let mut client = program.client();
    client.log_in("guest", "guest", "x");
    client.open("/");
    let update = connection::UpdateSecret { new_secret: Secret::from("hunter2"), reason: short("hunter2") };
    let mut frame = BytesMut::new();
    Frame::Method(0, update.into()).encode(usize::MAX, &mut frame).unwrap();
    *frame.last_mut().unwrap() = 0;
    client.stream.write_all(&frame).unwrap();
    assert!(matches!(client.next(), Some(Method::Connection(connection::Method::Close(_)))));
    drop(client);
    let log = program.log().join("\n");
    assert!(log.contains("invalid_frame_end_marker"), "{log}");
    assert!(!log.contains("hunter") && !log.contains("104,117"), "{log}");
}

#[test]
fn json_is_an_object_a_line_with_the_same_in_fields() {
    let program = Program::start(&["--log-format", "json"]);
    let mut client = program.client();
    client.log_in("guest", "guest", EVIL);
    client.open("/");
    let address = client.address.clone();
    client.close("Goodbye");
    let log = program.log();
    let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    let lines: Vec<serde_json::Value> = log.iter().map(|line| read(line)).collect();
    let opened = lines.iter().find(|line| line["message"] == "connection opened").unwrap();
    assert_eq!(
        (&opened["level"], &opened["user"], &opened["vhost"]),
        (&"INFO".into(), &"guest".into(), &"/".into())
    );
    assert!(opened["connection"].as_str().unwrap().starts_with(&format!("{address} -> 127.0.0.1:")));
    assert!(opened["name"].as_str().unwrap().starts_with("x\\n2026"), "{opened}");
    let closed = lines.iter().find(|line| line["message"] == "connection closed").unwrap();
    assert!(
        closed["seconds"].is_number() && closed["why"].as_str().unwrap().contains("200 Goodbye"),
        "{closed}"
    );
}

#[test]
fn direct_replies_that_nobody_gets_are_told_with_their_number() {
    let program = Program::start(&[]);
    let mut client = program.client();
    client.log_in("guest", "guest", "server");
    client.open("/");
    client.send(1, channel::Open::default());
    client.next();
    let key = short("amq.rabbitmq.reply-to.nobody");
    client.send(1, basic::Publish { routing_key: key, ..Default::default() });
    let properties = Properties::default().encode().unwrap();
    let header = ContentHeader { class_id: 60, body_size: 0, properties };
    client.frame(&Frame::Header(1, header));
    client.close("");
    let log = program.log();
    let told =
        log.iter().filter(|line| line.contains("direct replies are dropped") && line.contains("too_late=1"));
    assert_eq!(told.count(), 1, "{log:#?}");
}
