//! A channel, and the effect of each of its methods.

mod answers;
mod confirms;
mod pausing;
mod transaction;

use std::sync::Arc;

use amqp_codec::{
    Arguments, Method, ReplyCode, ShortString,
    borrowed::Publish,
    method::{basic, channel, confirm, exchange, queue},
};

use crate::{
    core::{
        collections::segments::Segments,
        entities::ids::ChannelId,
        rabbitmq::refusal::Refusal,
        vhost::{
            deliver::Settlement,
            publish::{Publisher, Route},
            reply_to::is_reply_name,
            topology::{Binding, To},
        },
        work::{
            Work,
            publishing::{Prepared, Published, Publishing},
            removal::Removal,
            step::Step,
        },
    },
    faults::publish_faults::PublishFault,
};

use super::{
    incoming::{Incoming, Part, PublishFlags},
    names::{strip, strip_both},
    paused::Then,
    shared::Operation,
};

/// The client's name for its connection, if it gave one.
pub(crate) type ClientName = Option<Arc<str>>;

/// A channel that is open or closing.
#[derive(Debug)]
pub(crate) struct ChannelSession {
    pub(crate) number: u16,
    /// `None` once the broker has closed it for an error: until the client answers, everything else
    /// is ignored.
    key: Option<ChannelId>,
    incoming: Incoming,
    route: Route,
    mode: Mode,
    /// The queue that the empty queue name stands for.
    last_queue: ShortString,
    /// How many persistent changes there were when the current operation began, and the number of
    /// this channel's last change.
    seen: usize,
    changed: u64,
    /// The change that the last answer waited for: no later answer may overtake it.
    answered: u64,
    /// How many bytes of unpublished content it held when last weighed.
    unpublished: u64,
    /// The client's name for the connection.
    connection: ClientName,
}

/// How publishes on the channel are answered.
#[derive(Debug, Default)]
enum Mode {
    #[default]
    Plain,
    Confirm {
        /// The tag of the last publish.
        published: u64,
        /// All publishes up to this tag are answered.
        answered: u64,
        /// Whether a test has swallowed an earlier confirm: no later one may cover it.
        has_gap: bool,
    },
    /// Publishes wait for the commit.
    Transaction(Pending),
}

/// The publishes that wait for the commit.
#[derive(Debug, Default)]
struct Pending {
    publishes: Segments<Prepared>,
    /// How many bytes they take.
    weight: u64,
}

impl ChannelSession {
    pub(crate) fn new(number: u16, key: ChannelId, connection: ClientName) -> Self {
        ChannelSession {
            number,
            key: Some(key),
            incoming: Incoming::default(),
            route: Route::default(),
            mode: Mode::Plain,
            last_queue: ShortString::EMPTY,
            seen: 0,
            changed: 0,
            answered: 0,
            unpublished: 0,
            connection,
        }
    }

    /// Tells whether the broker has closed it for an error and the client has not answered yet.
    pub(crate) fn is_closing(&self) -> bool {
        self.key.is_none()
    }

    /// Takes the publishes of its transaction, which will not be committed.
    pub(crate) fn take_publishes(&mut self) -> Option<Segments<Prepared>> {
        match &mut self.mode {
            Mode::Transaction(pending) => Some(std::mem::take(pending).publishes),
            _ => None,
        }
    }

    /// Ends the channel; returns what is left to be done on the virtual host. Frames that come
    /// until the client answers are ignored.
    pub(crate) fn end(&mut self, op: &mut Operation<'_>) -> Work {
        let removal = self.key.take().map(Removal::channel).unwrap_or_default();
        self.incoming = Incoming::default();
        let publishes = self.take_publishes();
        self.mode = Mode::Plain;
        self.weigh_unpublished(op);
        Work::Remove(Box::new(removal.with_publishes(publishes.into_iter().collect())))
    }

    /// Counts the memory of its unpublished content.
    pub(crate) fn weigh_unpublished(&mut self, op: &mut Operation<'_>) {
        let pending = match &self.mode {
            Mode::Transaction(pending) => pending.weight,
            _ => 0,
        };
        let now = pending + self.incoming.weight();
        let before = std::mem::replace(&mut self.unpublished, now);
        op.unpublished += now as i64 - before as i64;
    }

    /// Takes a publish; its content follows.
    #[inline]
    pub(crate) fn publish(&mut self, publish: &Publish<'_>) -> Result<(), Refusal> {
        self.incoming.publish(publish)
    }

