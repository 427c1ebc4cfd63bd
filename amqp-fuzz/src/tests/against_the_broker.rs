//! Sessions against the embedded broker, in memory.

use std::collections::{BTreeMap, BTreeSet};

use amqp_broker::Broker;
use amqp_codec::{
    Frame, Method, MethodId, RawFrame,
    method::{basic, channel, connection},
};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    runtime::Runtime,
};

use crate::{Choices, Session, SessionOptions, Violation, WireFrame, client_methods, octets};

/// How many sessions each test has.
const SESSIONS: u64 = 30;

/// A session, its stream, and what has gone over it.
struct Driven {
    session: Session,
    stream: DuplexStream,
    input: BytesMut,
    sent: Vec<Frame>,
    codes: BTreeMap<u16, usize>,
    received: usize,
    log: Vec<String>,
}

impl Driven {
    async fn open(broker: &Broker, options: SessionOptions) -> Self {
        let session = Session::new(options);
        let mut stream = broker.connect();
        stream.write_all(&session.opening()).await.unwrap();
        let mut driven = Driven {
            session,
            stream,
            input: BytesMut::new(),
            sent: Vec::new(),
            codes: BTreeMap::new(),
            received: 0,
            log: Vec::new(),
        };
        while !driven.session.is_open() {
            driven.read().await;
        }
        driven
    }

    async fn act(&mut self, choices: &mut Choices<'_>) {
        while self.session.is_waiting() {
            self.read().await;
        }
        let step = self.session.next(choices);
        self.send(step.frames).await;
    }

    async fn send(&mut self, frames: Vec<Frame>) {
        let wire: Vec<_> = frames.iter().map(WireFrame::of).collect();
        self.log.extend(frames.iter().map(|frame| format!("> {frame}")));
        self.sent.extend(frames);
        self.stream.write_all(&octets(&wire)).await.unwrap();
    }

    async fn read(&mut self) {
        let count = self.stream.read_buf(&mut self.input).await.unwrap();
        assert_ne!(
            count,
            0,
            "the broker hung up; last sent: {:#?}",
            &self.sent[self.sent.len().saturating_sub(8)..]
        );
        while let Some(raw) = RawFrame::split_from(&mut self.input, 1 << 20).unwrap() {
            self.received += 1;
            let frame = raw.decode().unwrap();
            self.log.push(format!("< {frame}"));
            if let Some(code) = code(&frame) {
                *self.codes.entry(code).or_default() += 1;
            }
            let answers = self.session.received(&frame);
            self.send(answers).await;
        }
    }

    async fn close(&mut self) {
        while !self.session.is_quiet() {
            self.read().await;
        }
        let step = self.session.close();
        self.send(step.frames).await;
        while !self.session.is_ended() {
            self.read().await;
        }
    }

    fn expect_no_faults(&self, seed: u64) {
        let faults = self.session.faults();
        if !faults.is_empty() {
            if let Ok(file) = std::env::var("FUZZ_LOG") {
                std::fs::write(file, self.log.join("\n")).unwrap();
            }
            let tail = &self.log[self.log.len().saturating_sub(30)..];
            panic!("seed {seed}: {faults:?} after {}", tail.join("\n"));
        }
    }

    fn methods(&self) -> BTreeSet<&'static str> {
        self.sent
            .iter()
            .filter_map(|frame| match frame {
                Frame::Method(_, method) => Some(method.name()),
                _ => None,
            })
            .collect()
    }
}

