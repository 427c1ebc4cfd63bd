use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use amqp_broker::Broker;
use amqp_codec::{
    Frame, Method, RawFrame,
    method::{basic, channel, connection},
};
use amqp_fuzz::{Choices, Item, Level, Mutator, Session, SessionOptions, WireFrame, octets};
use bytes::BytesMut;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    time::timeout,
};

use crate::{
    broker_session::{narrow, serves},
    script::{must_end, runtime},
};

/// In the first octet: the broker has narrow limits, and the client has restricted permissions.
const NARROW: u8 = 0x40;
/// In the first octet: in how many of 32 acts something is changed. With none of them the client
/// behaves, and must find nothing wrong.
const CHANGED: u8 = 0x0f;

/// The acts of all connections together.
const ACTS: usize = 200;
/// Who is refused may come again, so many times in all.
const CONNECTIONS: usize = 6;

/// How many frames a failure shows.
const SHOWN: usize = 200;

const FRAME_MAX: usize = 131_072;

/// How far an input has come.
#[derive(Debug, Default)]
pub struct Depth {
    /// The connections that were opened.
    pub connections: usize,
    /// The frames that clients have sent, without heartbeats.
    pub frames: usize,
    /// The names of the methods that clients have sent.
    pub methods: BTreeSet<&'static str>,
    /// The codes of closes and returns, and the methods that had them.
    pub codes: BTreeSet<(u16, &'static str)>,
}

/// A client that knows its protocol uses a broker, and breaks it now and then. Nothing panics; the
/// broker serves the next client, and ends when it is asked to. A client that breaks nothing has
/// nothing to complain of.
///
/// The first octet says what the constants above say; the others decide what the client does.
pub fn session_model(data: &[u8]) -> Depth {
    let Some((&first, rest)) = data.split_first() else { return Depth::default() };
    let mut choices = Choices::from_bytes(rest);
    runtime().block_on(async {
        let is_narrow = first & NARROW != 0;
        let broker = if is_narrow { narrow() } else { Broker::builder().build() };
        let mut depth = Depth::default();
        let mut acts = ACTS;
        for _ in 0..CONNECTIONS {
            let Some(mut client) = Client::open(&broker).await else { break };
            depth.connections += 1;
            let changed = usize::from(first & CHANGED);
            must_end("a client", client.act(changed, &mut acts, &mut choices)).await;
            if changed == 0 && !is_narrow {
                let faults = client.session.faults();
                assert_eq!(
                    faults,
                    [],
                    "a client that behaves has no complaint after\n{}",
                    client.transcript()
                );
            }
            depth.add(&client);
            if acts == 0 {
                break;
            }
        }
        must_end("the next client", serves(broker.connect())).await;
        must_end("shutdown()", broker.shutdown()).await;
        depth
    })
}

/// Clients that behave, and clients that rarely, often or always do not.
pub(crate) fn seeds() -> impl Iterator<Item = Vec<u8>> {
    const LENGTH: usize = 400;
    let firsts = [0, 1, 2, 4, 8, NARROW, NARROW | 2].into_iter();
    let numbered = firsts.flat_map(|first| (0..4).map(move |number| (first, number)));
    numbered.map(|(first, number)| [&[first], &Choices::from_seed(number).octets(LENGTH)[..]].concat())
}

struct Client {
    session: Session,
    stream: DuplexStream,
    input: BytesMut,
    depth: Depth,
    /// What was sent, `>`, and received, `<`.
    passed: VecDeque<(char, WireFrame)>,
}

impl Client {
    async fn open(broker: &Broker) -> Option<Self> {
        let options = SessionOptions { refusals: true, ..Default::default() };
        let session = Session::new(options);
        let mut stream = broker.connect();
        stream.write_all(&session.opening()).await.ok()?;
        let mut client = Client {
            session,
            stream,
            input: BytesMut::new(),
            depth: Depth::default(),
            passed: VecDeque::new(),
        };
        while !client.session.is_open() {
            must_end("the handshake", client.read()).await?;
        }
        Some(client)
    }

