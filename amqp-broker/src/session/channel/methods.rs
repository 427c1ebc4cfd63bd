//! The effect of each of a channel's methods.

use amqp_codec::{
    Arguments as _, Method, ShortString,
    method::{basic, channel, confirm, exchange, queue},
};

use super::{ChannelSession, Mode};
use crate::{
    core::{
        entities::ids::ChannelId,
        rabbitmq::refusal::Refusal,
        vhost::{
            operations::{
                settle::Settlement,
                topology::{Binding, To},
            },
            reply_to::is_reply_name,
        },
        work::{Work, step::Step},
    },
    session::{
        names::{strip, strip_both},
        paused::Then,
        shared::Operation,
    },
};

impl ChannelSession {
    /// Settles deliveries.
    pub(crate) fn settle(&mut self, op: &mut Operation<'_>, settlement: Settlement) -> Result<(), Refusal> {
        self.incoming.expect_method()?;
        let Some(key) = self.key else { return Ok(()) };
        let step = match self.mode {
            Mode::Transaction(_) => op.shared.vhost.settle_later(key, settlement)?,
            _ => op.shared.vhost.settle(op.now, key, settlement, &mut op.shared.outboxes)?,
        };
        if let Step::Paused(work) = step {
            self.pause(op, basic::Ack::ID, work, Then::Say(None));
        }
        Ok(())
    }

    /// Handles any other method of an open channel.
    pub(crate) fn method(&mut self, op: &mut Operation<'_>, method: Method) -> Result<(), Refusal> {
        self.incoming.expect_method()?;
        let Some(key) = self.key else { return Ok(()) };
        self.begin_change(op);
        let result = self.do_method(op, key, method);
        self.note_change(op);
        result
    }

    fn do_method(&mut self, op: &mut Operation<'_>, key: ChannelId, method: Method) -> Result<(), Refusal> {
        match method {
            Method::Channel(channel::Method::Flow(flow)) => self.flow(op, &flow),
            Method::Exchange(method) => self.exchange(op, method),
            Method::Queue(method) => self.queue(op, method),
            Method::Basic(method) => self.basic(op, key, method),
            Method::Confirm(confirm::Method::Select(select)) => self.select_confirms(op, &select),
            Method::Tx(method) => self.transaction(op, key, &method),
            // Tickets are obsolete, but RabbitMQ still grants them.
            Method::Access(amqp_codec::method::access::Method::Request(_)) => {
                self.reply(op, &amqp_codec::method::access::RequestOk { ticket: 1 });
                Ok(())
            }
            _ => Err(Refusal::UnimplementedMethod),
        }
    }

    fn flow(&mut self, op: &mut Operation<'_>, flow: &channel::Flow) -> Result<(), Refusal> {
        if !flow.active {
            return Err(Refusal::NotImplemented("active=false".to_owned()));
        }
        self.reply(op, &channel::FlowOk { active: true });
        Ok(())
    }

    fn exchange(&mut self, op: &mut Operation<'_>, method: exchange::Method) -> Result<(), Refusal> {
        let vhost = &mut op.shared.vhost;
        match method {
            exchange::Method::Declare(mut declare) => {
                strip(&mut declare.exchange);
                vhost.declare_exchange(&declare, op.by)?;
                self.reply_unless(declare.no_wait, op, &exchange::DeclareOk {});
            }
            exchange::Method::Delete(mut delete) => {
                strip(&mut delete.exchange);
                let removal = vhost.delete_exchange(&delete, op.by)?;
                let answer = self.answer_unless(delete.no_wait, op, &exchange::DeleteOk {});
                self.remove(op, exchange::Delete::ID, removal, answer)?;
            }
            exchange::Method::Bind(mut bind) => {
                strip_both(&mut bind.source, &mut bind.destination);
                vhost.bind(
                    Binding {
                        source: &bind.source,
                        destination: To::Exchange(&bind.destination),
                        key: &bind.routing_key,
                        arguments: &bind.arguments,
                    },
                    op.by,
                )?;
                self.reply_unless(bind.no_wait, op, &exchange::BindOk {});
            }
            exchange::Method::Unbind(mut unbind) => {
                strip_both(&mut unbind.source, &mut unbind.destination);
                let removal = vhost.unbind(
                    Binding {
                        source: &unbind.source,
                        destination: To::Exchange(&unbind.destination),
                        key: &unbind.routing_key,
                        arguments: &unbind.arguments,
                    },
                    op.by,
                )?;
                let answer = self.answer_unless(unbind.no_wait, op, &exchange::UnbindOk {});
                self.remove(op, exchange::Unbind::ID, removal, answer)?;
            }
            _ => return Err(Refusal::UnimplementedMethod),
        }
        Ok(())
    }

