//! The input: frames are passed to their channels, and those of the connection are handled.

use std::time::{Duration, Instant};

use amqp_codec::{
    Arguments as _, Error as CodecError, FRAME_MIN_SIZE, FrameKind, Frames, Method, MethodId, Tune,
    frame::check_heartbeat,
    method::{basic, connection},
};
use bytes::{Bytes, BytesMut};

use super::{Engine, Phase};
use crate::{
    error::{Error, Result},
    event::Event,
    proto::{
        channel::After,
        ground::{
            chunk::{frames_of, next_frame, whole_frames},
            heartbeat::Heartbeat,
        },
        handshake::Progress,
    },
};

/// How long a window of unconfirmed publishes that has some room may wait for more.
const WINDOW_DELAY: Duration = Duration::from_millis(1);

/// The largest frame when neither side sets a limit.
const FRAME_MAX_UNLIMITED: usize = 64 * 1024 * 1024;

impl Engine {
    /// Takes all complete frames off the buffer and handles them.
    pub(crate) fn handle_input(&mut self, now: Instant, buffer: &mut BytesMut) {
        self.heartbeat.read(now);
        self.link.now = now;
        if let Phase::Handshake(handshake) = &self.phase {
            match handshake.may_be_frame(buffer) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.end(&error),
            }
        }
        let (whole, broken) = whole_frames(buffer, self.link.frame_max);
        let chunk = buffer.split_to(whole).freeze();
        self.link.metrics.bytes_received += chunk.len() as u64;
        let mut frames = frames_of(&chunk);
        while !frames.rest().is_empty() && !self.is_down() {
            if let Err(error) = self.handle_frame(now, &chunk, &mut frames) {
                return self.fail(now, error);
            }
        }
        self.put_batches();
        if std::mem::take(&mut self.link.window_opens) {
            self.windows_open_at.get_or_insert(now + WINDOW_DELAY);
        }
        if let Some(error) = broken {
            let error = match &self.phase {
                Phase::Handshake(handshake) => handshake.broken(error),
                _ => Error::Protocol { channel: 0, source: error },
            };
            self.fail(now, error.clone());
            // Where the next frame begins is unknown, so an answer to a close could not be read.
            self.end(&error);
        }
    }

    /// Handles the end or failure of the transport.
    pub(crate) fn handle_lost(&mut self, error: Option<Error>) {
        let reason = match (&self.phase, error) {
            (Phase::Closing { reason, .. }, _) => reason.clone(),
            (_, Some(error)) => error,
            (Phase::Handshake(handshake), None) => handshake.end_of_stream(),
            (_, None) => Error::end_of_stream(),
        };
        self.end(&reason);
    }

    fn handle_frame(&mut self, now: Instant, chunk: &Bytes, frames: &mut Frames<'_>) -> Result<()> {
        let frame = next_frame(frames).map_err(|source| Error::Protocol { channel: 0, source })?;
        self.link.metrics.frames_received += 1;
        if frame.kind == FrameKind::Heartbeat {
            check_heartbeat(frame.channel, frame.payload.len())
                .map_err(|source| Error::Protocol { channel: 0, source })?;
            return Ok(());
        }
        if frame.channel == 0 {
            return self.handle_connection_frame(now, frame.kind, &chunk.slice(frame.payload_range()));
        }
        let slot = self.channels.get_mut(usize::from(frame.channel));
        // After connection.close was sent, everything but its answer is ignored (spec section
        // 1.4.2.11).
        if matches!(self.phase, Phase::Closing { .. }) {
            return Ok(());
        }
        let Some(Some((_, channel))) = slot else {
            return Err(Error::Protocol { channel: frame.channel, source: CodecError::ChannelNotOpen });
        };
        let link = &mut self.link;
        match frame.kind {
            FrameKind::Method if MethodId::peek(frame.payload) == Some(basic::Deliver::ID) => {
                channel.deliver(link, chunk, &frame, frames)?;
            }
            FrameKind::Method => {
                let after = channel.method(link, &chunk.slice(frame.payload_range()))?;
                let has_batches = channel.consumers.has_batches();
                self.after_method(frame.channel, after);
                if has_batches && after == After::Goes {
                    self.touch(frame.channel);
                }
                return Ok(());
            }
            FrameKind::Header => channel.header(link, &chunk.slice(frame.payload_range()))?,
            FrameKind::Body => channel.body(link, chunk.slice(frame.payload_range()))?,
            FrameKind::Heartbeat => {}
        }
        if channel.consumers.has_batches() {
            self.touch(frame.channel);
        }
        Ok(())
    }

    /// Notes that the channel has deliveries in the current read.
    #[inline]
    fn touch(&mut self, id: u16) {
        if self.touched.last() != Some(&id) {
            self.touched.push(id);
        }
    }

    fn after_method(&mut self, id: u16, after: After) {
        match after {
            After::Goes => {}
            After::Lost => self.state_waiters.wake_all(&mut self.link.wakes),
            After::Gone => self.free_channel(id),
        }
        if !self.link.consumers_gone.is_empty() {
            self.forget_queues_without_consumers();
        }
    }

    /// Hands the deliveries of one read to their consumers.
    fn put_batches(&mut self) {
        for id in self.touched.drain(..) {
            if let Some(Some((_, channel))) = self.channels.get_mut(usize::from(id)) {
                channel.consumers.put_batches(&mut self.link.wakes);
            }
        }
    }

    fn handle_connection_frame(&mut self, now: Instant, kind: FrameKind, payload: &Bytes) -> Result<()> {
        let broken = |source| Error::Protocol { channel: 0, source };
        if kind != FrameKind::Method {
            let (expected, got) = ("a method frame on channel 0", kind.name());
            return Err(broken(CodecError::UnexpectedFrame { expected, got }));
        }
        let method = Method::decode(payload).map_err(broken)?;
        if let Phase::Handshake(handshake) = &mut self.phase {
            if let Progress::Done(agreed) = handshake.handle(method, &mut self.link)? {
                self.tuned(now, agreed);
            }
            return Ok(());
        }
        match method {
            Method::Connection(connection::Method::Close(close)) => self.closed_by_broker(&close),
            Method::Connection(connection::Method::CloseOk(_)) => {
                let reason = self.closing_for().unwrap_or(Error::ConnectionEnded);
                self.end(&reason);
            }
            Method::Connection(connection::Method::Blocked(blocked)) => {
                self.link.events.push(Event::Blocked(blocked.reason.to_string()));
                self.link.blocked = Some(blocked.reason.detach());
            }
            Method::Connection(connection::Method::Unblocked(_)) => {
                self.link.blocked = None;
                self.link.events.push(Event::Unblocked);
                self.room_waiters.wake_all(&mut self.link.wakes);
            }
            Method::Connection(connection::Method::UpdateSecretOk(_)) => self.secret_updated()?,
            other => {
                let expected = "connection.close, blocked or unblocked";
                return Err(Error::UnexpectedMethod { channel: 0, expected, got: other.name() });
            }
        }
        Ok(())
    }

    fn tuned(&mut self, now: Instant, agreed: Tune) {
        self.link.frame_max = match agreed.frame_max {
            0 => FRAME_MAX_UNLIMITED,
            limit => limit.max(FRAME_MIN_SIZE) as usize,
        };
        self.is_reading_paused = false;
        self.channel_max = if agreed.channel_max == 0 { u16::MAX } else { agreed.channel_max };
        self.heartbeat = Heartbeat::new(Duration::from_secs(agreed.heartbeat.into()), now);
        if self.lost.is_some() {
            self.phase = Phase::Restoring;
        } else {
            self.phase = Phase::Open;
            self.link.events.push(Event::Connected);
        }
        self.state_waiters.wake_all(&mut self.link.wakes);
    }
}