    /// Acts until the connection or the acts have ended.
    async fn act(&mut self, changed: usize, acts: &mut usize, choices: &mut Choices<'_>) -> Option<()> {
        let mut mutator = Mutator::new(Level::ALL);
        while *acts > 0 && !self.session.is_ended() {
            *acts -= 1;
            while self.session.is_waiting() {
                match timeout(Duration::from_secs(5), self.read()).await {
                    Ok(read) => read?,
                    // The request may have been changed, or a limit keeps the broker from reading.
                    Err(_) => self.session.give_up(),
                }
            }
            let mut frames: Vec<_> = self.session.next(choices).frames.iter().map(WireFrame::of).collect();
            if changed > 0 && choices.below(32) < changed {
                mutator.mutate(&mut frames, choices);
            } else {
                mutator.pass(&frames);
            }
            self.send(&frames).await?;
        }
        if *acts == 0 && changed == 0 {
            while !self.session.is_quiet() {
                must_end("the last answers", self.read()).await?;
            }
            let close: Vec<_> = self.session.close().frames.iter().map(WireFrame::of).collect();
            self.send(&close).await?;
            while !self.session.is_ended() {
                must_end("the end", self.read()).await?;
            }
        }
        Some(())
    }

    async fn send(&mut self, frames: &[WireFrame]) -> Option<()> {
        for frame in frames {
            self.depth.sent(frame);
            self.pass('>', frame.clone());
        }
        // The broker may wait for its output to be read.
        let octets = octets(frames);
        timeout(Duration::from_secs(60), self.stream.write_all(&octets)).await.ok()?.ok()
    }

    fn pass(&mut self, direction: char, frame: WireFrame) {
        if self.passed.len() == SHOWN {
            self.passed.pop_front();
        }
        self.passed.push_back((direction, frame));
    }

    /// The last frames, a line each.
    fn transcript(&self) -> String {
        let lines = self
            .passed
            .iter()
            .map(|(direction, frame)| format!("{direction} {}\n", Item::from(frame.clone())));
        lines.collect()
    }

    /// Reads once; `None` when the broker has hung up.
    async fn read(&mut self) -> Option<()> {
        let count = self.stream.read_buf(&mut self.input).await.ok()?;
        if count == 0 {
            return None;
        }
        while let Some(raw) = RawFrame::split_from(&mut self.input, FRAME_MAX).expect("a frame") {
            let frame = raw.decode().expect("a frame of the protocol");
            self.depth.received(&frame);
            self.pass('<', WireFrame::of(&frame));
            let answers: Vec<_> = self.session.received(&frame).iter().map(WireFrame::of).collect();
            self.send(&answers).await?;
        }
        Some(())
    }
}

impl Depth {
    fn sent(&mut self, frame: &WireFrame) {
        match frame.frame() {
            Some(Frame::Heartbeat(_)) => {}
            decoded => {
                self.frames += 1;
                if let Some(Frame::Method(_, method)) = decoded {
                    self.methods.insert(method.name());
                }
            }
        }
    }

    fn received(&mut self, frame: &Frame) {
        let Frame::Method(_, method) = frame else { return };
        let code = match method {
            Method::Connection(connection::Method::Close(close)) => close.reply_code,
            Method::Channel(channel::Method::Close(close)) => close.reply_code,
            Method::Basic(basic::Method::Return(returned)) => returned.reply_code,
            _ => return,
        };
        self.codes.insert((code, method.name()));
    }

    fn add(&mut self, client: &Client) {
        self.frames += client.depth.frames;
        self.methods.extend(&client.depth.methods);
        self.codes.extend(&client.depth.codes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The input that a seed stands for.
    fn input(seed: u64, first: u8) -> Vec<u8> {
        [&[first], &seed.to_be_bytes()[..]].concat()
    }

    #[test]
    fn a_client_that_behaves_sends_hundreds_of_frames_on_one_connection() {
        for seed in 0..20 {
            let depth = session_model(&input(seed, 0));
            assert_eq!(depth.connections, 1, "seed {seed}");
            assert!(depth.frames >= 200, "seed {seed}: {}", depth.frames);
        }
    }

    #[test]
    fn most_methods_and_reply_codes_are_reached() {
        let (mut methods, mut codes) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..400 {
            let depth = session_model(&input(seed, [1, 2, 4, 8, NARROW, NARROW | 2][seed as usize % 6]));
            methods.extend(depth.methods);
            codes.extend(depth.codes.iter().map(|(code, _)| *code));
        }
        let missing: Vec<_> = amqp_fuzz::client_methods()
            .filter_map(amqp_codec::MethodId::name)
            .filter(|name| !methods.contains(name))
            .collect();
        assert!(missing.len() <= 1, "{missing:?}");
        assert!(codes.len() >= 12, "{codes:?}");
    }
}
