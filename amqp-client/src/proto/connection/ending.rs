//! How a connection ends, or is lost and waits to be recovered.

use std::time::{Duration, Instant};

use amqp_codec::{ReplyCode, Report, ShortString, method::connection};

use super::{Engine, Phase};
use crate::{
    error::{Close, Error},
    event::Event,
    proto::channel::Loss,
};

/// How long the broker may take to answer `connection.close`.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

impl Engine {
    pub(super) fn closed_by_broker(&mut self, close: &connection::Close) {
        self.link.reply(0, &connection::CloseOk {});
        let reason = self.closing_for().unwrap_or_else(|| {
            let text = &close.reply_text;
            Error::ConnectionClosed(Close::new(close.reply_code, text, close.class_id, close.method_id))
        });
        self.end(&reason);
    }

    /// Closes the connection because of an invalid input. The broker gets the reply code that fits.
    #[cold]
    pub(super) fn fail(&mut self, now: Instant, error: Error) {
        let code = match &error {
            Error::Protocol { source, .. } => source.reply_code(),
            Error::UnexpectedMethod { .. } => ReplyCode::COMMAND_INVALID,
            _ => return self.end(&error),
        };
        if !matches!(self.phase, Phase::Open | Phase::Restoring) {
            return self.end(&error);
        }
        let mut text = Report(&error).to_string();
        text.truncate(text.floor_char_boundary(ShortString::MAX));
        let close = connection::Close {
            reply_code: code.0,
            reply_text: ShortString::new("reply text", &text).unwrap_or_default(),
            ..Default::default()
        };
        self.begin_close(now, &close, error);
    }

    pub(super) fn begin_close(&mut self, now: Instant, close: &connection::Close, reason: Error) {
        self.flush_acks(now);
        self.link.reply(0, close);
        if self.recovers_from(&reason) {
            self.lose_channels(&reason);
        } else {
            self.end_channels(&reason);
        }
        self.phase = Phase::Closing { until: now + CLOSE_PATIENCE, reason };
        // The driver has to arm the timer of the close, even if the transport takes nothing.
        self.link.wakes.extend(self.driver.take());
        self.state_waiters.wake_all(&mut self.link.wakes);
    }

    /// Handles the end of the transport, or a transport that cannot be used any more.
    pub(super) fn end(&mut self, reason: &Error) {
        // If the connection is being closed already, the reason of that takes precedence.
        let reason = &self.closing_for().unwrap_or_else(|| reason.clone());
        match self.phase {
            Phase::Down(_) | Phase::Ended(_) => {}
            Phase::Handshake(_) => self.go_down(reason),
            Phase::Open | Phase::Restoring | Phase::Closing { .. } if self.recovers_from(reason) => {
                self.lose_channels(reason);
                self.lost = Some(reason.clone());
                self.link.metrics.reconnects += 1;
                self.link.events.push(Event::Disconnected(reason.clone()));
                self.go_down(reason);
            }
            Phase::Open | Phase::Restoring | Phase::Closing { .. } => self.finish(reason),
        }
    }

    fn go_down(&mut self, reason: &Error) {
        self.phase = Phase::Down(reason.clone());
        self.leave_transport();
    }

    /// Ends the connection for good.
    pub(super) fn finish(&mut self, reason: &Error) {
        self.end_channels(reason);
        self.phase = Phase::Ended(reason.clone());
        self.link.events.push(Event::Closed(reason.clone()));
        self.leave_transport();
    }

    fn leave_transport(&mut self) {
        self.link.gathering.stop();
        self.windows_open_at = None;
        self.link.blocked = None;
        self.heartbeat.stop();
        self.state_waiters.wake_all(&mut self.link.wakes);
        self.link.wakes.extend(self.driver.take());
    }

    /// Ends with `reason` everything that the channels had under way. The channels and their
    /// consumers wait to be restored.
    fn lose_channels(&mut self, reason: &Error) {
        let loss = Loss::of_connection(reason);
        for slot in &mut self.channels {
            let Some((_, channel)) = slot else { continue };
            if channel.lose(&mut self.link, reason, loss) {
                channel.consumers.hold_none();
            } else {
                *slot = None;
            }
        }
        self.end_secret_updates(reason);
        self.forget_waiting();
    }

    pub(super) fn end_channels(&mut self, reason: &Error) {
        for (_, mut channel) in self.channels.drain(..).flatten() {
            channel.end(&mut self.link, reason);
        }
        self.end_secret_updates(reason);
        self.forget_waiting();
    }

    fn forget_waiting(&mut self) {
        self.touched.clear();
        self.link.gathering.forget();
        self.room_waiters.wake_all(&mut self.link.wakes);
    }
}
