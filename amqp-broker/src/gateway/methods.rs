//! The methods of a channel.

use amqp_codec::{
    Method, Value,
    method::{access, basic, channel, confirm},
};

use crate::{
    backend::{Link, Settlement},
    core::rabbitmq::{access::Act, refusal::Refusal},
};

use super::{
    consumers::Consumer,
    fault::Fault,
    session::Session,
    topology::{generated, not_here},
};

impl<L: Link> Session<L> {
    /// Handles any method of an open channel but its close and publishes.
    pub(super) async fn channel_method(&mut self, number: u16, method: Method) -> Result<(), Fault> {
        match method {
            Method::Channel(channel::Method::Flow(flow)) => match flow.active {
                true => self.output.method(number, &channel::FlowOk { active: true }),
                false => return Err(Refusal::NotImplemented("active=false".to_owned()).into()),
            },
            Method::Exchange(method) => self.exchange(number, method).await?,
            Method::Queue(method) => self.queue(number, method).await?,
            Method::Basic(method) => self.basic(number, method).await?,
            Method::Confirm(confirm::Method::Select(select)) => {
                if let Some(channel) = self.channel(number) {
                    channel.confirmed.get_or_insert(0);
                }
                self.answer(number, select.no_wait, &confirm::SelectOk {});
            }
            Method::Tx(_) => return Err(not_here("transactions")),
            // Tickets are obsolete, but RabbitMQ still grants them.
            Method::Access(access::Method::Request(_)) => {
                self.output.method(number, &access::RequestOk { ticket: 1 });
            }
            _ => return Err(Refusal::UnimplementedMethod.into()),
        }
        Ok(())
    }

    async fn basic(&mut self, number: u16, method: basic::Method) -> Result<(), Fault> {
        match method {
            basic::Method::Qos(qos) => self.qos(number, &qos)?,
            basic::Method::Consume(consume) => self.consume(number, consume).await?,
            basic::Method::Cancel(cancel) => {
                self.end_consumer(number, &cancel.consumer_tag).await?;
                let ok = basic::CancelOk { consumer_tag: cancel.consumer_tag };
                self.answer(number, cancel.no_wait, &ok);
            }
            basic::Method::Get(mut get) => {
                let queue = self.queue_name(number, &mut get.queue)?;
                self.permit(Act::Read, "queue", &queue)?;
                self.registry.check(self.number, &queue)?;
                self.flush_settled().await?;
                self.get(number, &queue, get.no_ack).await?;
            }
            basic::Method::Ack(ack) => {
                self.settle(number, (ack.delivery_tag, ack.multiple), Settlement::Ack)?;
            }
            basic::Method::Nack(nack) => {
                self.settle(number, (nack.delivery_tag, nack.multiple), rejection(nack.requeue))?;
            }
            basic::Method::Reject(reject) => {
                self.settle(number, (reject.delivery_tag, false), rejection(reject.requeue))?;
            }
            basic::Method::Recover(recover) => {
                self.recover(number, recover.requeue).await?;
                self.output.method(number, &basic::RecoverOk {});
            }
            basic::Method::RecoverAsync(recover) => self.recover(number, recover.requeue).await?,
            _ => return Err(Refusal::UnimplementedMethod.into()),
        }
        Ok(())
    }

    fn qos(&mut self, number: u16, qos: &basic::Qos) -> Result<(), Fault> {
        if qos.prefetch_size != 0 {
            let text = format!("prefetch_size!=0 ({})", qos.prefetch_size);
            return Err(Refusal::NotImplemented(text).into());
        }
        if let Some(channel) = self.channel(number) {
            match qos.global {
                true => channel.shared_prefetch = qos.prefetch_count,
                false => channel.prefetch = qos.prefetch_count,
            }
        }
        self.output.method(number, &basic::QosOk {});
        Ok(())
    }

    async fn consume(&mut self, number: u16, mut consume: basic::Consume) -> Result<(), Fault> {
        let queue = self.queue_name(number, &mut consume.queue)?;
        if consume.consumer_tag.is_empty() {
            consume.consumer_tag = generated("amq.ctag-");
        }
        let tag = consume.consumer_tag;
        if self.consumers.has(number, &tag) {
            return Err(Refusal::ConsumerTagReused(tag).into());
        }
        self.permit(Act::Read, "queue", &queue)?;
        self.check_access(&queue).await?;
        self.begin_consumer(&queue, consume.exclusive).await?;
        let prefetch = self.channel(number).map_or(0, |channel| channel.prefetch);
        let priority = consume.arguments.get("x-priority").as_ref().and_then(Value::as_i64).unwrap_or(0);
        let consumer = Consumer {
            channel: number,
            tag: tag.clone(),
            no_ack: consume.no_ack,
            prefetch,
            priority,
            unsettled: 0,
        };
        self.consumers.add(&queue, consumer);
        self.answer(number, consume.no_wait, &basic::ConsumeOk { consumer_tag: tag });
        Ok(())
    }

    /// Has a queue announced for a consumer.
    async fn begin_consumer(&mut self, queue: &str, exclusive: bool) -> Result<(), Fault> {
        self.registry.consume(queue, exclusive)?;
        let mut begun = self.link.add_consumer(queue, exclusive).await;
        if begun.is_ok() {
            begun = self.link.watch(queue).await;
            if begun.is_err() {
                self.link.remove_consumer(queue).await?;
            }
        }
        if begun.is_err() {
            self.registry.cancel(queue);
        }
        Ok(begun?)
    }

    async fn recover(&mut self, number: u16, requeue: bool) -> Result<(), Fault> {
        if !requeue {
            return Err(Refusal::NotImplemented("requeue=false".to_owned()).into());
        }
        self.requeue_all(number);
        self.flush_settled().await
    }
}

fn rejection(requeue: bool) -> Settlement {
    if requeue { Settlement::Requeue } else { Settlement::Reject }
}
