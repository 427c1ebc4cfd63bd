//! The frames of a client, in their order.

use amqp_codec::{
    Arguments as _, Frame, Method, MethodId, RawFrame,
    method::{basic, channel, connection},
};
use bytes::BytesMut;

use crate::{
    backend::Link,
    core::rabbitmq::refusal::Refusal,
    session::frames::bad_frame::{LENIENCY, bad_frame},
};

use super::{
    channel::Channel,
    fault::Fault,
    session::{Phase, Session},
};

impl<L: Link> Session<L> {
    /// Processes the complete frames of `input`, and answers them.
    pub(super) async fn receive(&mut self, input: &mut BytesMut) {
        while matches!(self.phase, Phase::Running | Phase::Closing) {
            let limit = self.terms.frame_max + LENIENCY;
            match RawFrame::split_from(input, limit) {
                Ok(Some(frame)) => self.take(frame).await,
                Ok(None) => break,
                Err(error) => {
                    let Some(refusal) = bad_frame(&error, input, self.terms.frame_max) else { break };
                    self.close(&refusal.into(), MethodId::default());
                    self.phase = Phase::Finished;
                }
            }
        }
        self.flush().await;
        self.serve().await;
    }

    /// Passes on what has gathered.
    async fn flush(&mut self) {
        while let Err((number, fault)) = self.flush_publishes().await {
            self.fail(number, fault, basic::Publish::ID).await;
        }
        if let Err(fault) = self.flush_settled().await {
            self.close(&fault, MethodId::default());
        }
    }

    /// Delivers what there is.
    pub(super) async fn serve(&mut self) {
        if let Err(fault) = self.deliver().await {
            self.close(&fault, MethodId::default());
        }
    }

    async fn take(&mut self, frame: RawFrame) {
        let number = frame.channel;
        let (result, method) = match frame.decode() {
            Err(error) => (Err(error.into()), MethodId::default()),
            Ok(Frame::Heartbeat(_)) => return,
            Ok(Frame::Method(0, method)) => {
                let id = method.id();
                (self.connection_method(method).await, id)
            }
            Ok(Frame::Method(_, method)) => {
                let id = method.id();
                (self.method(number, method).await, id)
            }
            Ok(content) => match self.content(number, content) {
                Ok(false) => return,
                Ok(true) => return self.flush().await,
                Err(fault) => {
                    // What was published before is confirmed before the close.
                    self.flush().await;
                    (Err(fault), basic::Publish::ID)
                }
            },
        };
        if let Err(fault) = result {
            self.fail(number, fault, method).await;
        }
    }

    async fn connection_method(&mut self, method: Method) -> Result<(), Fault> {
        match method {
            Method::Connection(connection::Method::Close(_)) if self.phase == Phase::Closing => {
                self.output.method(0, &connection::CloseOk {});
            }
            Method::Connection(connection::Method::Close(close)) => {
                // The answer follows when the entities that belong to the connection are removed.
                self.flush().await;
                self.leave().await;
                self.why = Some(format!("the client closed it: {} {}", close.reply_code, close.reply_text));
                self.output.method(0, &connection::CloseOk {});
                self.phase = Phase::Left;
            }
            Method::Connection(connection::Method::CloseOk(_)) if self.phase == Phase::Closing => {
                self.phase = Phase::Finished;
            }
            _ if self.phase == Phase::Closing => {}
            Method::Connection(connection::Method::UpdateSecret(_)) => {
                self.output.method(0, &connection::UpdateSecretOk {});
            }
            _ => return Err(Refusal::ChannelError("unexpected method in connection state running").into()),
        }
        Ok(())
    }

    async fn method(&mut self, number: u16, method: Method) -> Result<(), Fault> {
        if self.phase != Phase::Running {
            return Ok(());
        }
        let is_closing = self.channels.get(&number).map(|channel| channel.is_closing);
        match (method, is_closing) {
            (Method::Channel(channel::Method::Open(_)), is_closing) => {
                return self.open_channel(number, is_closing.is_some());
            }
            (_, None) => return Err(Refusal::ChannelError("expected 'channel.open'").into()),
            (Method::Channel(channel::Method::CloseOk(_)), Some(true)) => {
                self.channels.remove(&number);
            }
            (Method::Channel(channel::Method::Close(_)), Some(true)) => {
                self.output.method(number, &channel::CloseOk {});
            }
            (_, Some(true)) => {}
            (Method::Channel(channel::Method::Close(_)), Some(false)) => {
                self.flush().await;
                self.end_channel(number).await;
                self.channels.remove(&number);
                self.output.method(number, &channel::CloseOk {});
            }
            (method, Some(false)) => return self.open_method(number, method).await,
        }
        Ok(())
    }

    fn open_channel(&mut self, number: u16, is_open: bool) -> Result<(), Fault> {
        if is_open {
            return Err(Refusal::ChannelError("second 'channel.open' seen").into());
        }
        if self.channels.len() >= usize::from(self.terms.channel_max) {
            return Err(Refusal::TooManyChannels(self.terms.channel_max).into());
        }
        self.channels.insert(number, Channel::default());
        self.output.method(number, &channel::OpenOk::default());
        Ok(())
    }

    /// Handles a method of an open channel: settlements gather, and all others come after the
    /// publishes before them.
    async fn open_method(&mut self, number: u16, method: Method) -> Result<(), Fault> {
        if let Some(channel) = self.channel(number) {
            channel.incoming.expect_method()?;
            if let Method::Basic(basic::Method::Publish(publish)) = method {
                return Ok(channel.incoming.method(publish)?);
            }
        }
        use basic::Method::{Ack, Nack, Reject};
        if !matches!(method, Method::Basic(Ack(_) | Nack(_) | Reject(_))) {
            self.flush().await;
            if self.phase != Phase::Running || self.channel(number).is_none() {
                return Ok(());
            }
        }
        self.channel_method(number, method).await
    }
}
