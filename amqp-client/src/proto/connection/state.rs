//! The state of a connection, and its counts.

use amqp_codec::Table;

use super::{Engine, Phase};
use crate::{error::Error, event::State, metrics::Metrics, proto::publishing::confirms::Confirms};

impl Engine {
    pub(crate) fn state(&self) -> State {
        match (&self.phase, &self.link.blocked) {
            (Phase::Down(_) | Phase::Handshake(_) | Phase::Restoring, _) => {
                let reason = self.lost.clone().unwrap_or(Error::ConnectionEnded);
                State::Recovering { reason, attempt: self.attempts }
            }
            (Phase::Closing { reason, .. }, _) if self.recovers_from(reason) => {
                State::Recovering { reason: reason.clone(), attempt: 0 }
            }
            (Phase::Closing { reason, .. }, _) => State::Closing(reason.clone()),
            (Phase::Ended(reason), _) => State::Closed(reason.clone()),
            (_, Some(reason)) => State::Blocked(reason.to_string()),
            _ => State::Open,
        }
    }

    pub(crate) fn server_properties(&self) -> Table {
        self.link.server_properties.clone()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        let channels = || self.channels.iter().flatten().map(|(_, channel)| channel);
        Metrics {
            channels: channels().count(),
            unconfirmed: channels()
                .filter_map(|channel| channel.confirms.as_ref())
                .map(Confirms::in_flight)
                .sum(),
            unacked: channels().map(|channel| channel.acks.outstanding()).sum(),
            calls: self.link.calls.len(),
            waiting: self.room_waiters.len()
                + self.state_waiters.len()
                + channels().map(|channel| channel.waiting()).sum::<usize>(),
            buffered: self.link.output.len(),
            ..self.link.metrics
        }
    }
}