    /// Takes a content header.
    #[inline]
    pub(crate) fn header(&mut self, op: &mut Operation<'_>, payload: &[u8]) -> Result<(), Refusal> {
        let limit = op.shared.memory_limit();
        if self.incoming.header(payload, op.max_message_size, limit)? { self.published(op) } else { Ok(()) }
    }

    /// Takes a part of a body.
    #[inline]
    pub(crate) fn body(&mut self, op: &mut Operation<'_>, part: Part<'_>) -> Result<(), Refusal> {
        if self.incoming.body(part)? { self.published(op) } else { Ok(()) }
    }

    /// Handles a complete message.
    #[inline]
    fn published(&mut self, op: &mut Operation<'_>) -> Result<(), Refusal> {
        let flags = self.incoming.flags;
        if flags.immediate {
            return Err(Refusal::NotImplemented("immediate=true".to_owned()));
        }
        // In a transaction the message is only routed now, and published at the commit.
        if let Mode::Transaction(_) = self.mode {
            let Some(channel) = self.key else { return Ok(()) };
            let publisher = Publisher { connection: op.by, channel };
            let publishing = op.shared.vhost.prepare(publisher, &mut self.incoming.draft)?;
            return self.run(op, basic::Publish::ID, Work::Prepare(publishing), Then::Prepare(flags));
        }
        // A fault that a test has ordered replaces the publish.
        let outcome = match self.inject(op, flags)? {
            Some(outcome) => outcome,
            None => {
                self.begin_change(op);
                let step = self.put(op, flags)?;
                self.note_change(op);
                match step {
                    Step::Done(outcome) => outcome,
                    Step::Paused(publishing) => {
                        let work = Work::Publish(publishing);
                        self.pause(op, basic::Publish::ID, work, Then::Publish(flags));
                        return Ok(());
                    }
                }
            }
        };
        self.answer_publish(op, outcome);
        Ok(())
    }

    /// Answers a publish: its confirm is combined with others, a nack is sent alone.
    #[inline]
    fn answer_publish(&mut self, op: &mut Operation<'_>, outcome: Published) {
        if let Mode::Confirm { published, .. } = &mut self.mode {
            *published += 1;
            if outcome == Published::Rejected {
                self.nack(op);
            }
        }
    }

    /// Handles a publish for which a test has ordered a fault.
    #[inline]
    fn inject(&mut self, op: &mut Operation<'_>, flags: PublishFlags) -> Result<Option<Published>, Refusal> {
        if op.shared.publish_faults.is_any() { self.inject_fault(op, flags) } else { Ok(None) }
    }

    #[cold]
    fn inject_fault(
        &mut self,
        op: &mut Operation<'_>,
        flags: PublishFlags,
    ) -> Result<Option<Published>, Refusal> {
        let publish_faults = &op.shared.publish_faults;
        let planned = publish_faults.planned_for_this(self.connection.as_deref());
        let (is_nacked, is_returned) = match planned {
            Some(PublishFault::Nack) => (true, false),
            Some(PublishFault::Return) => (false, true),
            Some(fault) => return Err(Refusal::Injected(fault)),
            None => {
                let is_nacked = matches!(self.mode, Mode::Confirm { .. }) && publish_faults.nacks_this();
                (is_nacked, !is_nacked && flags.mandatory && publish_faults.returns_this())
            }
        };
        if is_nacked {
            return Ok(Some(Published::Rejected));
        }
        if !is_returned {
            return Ok(None);
        }
        if flags.mandatory
            && let Some(outbox) = op.shared.outboxes.of(op.by)
        {
            outbox.returned(self.number, ReplyCode::NO_ROUTE.0, "NO_ROUTE", self.incoming.draft.parts());
        }
        Ok(Some(Published::Unroutable))
    }

    /// Publishes the draft. If it is mandatory and no queue takes it, it is returned.
    #[inline]
    fn put(
        &mut self,
        op: &mut Operation<'_>,
        flags: PublishFlags,
    ) -> Result<Step<Published, Box<Publishing>>, Refusal> {
        let shared = &mut *op.shared;
        let draft = &mut self.incoming.draft;
        let Some(channel) = self.key else { return Ok(Step::Done(Published::Unroutable)) };
        let publisher = Publisher { connection: op.by, channel };
        let outcome =
            shared.vhost.publish(op.now, publisher, &mut self.route, draft, &mut shared.outboxes)?;
        if matches!(outcome, Step::Done(Published::Unroutable))
            && flags.mandatory
            && let Some(outbox) = shared.outboxes.of(op.by)
        {
            outbox.returned(self.number, ReplyCode::NO_ROUTE.0, "NO_ROUTE", draft.parts());
        }
        Ok(outcome)
    }

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