    fn queue(&mut self, op: &mut Operation<'_>, method: queue::Method) -> Result<(), Refusal> {
        match method {
            queue::Method::Declare(declare) => self.declare_queue(op, declare)?,
            queue::Method::Bind(mut bind) => {
                self.name_binding(&mut bind.queue, &mut bind.routing_key)?;
                strip_both(&mut bind.queue, &mut bind.exchange);
                op.shared.vhost.bind(
                    Binding {
                        source: &bind.exchange,
                        destination: To::Queue(&bind.queue),
                        key: &bind.routing_key,
                        arguments: &bind.arguments,
                    },
                    op.by,
                )?;
                self.reply_unless(bind.no_wait, op, &queue::BindOk {});
            }
            queue::Method::Unbind(mut unbind) => {
                self.name_binding(&mut unbind.queue, &mut unbind.routing_key)?;
                strip_both(&mut unbind.queue, &mut unbind.exchange);
                let removal = op.shared.vhost.unbind(
                    Binding {
                        source: &unbind.exchange,
                        destination: To::Queue(&unbind.queue),
                        key: &unbind.routing_key,
                        arguments: &unbind.arguments,
                    },
                    op.by,
                )?;
                let answer = self.answer_unless(false, op, &queue::UnbindOk {});
                self.remove(op, queue::Unbind::ID, removal, answer)?;
            }
            queue::Method::Purge(mut purge) => {
                self.name_queue(&mut purge.queue)?;
                let (message_count, work) = op.shared.vhost.purge_queue(op.now, &purge.queue, op.by)?;
                let answer = self.answer_unless(purge.no_wait, op, &queue::PurgeOk { message_count });
                self.run(op, queue::Purge::ID, work, Then::Say(answer))?;
            }
            queue::Method::Delete(mut delete) => {
                self.name_queue(&mut delete.queue)?;
                strip(&mut delete.queue);
                let (message_count, removal) = op.shared.vhost.delete_queue(op.now, &delete, op.by)?;
                let answer = self.answer_unless(delete.no_wait, op, &queue::DeleteOk { message_count });
                let (work, then) = (Work::Remove(Box::new(removal)), Then::SayDeleted(answer, Vec::new()));
                self.run(op, queue::Delete::ID, work, then)?;
            }
            _ => return Err(Refusal::UnimplementedMethod),
        }
        Ok(())
    }

    fn declare_queue(&mut self, op: &mut Operation<'_>, mut declare: queue::Declare) -> Result<(), Refusal> {
        if declare.passive {
            self.name_queue(&mut declare.queue)?;
        }
        strip(&mut declare.queue);
        let generate = || generated_name("amq.gen-");
        let declared = op.shared.vhost.declare_queue(op.now, &declare, op.by, generate)?;
        self.last_queue = declared.queue.clone();
        let ok = queue::DeclareOk {
            queue: declared.queue,
            message_count: declared.messages,
            consumer_count: declared.consumers,
        };
        self.reply_unless(declare.no_wait, op, &ok);
        op.shared.vhost.start(op.now, &mut op.shared.outboxes);
        Ok(())
    }

    /// Replaces the empty name by that of the last declared queue.
    fn name_queue(&self, queue: &mut ShortString) -> Result<(), Refusal> {
        if queue.is_empty() {
            if self.last_queue.is_empty() {
                return Err(Refusal::NoLastQueue);
            }
            *queue = self.last_queue.clone();
        }
        Ok(())
    }

