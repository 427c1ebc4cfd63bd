//! A connection of a virtual host whose other side is a backend: its stream, its heartbeats and its
//! end.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::{mpsc::UnboundedReceiver, watch},
    time::{Instant, timeout},
};

use super::{
    clients::{ClientEntry, Login},
    connection_log,
    ending::{CLOSE_TIMEOUT, LEAVE_TIMEOUT, ended, hear_out, take_leave, until},
    heartbeat::Heartbeat,
    instance::Instance,
};
use crate::{
    backend::Wakes,
    gateway::{
        Connection, Gateway, refused,
        session::{Phase, Terms},
    },
    session::{command::Command, handshake::Agreed},
};

/// While this many octets of output wait, the client is not read: it has to read first.
const MOST_OUTPUT: usize = 8 << 20;

/// The room for the next read, in octets.
const READ_SIZE: usize = 64 << 10;

/// An open connection with the halves of its stream.
struct Relay<S> {
    connection: Box<dyn Connection>,
    wakes: Wakes,
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    input: BytesMut,
    heartbeat: Heartbeat,
    heard: bool,
    spoke: bool,
}

/// Serves a client that has logged in.
pub(super) async fn run<S: AsyncRead + AsyncWrite + Unpin>(
    (mut stream, input): (S, BytesMut),
    (agreed, place): (Agreed, ClientEntry),
    gateway: Arc<dyn Gateway>,
    (commands, mut ending): (UnboundedReceiver<Command>, watch::Receiver<bool>),
    broker: &Instance,
) {
    let client = Arc::clone(&place.client);
    let heartbeat = Heartbeat::new(agreed.tune.heartbeat);
    let terms = Terms {
        channel_max: agreed.tune.channel_max,
        frame_max: agreed.tune.frame_max as usize,
        max_message_size: broker.config.max_message_size(),
        cancel_notify: agreed.cancel_notify,
        name: client.name.clone(),
        access: agreed.access,
    };
    let (user, vhost) = (terms.access.user.clone(), agreed.vhost);
    let opened = tokio::select! {
        opened = gateway.open(terms) => opened,
        () = ended(&mut ending) => return,
    };
    let connection = match opened {
        Ok(connection) => connection,
        Err(error) => {
            connection_log::not_opened(&client.name, &error);
            let mut close = BytesMut::new();
            let frame_max = amqp_codec::FRAME_MIN_SIZE as usize;
            let encoded = amqp_codec::frame::encode_method(0, &refused(&error), frame_max, &mut close);
            if encoded.is_ok() && stream.write_all_buf(&mut close).await.is_ok() {
                take_leave(&mut stream).await;
            }
            return;
        }
    };
    let (tune, introduction) = (agreed.tune, agreed.introduction);
    client.logged_in(Login { user, vhost, client_name: agreed.client_name, id: None, tune, introduction });
    connection_log::opened(&client);
    let opened = Instant::now();
    let (reader, writer) = split(stream);
    let wakes = connection.wakes();
    let (heard, spoke) = (true, false);
    let mut relay = Relay { connection, wakes, reader, writer, input, heartbeat, heard, spoke };
    let lost = relay.run(commands, &mut ending).await;
    let why = relay.connection.why().or(lost.as_deref()).unwrap_or("for no reason known");
    connection_log::closed(&client, opened, why);
    relay.end(place, &mut ending).await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Relay<S> {
    /// Relays until the connection has ended; returns how it was lost, if it was.
    async fn run(
        &mut self,
        mut commands: UnboundedReceiver<Command>,
        ending: &mut watch::Receiver<bool>,
    ) -> Option<String> {
        // The octets that came behind the handshake's last frame are processed first.
        self.connection.receive(&mut self.input).await;
        let (mut close_by, mut is_ending) = (None, false);
        loop {
            let phase = self.connection.phase();
            if phase == Phase::Closing {
                close_by.get_or_insert(Instant::now() + CLOSE_TIMEOUT);
            }
            let waiting = self.connection.output().len();
            if matches!(phase, Phase::Finished | Phase::Left) && waiting == 0 {
                return None;
            }
            let reads = waiting < MOST_OUTPUT && matches!(phase, Phase::Running | Phase::Closing);
            self.input.reserve(if reads { READ_SIZE } else { 0 });
            // Without an order, so that neither a busy client nor a busy queue holds up the other.
            tokio::select! {
                Some(command) = commands.recv() => {
                    let is_dropped = command == Command::Drop;
                    self.connection.apply(command).await;
                    if is_dropped {
                        return Some("a test dropped it".to_owned());
                    }
                }
                written = self.writer.write_buf(self.connection.output()), if waiting > 0 => match written {
                    Ok(0) | Err(_) => return Some("lost: the stream is closed".to_owned()),
                    Ok(_) => {
                        self.spoke = true;
                        if self.connection.output().is_empty() {
                            self.connection.serve().await;
                        }
                    }
                },
                news = self.wakes.next() => self.connection.hear(news).await,
                read = self.reader.read_buf(&mut self.input), if reads => match read {
                    Ok(0) => return Some("lost: the client disconnected".to_owned()),
                    Err(error) => return Some(format!("lost: {error}")),
                    Ok(_) => {
                        self.heard = true;
                        self.connection.receive(&mut self.input).await;
                    }
                },
                () = self.heartbeat.beat() => {
                    if !std::mem::take(&mut self.spoke) && waiting == 0 {
                        self.connection.beat();
                    }
                    if !self.heartbeat.lives(std::mem::take(&mut self.heard) || !reads) {
                        return Some("lost: two heartbeats missed".to_owned());
                    }
                }
                () = until(close_by) => return None,
                () = ended(ending), if !is_ending => {
                    is_ending = true;
                    self.connection.apply(Command::ShutDown).await;
                }
            }
        }
    }

    /// Ends the connection in the backend, and then the stream.
    async fn end(self, place: ClientEntry, ending: &mut watch::Receiver<bool>) {
        let Relay { connection, reader, writer, input, .. } = self;
        let is_left = connection.phase() == Phase::Left;
        connection.end().await;
        let _leaving = place.leave();
        let mut stream = reader.unsplit(writer);
        if is_left {
            // The client may have written more behind its close: unread data would turn the end of
            // the stream into a reset, which could overtake our answer.
            tokio::select! {
                _ = timeout(LEAVE_TIMEOUT, hear_out(&mut stream, &input)) => {}
                () = ended(ending) => {}
            }
        }
        let _ = timeout(CLOSE_TIMEOUT, stream.shutdown()).await;
    }
}