fn code(frame: &Frame) -> Option<u16> {
    match frame {
        Frame::Method(_, Method::Connection(connection::Method::Close(close))) => Some(close.reply_code),
        Frame::Method(_, Method::Channel(channel::Method::Close(close))) => Some(close.reply_code),
        Frame::Method(_, Method::Basic(basic::Method::Return(it))) => Some(it.reply_code),
        _ => None,
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Runs sessions of 300 acts each.
fn run(options: impl Fn(u64) -> SessionOptions) -> Vec<Driven> {
    let mut all = Vec::new();
    for seed in 0..SESSIONS {
        let driven = runtime().block_on(async {
            let broker = Broker::builder().build();
            let mut driven = Driven::open(&broker, options(seed)).await;
            let mut choices = Choices::from_seed(seed);
            for _ in 0..300 {
                driven.act(&mut choices).await;
                driven.expect_no_faults(seed);
            }
            driven.close().await;
            driven.expect_no_faults(seed);
            broker.shutdown().await;
            driven
        });
        all.push(driven);
    }
    all
}

#[test]
fn a_valid_session_is_long_and_the_broker_has_no_reason_to_refuse_anything() {
    let sessions = run(|_| SessionOptions::default());
    for driven in &sessions {
        let frames = driven.sent.iter().filter(|frame| !matches!(frame, Frame::Heartbeat(_))).count();
        assert!(frames >= 200, "{frames} frames");
        // Beside returned messages, a commit may fail because a queue is full.
        assert!(driven.codes.keys().all(|code| matches!(code, 312 | 406)), "{:?}", driven.codes);
    }
}

#[test]
fn every_method_occurs_that_this_broker_has_a_reason_to_get() {
    let sessions = run(|_| SessionOptions { refusals: true, ..Default::default() });
    let methods: BTreeSet<_> = sessions.iter().flat_map(Driven::methods).collect();
    let missing: Vec<_> =
        client_methods().filter_map(MethodId::name).filter(|name| !methods.contains(name)).collect();
    // They are answers. Its login has no challenge, and it asks for neither.
    let never_asked = ["connection.secure-ok", "connection.close-ok", "channel.flow-ok", "basic.cancel-ok"];
    assert_eq!(missing, never_asked);
    let codes: BTreeSet<_> = sessions.iter().flat_map(|driven| driven.codes.keys().copied()).collect();
    assert_eq!(codes, BTreeSet::from([312, 403, 404, 405, 406]));
}

#[test]
fn a_session_that_is_told_nothing_is_valid_too() {
    for seed in 0..SESSIONS {
        let options = SessionOptions { is_told: false, ..Default::default() };
        let mut session = Session::new(options.clone());
        let mut choices = Choices::from_seed(seed);
        let mut octets = BytesMut::from(&session.opening()[..]);
        for _ in 0..200 {
            let step = session.next(&mut choices);
            step.frames.iter().map(WireFrame::of).for_each(|frame| frame.put(&mut octets));
        }
        session.close().frames.iter().map(WireFrame::of).for_each(|frame| frame.put(&mut octets));
        let mut received = runtime().block_on(async {
            let broker = Broker::builder().build();
            let (mut read, mut write) = tokio::io::split(broker.connect());
            let mut received = Vec::new();
            let (sent, _) = tokio::join!(write.write_all(&octets), read.read_to_end(&mut received));
            sent.unwrap();
            BytesMut::from(&received[..])
        });
        let mut last = None;
        while let Some(raw) = RawFrame::split_from(&mut received, 1 << 20).unwrap() {
            let frame = raw.decode().unwrap();
            let closes = code(&frame).is_some_and(|code| !matches!(code, 312 | 406));
            assert!(!closes, "seed {seed}: {frame}");
            last = Some(frame);
        }
        assert_eq!(last, Some(Frame::Method(0, connection::CloseOk {}.into())), "seed {seed}");
    }
}

#[test]
fn each_violation_closes_the_connection_with_a_code_that_is_allowed_for_it() {
    let mut codes = BTreeSet::new();
    for (number, violation) in Violation::ALL.iter().enumerate() {
        runtime().block_on(async {
            let broker = Broker::builder().build();
            let mut driven = Driven::open(&broker, SessionOptions::default()).await;
            let mut choices = Choices::from_seed(number as u64);
            for _ in 0..60 {
                driven.act(&mut choices).await;
            }
            while driven.session.is_waiting() {
                driven.read().await;
            }
            let (frames, _) = driven.session.violate(*violation, &mut choices).unwrap();
            driven.stream.write_all(&octets(&frames)).await.unwrap();
            while !driven.session.is_ended() {
                driven.read().await;
            }
            assert_eq!(driven.session.faults(), [], "{violation:?}");
            codes.extend(driven.codes.keys().copied().filter(|code| *code > 500));
            broker.shutdown().await;
        });
    }
    assert_eq!(codes, BTreeSet::from([501, 502, 503, 504, 505, 530, 540]));
}
