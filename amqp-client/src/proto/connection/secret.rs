//! `connection.update-secret` (RabbitMQ): a new password or token on an open connection.

use amqp_codec::{Arguments as _, Method, Secret, ShortString, frame, method::connection};

use super::{Engine, Phase};
use crate::{
    error::{Error, Result},
    proto::calls::{CallId, Reply},
};

/// The size of the frame besides secret and reason: header and end, ids, lengths.
const ROOM_BESIDE_SECRET: usize = 512;

impl Engine {
    /// Sends a new secret; returns the call to wait for.
    pub(crate) fn update_secret(&mut self, new_secret: Secret, reason: ShortString) -> Result<CallId> {
        if let Some(error) = self.reason() {
            return Err(error);
        }
        let room = new_secret.expose().len() + ROOM_BESIDE_SECRET;
        let update = connection::UpdateSecret { new_secret, reason };
        let buffer = self.link.output.secret_buffer(room);
        frame::encode_method(0, &update, self.link.frame_max, buffer).map_err(Error::Invalid)?;
        let call = self.link.calls.begin();
        self.secret_updates.push_back(call);
        Ok(call)
    }

    /// Gives the answer to the oldest call, because answers arrive in the order of the calls.
    pub(super) fn secret_updated(&mut self) -> Result<()> {
        let due = self.secret_updates.pop_front().filter(|_| matches!(self.phase, Phase::Open));
        let Some(call) = due else {
            // After connection.close was sent, everything but its answer is ignored.
            if !matches!(self.phase, Phase::Open) {
                return Ok(());
            }
            let got = connection::UpdateSecretOk::NAME;
            return Err(Error::UnexpectedMethod { channel: 0, expected: "no answer", got });
        };
        let answer = Reply::Method(Method::from(connection::UpdateSecretOk {}));
        self.link.calls.finish(call, Ok(answer), &mut self.link.wakes);
        Ok(())
    }

    /// Ends the calls under way, because the connection ends.
    pub(super) fn end_secret_updates(&mut self, reason: &Error) {
        for call in self.secret_updates.drain(..) {
            self.link.calls.finish(call, Err(reason.clone()), &mut self.link.wakes);
        }
    }
}
