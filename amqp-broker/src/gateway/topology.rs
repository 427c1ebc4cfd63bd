//! Exchanges, queues and bindings: the methods of classes exchange and queue.

use amqp_codec::{
    ReplyCode, ShortString,
    method::{basic, exchange, queue},
};

use crate::{
    backend::{BackendError, Binding, ExchangeDeclaration, ExchangeKind, Link, QueueDeclaration},
    core::rabbitmq::{access::Act, refusal::Refusal},
    session::names::strip,
};

use super::{
    fault::Fault,
    session::{Session, text},
};

/// The exchanges that every virtual host has, with their kinds (spec section 3.1.3).
const PREDECLARED: [(&str, ExchangeKind); 3] = [
    ("amq.direct", ExchangeKind::Direct),
    ("amq.fanout", ExchangeKind::Fanout),
    ("amq.topic", ExchangeKind::Topic),
];

impl<L: Link> Session<L> {
    /// Handles a method of class exchange.
    pub(super) async fn exchange(&mut self, number: u16, method: exchange::Method) -> Result<(), Fault> {
        match method {
            exchange::Method::Declare(mut declare) => {
                strip(&mut declare.exchange);
                self.declare_exchange(&declare).await?;
                self.answer(number, declare.no_wait, &exchange::DeclareOk {});
            }
            exchange::Method::Delete(mut delete) => {
                strip(&mut delete.exchange);
                let name = text(&delete.exchange)?;
                self.permit(Act::Configure, "exchange", &name)?;
                self.check_exchange_name(&name)?;
                self.link.delete_exchange(&name, delete.if_unused).await?;
                self.answer(number, delete.no_wait, &exchange::DeleteOk {});
            }
            _ => return Err(not_here("bindings between exchanges")),
        }
        Ok(())
    }

    async fn declare_exchange(&mut self, declare: &exchange::Declare) -> Result<(), Fault> {
        let name = text(&declare.exchange)?;
        if declare.passive {
            return match PREDECLARED.iter().any(|(known, _)| *known == name) {
                true => Ok(()),
                false => Ok(self.link.find_exchange(&name).await?),
            };
        }
        self.permit(Act::Configure, "exchange", &name)?;
        let kind = declare.kind.to_text();
        let Some(kind) = ExchangeKind::from_name(&kind) else {
            return Err(match &*kind {
                "headers" => not_here("exchanges of type headers"),
                other => {
                    let (name, code) = (other.to_owned(), ReplyCode::COMMAND_INVALID);
                    Refusal::UnknownExchangeType { name, code }.into()
                }
            });
        };
        if PREDECLARED.contains(&(&name, kind)) {
            return Ok(());
        }
        self.check_exchange_name(&name)?;
        let exchange = ExchangeDeclaration {
            name,
            kind,
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments: declare.arguments.clone(),
        };
        Ok(self.link.declare_exchange(&exchange).await?)
    }

    fn check_exchange_name(&self, name: &str) -> Result<(), Fault> {
        if name.is_empty() {
            return Err(Refusal::DefaultExchange.into());
        }
        reserved("exchange", name)
    }

    /// Handles a method of class queue.
    pub(super) async fn queue(&mut self, number: u16, method: queue::Method) -> Result<(), Fault> {
        match method {
            queue::Method::Declare(declare) => self.declare_queue(number, declare).await?,
            queue::Method::Bind(mut bind) => {
                let ends = (&mut bind.queue, &mut bind.exchange);
                let binding = self.binding(number, ends, &mut bind.routing_key).await?;
                self.bind(&binding).await?;
                self.answer(number, bind.no_wait, &queue::BindOk {});
            }
            queue::Method::Unbind(mut unbind) => {
                let ends = (&mut unbind.queue, &mut unbind.exchange);
                let binding = self.binding(number, ends, &mut unbind.routing_key).await?;
                self.link.unbind(&binding).await?;
                self.answer(number, false, &queue::UnbindOk {});
            }
            queue::Method::Purge(mut purge) => {
                let name = self.queue_name(number, &mut purge.queue)?;
                self.permit(Act::Read, "queue", &name)?;
                self.check_access(&name).await?;
                let message_count = self.link.purge_queue(&name).await?;
                self.answer(number, purge.no_wait, &queue::PurgeOk { message_count });
            }
            queue::Method::Delete(mut delete) => {
                strip(&mut delete.queue);
                let message_count = self.delete_queue(number, &mut delete).await?;
                self.answer(number, delete.no_wait, &queue::DeleteOk { message_count });
            }
            _ => return Err(Refusal::UnimplementedMethod.into()),
        }
        Ok(())
    }

    async fn declare_queue(&mut self, number: u16, mut declare: queue::Declare) -> Result<(), Fault> {
        strip(&mut declare.queue);
        let message_count = match declare.passive {
            true => {
                let name = self.queue_name(number, &mut declare.queue)?;
                self.check_access(&name).await?;
                self.link.find_queue(&name).await?
            }
            false => self.create_queue(&mut declare).await?,
        };
        let consumer_count = self.count_consumers(&text(&declare.queue)?).await?;
        if let Some(channel) = self.channel(number) {
            channel.last_queue = declare.queue.clone();
        }
        let ok = queue::DeclareOk { queue: declare.queue, message_count, consumer_count };
        self.answer(number, declare.no_wait, &ok);
        Ok(())
    }

