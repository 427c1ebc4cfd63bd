//! The program, and a client of it that waits for each answer.

// Each test binary uses some of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use amqp_codec::{
    ContentHeader, Frame, Method, Properties, RawFrame, ShortString, Table,
    frame::PROTOCOL_HEADER,
    method::{basic, channel, confirm, connection, queue},
    sasl,
};
use bytes::{Bytes, BytesMut};

const FRAME_MAX: usize = 131_072;

/// The program, killed when dropped.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) address: String,
    /// The log so far.
    pub(crate) log: Arc<Mutex<String>>,
}

impl Program {
    /// Starts the process, without waiting until it is ready.
    pub(crate) fn spawn(folder: &Path) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_amqp-broker"));
        command.args(["--listen", "127.0.0.1:0", "--log", "error", "--data"]).arg(folder);
        command.stdout(Stdio::null()).spawn().unwrap()
    }

    pub(crate) fn start(folder: &Path) -> Self {
        Self::with(folder, "ulimit -Sn 1024", &["--log", "error"])
    }

    /// Starts the program with these flags, after a shell has run `before`.
    pub(crate) fn with(folder: &Path, before: &str, flags: &[&str]) -> Self {
        let script = format!("{before}; exec \"$0\" --listen 127.0.0.1:0 --data \"$@\"");
        let mut command = Command::new("sh");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_amqp-broker")])
            .arg(folder)
            .args(flags)
            .env_remove("RUST_LOG");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        thread::spawn({
            let (stderr, log) = (BufReader::new(child.stderr.take().unwrap()), Arc::clone(&log));
            move || {
                stderr.lines().map_while(Result::ok).for_each(|line| *log.lock().unwrap() += &(line + "\n"));
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ");
        let address =
            address.unwrap_or_else(|| panic!("it does not listen: {}", log.lock().unwrap())).to_owned();
        Program { child, address, log }
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that waits for each answer.
pub(crate) struct Client {
    stream: TcpStream,
    input: BytesMut,
}

pub(crate) fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

impl Client {
    /// Opens a connection with channel 1.
    pub(crate) fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream, input: BytesMut::new() };
        client.stream.write_all(&PROTOCOL_HEADER)?;
        client.next()?;
        let response = sasl::plain("guest", "guest");
        let (mut capabilities, mut client_properties) = (Table::new(), Table::new());
        capabilities.insert("connection.blocked", true).unwrap();
        client_properties.insert("capabilities", capabilities).unwrap();
        let start_ok = connection::StartOk {
            client_properties,
            mechanism: short("PLAIN"),
            response,
            ..Default::default()
        };
        client.send(0, start_ok)?;
        client.next()?;
        let tune_ok = connection::TuneOk { channel_max: 10, frame_max: FRAME_MAX as u32, heartbeat: 0 };
        client.send(0, tune_ok)?;
        client.call(0, connection::Open { virtual_host: short("/"), ..Default::default() })?;
        client.call(1, channel::Open::default())?;
        Ok(client)
    }

    pub(crate) fn send(&mut self, channel: u16, method: impl Into<Method>) -> io::Result<()> {
        self.frames(&[Frame::Method(channel, method.into())])
    }

    pub(crate) fn frames(&mut self, frames: &[Frame]) -> io::Result<()> {
        let mut out = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(FRAME_MAX, &mut out).unwrap());
        self.stream.write_all(&out)
    }

    pub(crate) fn call(&mut self, channel: u16, method: impl Into<Method>) -> io::Result<Frame> {
        self.send(channel, method)?;
        self.next()
    }

    pub(crate) fn next(&mut self) -> io::Result<Frame> {
        loop {
            if let Some(raw) = RawFrame::split_from(&mut self.input, FRAME_MAX).unwrap() {
                return Ok(raw.decode().unwrap());
            }
            let mut part = [0; 65_536];
            let count = self.stream.read(&mut part)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.input.extend_from_slice(&part[..count]);
        }
    }

    pub(crate) fn publish(&mut self, number: u64) -> io::Result<()> {
        let properties = Properties { delivery_mode: Some(2), ..Default::default() };
        // Some bodies are large enough to be stored separately.
        let body = format!("{number}{}", " ".repeat(if number.is_multiple_of(10) { 5000 } else { 10 }));
        let header = ContentHeader {
            class_id: 60,
            body_size: body.len() as u64,
            properties: properties.encode().unwrap(),
        };
        let publish = basic::Publish { routing_key: short("q"), ..Default::default() };
        self.frames(&[
            Frame::Method(1, publish.into()),
            Frame::Header(1, header),
            Frame::Body(1, Bytes::from(body)),
        ])
    }

    /// Publishes the same message repeatedly, with this number as its body.
    pub(crate) fn publish_often(&mut self, queue: &str, number: u64, count: u64) -> io::Result<()> {
        self.publish_body(queue, Bytes::from(number.to_string()), count)
    }

    /// Publishes the same message repeatedly.
    pub(crate) fn publish_body(&mut self, queue: &str, body: Bytes, count: u64) -> io::Result<()> {
        let mut all = BytesMut::new();
        let properties = Properties { delivery_mode: Some(2), ..Default::default() }.encode().unwrap();
        let header = ContentHeader { class_id: 60, body_size: body.len() as u64, properties };
        let publish = basic::Publish { routing_key: short(queue), ..Default::default() };
        let frames = [Frame::Method(1, publish.into()), Frame::Header(1, header), Frame::Body(1, body)];
        for _ in 0..count {
            frames.iter().for_each(|frame| frame.encode(FRAME_MAX, &mut all).unwrap());
        }
        self.stream.write_all(&all)
    }

    /// Publishes messages with these numbers, and awaits their confirms.
    pub(crate) fn confirmed(&mut self, numbers: std::ops::Range<u64>, tag: &mut u64) -> io::Result<()> {
        let last = *tag + (numbers.end - numbers.start);
        for number in numbers {
            self.publish(number)?;
        }
        while *tag < last {
            match self.next()? {
                Frame::Method(1, Method::Basic(basic::Method::Ack(ack))) => *tag = ack.delivery_tag,
                other => panic!("no confirm: {other:?}"),
            }
        }
        Ok(())
    }

    /// The number in a message's body, read after the method that carries it.
    pub(crate) fn number(&mut self) -> io::Result<u64> {
        let Frame::Header(1, header) = self.next()? else { panic!("no header") };
        let Frame::Body(1, body) = self.next()? else { panic!("no body") };
        assert_eq!(body.len() as u64, header.body_size);
        Ok(std::str::from_utf8(&body).unwrap().trim().parse().unwrap())
    }

    /// All messages in the queue: the numbers, and whether each was redelivered.
    pub(crate) fn drain(&mut self) -> Vec<(u64, bool)> {
        let mut all = Vec::new();
        loop {
            let get = basic::Get { queue: short("q"), no_ack: true, ..Default::default() };
            match self.call(1, get).unwrap() {
                Frame::Method(1, Method::Basic(basic::Method::GetOk(ok))) => {
                    all.push((self.number().unwrap(), ok.redelivered));
                }
                _ => return all,
            }
        }
    }
}

pub(crate) fn publisher(address: &str) -> Client {
    let mut client = Client::open(address).unwrap();
    client.call(1, confirm::Select::default()).unwrap();
    client.call(1, queue::Declare { queue: short("q"), durable: true, ..Default::default() }).unwrap();
    client
}