    /// If both queue and key are empty, both become the name of the last declared queue.
    fn name_binding(&self, queue: &mut ShortString, key: &mut ShortString) -> Result<(), Refusal> {
        let unnamed = queue.is_empty();
        self.name_queue(queue)?;
        if unnamed && key.is_empty() {
            *key = queue.clone();
        }
        Ok(())
    }

    fn basic(
        &mut self,
        op: &mut Operation<'_>,
        key: ChannelId,
        method: basic::Method,
    ) -> Result<(), Refusal> {
        let shared = &mut *op.shared;
        match method {
            basic::Method::Qos(qos) => {
                shared.vhost.qos(op.now, key, &qos, &mut shared.outboxes)?;
                self.reply(op, &basic::QosOk {});
            }
            basic::Method::Consume(consume) => self.consume(op, key, consume)?,
            basic::Method::Cancel(cancel) => {
                let removal = shared.vhost.cancel(op.now, key, &cancel.consumer_tag);
                let ok = basic::CancelOk { consumer_tag: cancel.consumer_tag };
                let answer = self.answer_unless(cancel.no_wait, op, &ok);
                self.remove(op, basic::Cancel::ID, removal, answer)?;
            }
            basic::Method::Get(get) => self.get(op, key, get)?,
            basic::Method::Recover(recover) => {
                self.recover(op, key, recover.requeue, true)?;
            }
            basic::Method::RecoverAsync(recover) => {
                self.recover(op, key, recover.requeue, false)?;
            }
            _ => return Err(Refusal::UnimplementedMethod),
        }
        Ok(())
    }

    fn consume(
        &mut self,
        op: &mut Operation<'_>,
        key: ChannelId,
        mut consume: basic::Consume,
    ) -> Result<(), Refusal> {
        self.name_queue(&mut consume.queue)?;
        if consume.consumer_tag.is_empty() {
            consume.consumer_tag = generated_name("amq.ctag-");
        }
        if is_reply_name(&consume.queue) {
            let unique = uuid::Uuid::new_v4().simple().to_string();
            op.shared.vhost.consume_replies(key, &consume, &unique)?;
            self.consume_ok(op, consume);
            return Ok(());
        }
        op.shared.vhost.consume(op.now, key, op.by, &consume)?;
        self.consume_ok(op, consume);
        op.shared.vhost.start(op.now, &mut op.shared.outboxes);
        Ok(())
    }

    /// Answers at once, because deliveries, which do not wait for the disk, must come after the
    /// answer.
    fn consume_ok(&self, op: &mut Operation<'_>, consume: basic::Consume) {
        if !consume.no_wait {
            let ok = basic::ConsumeOk { consumer_tag: consume.consumer_tag };
            op.shared.outboxes.send(op.by, self.number, &ok);
        }
    }

    fn get(&mut self, op: &mut Operation<'_>, key: ChannelId, mut get: basic::Get) -> Result<(), Refusal> {
        self.name_queue(&mut get.queue)?;
        match op.shared.vhost.get(op.now, key, op.by, &get)? {
            None => op.shared.outboxes.send(op.by, self.number, &basic::GetEmpty::default()),
            Some(got) => {
                if let Some(outbox) = op.shared.outboxes.of(op.by) {
                    outbox.get_ok(self.number, got.tag, got.redelivered, got.parts(), got.remaining);
                }
            }
        }
        op.shared.vhost.start(op.now, &mut op.shared.outboxes);
        Ok(())
    }

    fn recover(
        &mut self,
        op: &mut Operation<'_>,
        key: ChannelId,
        requeue: bool,
        answered: bool,
    ) -> Result<(), Refusal> {
        if !requeue {
            return Err(Refusal::NotImplemented("requeue=false".to_owned()));
        }
        self.reply_unless(!answered, op, &basic::RecoverOk {});
        self.run(op, basic::Recover::ID, Work::Recover { channel: key }, Then::Say(None))
    }
}

/// A unique name.
fn generated_name(prefix: &str) -> ShortString {
    ShortString::try_from(format!("{prefix}{}", uuid::Uuid::new_v4().simple())).unwrap_or_default()
}