    async fn create_queue(&mut self, declare: &mut queue::Declare) -> Result<u32, Fault> {
        match declare.queue.is_empty() {
            true => declare.queue = generated("amq.gen-"),
            false => reserved("queue", &text(&declare.queue)?)?,
        }
        let name = text(&declare.queue)?;
        self.permit(Act::Configure, "queue", &name)?;
        self.registry.check(self.number, &name)?;
        let queue = QueueDeclaration {
            name,
            durable: declare.durable,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
            arguments: declare.arguments.clone(),
        };
        let messages = self.link.declare_queue(&queue).await?;
        self.registry.declared(self.number, &queue);
        Ok(messages)
    }

    async fn delete_queue(&mut self, number: u16, delete: &mut queue::Delete) -> Result<u32, Fault> {
        let name = self.queue_name(number, &mut delete.queue)?;
        self.permit(Act::Configure, "queue", &name)?;
        self.check_access(&name).await?;
        let vhost = self.registry.vhost().to_owned();
        if delete.if_unused && self.count_consumers(&name).await? > 0 {
            return Err(Refusal::InUse { what: "queue", name, vhost }.into());
        }
        if delete.if_empty && self.link.find_queue(&name).await.unwrap_or(0) > 0 {
            return Err(Refusal::NotEmpty { name, vhost }.into());
        }
        let messages = self.link.delete_queue(&name).await?;
        self.registry.forget(&name);
        self.queue_is_gone(&name).await?;
        Ok(messages)
    }

    /// Checks that this connection may use a queue.
    pub(super) async fn check_access(&mut self, queue: &str) -> Result<(), Fault> {
        self.registry.check(self.number, queue)?;
        Ok(self.link.check_access(queue).await?)
    }

    /// Returns how many consumers a queue has.
    async fn count_consumers(&mut self, queue: &str) -> Result<u32, Fault> {
        let everywhere = self.link.count_consumers(queue).await?;
        Ok(everywhere.unwrap_or_else(|| self.registry.consumers(queue)))
    }

    /// Cancels the consumers of a queue that is deleted.
    pub(super) async fn queue_is_gone(&mut self, queue: &str) -> Result<(), Fault> {
        for (number, consumer_tag) in self.consumers.of_queue(queue) {
            self.consumers.remove(number, &consumer_tag);
            self.link.remove_consumer(queue).await?;
            if self.terms.cancel_notify {
                self.output.method(number, &basic::Cancel { consumer_tag, no_wait: true });
            }
        }
        Ok(())
    }

    async fn bind(&mut self, binding: &Binding) -> Result<(), Fault> {
        if let Some((name, kind)) = PREDECLARED.iter().find(|(name, _)| *name == binding.exchange) {
            let (durable, auto_delete, internal) = (true, false, false);
            let (name, arguments) = ((*name).to_owned(), amqp_codec::Table::new());
            let exchange =
                ExchangeDeclaration { name, kind: *kind, durable, auto_delete, internal, arguments };
            self.link.declare_exchange(&exchange).await?;
        }
        Ok(self.link.bind(binding).await?)
    }

    /// The binding that a method names, which the user may change.
    async fn binding(
        &mut self,
        number: u16,
        (queue, exchange): (&mut ShortString, &mut ShortString),
        key: &mut ShortString,
    ) -> Result<Binding, Fault> {
        // Without a queue's name, the name of the last one is the key, too (spec section 1.7.2.3).
        let is_unnamed = queue.is_empty();
        let name = self.queue_name(number, queue)?;
        if is_unnamed && key.is_empty() {
            *key = queue.clone();
        }
        strip(exchange);
        let exchange = text(exchange)?;
        if exchange.is_empty() {
            return Err(Refusal::DefaultExchange.into());
        }
        self.permit(Act::Write, "queue", &name)?;
        self.permit(Act::Read, "exchange", &exchange)?;
        self.permit_topic(Act::Read, &exchange, key)?;
        self.check_access(&name).await?;
        Ok(Binding { exchange, queue: name, routing_key: text(key)? })
    }

    /// A queue's name; the empty one stands for the last queue that the channel declared.
    pub(super) fn queue_name(&mut self, number: u16, queue: &mut ShortString) -> Result<String, Fault> {
        if queue.is_empty() {
            *queue = self.channel(number).map(|channel| channel.last_queue.clone()).unwrap_or_default();
        }
        match queue.is_empty() {
            true => Err(Refusal::NoLastQueue.into()),
            false => text(queue),
        }
    }
}

/// A unique name.
pub(super) fn generated(prefix: &str) -> ShortString {
    ShortString::try_from(format!("{prefix}{}", uuid::Uuid::new_v4().simple())).unwrap_or_default()
}

/// The refusal of what no backend of a gateway has.
pub(super) fn not_here(feature: &str) -> Fault {
    BackendError::NotImplemented(format!("{feature} are not supported by this virtual host")).into()
}

fn reserved(what: &'static str, name: &str) -> Result<(), Fault> {
    match name.starts_with("amq.") {
        true => Err(Refusal::ReservedName { what, name: name.to_owned() }.into()),
        false => Ok(()),
    }
}
