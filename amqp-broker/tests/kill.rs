//! SIGKILL at any moment, with a ledger: nothing that was confirmed is lost, nothing that was acknowledged returns.

// Clippy lets only the bodies of tests unwrap; their helpers fail a test in the same way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use amqp_codec::{
    ContentHeader, Frame, Method, Properties, RawFrame, ShortString,
    frame::PROTOCOL_HEADER,
    method::{basic, channel, confirm, connection, queue},
    sasl,
};
use bytes::{Bytes, BytesMut};

const FRAME_MAX: usize = 131_072;
const WINDOW: u64 = 50;

/// The program, killed when dropped.
struct Program {
    child: Child,
    address: String,
}

impl Program {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_amqp-broker"))
            .args(["--listen", "127.0.0.1:0", "--log", "error", "--data"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("it listens").to_owned();
        Program { child, address }
    }

    fn kill(mut self) {
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

/// A client that waits for what it asks for.
struct Client {
    stream: TcpStream,
    input: BytesMut,
}

fn short(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

impl Client {
    /// A connection with channel 1.
    fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_nodelay(true)?;
        let mut client = Client { stream, input: BytesMut::new() };
        client.stream.write_all(&PROTOCOL_HEADER)?;
        client.next()?;
        let response = sasl::plain("guest", "guest");
        client.send(0, connection::StartOk { mechanism: short("PLAIN"), response, ..Default::default() })?;
        client.next()?;
        let tune_ok = connection::TuneOk { channel_max: 10, frame_max: FRAME_MAX as u32, heartbeat: 0 };
        client.send(0, tune_ok)?;
        client.call(0, connection::Open { virtual_host: short("/"), ..Default::default() })?;
        client.call(1, channel::Open::default())?;
        Ok(client)
    }

    fn send(&mut self, channel: u16, method: impl Into<Method>) -> io::Result<()> {
        self.frames(&[Frame::Method(channel, method.into())])
    }

    fn frames(&mut self, frames: &[Frame]) -> io::Result<()> {
        let mut out = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(FRAME_MAX, &mut out).unwrap());
        self.stream.write_all(&out)
    }

    fn call(&mut self, channel: u16, method: impl Into<Method>) -> io::Result<Frame> {
        self.send(channel, method)?;
        self.next()
    }

    fn next(&mut self) -> io::Result<Frame> {
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

    fn publish(&mut self, number: u64) -> io::Result<()> {
        let properties = Properties { delivery_mode: Some(2), ..Default::default() };
        // Some are large enough to lie apart.
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

    /// Publishes so many and awaits their confirms.
    fn confirmed(&mut self, numbers: std::ops::Range<u64>, tag: &mut u64) -> io::Result<()> {
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

    /// The number in a message's body, after the method that brought it.
    fn number(&mut self) -> io::Result<u64> {
        let Frame::Header(1, header) = self.next()? else { panic!("no header") };
        let Frame::Body(1, body) = self.next()? else { panic!("no body") };
        assert_eq!(body.len() as u64, header.body_size);
        Ok(std::str::from_utf8(&body).unwrap().trim().parse().unwrap())
    }

    /// All there is in the queue: numbers, and whether each was delivered before.
    fn drain(&mut self) -> Vec<(u64, bool)> {
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

fn publisher(address: &str) -> Client {
    let mut client = Client::open(address).unwrap();
    client.call(1, confirm::Select::default()).unwrap();
    client.call(1, queue::Declare { queue: short("q"), durable: true, ..Default::default() }).unwrap();
    client
}

/// Publishes until the broker is gone; counts in `confirmed` all that was confirmed.
fn publish_to_the_end(address: &str, from: u64, confirmed: &AtomicU64) {
    let (mut client, mut tag, mut next) = (publisher(address), 0, from);
    while client.confirmed(next..next + WINDOW, &mut tag).is_ok() {
        next += WINDOW;
        confirmed.store(next, Ordering::Release);
    }
}

/// Consumes and acknowledges until the broker is gone; all that came.
fn consume_to_the_end(address: &str) -> BTreeSet<u64> {
    let mut came = BTreeSet::new();
    let mut client = Client::open(address).unwrap();
    let mut consume = || -> io::Result<()> {
        client.call(1, basic::Qos { prefetch_count: 20, ..Default::default() })?;
        client.call(1, basic::Consume { queue: short("q"), ..Default::default() })?;
        loop {
            if let Frame::Method(1, Method::Basic(basic::Method::Deliver(deliver))) = client.next()? {
                came.insert(client.number()?);
                client.send(1, basic::Ack { delivery_tag: deliver.delivery_tag, multiple: false })?;
            }
        }
    };
    consume().unwrap_err();
    came
}

#[test]
fn nothing_confirmed_is_lost_whenever_the_broker_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let confirmed = Arc::new(AtomicU64::new(0));
    let mut came = BTreeSet::new();
    for round in 0..5 {
        let program = Program::start(folder.path());
        let from = confirmed.load(Ordering::Acquire);
        drop(publisher(&program.address));
        let publishing = thread::spawn({
            let (address, confirmed) = (program.address.clone(), Arc::clone(&confirmed));
            move || publish_to_the_end(&address, from, &confirmed)
        });
        // Every other time messages leave the queue meanwhile; not the last time, so that some are left.
        let consuming = (round % 2 == 1).then(|| {
            let address = program.address.clone();
            thread::spawn(move || consume_to_the_end(&address))
        });
        while confirmed.load(Ordering::Acquire) < from + (round + 1) * 4 * WINDOW {
            thread::yield_now();
        }
        program.kill();
        publishing.join().unwrap();
        came.extend(consuming.map(|consuming| consuming.join().unwrap()).unwrap_or_default());
    }
    let program = Program::start(folder.path());
    let left = Client::open(&program.address).unwrap().drain();
    assert!(left.iter().all(|(_, redelivered)| *redelivered), "nobody knows what had been delivered");
    let numbers: BTreeSet<u64> = left.iter().map(|(number, _)| *number).collect();
    let lost: Vec<u64> = (0..confirmed.load(Ordering::Acquire))
        .filter(|number| !numbers.contains(number) && !came.contains(number))
        .collect();
    assert!(lost.is_empty(), "confirmed and lost: {lost:?}");
    assert!(!came.is_empty() && !numbers.is_empty());
}

#[test]
fn what_was_acknowledged_before_a_later_confirm_does_not_return_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let program = Program::start(folder.path());
    let (mut client, mut tag) = (publisher(&program.address), 0);
    client.confirmed(0..100, &mut tag).unwrap();
    let mut consumer = Client::open(&program.address).unwrap();
    for number in 0..60 {
        consumer.send(1, basic::Get { queue: short("q"), ..Default::default() }).unwrap();
        consumer.next().unwrap();
        assert_eq!(consumer.number().unwrap(), number);
    }
    consumer.send(1, basic::Ack { delivery_tag: 40, multiple: true }).unwrap();
    consumer.call(1, basic::Qos::default()).unwrap();
    client.confirmed(100..101, &mut tag).unwrap();
    program.kill();
    let program = Program::start(folder.path());
    let left = Client::open(&program.address).unwrap().drain();
    assert_eq!(left, (40..101).map(|number| (number, true)).collect::<Vec<_>>());
}
